"""Temperature of the average of cross-validated networks: which factor holds on new cases.

Small networks are trained on five folds of drawn cases, each with validation rows of its own
that choose its epoch, as in a training with ``--folds``. Compared on 6,000 new cases: the
temperature of out-of-fold rows, which are scored by one network each, and that times the
factor of ``shrinkage_of_average``; both against the temperature that is best there.

    python bench/fold_average.py [--studies 6]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from core.statistics.calibration import calibration_line, fit_temperature
from core.statistics.scores import scores_from_logits
from core.training.fold_average import shrinkage_of_average

FOLDS, NEW = 5, 6_000
# Cases, inputs of the network, epochs.
SETTINGS = ((150, 20, 60), (300, 20, 60), (600, 40, 60), (1200, 40, 40))


def drawn(rng: np.random.Generator, n: int, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, D) and classes (N,)."""
    x = rng.standard_normal((n, len(along)))
    odds = 2 * x @ along + 0.5 * np.sin(2 * x[:, 0]) - 0.8
    return x, (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(int)


def trained(
    x: np.ndarray, y: np.ndarray, rows: np.ndarray, val: np.ndarray, epochs: int
) -> nn.Module:
    """A network of one hidden layer, at the epoch with the best validation accuracy."""
    net = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 2))
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    pixels, truth = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    best, kept = -1.0, net.state_dict()
    for _ in range(epochs):
        order = np.random.default_rng(0).permutation(rows)
        for first in range(0, len(order), 32):
            some = order[first : first + 32]
            loss = nn.functional.cross_entropy(net(pixels[some]), truth[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            right = float((net(pixels[val]).argmax(1) == truth[val]).float().mean())
        if right >= best:
            best, kept = right, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.eval()


def study(seed: int, n: int, width: int, epochs: int) -> dict[str, float]:
    """Log errors of both temperatures, and calibration slopes of the average with each."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    along = rng.standard_normal(width) / np.sqrt(width)
    (x, y), (new_x, new_y) = drawn(rng, n, along), drawn(rng, NEW, along)
    fold = rng.permutation(n) % FOLDS
    out, there = [], []
    for k in range(FOLDS):
        inner = np.flatnonzero(fold != k)
        val = rng.choice(inner, max(8, len(inner) * 15 // 100), replace=False)
        net = trained(x, y, np.setdiff1d(inner, val), val, epochs)
        with torch.no_grad():
            logits = net(torch.tensor(x, dtype=torch.float32)).double().numpy()
            there.append(net(torch.tensor(new_x, dtype=torch.float32)).double().numpy())
        seen = np.setdiff1d(inner, val)
        logits[seen] = np.nan
        out.append(logits)
    one = fit_temperature(np.stack(out)[fold, np.arange(n)], y)
    factor, _ = shrinkage_of_average(out, y, link="softmax")
    mean = np.mean(there, axis=0)
    best = fit_temperature(mean, new_y)
    found = {}
    for name, heat in (("single", one), ("average", one * factor)):
        scores = scores_from_logits(mean / heat, link="softmax")[:, 1]
        found[f"error {name}"] = abs(float(np.log(heat / best)))
        found[f"slope {name}"] = float(calibration_line(new_y, scores).slope)
    return found


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=6)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for n, width, epochs in SETTINGS:
        found = [study(seed, n, width, epochs) for seed in range(asked.studies)]
        mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        print(
            f"{n:,} cases: log error of the temperature {mean['error single']:.2f} of single "
            f"networks, {mean['error average']:.2f} for the average; slope "
            f"{mean['slope single']:.2f} and {mean['slope average']:.2f}"
        )


if __name__ == "__main__":
    main()

"""From pooled features to logits: the heads, their losses, and the probe that starts them.

    softmax      K logits, one weight row per class
    cumulative   K - 1 logits of one weight row and ordered thresholds:
                 P(y > k) = sigmoid(w . f - t_k), the proportional odds model
    sigmoid      K independent logits
    regression   one number z of one weight row, fitted to the index of the class by
                 squared error; its K - 1 logits are s (z - c_k), with s = 1 and cuts
                 c_k at k + 1/2 until ``fit_cuts`` takes them from validation

The probe is the same head fitted alone on frozen features with an L2 penalty.
Its solution starts fine-tuning, so that the first steps do not tear up the
backbone for the sake of a random head (Kumar et al. 2022, arXiv 2202.10054).
The links in numpy are in ``core.statistics.scores``; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the name every torch reader knows)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ORDERED", "Head", "Probe", "fit_cuts", "fit_probe", "loss_of", "n_logits", "recut"]

# Inverse strengths of the penalty that the probe chooses from, as in scikit-learn's C.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PROBE_FOLDS = 4
# Links of classes in rising order: logit k asks whether the class is above k.
ORDERED = ("cumulative", "regression")


def n_logits(link: str, n_classes: int) -> int:
    """How many logits a head has."""
    return n_classes - 1 if link in ORDERED else n_classes


class Head(nn.Module):
    """A linear head of any link.

    Args:
        link: ``softmax``, ``cumulative``, ``sigmoid`` or ``regression``.
        n_features: D.
        n_classes: K.
    """

    def __init__(self, link: str, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.link = link
        rows = 1 if link in ORDERED else n_classes
        self.weight = nn.Parameter(torch.zeros(rows, n_features))
        if link == "regression":
            # The slope, then the cuts.
            self.cuts: Tensor
            self.register_buffer("cuts", torch.cat([torch.ones(1), _halves(n_classes - 1)]))
            self.bias = nn.Parameter(torch.zeros(1))
            return
        # cumulative: the first threshold, then the logs of the steps between them,
        # which keeps the thresholds in order whatever the optimiser does.
        self.bias = nn.Parameter(torch.zeros(n_logits(link, n_classes)))

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) features -> (N, L) logits."""
        if self.link == "regression":
            return self.cuts[0] * (F.linear(features, self.weight, self.bias) - self.cuts[1:])
        if self.link != "cumulative":
            return F.linear(features, self.weight, self.bias)
        steps = torch.cat([self.bias[:1], self.bias[1:].exp()])
        return features @ self.weight.T - steps.cumsum(0)

    def start_from(self, other: Head) -> None:
        """Copy the solution of another head of the same shape."""
        with torch.no_grad():
            self.weight.copy_(other.weight)
            self.bias.copy_(other.bias)
            if self.link == "regression":
                self.cuts.copy_(other.cuts)

    @property
    def n_classes(self) -> int:
        """K."""
        if self.link == "regression":
            return self.cuts.numel()
        return self.bias.numel() + (self.link == "cumulative")


def loss_of(
    link: str, logits: Tensor, y: Tensor, *, smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Negative log-likelihood of the labels; half the squared error of the regression link.

    Args:
        link: of the head.
        logits: (N, L).
        y: (N,) class indices; (N, K) zeros and ones for the sigmoid link.
        smoothing: label smoothing; only the softmax and sigmoid links have it.
        reduction: ``mean`` or ``none``.
    """
    if link == "softmax":
        return F.cross_entropy(logits, y, label_smoothing=smoothing, reduction=reduction)
    if link == "sigmoid":
        target = y.to(logits.dtype) * (1 - smoothing) + 0.5 * smoothing
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        return loss if reduction == "none" else loss.mean()
    if link == "regression":
        # The cuts stand at their halves as long as anything is trained or chosen by this.
        difference = logits[:, 0] + 0.5 - y.to(logits.dtype)
        return 0.5 * (difference.square() if reduction == "none" else difference.square().mean())
    # log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)) for a > b, which
    # stays finite where the two sigmoids are equal to the last digit.
    n = logits.shape[1]
    above = torch.where(y > 0, y - 1, 0)
    below = torch.where(y < n, y, 0)
    a = logits.gather(1, above[:, None])[:, 0]
    b = logits.gather(1, below[:, None])[:, 0]
    first, last = y == 0, y == n
    inner = torch.where(first | last, torch.full_like(a, -1.0), b - a).clamp(max=-1e-6)
    log_p = (
        torch.where(first, torch.zeros_like(a), F.logsigmoid(a))
        + torch.where(last, torch.zeros_like(b), F.logsigmoid(-b))
        + torch.where(first | last, torch.zeros_like(a), torch.log(-torch.expm1(inner)))
    )
    return -log_p if reduction == "none" else -log_p.mean()


@dataclass(frozen=True)
class Probe:
    """A head fitted on frozen features.

    Attributes:
        head: for standardised features.
        mean, std: (D,) of the features, which standardise them.
        penalty: the chosen inverse strength of the L2 penalty.
        log_loss: cross-validated, per penalty.
        out_of_fold: (N, L) logits of each training row from the fit that did not see its group.
    """

    head: Head
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    penalty: float
    log_loss: dict[float, float]
    out_of_fold: NDArray[np.float64]


def fit_probe(
    features: NDArray[np.float32],
    y: NDArray[np.int_],
    groups: NDArray[np.object_],
    *,
    link: str,
    n_classes: int,
    seed: int,
) -> Probe:
    """Fit the head alone, its penalty chosen by cross-validated log-loss over groups.

    Args:
        features: (N, D) of the training rows.
        y: (N,) class indices, or (N, K) for the sigmoid link.
        groups: (N,) rows of one group stay in one fold.
        link: of the head.
        n_classes: K.
        seed: of the folds.
    """
    mean = features.mean(0)
    # Channels that never fire would divide by zero; they carry nothing.
    std = np.maximum(features.std(0), 1e-3 * max(float(features.std()), 1e-6))
    x, back = _span(torch.from_numpy(((features - mean) / std).astype(np.float64)))
    target = torch.from_numpy(np.asarray(y))
    folds = _folds(y, groups, seed)
    out = {c: np.zeros((len(x), n_logits(link, n_classes))) for c in PENALTIES}
    for held in folds:
        kept = np.setdiff1d(np.arange(len(x)), held)
        head = Head(link, x.shape[1], n_classes).double()
        for penalty in PENALTIES:  # each solution starts the next, weaker penalty
            _minimise(head, x[kept], target[kept], penalty)
            with torch.no_grad():
                out[penalty][held] = head(x[held]).numpy()
    losses = {c: float(loss_of(link, torch.from_numpy(z), target).mean()) for c, z in out.items()}
    best = min(losses, key=lambda c: losses[c])
    head = Head(link, x.shape[1], n_classes).double()
    for penalty in PENALTIES[: PENALTIES.index(best) + 1]:
        _minimise(head, x, target, penalty)
    whole = Head(link, features.shape[1], n_classes)
    with torch.no_grad():
        whole.weight.copy_(head.weight @ back.T)
        whole.bias.copy_(head.bias)
    return Probe(whole, mean, std, best, losses, out[best])


def _span(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rows in an orthonormal basis of their own span, and the basis.

    A penalised head is a combination of the rows it is fitted on, so that nothing is
    lost where there are more features than rows, and every step costs less.

    Args:
        x: (N, D).

    Returns:
        (N, R) coordinates and the (D, R) basis, R the smaller of D and the rank.
    """
    if x.shape[1] <= x.shape[0]:
        return x, torch.eye(x.shape[1], dtype=x.dtype)
    values, vectors = torch.linalg.eigh(x @ x.T)
    kept = values > 1e-10 * values[-1]
    root = values[kept].sqrt()
    return vectors[:, kept] * root, x.T @ (vectors[:, kept] / root)


def fit_cuts(logits: NDArray[np.float64], y: NDArray[np.int_]) -> NDArray[np.float64]:
    """Where the cuts of a regression head should stand, and how steeply scores rise there.

    The most likely proportional odds model of the head's one number. One imaginary case
    of each class, at its own index, holds the cuts of classes that are nearly absent.

    Args:
        logits: (N, K - 1) of validation cases, made with the cuts at their halves.
        y: (N,) class indices.

    Returns:
        (K,) the slope, then the cuts in rising order.
    """
    k = logits.shape[1] + 1
    index = torch.arange(k)
    numbers = torch.cat([torch.from_numpy(logits[:, 0] + 0.5), index.double()])
    # A head of one feature, the number itself: its weight is the slope.
    model = Head("cumulative", 1, k).double()
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(float(np.log(2.0)))
        model.bias[0] = 1.0
    _minimise(model, numbers[:, None], torch.cat([torch.from_numpy(y), index]), penalty=100.0)
    with torch.no_grad():
        # A number that says nothing, or the opposite, has no cuts that could be found.
        slope = model.weight[0, 0].clamp(min=1e-3)
        steps = torch.cat([model.bias[:1], model.bias[1:].exp()]).cumsum(0)
        return np.asarray(torch.cat([slope[None], steps / slope]).numpy(), dtype=np.float64)


def recut(logits: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits made with the cuts at their halves, with those of ``fit_cuts`` instead."""
    return np.asarray(cuts[0] * (logits[:, :1] + 0.5 - cuts[1:]), dtype=np.float64)


def _halves(n: int) -> Tensor:
    """0.5, 1.5 and so on: the cuts that rounding has."""
    return torch.arange(n) + 0.5


def _folds(y: NDArray[np.int_], groups: NDArray[np.object_], seed: int) -> list[NDArray[np.int_]]:
    """Row numbers of each held-out fold: grouped, and stratified as far as groups allow."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold  # noqa: PLC0415

    n_groups = len(np.unique(groups.astype(str)))
    folds = min(PROBE_FOLDS, n_groups)
    strata = y if y.ndim == 1 else y @ (2 ** np.arange(y.shape[1]))
    _, counts = np.unique(strata, return_counts=True)
    if counts.min() >= folds:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    else:
        splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return [held for _, held in splitter.split(np.zeros(len(y)), strata, groups.astype(str))]


def _minimise(head: Head, x: Tensor, y: Tensor, penalty: float) -> None:
    """L-BFGS on the summed loss plus half the squared norm of the weights over C."""
    optimiser = torch.optim.LBFGS(
        head.parameters(),
        max_iter=200,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = loss_of(head.link, head(x), y) + 0.5 * head.weight.square().sum() / (
            penalty * len(x)
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]

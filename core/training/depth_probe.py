"""Study of depth at full size: frozen pretrained networks of rising depth, probed.

Features of each network are classified by a penalised linear head, on folds of whole groups,
so that accuracy against processor time can be read off for the user's own images.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.machine import pick_device
from core.base.progress import track
from core.errors import WeightsError
from core.model.backbone import create_backbone
from core.model.heads import fit_probe
from core.model.network import SCALES
from core.statistics.intervals import cluster_proportion

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.model.backbone import LoadedWeights

__all__ = ["FULL_SIZE", "probe_depths"]

FULL_SIZE = ("resnet18", "resnet34", "resnet50", "resnet101")
# For a processor alone this one is left out.
DEEPEST = "resnet152"
BATCH = 16


def probe_depths(
    pixels: NDArray[np.uint8],
    y: NDArray[np.int_],
    groups: NDArray[np.object_],
    *,
    n_classes: int,
    folder: Path | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Probe each network whose weights are on this machine.

    Args:
        pixels: (N, C, H, W) as stored.
        y: (N,) class indices.
        groups: (N,) what may not straddle a fold.
        n_classes: K.
        folder: with ``NAME.safetensors`` files; the hub's cache where it has none.

    Returns:
        one entry per network, and the names of those without weights.
    """
    device = pick_device()
    names = FULL_SIZE if device.type == "cpu" else (*FULL_SIZE, DEEPEST)
    entries: list[dict[str, Any]] = []
    left_out = []
    before: NDArray[np.float64] | None = None
    for name in names:
        file = folder / f"{name}.safetensors" if folder else None
        weights = str(file) if file and file.is_file() else "hub"
        try:
            backbone, loaded = create_backbone(name, weights=weights, in_channels=pixels.shape[1])
        except WeightsError:
            left_out.append(name)
            continue
        features, seconds = _features(backbone.eval().to(device), pixels, loaded)
        probe = fit_probe(features, y, groups, link="softmax", n_classes=n_classes, seed=0)
        right = (probe.out_of_fold.argmax(axis=1) == y).astype(np.float64)
        interval = cluster_proportion(right, groups, scale="wilson")
        entries.append(
            {
                "name": name,
                "accuracy": float(right.mean()),
                "low": interval.low,
                "high": interval.high,
                "difference": _difference(right, before, groups),
                "seconds_per_image": seconds / len(y),
                "params_m": sum(p.numel() for p in backbone.parameters()) / 1e6,
                "weights": loaded.source,
                "n": len(y),
                "size_px": list(pixels.shape[2:]),
            }
        )
        before = right
    return entries, left_out


def _features(
    backbone: Any, pixels: NDArray[np.uint8], loaded: LoadedWeights
) -> tuple[NDArray[np.float32], float]:
    """(N, D) average of the last stage, and the seconds of computing it.

    Of processor time where a processor computes, else by the clock.
    """
    device = next(backbone.parameters()).device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    scale = SCALES[pixels.dtype.name]
    middle, spread = (
        torch.tensor(v, device=device).view(1, -1, 1, 1) * scale for v in (loaded.mean, loaded.std)
    )
    parts = []
    begun = clock()
    with track("features", len(pixels)) as advance, torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            block = torch.from_numpy(pixels[start : start + BATCH]).to(device).float()
            maps = backbone.forward_features((block - middle) / spread)
            parts.append(maps.mean(dim=(2, 3)).cpu().numpy())
            advance(len(block))
    return np.concatenate(parts), clock() - begun


def _difference(
    right: NDArray[np.float64], before: NDArray[np.float64] | None, groups: NDArray[np.object_]
) -> str:
    """Accuracy less that of the network before on the same images, with its interval."""
    if before is None:
        return ""
    names, index = np.unique(groups.astype(str), return_inverse=True)
    n, k = len(right), len(names)
    gain = right - before
    # Variance of a mean over groups, as cluster_proportion has it of a proportion.
    sums = np.bincount(index, weights=gain - gain.mean(), minlength=k)
    error = 1.96 * float(np.sqrt(k / (k - 1) * (sums**2).sum())) / n
    mean = float(gain.mean())
    low, high = 100 * (mean - error), 100 * (mean + error)
    return f"{100 * mean:+.1f} points ({low:+.1f} to {high:+.1f})"

"""Feature maps of a whole strip against those of its overlapping tiles: error and time saved.

    python bench/field_strip.py RUN MOSAIC

Where tiles overlap, a convolution of the whole strip would be computed once and pooled per
tile. That is less work, but it is another function: a tile by itself is padded with zeros at
its edges, in a strip it sees its neighbours. For strips of a mosaic at 25 % overlap this
prints how far scores differ, how many decisions change, and the ratio of the times, both ways
on the same pixels by turns.
"""

# ruff: noqa: PLC0415  (heavy imports where they are used)

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

# Strips judged, and repetitions of the timing; the fastest counts.
STRIPS, TIMES = 6, 3


def main() -> None:
    """Both ways, on strips spread over the mosaic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("mosaic", type=Path)
    given = parser.parse_args()
    import rasterio
    import torch
    from rasterio.windows import Window

    from core.runs.networks import load_networks
    from core.runs.run import load_run
    from core.statistics.scores import scores_from_logits

    torch.set_num_threads(1)
    run = load_run(given.run)
    network = load_networks(run)[0][1].eval()
    tile = run.members[0].preparation.size_px[0]
    stride = 3 * tile // 4
    with rasterio.open(given.mosaic, driver="GTiff") as source:
        width = source.width // tile * tile
        strips = [
            source.read([1, 2, 3], window=Window(0, int(row), width, tile))
            for row in np.linspace(0.15, 0.75, STRIPS) * source.height
        ]
    lefts = range(0, width - tile + 1, stride)

    def by_tile(strip: torch.Tensor) -> torch.Tensor:
        return network.embed(torch.stack([strip[:, :, c : c + tile] for c in lefts]))

    def by_strip(strip: torch.Tensor) -> torch.Tensor:
        x = (strip[None].to(network.mean.dtype) - network.mean) / network.std
        x = x.contiguous(memory_format=torch.channels_last)
        last, (before,) = network.backbone.forward_intermediates(x, indices=[3])
        found = []
        for left in lefts:
            parts = []
            for maps in (before, last) if network.pool != "last" else (last,):
                step = width / maps.shape[3]
                parts.append(maps[:, :, :, round(left / step) : round((left + tile) / step)])
            pooled = [part.mean(dim=(2, 3)) for part in parts]
            if network.pool == "last_two_max":
                pooled += [part.amax(dim=(2, 3)) for part in parts]
            found.append(torch.cat(pooled, dim=1))
        return torch.cat(found)

    seconds = {"tile": 0.0, "strip": 0.0}
    scores = {"tile": [], "strip": []}
    ways = {"tile": by_tile, "strip": by_strip}
    with torch.inference_mode():
        for pixels in strips:
            strip = torch.from_numpy(pixels)
            taken = dict.fromkeys(ways, np.inf)
            for _ in range(TIMES):
                for name, way in ways.items():
                    start = time.perf_counter()
                    features = way(strip)
                    taken[name] = min(taken[name], time.perf_counter() - start)
                    kept = network.classify(features).double().numpy()
                    if _ == 0:
                        scores[name].append(scores_from_logits(kept, link=run.link))
            for name, value in taken.items():
                seconds[name] += value
    one, other = (np.concatenate(scores[name]) for name in ways)
    off = np.abs(one - other).max(axis=1)
    changed = int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
    sys.stdout.write(
        f"{len(one)} tiles of {tile} px, 25 % overlap along the strip\n"
        f"largest difference of a score: {off.max():.3f}, median {np.median(off):.4f}\n"
        f"changed decisions: {changed}\n"
        f"time of tiles over time of strips: {seconds['tile'] / seconds['strip']:.2f}\n"
    )


if __name__ == "__main__":
    main()

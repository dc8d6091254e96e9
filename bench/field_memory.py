"""Peak memory of mapping a field against the way most scripts do it, as the raster grows.

    python bench/field_memory.py 5000 10000 20000

For each side, a phantom mosaic (RGBA, 8 bit) is written; then, each in a process
of its own and by turns,

    ours     reads every tile of 224 px at 25 % overlap through ``read_tile`` in storage
             order, scores it by its mean colour, and writes both maps
    naive    reads the mosaic into memory, cuts the tiles out of it, adds scores up in
             arrays of the mosaic's size, and writes the same two maps

No network runs in either, because it would be the same in both. Printed are peak resident
memory and processor seconds, and their ratios; only ratios of one run mean something.
Where the naive way would take more than half of the free memory it is not run (NaN).
"""

# ruff: noqa: PLC0415  (a child imports only what it measures)

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

CLASSES = ("healthy", "rust", "wilt")
TILE, STRIDE = 224, 168
# A pixel of the naive way: 4 bytes of mosaic, 32 of scores and weights, and copies of these.
NAIVE_BYTES = 60


def colour_scores(pixels: np.ndarray) -> np.ndarray:
    """Three scores from the mean red, green and blue of a tile."""
    share = pixels.reshape(-1, 3).mean(axis=0) + 1.0
    return share / share.sum()


def run_ours(mosaic: Path, out: Path) -> None:
    """Tiles through the app, maps by blocks."""
    from apps.crop_disease.channels import Reading
    from apps.crop_disease.field import index_field
    from apps.crop_disease.mapping import write_maps
    from apps.crop_disease.raster import describe
    from apps.crop_disease.tile_pixels import field_mask, read_tile
    from core.app import Source, Task

    task = Task(name="disease", kind="multiclass", classes=CLASSES)
    found = index_field(
        Source(paths=(mosaic,), labelled=False, task=task, options={"tile": f"{TILE}px"})
    )
    tiles = found.table
    scores = np.full((len(tiles), 3), np.nan)
    for i, row in enumerate(tiles.to_dict("records")):
        if row["status"] == "ok":
            scores[i] = colour_scores(read_tile({**row, "path": str(mosaic)}))
    for k, name in enumerate(CLASSES):
        tiles[f"score_{name}"] = scores[:, k]
    reading = Reading.parse(str(tiles["reading"].iloc[0]))
    write_maps(
        tiles,
        classes=CLASSES,
        facts=describe(mosaic),
        mask=field_mask(mosaic, reading),
        out=out,
        decide=lambda scores: scores.argmax(axis=1),
    )


def run_naive(mosaic: Path, out: Path) -> None:
    """Everything in memory."""
    import rasterio

    with rasterio.open(mosaic, driver="GTiff") as source:
        bands, profile = source.read(), source.profile
    height, width = bands.shape[1:]
    total = np.zeros((3, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    for row in range(0, height - TILE + 1, STRIDE):
        for col in range(0, width - TILE + 1, STRIDE):
            place = (slice(row, row + TILE), slice(col, col + TILE))
            tile = bands[(slice(0, 3), *place)].transpose(1, 2, 0)
            if (bands[(3, *place)] > 0).mean() < 0.5:
                continue
            for k, value in enumerate(colour_scores(tile)):
                total[(k, *place)] += value
            weight[place] += 1
    score = total / np.maximum(weight, 1)
    valid = (bands[3] > 0) & (weight > 0)
    index = np.where(valid, score.argmax(axis=0), 255).astype(np.uint8)
    stored = np.where(valid, np.rint(score * 250), 255).astype(np.uint8)
    for name, values in (("scores", stored), ("classes", index[None])):
        form = {**profile, "count": len(values), "nodata": 255, "photometric": "MINISBLACK"}
        form.pop("alpha", None)
        with rasterio.open(out / f"{name}.tif", "w", **form) as target:
            target.write(values)


def child(kind: str, mosaic: Path) -> None:
    """Do it once and print what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory() as out:
        {"ours": run_ours, "naive": run_naive}[kind](mosaic, Path(out))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(json.dumps({"mb": after.ru_maxrss / 1024, "cpu_s": spent}) + "\n")


def fits(side: int) -> bool:
    """Whether the naive way leaves half of the free memory to others."""
    return side * side * NAIVE_BYTES < psutil.virtual_memory().available / 2


def measure(kind: str, mosaic: Path) -> dict[str, float]:
    """Run a child; both numbers are NaN if it failed."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, str(mosaic)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-500:])
        return {"mb": float("nan"), "cpu_s": float("nan")}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Write mosaics, measure by turns, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", nargs="*", type=int, default=[5000, 10000])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], Path(given.child[1]))
        return
    from apps.crop_disease.field_phantom import plan_field, write_mosaic

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in given.sides:
            start = time.process_time()
            mosaic = write_mosaic(Path(folder) / f"{side}.tif", plan_field(side, side, seed=1))
            drawn = time.process_time() - start
            ours = measure("ours", mosaic)
            naive = measure("naive", mosaic) if fits(side) else {"mb": np.nan, "cpu_s": np.nan}
            rows.append(
                {
                    "side_px": side,
                    "phantom_cpu_s": round(drawn, 1),
                    "ours_mb": round(ours["mb"]),
                    "naive_mb": round(naive["mb"], 0),
                    "naive / ours": round(naive["mb"] / ours["mb"], 2),
                    "ours / smallest": round(
                        ours["mb"] / (rows or [{"ours_mb": ours["mb"]}])[0]["ours_mb"], 2
                    ),
                    "cpu ours / naive": round(ours["cpu_s"] / naive["cpu_s"], 2),
                }
            )
            sys.stdout.write(pd.DataFrame(rows).to_string(index=False) + "\n\n")
            mosaic.unlink()


if __name__ == "__main__":
    main()

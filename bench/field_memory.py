"""Peak memory of mapping a field against the way most scripts do it, as the raster grows.

    python bench/field_memory.py 5000 10000 20000

A tiny network is trained on a small phantom. Then, for each side, a phantom mosaic (RGB, 8
bit, nodata 0) is written and mapped with tiles of 512 px at 25 % overlap, each way in a
process of its own and by turns:

    ours     ``resight predict``: tiles in storage order, a journal, maps by blocks, zones,
             areas, the web page
    naive    the mosaic in memory, tiles cut out of it, the same network in the same batches,
             scores added up in arrays of the mosaic's size, two maps written

Printed are peak resident memory and processor seconds, and their ratios; only ratios of one
run mean something. Where the naive way would take more than half of the free memory it is
not run (NaN).
"""

# ruff: noqa: PLC0415  (a child imports only what it measures)

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

TILE, STRIDE, BATCH = 512, 384, 32
# A pixel of the naive way: 3 bytes of mosaic, 16 of scores and weights, and copies of these.
NAIVE_BYTES = 40


def make_run(folder: Path) -> Path:
    """A network that tells the phantom's classes apart; probe only."""
    from apps.crop_disease.field.phantom import write_field_phantom
    from core.verbs.train import train

    data = write_field_phantom(folder / "small", 1200, 3)
    settings = {"backbone": "test_resnet", "weights": "none", "epochs": 0, "size_px": (64, 64)}
    train("crop_disease", data, folder / "run", flags=settings, options={"tile": "64px"})
    return folder / "run"


def run_ours(run: Path, mosaic: Path, out: Path) -> None:
    """The command."""
    from core.verbs.predict import predict

    predict(run, [mosaic], out / "out", options={"tile": f"{TILE}px"}, workers=1)


def run_naive(run: Path, mosaic: Path, out: Path) -> None:
    """Everything in memory."""
    import cv2
    import rasterio
    import torch

    from core.model.inference import run_batch
    from core.runs.networks import load_networks
    from core.runs.run import load_run
    from core.statistics.scores import scores_from_logits

    loaded = load_run(run)
    network = load_networks(loaded)[0][1]
    height_px, width_px = loaded.members[0].preparation.size_px
    with rasterio.open(mosaic, driver="GTiff") as source:
        bands, profile = source.read(), source.profile
    height, width = bands.shape[1:]
    total = np.zeros((3, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    places = []
    pixels = []

    def flush() -> None:
        z, _ = run_batch(network, torch.from_numpy(np.stack(pixels)))
        for place, scores in zip(places, scores_from_logits(z, link=loaded.link), strict=True):
            for k, value in enumerate(scores):
                total[(k, *place)] += value
            weight[place] += 1
        places.clear()
        pixels.clear()

    for row in range(0, height - TILE + 1, STRIDE):
        for col in range(0, width - TILE + 1, STRIDE):
            place = (slice(row, row + TILE), slice(col, col + TILE))
            tile = bands[(slice(None), *place)]
            if (tile > 0).any(axis=0).mean() < 0.5:
                continue
            shown = np.ascontiguousarray(tile.transpose(1, 2, 0))
            small = cv2.resize(shown, (width_px, height_px), interpolation=cv2.INTER_AREA)
            places.append(place)
            pixels.append(np.ascontiguousarray(small.transpose(2, 0, 1)))
            if len(pixels) == BATCH:
                flush()
    if pixels:
        flush()
    score = total / np.maximum(weight, 1)
    valid = (bands > 0).any(axis=0) & (weight > 0)
    index = np.where(valid, score.argmax(axis=0), 255).astype(np.uint8)
    stored = np.where(valid, np.rint(score * 250), 255).astype(np.uint8)
    for name, values in (("scores", stored), ("classes", index[None])):
        form = {**profile, "count": len(values), "nodata": 255, "photometric": "MINISBLACK"}
        with rasterio.open(out / f"{name}.tif", "w", **form) as target:
            target.write(values)


def child(kind: str, run: Path, mosaic: Path) -> None:
    """Do it once and print what it took."""
    import torch

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory(dir=mosaic.parent) as out:
        {"ours": run_ours, "naive": run_naive}[kind](run, mosaic, Path(out))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(json.dumps({"mb": after.ru_maxrss / 1024, "cpu_s": spent}) + "\n")


def fits(side: int) -> bool:
    """Whether the naive way leaves half of the free memory to others."""
    return side * side * NAIVE_BYTES < psutil.virtual_memory().available / 2


def measure(kind: str, run: Path, mosaic: Path) -> dict[str, float]:
    """Run a child; both numbers are NaN if it failed."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, str(run), str(mosaic)],
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
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], Path(given.child[1]), Path(given.child[2]))
        return
    from apps.crop_disease.field.phantom import Form, plan_field, write_mosaic

    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["RESIGHT_HOME"] = str(folder / "home")
        run = make_run(folder)
        for side in given.sides:
            start = time.process_time()
            form = Form(bands="RGB", nodata=0)
            mosaic = write_mosaic(folder / f"{side}.tif", plan_field(side, side, seed=1), form)
            drawn = time.process_time() - start
            ours = measure("ours", run, mosaic)
            nothing = {"mb": float("nan"), "cpu_s": float("nan")}
            naive = measure("naive", run, mosaic) if fits(side) else nothing
            smallest = rows[0]["ours_mb"] if rows else ours["mb"]
            rows.append(
                {
                    "side_px": side,
                    "phantom_cpu_s": round(drawn, 1),
                    "ours_mb": round(ours["mb"]),
                    "ours / smallest": round(ours["mb"] / smallest, 2),
                    "naive_mb": round(naive["mb"], 0),
                    "naive / ours": round(naive["mb"] / ours["mb"], 2),
                    "ours_cpu_s": round(ours["cpu_s"], 1),
                    "naive_cpu_s": round(naive["cpu_s"], 1),
                    "cpu ours / naive": round(ours["cpu_s"] / naive["cpu_s"], 2),
                }
            )
            sys.stdout.write(pd.DataFrame(rows).to_string(index=False) + "\n\n")
            sys.stdout.flush()
            mosaic.unlink()


if __name__ == "__main__":
    main()

"""Families of residual networks on one data set: accuracy against processor time, as a figure.

Each network is trained from nothing with the same steps on the same pictures, in a process of
its own, and the time of scoring an image is measured in turns afterwards. Runs that are
complete are not trained again. Writes ``families.svg`` and ``families.md`` into RUNS.

    python -m bench.families APP DATA --out RUNS [--task class] [--size 32] [--epochs 20]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.ticker import LogLocator, NullFormatter

from bench.datasets.__main__ import COST, Question, run
from bench.datasets.page import whole_row, with_interval
from core.base.outputs import is_complete
from core.model.backbone import create_backbone
from core.model.residual_networks import count, family_of
from core.report.drawing import canvas_of, finish, look_of, styled, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.blocks import Figure

NETWORKS = (
    "resnet18",
    "resnet18d",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
)
# Images at once, and rounds in which every network scores them once.
BATCH, ROUNDS = 16, 7


def milliseconds(size: int) -> dict[str, float]:
    """Processor time of one image on one core: the median of interleaved rounds."""
    torch.set_num_threads(1)
    networks = {
        name: create_backbone(name, weights="none", in_channels=3)[0].eval() for name in NETWORKS
    }
    block = torch.zeros(BATCH, 3, size, size)
    spent: dict[str, list[float]] = {name: [] for name in NETWORKS}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, network in networks.items():
                begun = time.process_time()
                network.forward_features(block)
                spent[name].append((time.process_time() - begun) / BATCH)
    return {name: 1000 * float(np.median(times)) for name, times in spent.items()}


def row_of(name: str, out: Path, each_ms: float) -> dict[str, Any]:
    """What a run reached on its held-out cases, and what it cost."""
    content = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    cost = json.loads(out.with_name(f"{out.name}.{COST}").read_text(encoding="utf-8"))
    about = content["about"]
    whole = whole_row(content["metrics"], about["headline"], about["unit"]) or {}
    params = count(name)[0]
    return {
        "name": name,
        "family": family_of(name),
        "measure": whole["title"],
        **{key: whole[key] for key in ("value", "low", "high", "n")},
        "cpu_s": cost["cpu_s"],
        "ms": each_ms,
        "params": params / 1e6,
    }


@styled
def figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Result with its interval against the processor time of the training."""
    canvas, axes = canvas_of(640, 400)
    for i, row in enumerate(rows):
        spread = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        colour = look_of(i)["color"]
        axes.errorbar(row["cpu_s"], row["value"], yerr=spread, fmt="o", capsize=3, color=colour)
        # By turns at the upper and the lower end, so that neighbours do not meet.
        end, offset = (row["low"], -14) if i % 2 else (row["high"], 4)
        axes.annotate(
            row["name"],
            (row["cpu_s"], end),
            xytext=(5, offset),
            textcoords="offset points",
            color=colour,
        )
    axes.set(xlabel="training, seconds of processor time", ylabel=rows[0]["measure"])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.25)
    axes.grid()
    return finish(canvas, "", "", table_of(rows))


def main() -> None:
    """Train what is not complete, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are")
    parser.add_argument("--task", default="class")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    flags = ["--weights", "none", "--size", str(given.size), "--epochs", str(given.epochs)]
    for name in NETWORKS:
        if not is_complete(given.out / name):
            print(f"{name} ...", flush=True)
            asked = Question(given.data.absolute(), given.app, given.task)
            run(asked, given.out / name, ["--backbone", name, *flags])
    each = milliseconds(given.size)
    rows = [row_of(name, given.out / name, each[name]) for name in NETWORKS]
    lines = [
        f"| network | family | million parameters | {rows[0]['measure']}, {rows[0]['n']} images "
        "| training, CPU s | scoring, CPU ms an image |",
        "|---|---|---:|---|---:|---:|",
        *(
            f"| {row['name']} | {row['family']} | {row['params']:.1f} | {with_interval(row)} "
            f"| {row['cpu_s']:,.0f} | {row['ms']:.1f} |"
            for row in rows
        ),
    ]
    print("\n".join(lines))
    (given.out / "families.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (given.out / "families.svg").write_text(figure(rows).svg, encoding="utf-8")


if __name__ == "__main__":
    main()

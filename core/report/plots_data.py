"""The figures of what went in: the flow of cases, classes, scores, and the course of training.

Nothing here computes a metric; how a figure looks is decided in ``core.report.drawing``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.report.drawing import (
    HALF,
    PAPER,
    SERIES,
    SOFT,
    TINT,
    WHOLE,
    canvas_of,
    finish,
    fold,
    look_of,
    short,
    stack_of,
    styled,
    table_of,
)
from core.report.html import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.report.blocks import Figure

__all__ = ["FlowBox", "class_counts", "flow", "learning_curves", "score_distribution"]

# Columns of a log that are no metric.
_NO_CURVE = frozenset({"lr", "step", "seconds", "epoch", "grad_norm"})


@dataclass(frozen=True, kw_only=True)
class FlowBox:
    """One box of a flow drawing; ``aside`` boxes leave the flow to the right."""

    title: str
    detail: str
    aside: bool = False


@styled
def learning_curves(log: pd.DataFrame, *, title: str = "Learning curves", note: str = "") -> Figure:
    """Losses and validation metrics by epoch, from the run's log.

    Args:
        log: one row per epoch: ``epoch`` and numeric columns; those whose name holds
            ``loss`` share the upper panel, shares in [0, 1] the lower one.
        title: heading.
        note: which epoch was kept.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  (slow; only a report needs it)

    kept = [
        c
        for c in log.columns
        if c != "epoch" and log[c].dtype.kind in "fiu" and log[c].notna().any()
    ]
    losses = [c for c in kept if "loss" in c]
    shares = [
        c
        for c in kept
        if c not in losses and c not in _NO_CURVE and log[c].dropna().between(-1, 1).all()
    ][:6]
    panels = [part for part in (losses, shares) if part]
    height = 60 + 200 * max(1, len(panels))
    canvas, axes = stack_of(WHOLE - 260, height, (1,) * max(1, len(panels)))
    x = log["epoch"] if "epoch" in log else log.index.to_series()
    for panel, names in zip(axes, panels, strict=False):
        for i, name in enumerate(names):
            known = log[name].notna()
            look = look_of(i)
            mark = "o" if int(known.sum()) < 25 else ""
            panel.plot(
                x[known],
                log[name][known],
                marker=mark,
                markersize=3,
                label=fold(clean(name), 34),
                **look,
            )
        panel.grid(axis="y")
        panel.set_ylabel("Loss" if names is losses else "Metric")
        panel.legend(loc="best")
    axes[-1].set_xlabel("Epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return finish(canvas, title, note, log[[c for c in ("epoch", *losses, *shares) if c in log]])


@styled
def score_distribution(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[int]],
    *,
    title: str,
    x: str = "Score",
    note: str = "",
) -> Figure:
    """Histograms of scores, one panel per kind of case.

    Args:
        edges: (B + 1,) ends of the bins.
        counts: name -> (B,) cases.
        title: heading.
        x: words for the axis.
        note: what cases these are.
    """
    canvas, axes = stack_of(HALF, 70 + 95 * len(counts), (1,) * len(counts))
    widths = [b - a for a, b in itertools.pairwise(edges)]
    for i, (panel, (name, some)) in enumerate(zip(axes, counts.items(), strict=True)):
        panel.bar(
            edges[:-1],
            some,
            width=widths,
            align="edge",
            color=SERIES[i % 8],
            edgecolor=PAPER,
            linewidth=0.8,
        )
        panel.set_title(clean(name), fontsize=10)
        panel.grid(axis="y")
    axes[-1].set_xlabel(x)
    data = table_of(
        list(zip(edges, edges[1:], *counts.values(), strict=False)), ["from", "to", *counts]
    )
    return finish(canvas, title, note, data)


@styled
def class_counts(
    counts: pd.DataFrame, *, title: str = "Images per class", note: str = ""
) -> Figure:
    """How many images each class has in each split.

    Args:
        counts: index: class names; columns: splits; values: images.
        title: heading.
        note: what is counted.
    """
    k, splits = len(counts), list(counts.columns)
    canvas, axes = canvas_of(HALF, 80 + max(22, 13 * len(splits)) * k)
    thick = 0.8 / len(splits)
    for i, split in enumerate(splits):
        at = [row + (i - (len(splits) - 1) / 2) * thick for row in range(k)]
        bars = axes.barh(
            at, counts[split], height=thick * 0.92, color=SERIES[i % 8], label=clean(split)
        )
        axes.bar_label(bars, fontsize=9, padding=3, color=SOFT)
    axes.set_yticks(range(k), [fold(clean(name), 20) for name in counts.index])
    axes.set(ylim=(k - 0.5, -0.5), xlabel="Images")
    axes.margins(x=0.12)
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(splits))
    data = counts.rename_axis("class").reset_index()
    return finish(canvas, title, note, data)


@styled
def flow(boxes: Sequence[FlowBox], *, title: str = "Flow of cases", note: str = "") -> Figure:
    """The way of the cases from what was given to what is reported.

    Args:
        boxes: from top to bottom; a box ``aside`` stands to the right of the arrow
            that leads to the next one.
        title: heading.
        note: what is counted.
    """
    from matplotlib.patches import Rectangle  # noqa: PLC0415  (slow; only a report needs it)

    gap, tall = 26, 44
    aside = [box for box in boxes if box.aside]
    width = 600 if aside else HALF
    wide = 270 if aside else 300
    canvas, axes = canvas_of(width, len(boxes) * (tall + gap) - gap + 4)
    canvas.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    height = len(boxes) * (tall + gap) - gap + 4
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    arrow = {"arrowstyle": "-|>", "color": SOFT, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    top, above = 2.0, None
    for box in boxes:
        left = width - wide - 2 if box.aside else 2
        middle = top + tall / 2
        if box.aside:
            axes.annotate("", (left, middle), (2 + wide / 2, middle), arrowprops=arrow)
        elif above is not None:
            axes.annotate("", (2 + wide / 2, top), (2 + wide / 2, above), arrowprops=arrow)
        axes.add_patch(
            Rectangle(
                (left, top),
                wide,
                tall,
                facecolor=TINT if not box.aside else "none",
                edgecolor=SOFT,
                linewidth=0.8,
            )
        )
        axes.text(
            left + 10,
            top + 17,
            short(clean(box.title), 38),
            va="center",
            fontweight="bold",
            fontsize=10.5,
        )
        axes.text(
            left + 10, top + 32, short(clean(box.detail), 44), va="center", fontsize=10, color=SOFT
        )
        if not box.aside:
            above = top + tall
        top += tall + gap
    data = table_of([(box.title, box.detail) for box in boxes], ["step", "cases"])
    return finish(canvas, title, note, data)

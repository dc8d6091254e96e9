"""The figures of what went in: the flow of cases, classes, and the course of training.

Nothing here computes a metric; how a figure looks is decided in ``core.report.drawing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.report.drawing import (
    HALF,
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
    from collections.abc import Sequence

    import pandas as pd

    from core.blocks import Figure

__all__ = ["FlowBox", "class_counts", "flow", "learning_curves"]

# Room between the boxes of a flow, in CSS pixels.
_GAP = 22

# Words for the columns of a log.
_LOG_WORDS = {
    "train_loss": "training loss",
    "val_log_loss": "validation log-loss",
    "val_score": "validation score",
}


@dataclass(frozen=True, kw_only=True)
class FlowBox:
    """One box of a flow drawing; ``aside`` boxes leave the flow to the right."""

    title: str
    detail: str
    aside: bool = False


@styled
def learning_curves(log: pd.DataFrame, *, title: str = "Learning curves", note: str = "") -> Figure:
    """Losses and validation score by epoch, from the run's log.

    Args:
        log: one row per epoch: ``epoch``, numeric columns, and ``member`` where
            several networks were trained; columns whose name holds ``loss`` share
            the upper panel, the score has the lower one.
        title: heading.
        note: which epoch was kept.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  (slow; only a report needs it)

    known = [c for c in log.columns if log[c].dtype.kind in "fiu" and log[c].notna().any()]
    losses = [name for name in known if "loss" in name]
    scores = [name for name in known if name.endswith("score")]
    panels = [part for part in (losses, scores) if part] or [[]]
    canvas, axes = stack_of(WHOLE - 200, 60 + 180 * len(panels), (1,) * len(panels))
    members = list(log.groupby("member")) if "member" in log else [(0, log)]
    for panel, names in zip(axes, panels, strict=True):
        for i, name in enumerate(names):
            for number, (_, rows) in enumerate(members):
                kept = rows[rows[name].notna()]
                mark = "o" if len(kept) < 25 and len(members) == 1 else ""
                label = _LOG_WORDS.get(name, clean(name)) if number == 0 else None
                panel.plot(
                    kept["epoch"], kept[name], marker=mark, markersize=3, label=label, **look_of(i)
                )
        panel.grid(axis="y")
        panel.set_ylabel("Loss" if names is losses else "Score")
        if names:
            panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes[-1].set_xlabel("Epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(log):
        # Half an epoch to either side: the ticks of a single epoch would be fractions.
        axes[-1].set_xlim(float(log["epoch"].min()) - 0.5, float(log["epoch"].max()) + 0.5)
    shown = ["member"] if len(members) > 1 else []
    return finish(canvas, title, note, log[[*shown, "epoch", *losses, *scores]].round(4))


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
    canvas, axes = canvas_of(HALF, 90 + max(26, 17 * len(splits)) * k)
    thick = 0.8 / len(splits)
    for i, split in enumerate(splits):
        at = [row + (i - (len(splits) - 1) / 2) * thick for row in range(k)]
        bars = axes.barh(
            at, counts[split], height=thick * 0.92, color=SERIES[i % 8], label=clean(split)
        )
        axes.bar_label(bars, fontsize=13, padding=3, color=SOFT)
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

    aside = any(box.aside for box in boxes)
    wide = 205.0 if aside else 300.0
    folded = [fold(clean(box.title), 23 if aside else 34) for box in boxes]
    tall = [52 + 18 * text.count("\n") for text in folded]
    height = sum(tall) + _GAP * (len(boxes) - 1) + 4
    canvas, axes = canvas_of(HALF, height)
    canvas.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, HALF), ylim=(height, 0))
    axes.axis("off")
    arrow = {"arrowstyle": "-|>", "color": SOFT, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    top, stem, spine = 2.0, 2.0, 2 + wide / 3
    for box, text, high in zip(boxes, folded, tall, strict=True):
        left = HALF - wide - 2 if box.aside else 2
        if box.aside:
            middle = top + high / 2
            axes.plot([spine, spine], [stem, middle], color=SOFT, linewidth=0.9)
            axes.annotate("", (left, middle), (spine, middle), arrowprops=arrow)
        elif top > 2:
            axes.annotate("", (spine, top), (spine, stem), arrowprops=arrow)
        face = "none" if box.aside else TINT
        axes.add_patch(
            Rectangle((left, top), wide, high, facecolor=face, edgecolor=SOFT, linewidth=0.8)
        )
        axes.text(left + 10, top + 10, text, va="top", fontweight="bold")
        detail = short(clean(box.detail), 26 if aside else 38)
        axes.text(left + 10, top + high - 14, detail, va="center", color=SOFT)
        stem = stem if box.aside else top + high
        top += high + _GAP
    data = table_of([(box.title, box.detail) for box in boxes], ["step", "cases"])
    return finish(canvas, title, note, data)

"""Figures of results: from numbers to SVG, each with the table of the data drawn.

Nothing here computes a metric; how a figure looks is decided in ``core.report.drawing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.report.drawing import (
    DASHES,
    HALF,
    INK,
    PAPER,
    RULE,
    SERIES,
    SOFT,
    WHOLE,
    as_percent,
    canvas_of,
    finish,
    fold,
    legend_below,
    look_of,
    short,
    stack_of,
    styled,
    table_of,
)
from core.report.html import clean
from core.report.numbers import joined_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from core.blocks import Figure

__all__ = [
    "Line",
    "confusion_matrix",
    "curves",
    "decision_curve",
    "forest",
    "reliability",
    "risk_coverage",
]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: a name, its points, and an interval around them where there is one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@styled
def confusion_matrix(
    counts: NDArray[np.int_],
    classes: Sequence[str],
    *,
    title: str = "Confusion matrix",
    note: str = "",
    across: str = "Decided",
) -> Figure:
    """Counts, shaded by their share of the row.

    Args:
        counts: (K, K) cases; rows are the true class, columns the decided one.
        classes: (K,) names in index order.
        title: heading.
        note: what cases these are.
        across: what stands in the columns.
    """
    names = [clean(name) for name in classes]
    k = len(names)
    totals = counts.sum(axis=1)
    shares = counts / totals.clip(min=1)[:, None]
    side = min(WHOLE, max(HALF, 170 + 46 * k))
    canvas, axes = canvas_of(side, side - 40)
    is_labelled = k <= 20
    for row in range(k):
        for column in range(k):
            share = float(shares[row, column])
            # Never darker than this, so that ink stays readable on it in both themes.
            axes.add_patch(_cell(column, row, 0.62 * share, on_diagonal=row == column))
            count = int(counts[row, column])
            if is_labelled:
                text = f"{count}\n{100 * share:.0f} %" if k <= 10 and count else str(count)
                size = 13 if k <= 10 else 11
                ink = INK if count else SOFT
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel=across, ylabel="True")
    axes.set_aspect("equal")
    is_long = max(map(len, names)) > 8 or k > 6
    width = 18 if k <= 20 else 40
    ticks = [fold(name, width) for name in names]
    below = [short(name, width + 6) for name in names] if is_long else ticks
    axes.set_xticks(
        range(k), below, rotation=40 if is_long else 0, ha="right" if is_long else "center"
    )
    if is_long:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(k), [f"{t} ({n})" for t, n in zip(ticks, totals.tolist(), strict=True)])
    if k > 20:
        axes.tick_params(labelsize=8)
    axes.spines[:].set_visible(False)
    data = table_of(counts, columns=[f"{across.lower()} {name}" for name in names])
    data.insert(0, "true", names)
    return finish(canvas, title, note, data)


def _cell(column: int, row: int, strength: float, *, on_diagonal: bool) -> Any:
    """One shaded square of a matrix."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415  (slow; only a report needs it)

    color = SERIES[0] if on_diagonal else SERIES[1]
    face = (color, strength) if strength > 0.004 else "none"
    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor=RULE, linewidth=0.8)


@styled
def curves(
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    note: str = "",
    points: Sequence[tuple[str, float, float]] = (),
    diagonal: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Curves in the unit square: ROC, precision and recall.

    Args:
        lines: the curves; at most eight are drawn in full colour, the rest in grey.
        title: heading.
        x: words for the horizontal axis.
        y: words for the vertical axis.
        note: what cases these are.
        points: (name, x, y) of operating points to mark.
        diagonal: whether to draw what chance gives in a ROC plot.
        levels: name -> height of the horizontal line that chance gives.
    """
    n_names = len(lines) + len(levels or {})
    canvas, axes = canvas_of(HALF, HALF - 10 + (20 * n_names if n_names > 1 else 0))
    if diagonal:
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    for i, line in enumerate(lines):
        look = look_of(i)
        if len(line.low):
            axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.14)
        axes.plot(line.x, line.y, label=fold(clean(line.name), 34), **look)
    for i, (name, height) in enumerate((levels or {}).items()):
        label = fold(clean(name), 34)
        axes.axhline(height, label=label, color=SOFT, linewidth=0.8, linestyle=DASHES[i % 4])
    for name, px, py in _joined(points):
        axes.plot([px], [py], "o", markersize=7, color=INK, markerfacecolor=PAPER)
        side = "right" if px > 0.5 else "left"
        # Below the point on the right, where no ROC curve above chance runs.
        axes.annotate(
            fold(clean(name), 30),
            (px, py),
            xytext=(-9 if side == "right" else 9, -9 if py > 0.12 else 5),
            textcoords="offset points",
            ha=side,
            va="top" if py > 0.12 else "bottom",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axes.set_aspect("equal")
    axes.grid()
    if n_names > 1:
        legend_below(canvas)
    return finish(canvas, title, note, _long(lines, x, y))


def _joined(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Points with those that lie on one another under one label, so that no two overlap."""
    found: list[tuple[list[str], float, float]] = []
    for name, x, y in points:
        near = [p for p in found if abs(p[1] - x) < 0.06 and abs(p[2] - y) < 0.06]
        if near:
            near[0][0].append(name)
        else:
            found.append(([name], x, y))
    return [(joined_points(names, "; "), x, y) for names, x, y in found]


@styled
def reliability(
    bins: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    title: str,
    note: str = "",
    x: str = "Predicted score",
    y: str = "Observed share",
) -> Figure:
    """Observed share against predicted score, with the number of cases in each bin below.

    Args:
        bins: name (before, after) -> bins with ``score`` (mean predicted),
            ``share`` (observed), ``n`` and, where known, ``low`` and ``high``.
        title: heading.
        note: what cases these are.
        x: whose score it is.
        y: of what the share is.
    """
    extra = 20 * len(bins) if len(bins) > 1 else 0
    canvas, (axes, below) = stack_of(HALF, HALF + 40 + extra, (4, 1))
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    last = len(bins) - 1
    for i, (name, rows) in enumerate(bins.items()):
        kept = [row for row in rows if row["n"]]
        score = [row["score"] for row in kept]
        share = [row["share"] for row in kept]
        color = SERIES[0] if i == last else SERIES[1 + i % 6]
        if i == last:
            for row in kept:
                if row.get("low") is not None and row.get("high") is not None:
                    axes.plot(
                        [row["score"]] * 2, [row["low"], row["high"]], color=color, linewidth=1
                    )
        face = color if i == last else PAPER
        dash = "-" if i == last else DASHES[1 + i % (len(DASHES) - 1)]
        axes.plot(
            score,
            share,
            "o",
            linestyle=dash,
            color=color,
            markerfacecolor=face,
            markersize=5,
            label=clean(name),
        )
        if i == last:
            below.bar(score, [row["n"] for row in kept], width=0.025, color=color)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=y)
    axes.grid()
    if len(bins) > 1:
        legend_below(canvas)
    below.set(xlabel=x, ylabel="Cases")
    below.grid(axis="y")
    shown: list[dict[str, Any]] = [
        {"which": name, **row} for name, some in bins.items() for row in some if row["n"]
    ]
    return finish(canvas, title, note, table_of(shown))


@styled
def forest(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    x: str,
    reference: float | None = None,
    note: str = "",
    percent: bool = False,
) -> Figure:
    """Estimates with intervals, one line each, their numbers written beside them.

    Args:
        rows: ``label``, ``n``, ``value``, ``low``, ``high``, ``text`` (the numbers in
            words); without a value the row holds its text alone. A row whose
            ``heading`` is true holds a heading.
        title: heading.
        x: words for the axis.
        reference: value of everybody, drawn as a line.
        note: what the interval is.
        percent: whether the axis shows percentages.
    """
    height = 80 + 25 * len(rows)
    canvas, axes = canvas_of(WHOLE - 120, height)
    ends = [row[k] for row in rows for k in ("value", "low", "high") if row.get(k) is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.05
    if reference is not None:
        axes.axvline(reference, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    across = axes.get_yaxis_transform()
    for i, row in enumerate(rows):
        if row.get("heading"):
            axes.text(
                -0.02,
                i,
                clean(row["label"]),
                transform=across,
                ha="right",
                va="center",
                fontweight="bold",
            )
            continue
        label = f"{short(clean(row['label']), 34)}  (n = {row['n']})"
        axes.text(-0.02, i, label, transform=across, ha="right", va="center")
        axes.text(1.03, i, clean(row["text"]), transform=across, ha="left", va="center")
        if row.get("value") is None:
            continue
        if row.get("low") is not None and row.get("high") is not None:
            axes.plot([row["low"], row["high"]], [i, i], color=SERIES[0], linewidth=1.4)
        axes.plot([row["value"]], [i], "s", color=SERIES[0], markersize=6)
    axes.set(xlim=(low - pad, high + pad), ylim=(len(rows) - 0.4, -0.6), xlabel=clean(x))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    if percent:
        axes.xaxis.set_major_formatter(as_percent)
    kept = [
        {
            "of": r["label"],
            "n": r["n"],
            "value": r.get("value"),
            "low": r.get("low"),
            "high": r.get("high"),
        }
        for r in rows
        if not r.get("heading")
    ]
    return finish(canvas, title, note, table_of(kept))


@styled
def decision_curve(
    lines: Sequence[Line], *, title: str = "Decision curve", note: str = ""
) -> Figure:
    """Net benefit against the threshold at which one would act.

    Args:
        lines: the model first, then its alternatives (everybody, nobody).
        title: heading.
        note: whose net benefit.
    """
    canvas, axes = canvas_of(HALF, 330 + 20 * len(lines))
    for i, line in enumerate(lines):
        look = (
            look_of(i) if i == 0 else {"color": INK, "linestyle": DASHES[i % 4], "linewidth": 1.3}
        )
        if len(line.low):
            axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.14)
        axes.plot(line.x, line.y, label=clean(line.name), **look)
    top = max((max((*line.y, *line.high)) for line in lines if len(line.y)), default=1.0)
    low = min((min(line.low) for line in lines if len(line.low)), default=0.0)
    axes.set(
        # Acting on all falls without end; the interval of the model is shown as far as it matters.
        ylim=(max(min(low, -0.12 * top), -0.4 * top), 1.04 * top),
        xlabel="Threshold of the score",
        ylabel="Net benefit per case",
    )
    axes.grid()
    legend_below(canvas)
    return finish(canvas, title, note, _long(lines, "threshold", "net benefit"))


@styled
def risk_coverage(line: Line, *, title: str = "Risk and coverage", note: str = "") -> Figure:
    """Error among the cases kept when the least certain ones are referred."""
    canvas, axes = canvas_of(HALF, 330)
    if len(line.low):
        axes.fill_between(line.x, line.low, line.high, color=SERIES[0], alpha=0.14)
    axes.plot(line.x, line.y, color=SERIES[0])
    axes.set(
        xlim=(0, 1.01), ylim=(0, None), xlabel="Share of cases decided", ylabel="Error among them"
    )
    axes.xaxis.set_major_formatter(as_percent)
    axes.yaxis.set_major_formatter(as_percent)
    axes.grid()
    return finish(canvas, title, note, _long([line], "coverage", "error"))


def _long(lines: Sequence[Line], x: str, y: str) -> pd.DataFrame:
    """The points of all curves, one row each."""
    rows = []
    for line in lines:
        for i, (a, b) in enumerate(zip(line.x, line.y, strict=True)):
            row: dict[str, Any] = {"curve": line.name, x: a, y: b}
            if len(line.low):
                row |= {"low": line.low[i], "high": line.high[i]}
            rows.append(row)
    return table_of(rows)

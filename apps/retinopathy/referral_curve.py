"""Where the operating points lie on the ROC curves of referable and vision-threatening patients.

One figure: both curves of gradable patients, and each operating point of the run with the
intervals of its sensitivity and specificity. It draws what it is given and decides nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from apps.retinopathy.metrics import GRADES, VISION_THREATENING
from core.errors import MetricError
from core.report.drawing import (
    HALF,
    INK,
    PAPER,
    SOFT,
    canvas_of,
    finish,
    legend_below,
    look_of,
    styled,
    table_of,
)
from core.report.numbers import quantity
from core.statistics.discrimination import roc_points
from core.statistics.operating_points import two_by_two

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.blocks import Figure
    from core.statistics.discrimination import Curve

__all__ = ["referral_curve"]

# What each curve counts as positive: class names, and the score's column.
_QUESTIONS = (
    ("referable (2 or more)", GRADES[2:], "score_referable"),
    (
        "vision-threatening (3 or more)",
        tuple(GRADES[i] for i in VISION_THREATENING),
        "score_vision_threatening",
    ),
)


def referral_curve(
    patients: pd.DataFrame, points: Sequence[tuple[str, NDArray[np.bool_]]], *, at: str = ""
) -> Figure | None:
    """The figure; None where no curve can be drawn.

    Args:
        patients: of ``screening.referrals``, with grades as labels; ungradable ones are left out.
        points: name of each operating point, and which patients (N,) it calls.
        at: at which threshold they are called, in words.
    """
    among = (~patients["ungradable"] & patients["label"].isin(GRADES)).to_numpy()
    rows = patients[among]
    curves: list[tuple[str, Curve]] = []
    for name, positive, column in _QUESTIONS:
        truth = rows["label"].isin(positive).to_numpy()
        with suppress(MetricError):
            found = roc_points(truth, rows[column].to_numpy(dtype=np.float64))
            curves.append((f"{name}, {quantity(int(truth.sum()), 'patient')}", found))
    called = [(name, is_called[among]) for name, is_called in points]
    return _drawn(rows, curves, called, at) if curves else None


@styled
def _drawn(
    rows: pd.DataFrame,
    curves: Sequence[tuple[str, Curve]],
    points: Sequence[tuple[str, NDArray[np.bool_]]],
    at_threshold: str,
) -> Figure:
    """Curves, and points with their intervals."""
    canvas, axes = canvas_of(HALF, HALF + 20 * len(curves))
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    plotted: list[tuple[str, float, float]] = []
    for i, (name, curve) in enumerate(curves):
        axes.plot(curve.x, curve.y, label=name, **look_of(i))
        plotted += [(name, float(x), float(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    truth = rows["label"].isin(GRADES[2:]).to_numpy()
    for name, called in points if truth.any() and not truth.all() else ():
        found = two_by_two(truth, called, groups=rows["group"].to_numpy(), word="patient")
        sensitivity, specificity = found.sensitivity, found.specificity
        if sensitivity.value is None or specificity.value is None:
            continue
        at = (1 - specificity.value, sensitivity.value)
        if specificity.low is not None and specificity.high is not None:
            across = [1 - specificity.high, 1 - specificity.low]
            axes.plot(across, [at[1]] * 2, color=INK, linewidth=1)
        if sensitivity.low is not None and sensitivity.high is not None:
            upright = [sensitivity.low, sensitivity.high]
            axes.plot([at[0]] * 2, upright, color=INK, linewidth=1)
        axes.plot([at[0]], [at[1]], "o", markersize=6, color=INK, markerfacecolor=PAPER)
        # Towards the middle of the square, and above what lies at its foot.
        is_right, is_low = at[0] > 0.5, at[1] < 0.2
        axes.annotate(
            name,
            at,
            xytext=(-9 if is_right else 9, 7 if is_low else -9),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="bottom" if is_low else "top",
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )
        plotted.append((name, *at))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 \N{MINUS SIGN} specificity")
    axes.set_ylabel("Sensitivity")
    axes.set_aspect("equal")
    axes.grid()
    legend_below(canvas)
    note = (
        f"{quantity(len(rows), 'gradable patient')}, each by the worse eye. Bars: 95 % intervals "
        f"of an operating point of the referable grades, counted {at_threshold}."
        if points
        else f"{quantity(len(rows), 'gradable patient')}, each by the worse eye."
    )
    data = table_of(plotted, ["curve or point", "1 - specificity", "sensitivity"])
    return finish(canvas, "Operating points of referral.", note, data)

"""How every figure of a report is drawn: style, size, colours, and SVG without a date.

A figure has a transparent ground, text that stays text, and only the colours of
``PALETTE``, which the page's style sheet exchanges on a dark screen. Curves
differ in dash as well as in colour, so that they can be told apart without
colour vision. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from core.blocks import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "DASHES",
    "HALF",
    "INK",
    "PALETTE",
    "PAPER",
    "RULE",
    "SERIES",
    "SOFT",
    "TINT",
    "WHOLE",
    "as_percent",
    "canvas_of",
    "finish",
    "fold",
    "legend_below",
    "look_of",
    "short",
    "stack_of",
    "styled",
    "table_of",
]

P = ParamSpec("P")

INK, SOFT, RULE, TINT, PAPER = "#1a1a1a", "#55585c", "#d5d7da", "#f4f5f6", "#ffffff"
# Okabe and Ito's colours, darkened where they had too little contrast on white paper.
SERIES = (
    "#0072b2",
    "#c04f00",
    "#00805c",
    "#a8487f",
    "#8a6d00",
    "#2f8fc4",
    "#5b5b5b",
    "#6b4fa0",
)
PALETTE = frozenset({INK, SOFT, RULE, TINT, PAPER, *SERIES})
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

# Widths in CSS pixels: two columns of the page, and the whole of it.
HALF, WHOLE = 420, 800

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "resight",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    # Shrunk to a phone of 360 pixels these are still 11 pixels high.
    "font.size": 13,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 13,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "butt",
    "patch.linewidth": 0,
    "hatch.linewidth": 0.6,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in this module's style without touching matplotlib's own settings."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        from matplotlib import rc_context  # noqa: PLC0415  (slow; only a report needs it)

        with rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
            # Text stays text: the reader's browser has the letters that this font lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            return draw(*args, **kwargs)

    return inner


def canvas_of(width: float, height: float) -> tuple[Canvas, Axes]:
    """A drawing of this many CSS pixels with one set of axes."""
    canvas = _blank(width, height)
    return canvas, canvas.add_subplot()


def stack_of(width: float, height: float, ratios: Sequence[int]) -> tuple[Canvas, list[Axes]]:
    """A drawing with panels below each other that share their horizontal axis."""
    canvas = _blank(width, height)
    axes = canvas.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(ratios)}
    )
    return canvas, [row[0] for row in axes]


def _blank(width: float, height: float) -> Canvas:
    """An empty drawing: 72 points to the inch, so that one point is one CSS pixel."""
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415  (slow; only a report needs it)

    canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
    # The browser's letters are a little larger than those that the layout was made for.
    canvas.get_layout_engine().set(w_pad=8 / 72, h_pad=6 / 72)  # type: ignore[call-arg, union-attr]
    return canvas


def finish(canvas: Canvas, title: str, note: str, data: pd.DataFrame) -> Figure:
    """The drawing as SVG text without a date."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(stream, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', stream.getvalue(), count=2)
    return Figure(svg=svg, title=title, note=note, data=data)


def legend_below(canvas: Canvas, *, columns: int = 1) -> None:
    """The names of the curves below the drawing, where they hide none."""
    canvas.legend(
        *canvas.axes[0].get_legend_handles_labels(),
        loc="outside lower left",
        ncols=columns,
        handlelength=2.4,
        labelspacing=0.25,
    )


def look_of(i: int) -> dict[str, Any]:
    """Colour and dash of the i-th curve."""
    if i >= len(SERIES):
        return {"color": RULE, "linestyle": "-", "linewidth": 1.0}
    return {"color": SERIES[i], "linestyle": DASHES[i % len(DASHES)]}


def table_of(rows: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A frame."""
    import pandas as pd  # noqa: PLC0415  (slow; only a report needs it)

    return pd.DataFrame(rows, columns=None if columns is None else list(columns))


def fold(text: str, width: int) -> str:
    """Long names on at most two lines."""
    lines = textwrap.wrap(text, width) or [""]
    return "\n".join([*lines[:1], short(" ".join(lines[1:]), width)] if len(lines) > 1 else lines)


def short(text: str, width: int) -> str:
    """Text cut to a width, the cut marked."""
    return text if len(text) <= width else text[: width - 1] + "…"


def as_percent(value: float, _position: float = 0) -> str:
    """A tick of an axis of shares."""
    return f"{100 * value:.6g} %".replace("-", "−")  # noqa: RUF001  (a minus sign is meant)

"""What a report section is made of, and what it is made from.

Sections return blocks; the page turns them into HTML. Blocks hold data and
words, never markup, so that nothing in a file name can become part of the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App, Task

__all__ = ["Block", "Figure", "Pictures", "ReportContext", "Table", "Text"]


@dataclass(frozen=True)
class Text:
    """A paragraph. ``tone`` is ``plain``, ``note`` or ``warning``."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Table:
    """A table; cells are already the strings to show. Columns in ``numeric`` align right."""

    frame: pd.DataFrame
    title: str = ""
    note: str = ""
    numeric: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text, with the plotted numbers in a table that can be copied."""

    svg: str
    title: str
    note: str = ""
    data: pd.DataFrame | None = None


@dataclass(frozen=True)
class Pictures:
    """A gallery: (PNG or JPEG bytes, caption) each, with alternative texts from the captions."""

    title: str
    pictures: Sequence[tuple[bytes, str]]
    note: str = ""


Block = Text | Table | Figure | Pictures


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a report is made from.

    Attributes:
        app: the app, or None when the predictions came from elsewhere.
        task: the resolved task.
        evaluation: the content of ``metrics.json``.
        predictions: the predictions table of the split reported on.
        decisions: unit name -> decisions table.
        manifest: the manifest with its split; empty when there is none.
        run: the parsed ``run.json``; empty when there is none.
        audit: the content of ``audit.json``; empty when there is none.
        log: one row per epoch: the learning curves; empty when there is none.
        plan: one row per setting: setting, value, reason; empty when there is none.
        picture: image_id -> prepared pixels (H, W, 3) uint8, or None.
        saliency: image_id -> (H, W) in [0, 1] over the prepared pixels, or None.
    """

    app: App | None
    task: Task
    evaluation: Mapping[str, Any]
    predictions: pd.DataFrame
    decisions: Mapping[str, pd.DataFrame]
    manifest: pd.DataFrame
    run: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    log: pd.DataFrame | None = None
    plan: pd.DataFrame | None = None
    picture: Callable[[str], NDArray[np.uint8]] | None = None
    saliency: Callable[[str], NDArray[np.float32]] | None = None

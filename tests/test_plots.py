"""Figures: they draw what is given, in colours the page can exchange, the same bytes each time."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from core.report import plots, plots_data
from core.report.drawing import PALETTE
from core.report.html import TEMPLATES, render_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.blocks import Figure

HOSTILE = '<script>叶$x^2$\x00\u202e & "onload='
LINE = plots.Line(name=HOSTILE, x=[0, 0.5, 1], y=[0, 0.8, 1], low=[0, 0.6, 1], high=[0, 0.9, 1])
BINS = [
    {"score": 0.3, "share": 0.2, "low": 0.1, "high": 0.4, "n": 9},
    {"score": 0.9, "share": 1.0, "n": 0},
]
ROWS = [
    {"label": "All", "n": 20, "value": 0.9, "low": 0.8, "high": 1.0, "text": "90 %"},
    {"label": HOSTILE, "heading": True},
    {"label": HOSTILE, "n": 3, "value": None, "low": None, "high": None, "text": "not estimable"},
]
LOG = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.0, 0.5, 0.4],
        "val_score": [np.nan, 0.5, 0.6],
        "member": 0,
    }
)
FIGURES: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: plots.confusion_matrix(np.array([[5, 1], [0, 7]]), [HOSTILE, "b"]),
    "roc": lambda: plots.curves(
        [LINE, LINE], title="t", x="x", y="y", diagonal=True, points=[(HOSTILE, 0.2, 0.8)]
    ),
    "pr": lambda: plots.curves([LINE], title="t", x="x", y="y", levels={HOSTILE: 0.3}),
    "reliability": lambda: plots.reliability({"before": BINS, HOSTILE: BINS}, title="t"),
    "forest": lambda: plots.forest(ROWS, title="t", x=HOSTILE, reference=0.9, percent=True),
    "decision": lambda: plots.decision_curve([LINE, LINE]),
    "risk": lambda: plots.risk_coverage(LINE),
    "learning": lambda: plots_data.learning_curves(LOG),
    "classes": lambda: plots_data.class_counts(
        pd.DataFrame({"train": [3, 0]}, index=[HOSTILE, "b"])
    ),
    "flow": lambda: plots_data.flow(
        [
            plots_data.FlowBox(title=HOSTILE, detail="9 images"),
            plots_data.FlowBox(title="failed", detail=HOSTILE, aside=True),
        ]
    ),
}
NAMES = sorted(FIGURES)


@cache
def drawn(name: str) -> Figure:
    """One figure, drawn once for all tests."""
    return FIGURES[name]()


@pytest.mark.parametrize("name", NAMES)
def test_same_numbers_same_bytes(name: str) -> None:
    assert FIGURES[name]().svg == drawn(name).svg


@pytest.mark.parametrize("name", NAMES)
def test_every_color_is_one_the_page_exchanges_in_the_dark(name: str) -> None:
    page = render_page("t", lead="", sections=[("s", [drawn(name)])])
    drawing = page[page.index("<svg") : page.index("</svg>")]
    colors = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', drawing))
    assert colors
    assert colors <= PALETTE
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    for color in colors:
        assert f'="{color}"]' in css


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_stay_words(name: str) -> None:
    page = render_page("t", lead="", sections=[("s", [drawn(name)])])
    assert page.count("<script>") == 1
    assert "\x00" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("name", NAMES)
def test_plotted_numbers_stand_in_a_table(name: str) -> None:
    data = drawn(name).data
    assert data is not None
    assert len(data)


def test_settings_of_matplotlib_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    FIGURES["classes"]()
    assert dict(mpl.rcParams) == before


def test_confusion_matrix_shows_counts_and_shares_of_the_true_class() -> None:
    # Row b: 3 of 4 right, so 75 % and 25 %; an empty row divides by nothing.
    figure = plots.confusion_matrix(np.array([[0, 0, 0], [1, 3, 0], [0, 0, 2]]), ["a", "b", "c"])
    words = re.findall(r">([^<>]+)</t", figure.svg)
    assert {"75 %", "25 %", "100 %", "3", "a (0)", "b (4)"} <= set(words)
    assert figure.data is not None
    assert figure.data["decided b"].tolist() == [0, 3, 0]


def test_many_classes_are_drawn_without_counts_in_the_cells() -> None:
    figure = plots.confusion_matrix(np.eye(21, dtype=int) * 777, [f"class {i}" for i in range(21)])
    assert ">777<" not in figure.svg
    assert figure.data is not None
    assert figure.data.shape == (21, 22)


def test_subgroup_without_a_value_keeps_its_line_and_its_words() -> None:
    figure = drawn("forest")
    assert "not estimable" in figure.svg
    assert figure.data is not None
    assert figure.data["value"].isna().tolist() == [False, True]


def test_each_member_has_its_own_learning_curve() -> None:
    two = pd.concat([LOG, LOG.assign(member=1, train_loss=[2.0, 1.5, 1.4])])
    figure = plots_data.learning_curves(two)
    assert figure.data is not None
    assert figure.data.columns.tolist() == ["member", "epoch", "train_loss", "val_score"]
    assert figure.svg.count("training loss") == 1

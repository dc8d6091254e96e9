"""Synthetic retinas and small manifests for the tests of this app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import pytest

from apps.retinopathy import APP
from apps.retinopathy.phantom import write_phantom
from core.app import Source
from core.base.tables import score_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photographs of twenty patients."""
    return write_phantom(tmp_path_factory.mktemp("phantom"), 40, 3)


@pytest.fixture
def draw() -> Callable[..., NDArray[np.uint8]]:
    """A plain disc with a few vessels, at a place that the test knows."""

    def drawn(
        shape: tuple[int, int], row: float, col: float, radius: float, *, dark: int = 2
    ) -> NDArray[np.uint8]:
        image = np.full((*shape, 3), dark, np.uint8)
        at = (round(16 * col), round(16 * row))
        cv2.circle(image, at, round(16 * radius), (170, 90, 45), cv2.FILLED, shift=4)
        for step in range(-4, 5):
            start = (round(col + step * radius / 5), round(row - 0.8 * radius))
            end = (round(col + step * radius / 7), round(row + 0.8 * radius))
            cv2.line(image, start, end, (110, 45, 25), max(1, round(radius / 40)), cv2.LINE_AA)
        away = np.hypot(*np.ogrid[-row : shape[0] - row, -col : shape[1] - col])
        image[away > radius + 1] = dark
        return image

    return drawn


@pytest.fixture
def source() -> Callable[..., Source]:
    """What a command hands to the index."""

    def made(path: Path, *, labelled: bool = True, **settings: Any) -> Source:
        return Source(paths=(path,), labelled=labelled, task=APP.task(), **settings)

    return made


@pytest.fixture
def predicted() -> Callable[..., pd.DataFrame]:
    """A predictions table from rows (image, patient, eye, grade decided, label, quality)."""

    def table(*rows: tuple[str, str, str, int | None, str, str]) -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=["image_id", "patient", "eye", "g", "label", "quality"])
        frame["path"], frame["group"] = frame["image_id"], frame["patient"]
        frame["status"] = ["failed" if pd.isna(g) else "ok" for g in frame["g"]]
        frame["reason"] = ["" if s == "ok" else "cut short" for s in frame["status"]]
        grades = [
            str(int(g)) if s == "ok" else ""
            for g, s in zip(frame["g"], frame["status"], strict=True)
        ]
        frame["predicted"] = frame["decision"] = grades
        for name, column in zip(APP.task().classes, score_columns(APP.task().classes), strict=True):
            # 0.8 for the decided grade, 0.05 for each of the others.
            frame[column] = [
                (0.8 if grade == name else 0.05) if grade else np.nan for grade in grades
            ]
        return frame.drop(columns="g")

    return table

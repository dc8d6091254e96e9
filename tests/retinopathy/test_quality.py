"""The gate: gradable, ungradable, no fundus at all."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from apps.retinopathy.images import FindDisc, JudgePhotograph, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def judged(image: NDArray[np.uint8]) -> tuple[str, str]:
    """Gate and quality of a photograph."""
    done = JudgePhotograph()(FindDisc()({"image": image}))
    return done["gate"], done["quality"]


@pytest.fixture(scope="module")
def rows(phantom: Path) -> list[dict[str, str]]:
    """The phantom's table."""
    with (phantom / "trainLabels.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def good(phantom: Path, rows: list[dict[str, str]]) -> NDArray[np.uint8]:
    """A gradable photograph with its whole disc."""
    name = next(r["image"] for r in rows if r["gradable"] == "yes" and r["camera"] == "north")
    return read({"path": phantom / "train" / f"{name}.jpeg"})


def test_the_phantoms_faults_are_found_and_nothing_else(
    phantom: Path, rows: list[dict[str, str]]
) -> None:
    found = {}
    for row in rows:
        gate, _ = judged(read({"path": phantom / "train" / f"{row['image']}.jpeg"}))
        found[row["image"]] = "yes" if gate == "gradable" else "no"
    assert found == {row["image"]: row["gradable"] for row in rows}
    assert "no" in found.values()


def test_blur_is_refused_only_when_vessels_are_gone(good: NDArray[np.uint8]) -> None:
    # Radius 122 px: sigma 1.2 softens the vessels, sigma 12 wipes them out.
    assert judged(cv2.GaussianBlur(good, (0, 0), 1.2))[0] == "gradable"
    gate, quality = judged(cv2.GaussianBlur(good, (0, 0), 12))
    assert gate == "ungradable"
    assert "focus" in quality


def test_dark_and_burnt_out_photographs_are_refused(good: NDArray[np.uint8]) -> None:
    assert "illumination" in judged((good * 0.1).astype(np.uint8))[1]
    burnt = good.copy()
    cv2.circle(burnt, (144, 128), 80, (255, 255, 255), cv2.FILLED)
    assert "burnt out" in judged(burnt)[1]


def test_a_tiny_photograph_is_refused(good: NDArray[np.uint8]) -> None:
    small = cv2.resize(good, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert "radius is 61 px" in judged(small)[1]


def test_a_retina_without_its_edge_is_ungradable_but_a_fundus(good: NDArray[np.uint8]) -> None:
    gate, quality = judged(good[70:190, 90:210])
    assert gate == "ungradable"
    assert "round edge" in quality


def test_two_photographs_in_one_file_are_not_one_eye(good: NDArray[np.uint8]) -> None:
    # Beside each other, and as mirror images; an empty frame beside an eye is none.
    for other in (good, good[:, ::-1], (good * 0.6).astype(np.uint8)):
        gate, quality = judged(np.hstack([good, other]))
        assert gate != "gradable"
        assert "two retinas are in the picture" in quality or "round edge" in quality
    assert judged(np.hstack([good, np.zeros_like(good)]))[0] == "gradable"


def test_what_is_no_fundus_is_called_so(good: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(good[..., 1:2], 3, axis=2)
    leaf = np.ascontiguousarray(good[..., [1, 0, 2]])
    noise = rng.integers(0, 256, (256, 256, 3)).astype(np.uint8)
    for image in (grey, leaf, noise, np.zeros_like(good), portrait()):
        gate, quality = judged(image)
        assert gate == "not a fundus"
        assert quality.startswith("not a fundus photograph: ")
    assert judged(np.zeros_like(good))[1] == "not a fundus photograph: nothing in it is lit"


def portrait() -> NDArray[np.uint8]:
    """A face before a wall: skin is as reddish as a retina."""
    image = np.full((320, 256, 3), (120, 130, 150), np.uint8)
    cv2.ellipse(image, (128, 140), (70, 95), 0, 0, 360, (205, 150, 125), cv2.FILLED)
    cv2.ellipse(image, (128, 75), (76, 50), 0, 180, 360, (50, 35, 28), cv2.FILLED)
    for col in (100, 156):
        cv2.circle(image, (col, 130), 9, (245, 245, 245), cv2.FILLED)
        cv2.circle(image, (col, 130), 4, (40, 30, 30), cv2.FILLED)
    cv2.ellipse(image, (128, 190), (26, 9), 0, 0, 180, (150, 60, 60), cv2.FILLED)
    cv2.rectangle(image, (40, 245), (216, 320), (40, 60, 120), cv2.FILLED)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def test_the_verdict_does_not_depend_on_the_size_of_the_file(good: NDArray[np.uint8]) -> None:
    large = cv2.resize(good, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert judged(large) == judged(good) == ("gradable", "")

"""The phantom: what is written is true, and nothing but the lesions tells the disease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest

from apps.crop_disease.phantom import (
    CLASSES,
    LESION_REACH,
    LESIONS,
    PAINTING,
    PHOTO,
    severity_grade,
    write_phantom,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("phantom"), 96, 5)


@pytest.fixture(scope="module")
def labels(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "labels.csv")


def test_it_writes_as_many_photos_as_asked_and_lists_each(
    folder: Path, labels: pd.DataFrame
) -> None:
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg")}
    assert len(labels) == 96
    assert set(labels["path"]) == on_disk
    assert cv2.imread(str(folder / labels["path"][0])).shape == (*PHOTO, 3)


def test_the_class_folder_and_the_label_column_agree(labels: pd.DataFrame) -> None:
    assert (labels["path"].str.split("/").str[0] == labels["label"]).all()
    assert set(labels["label"]) == set(CLASSES)


def test_the_label_is_the_disease_that_covers_most(labels: pd.DataFrame) -> None:
    assert (labels["symptoms"].str.split("|").str[0] == labels["label"]).all()
    assert labels["symptoms"].str.contains("|", regex=False).any()


def test_severity_follows_the_lesion_area(labels: pd.DataFrame) -> None:
    expected = [severity_grade(p) for p in labels["area_percent"]]
    assert labels["severity"].tolist() == expected
    assert (labels.loc[labels["label"] == "healthy", "severity"] == 0).all()
    assert (labels.loc[labels["label"] != "healthy", "severity"] > 0).all()
    assert set(labels["severity"]) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("percent", "grade"), [(0, 0), (0.1, 0), (0.11, 1), (5, 1), (5.1, 2), (10.1, 3), (15.1, 4)]
)
def test_grades_change_above_the_published_steps(percent: float, grade: int) -> None:
    assert severity_grade(percent) == grade


@pytest.mark.parametrize("name", sorted(LESIONS))
def test_every_lesion_changes_only_the_leaf_and_is_counted(name: str) -> None:
    rng = np.random.default_rng(1)
    side, edge = 2 * LESION_REACH, LESION_REACH + 10
    outline = np.zeros((side, side), np.float32)
    outline[:, :edge] = 1
    colour = np.full((side, side, 3), 0.3, np.float32)
    mask = np.zeros((side, side), np.float32)
    LESIONS[name](colour, mask, outline, rng)
    assert mask.sum() > 20
    assert mask[:, edge:].sum() == 0
    assert (colour[:, edge:] == np.float32(0.3)).all()
    # Where lesion is counted, the green is gone.
    assert np.abs(colour[mask > 0.9] - 0.3).max(axis=1).mean() > 0.1


def test_leaves_are_photographed_more_than_once_and_keep_their_truth(
    labels: pd.DataFrame,
) -> None:
    per_leaf = labels.groupby("leaf")
    assert per_leaf.size().max() >= 2
    assert 1.5 < per_leaf.size().mean() < 2.5
    truth = labels[["leaf", "label", "severity", "area_percent"]].drop_duplicates()
    assert truth["leaf"].is_unique


def test_photos_of_one_leaf_differ(folder: Path, labels: pd.DataFrame) -> None:
    leaf = labels["leaf"].value_counts().index[0]
    photos = [cv2.imread(str(folder / p)) for p in labels.loc[labels["leaf"] == leaf, "path"]]
    difference = np.abs(photos[0].astype(int) - photos[1].astype(int)).mean()
    assert difference > 10


def test_every_class_has_enough_leaves_for_three_splits(labels: pd.DataFrame) -> None:
    assert labels.groupby("label")["leaf"].nunique().min() >= 6


def test_the_background_says_nothing_about_the_class(tmp_path: Path) -> None:
    # A nearest-class-mean guess from the mean and spread of the border, four
    # classes: chance is 25 %, and a standard error of 64 photos 5 %.
    labels = pd.read_csv(write_phantom(tmp_path, 160, 0) / "labels.csv")
    features = []
    for path in labels["path"]:
        pixels = cv2.imread(str(tmp_path / path)).astype(float)
        border = np.concatenate([pixels[:6].reshape(-1, 3), pixels[-6:].reshape(-1, 3)])
        features.append([*border.mean(0), *border.std(0)])
    x = np.array(features)
    x = (x - x.mean(0)) / x.std(0)
    y = labels["label"].to_numpy()
    train = labels["leaf"].str[-1].astype(int).to_numpy() < 6
    means = np.stack([x[train & (y == c)].mean(0) for c in CLASSES])
    guess = np.array(CLASSES)[((x[:, None] - means) ** 2).sum(2).argmin(1)]
    assert (guess == y)[~train].mean() < 0.42


def test_lesion_colours_tell_the_classes_apart(folder: Path, labels: pd.DataFrame) -> None:
    # Share of orange, pale and dark pixels inside the green surrounding; a class has its own.
    def share(label: str, low: tuple[int, int, int], high: tuple[int, int, int]) -> float:
        heavy = labels[
            (labels["label"] == label) & ((labels["severity"] >= 2) | (label == "healthy"))
        ]
        heavy = heavy[heavy["background"].isin(["paper", "cloth"])]
        found = []
        for path in heavy["path"]:
            hsv = cv2.cvtColor(cv2.imread(str(folder / path)), cv2.COLOR_BGR2HSV)
            found.append((cv2.inRange(hsv, low, high) > 0).mean())
        return float(np.mean(found))

    orange = ((8, 150, 100), (22, 255, 255))
    assert share("rust", *orange) > 5 * share("healthy", *orange)
    assert share("rust", *orange) > 2 * share("miner", *orange)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    one, two, other = (write_phantom(tmp_path / d, 8, s) for d, s in [("a", 3), ("b", 3), ("c", 4)])
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert len(files) == 9
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)
    assert any(
        (one / f).read_bytes() != (other / f).read_bytes() for f in files if (other / f).exists()
    )


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small, large = write_phantom(tmp_path / "a", 5, 0), write_phantom(tmp_path / "b", 9, 0)
    for photo in small.rglob("*.jpg"):
        assert photo.read_bytes() == (large / photo.relative_to(small)).read_bytes()


def test_a_painting_leaves_room_around_every_lesion() -> None:
    assert min(PAINTING) >= 2 * LESION_REACH

"""The synthetic photographs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from apps.retinopathy.images import prepare, read
from apps.retinopathy.phantom import write_phantom

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_seed_gives_the_same_bytes_and_a_prefix_stays(tmp_path: Path) -> None:
    for name, n, seed in (("a", 6, 1), ("b", 6, 1), ("c", 8, 1), ("d", 6, 2)):
        write_phantom(tmp_path / name, n, seed)
    files = sorted(p.name for p in (tmp_path / "a" / "train").iterdir())
    assert len(files) == 6
    for name in files:
        data = (tmp_path / "a" / "train" / name).read_bytes()
        assert data == (tmp_path / "b" / "train" / name).read_bytes()
        assert data == (tmp_path / "c" / "train" / name).read_bytes()
        assert data != (tmp_path / "d" / "train" / name).read_bytes()


def test_it_has_two_eyes_per_patient_every_grade_and_several_cameras(phantom: Path) -> None:
    with (phantom / "trainLabels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40
    assert {row["level"] for row in rows} == set("01234")
    assert len({row["camera"] for row in rows}) == 3
    eyes: dict[str, set[str]] = {}
    for row in rows:
        eyes.setdefault(row["patient"], set()).add(row["eye"])
        assert row["image"] == f"{row['patient']}_{row['eye']}"
    assert all(pair == {"left", "right"} for pair in eyes.values())


def test_an_odd_number_leaves_one_eye_alone(tmp_path: Path) -> None:
    write_phantom(tmp_path, 3, 0)
    assert len(list((tmp_path / "train").iterdir())) == 3


def test_the_optic_disc_of_a_right_eye_is_on_the_right(phantom: Path) -> None:
    transform = prepare((96, 96))
    for eye, side in (("left", -1), ("right", 1)):
        found = []
        for path in sorted((phantom / "train").glob(f"*_{eye}.jpeg"))[:12]:
            done = transform({"image": read({"path": path})})
            if done["gate"] == "gradable":
                # The optic disc is the largest bright thing.
                light = done["image"][..., 1].astype(float)
                found.append(
                    np.argwhere(light >= np.percentile(light, 98.5)).mean(axis=0)[1] - 47.5
                )
        assert side * np.median(found) > 10

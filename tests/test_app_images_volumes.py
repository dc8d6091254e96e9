"""Volumes as slices: which way round, how many, and that a volume stays whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from apps.images import APP
from apps.images.volumes import read_slice, window_of
from core.app import Source
from core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import Manifest


def ball(shape: tuple[int, int, int], radius: float) -> NDArray[np.float32]:
    """A bright ball, with a mark above, right and in front of it, in RAS axes (x, y, z)."""
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    middle = [n / 2 for n in shape]
    distance = sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) ** 0.5
    values = (distance < radius).astype(np.float32) * 100
    values[-4:-2, -4:-2, -8:-4] = 200
    return values


def save(path: Path, values: NDArray[np.float32], spacing: tuple[float, ...] = (1, 1, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
    return path


def index(data: Path, **options: object) -> Manifest:
    source = Source(paths=(data,), labelled=True, task=APP.task(), options={"slices": 4, **options})
    return APP.index(source)


def test_volumes_become_slices_and_stay_whole(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(2):
            save(tmp_path / name / f"{number}.nii.gz", ball((20, 18, 16), 4 + number))
    np.save(tmp_path / "a" / "9.npy", np.random.default_rng(0).random((10, 12, 14)))
    found = index(tmp_path)
    table = found.table
    assert len(table) == 5 * 4
    assert table["volume"].nunique() == 5
    assert (table["group"] == table["volume"]).all()
    assert table["image_id"].is_unique
    assert "The group is the volume" in found.group_rule
    rows = table[table["volume"] == "a/9.npy"].to_dict("records")
    pictures = [APP.read({**row, "path": str(tmp_path / "a" / "9.npy")}) for row in rows]
    assert {picture.shape for picture in pictures} == {(12, 14, 3)}
    assert not np.array_equal(pictures[0], pictures[1])


def test_the_same_body_in_another_orientation_gives_the_same_slices(tmp_path: Path) -> None:
    values = ball((20, 18, 16), 5)
    right = save(tmp_path / "ras.nii.gz", values)
    # Stored from left to right and from above to below, with the affine that says so.
    turned = nib.Nifti1Image(values[::-1, :, ::-1], np.diag([-1.0, 1.0, -1.0, 1.0]))
    nib.save(turned, tmp_path / "las.nii.gz")
    for number in range(1, 5):
        row = {"slice": f"{number}/4"}
        one, other = (read_slice(row, path) for path in (right, tmp_path / "las.nii.gz"))
        np.testing.assert_array_equal(one, other)


def test_slices_run_along_the_coarsest_spacing(tmp_path: Path) -> None:
    path = save(tmp_path / "thick.nii", ball((10, 18, 16), 4), (5.0, 1.0, 1.0))
    # Along x: pictures are (z, y).
    assert read_slice({"slice": "1/3"}, path).shape == (16, 18, 3)


def test_background_is_passed_over_and_the_window_is_kept(tmp_path: Path) -> None:
    values = np.zeros((16, 16, 40), np.float32)
    values[4:12, 4:12, 30:36] = 50
    path = save(tmp_path / "late.nii.gz", values)
    for number in (1, 2, 3):
        assert read_slice({"slice": f"{number}/3"}, path).max() == 255
    shown = read_slice({"slice": "2/3", "window": "0,100"}, path)
    assert int(shown.max()) == 128
    assert window_of(" -1000,400 ") == (-1000.0, 400.0)
    with pytest.raises(ConfigError, match="LOW,HIGH"):
        window_of("400")


def test_what_is_no_volume_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b not a volume")
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    for name in ("broken.nii.gz", "flat.npy", "objects.npy"):
        with pytest.raises(ImageError, match=name):
            read_slice({"slice": "1/2"}, tmp_path / name)

"""Real photographs of several cameras, and real pictures of other things."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from apps.retinopathy import APP
from apps.retinopathy.images import FindDisc, JudgePhotograph, read
from apps.retinopathy.index import index
from core.app import Source


def judged(path: Path) -> dict[str, object]:
    """Gate, quality and disc of a file."""
    return JudgePhotograph()(FindDisc()({"image": read({"path": path})}))


def some(folder: Path, pattern: str, n: int) -> list[Path]:
    """Files of a folder, evenly chosen."""
    files = sorted(folder.glob(pattern))
    if not files:
        pytest.skip(f"needs {folder}, which is not here")
    return files[:: max(1, len(files) // n)][:n]


@pytest.mark.parametrize(
    ("name", "row", "col", "radius"),
    [
        # Measured by eye on enlarged pictures, to about 1 % of the radius.
        ("CHASEDB1_08L.png", 479, 494, 448),
        ("DRIVE_40.png", 299, 281, 270),
        ("HRF_07_dr.jpg", 1164, 1761, 1640),
        ("PALM_TR_P0185.png", 511, 510, 511),
        ("sample_dark.png", 504, 811, 571),
        ("topcon_fundus_rgb.dcm", 908, 1715, 1357),
    ],
)
def test_the_disc_is_found_with_every_camera(
    shared: Path, name: str, row: float, col: float, radius: float
) -> None:
    path = shared / "fundus_samples" / name
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not here")
    if path.suffix == ".dcm":
        pytest.importorskip("pydicom")
    found = judged(path)
    assert found["gate"] == "gradable"
    assert found["disc_rule"] in {"circle", "cut"}
    place = (found["disc_row"], found["disc_col"], found["disc_radius"])
    assert np.abs(np.subtract(place, (row, col, radius))).max() < 0.02 * radius


def test_a_scanned_film_with_four_straight_sides_is_cut_or_flagged(shared: Path) -> None:
    found = judged(some(shared / "fundus_samples", "issue_1.png", 1)[0])
    assert found["disc_rule"] in {"cut", "outline"}


def test_nearly_every_graded_photograph_has_a_disc_and_is_a_fundus(shared: Path) -> None:
    found = [judged(path) for path in some(shared / "fundus_grades", "train/*.jpeg", 24)]
    assert sum(one["disc_rule"] in {"circle", "cut"} for one in found) >= 23
    assert all(one["gate"] != "not a fundus" for one in found)


def test_patients_are_found_without_being_told(shared: Path) -> None:
    folder = shared / "fundus_grades"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    found = index(Source(paths=(folder,), labelled=True, task=APP.task()))
    n_patients = found.table["group"].nunique()
    assert n_patients == found.table["patient"].nunique() == len(found.table) / 2
    assert set(found.table.groupby("group").size()) == {2}


@pytest.mark.parametrize(
    ("folder", "pattern"), [("coffee_leaves", "*/*.jpg"), ("mammo_film", "*.png")]
)
def test_leaves_and_mammograms_are_no_eyes(shared: Path, folder: str, pattern: str) -> None:
    for path in some(shared / folder, pattern, 8):
        assert judged(path)["gate"] == "not a fundus"


def test_a_portrait_is_no_eye() -> None:
    path = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    if not path.is_file():
        pytest.skip("needs the sample portrait of matplotlib, which is not here")
    assert judged(path)["gate"] == "not a fundus"


def test_sixteen_bits_are_judged_as_eight(shared: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    source = some(shared / "fundus_samples", "DRIVE_40.png", 1)[0]
    pixels = np.asarray(Image.open(source).convert("RGB"))
    deep = tmp_path / "deep.tif"
    cv2.imwrite(str(deep), pixels[..., ::-1].astype(np.uint16) * 257)
    assert read({"path": deep}).dtype == np.uint16
    found, expected = judged(deep), judged(source)
    for key in ("gate", "quality", "disc_rule", "disc_radius"):
        assert found[key] == expected[key]


def test_a_fundus_with_its_edges_cut_off_is_ungradable(shared: Path, tmp_path: Path) -> None:
    source = some(shared / "fundus_samples", "DRIVE_40.png", 1)[0]
    with Image.open(source) as image:
        # Inside of the disc, whose radius is 270 px around (299, 281).
        image.convert("RGB").crop((110, 130, 450, 470)).save(tmp_path / "cut.png")
    found = judged(tmp_path / "cut.png")
    assert found["gate"] == "ungradable"
    assert "round edge" in str(found["quality"])

"""Real mammograms, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from apps.mammography import APP
from apps.mammography.dicom import read_dicom
from core.app import Source

DATA = Path(__file__).parents[3] / "shared" / "data"
DICOM, FILM = DATA / "mammo_dicom", DATA / "mammo_film"
needs_dicom = pytest.mark.skipif(not DICOM.is_dir(), reason="no real DICOM mammograms here")
needs_film = pytest.mark.skipif(not FILM.is_dir(), reason="no mini-MIAS here")


@needs_dicom
def test_every_dicom_is_indexed_and_prepared_with_the_chest_wall_left() -> None:
    found = APP.index(Source(paths=(DICOM,), labelled=False, task=APP.tasks[0]))
    assert set(found.table["status"]) == {"ok"}
    assert sorted(found.table["laterality"] + found.table["view"]) == [
        "LCC",
        "LMLO",
        "RCC",
        "RMLO",
        "RMLO",
    ]
    assert found.table["exam"].nunique() == 2
    transform = APP.prepare((256, 128))
    for row in found.table.to_dict("records"):
        pixels = APP.read({**row, "path": str(DICOM / row["path"])})
        done = transform({**row, "image": pixels})
        assert done["quality"] == ""
        assert done["chest_side"] == {"L": "left", "R": "right"}[row["laterality"]]
        image = done["image"][..., 0].astype(float)
        assert image[:, :16].mean() > 3 * image[:, -16:].mean()


@needs_dicom
def test_a_monochrome1_twin_is_prepared_to_the_same_pixels(tmp_path: Path) -> None:
    source = DICOM / "1-280.dcm"
    data = pydicom.dcmread(source)
    data.decompress()
    values = 65535 - data.pixel_array
    data.PixelData = values.astype("<u2").tobytes()
    data.PhotometricInterpretation = "MONOCHROME1"
    twin = tmp_path / "twin.dcm"
    data.save_as(twin)
    transform = APP.prepare((256, 128))
    one, two = (transform({"image": read_dicom(path)})["image"] for path in (source, twin))
    assert np.abs(one / 65535 - two / 65535).max() <= 1e-5


@needs_film
def test_no_film_is_flagged_and_every_chest_wall_is_where_its_side_says() -> None:
    found = APP.index(Source(paths=(FILM,), labelled=True, task=APP.task("tissue")))
    assert len(found.table) == 322
    assert found.table["group"].nunique() == 161
    assert found.table["label"].value_counts().to_dict() == {"D": 112, "F": 106, "G": 104}
    transform = APP.prepare((128, 64))
    for row in found.table.iloc[::16].to_dict("records"):
        done = transform({**row, "image": APP.read({"path": FILM / row["path"]})})
        assert done["quality"] == ""
        assert 0.1 < done["breast_fraction"] < 0.95

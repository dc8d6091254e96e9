"""Volumes as slices and whole: which way round, how many, and that a volume stays whole."""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from apps.images import APP
from apps.images.volumes import read_slice, window_of
from apps.images.whole_volumes import read_whole, spacing_of
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


def test_an_array_with_the_shape_of_a_picture_is_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.normal(size=(40, 30))
    colour = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
    for name, values in {"a/grey.npy": grey, "b/colour.npy": colour}.items():
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / name, values)
    np.savez(tmp_path / "a" / "packed.npz", image=colour)
    np.savez(tmp_path / "b" / "body.npz", image=rng.random((8, 20, 20)))
    found = index(tmp_path)
    table = found.table.set_index("image_id")
    pictures = ["a/grey.npy", "a/packed.npz", "b/colour.npy"]
    assert sorted(table.index[table["slice"] == ""]) == pictures
    assert (table["volume"] == "b/body.npz").sum() == 4
    assert "3 arrays are pictures by the shape" in " ".join(found.notes)
    read = {name: APP.read({**table.loc[name], "path": tmp_path / name}) for name in pictures}
    np.testing.assert_array_equal(read["a/packed.npz"], colour)
    np.testing.assert_array_equal(read["b/colour.npy"], colour)
    # The darkest value becomes 0, the brightest 65,535, and what lies between keeps its place.
    expected = (grey - grey.min()) / (grey.max() - grey.min()) * 65535
    np.testing.assert_allclose(read["a/grey.npy"][..., 0], expected, atol=0.5)


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("time.nii.gz", (8, 8, 6, 5), "holds 5 volumes"),
        ("vectors.nii.gz", (8, 8, 6, 1, 3), "holds 3 volumes"),
        ("flat.nii.gz", (8, 8, 1), "Save a picture as PNG"),
        ("time.npy", (5, 8, 8, 6), "nothing says which counts"),
        ("two.npz", (8, 8, 8), r"holds 2 arrays \(image, mask\).*Save it alone"),
    ],
)
def test_a_file_of_several_volumes_is_refused_with_the_way_out(
    tmp_path: Path, name: str, shape: tuple[int, ...], told: str
) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    file = tmp_path / name
    if name.endswith(".npz"):
        np.savez(file, image=values, mask=values)
    elif name.endswith(".npy"):
        np.save(file, values)
    else:
        save(file, values)
    for read in (lambda: read_slice({"slice": "1/2"}, file), lambda: whole(file)):
        with pytest.raises(ImageError, match=rf"{name}: .*{told}"):
            read()


def test_a_fourth_direction_of_one_is_none(tmp_path: Path) -> None:
    values = ball((20, 18, 16), 5)
    plain, longer = save(tmp_path / "a.nii", values), save(tmp_path / "b.nii", values[..., None])
    for read in (lambda path: read_slice({"slice": "1/2"}, path), whole):
        np.testing.assert_array_equal(read(plain), read(longer))


def whole(path: Path, depth: int = 16, **asked: str) -> NDArray[np.uint8]:
    return read_whole({"depth": str(depth), **asked}, path)


def series(folder: Path, values: NDArray[np.float32], spacing: tuple[float, float, float]) -> Path:
    """A body given in RAS axes as an axial CT series, its files named in no order."""
    folder.mkdir(parents=True)
    uid = generate_uid()
    # Rows go to the back and columns to the left: LPS, so two axes are turned.
    for z in range(values.shape[2]):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SeriesInstanceUID, data.Modality = uid, "CT"
        data.PatientID = folder.parent.name
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, z * spacing[2]]
        data.PixelSpacing = [spacing[1], spacing[0]]
        picture = values[::-1, ::-1, z].T.astype(np.uint16)
        data.Rows, data.Columns = picture.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1000
        data.PixelData = np.ascontiguousarray(picture).tobytes()
        name = f"{(z * 7) % values.shape[2]:03d}.dcm"
        data.save_as(folder / name, enforce_file_format=True)
    return folder / "000.dcm"


def test_a_series_is_told_and_counted(tmp_path: Path) -> None:
    for name, depth in (("a/p1", 6), ("b/p2", 8)):
        series(tmp_path / name / "ct", ball((12, 12, depth), 3), (1, 1, 2))
    said = " ".join(index(tmp_path).notes)
    assert "14 DICOM files are the slices of 2 series (6 to 8 files each)" in said
    whole_too = " ".join(index(tmp_path, volumes="whole", slices=16).notes)
    assert "2 series" in whole_too
    assert "Pass --volumes whole" not in whole_too


def test_a_series_and_a_nifti_of_one_body_are_read_alike(tmp_path: Path) -> None:
    values = ball((20, 18, 16), 5)
    nifti = save(tmp_path / "body.nii.gz", values, (1, 1, 2))
    dicom = series(tmp_path / "p" / "ct", values, (1, 1, 2))
    expected = whole(nifti)
    assert expected.shape == (18, 20, 16)
    np.testing.assert_array_equal(whole(dicom), expected)
    # Every slice, read by nibabel alone: from below to above, the front up.
    straight = np.asarray(nib.load(nifti).dataobj)
    drawn = np.flip(straight.transpose(1, 0, 2), axis=0) / 200 * 255
    np.testing.assert_allclose(whole(nifti, window="0,200"), drawn, atol=1)


def test_a_whole_volume_does_not_depend_on_how_it_is_stored(tmp_path: Path) -> None:
    values = ball((20, 18, 16), 5)
    right = save(tmp_path / "ras.nii.gz", values)
    turned = nib.Nifti1Image(
        values.transpose(2, 0, 1)[:, ::-1],
        np.array([[0, -1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
    )
    nib.save(turned, tmp_path / "other.nii.gz")
    np.testing.assert_array_equal(whole(right), whole(tmp_path / "other.nii.gz"))


def test_spacing_keeps_millimetres_and_foreground_cuts_what_is_dark(tmp_path: Path) -> None:
    values = np.zeros((30, 30, 40), np.float32)
    values[10:20, 10:20, 10:30] = 100
    path = save(tmp_path / "bar.nii.gz", values, (1, 1, 2))
    # In voxels of 2 mm a side the bar is 5 x 5 x 20.
    seen = whole(path, 32, spacing="2") > 127
    extent = [
        int(np.ptp(np.flatnonzero(seen.any(axis=other)))) + 1 for other in ((1, 2), (0, 2), (0, 1))
    ]
    assert extent[2] == 20
    assert all(4 <= side <= 6 for side in extent[:2])
    cut = whole(path, 16, foreground="yes")
    assert cut.shape == (10, 10, 16)
    assert cut.min() == 255
    assert int(whole(path, 16, window="0,200").max()) in {127, 128}
    np.save(tmp_path / "bare.npy", values)
    with pytest.raises(ImageError, match=r"bare.npy: says no spacing"):
        whole(tmp_path / "bare.npy", 16, spacing="2")
    with pytest.raises(ConfigError, match="--spacing x"):
        spacing_of("x")


def test_whole_volumes_are_one_row_each_and_pictures_are_left_out(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(2):
            save(tmp_path / name / f"{number}.nii.gz", ball((20, 18, 16), 4 + number))
        series(tmp_path / name / "p" / "ct", ball((20, 18, 16), 6), (1, 1, 1))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a" / "photo.png")
    found = index(tmp_path, volumes="whole", slices=None)
    ok = found.table[found.table["status"] == "ok"]
    assert len(ok) == 6
    assert set(ok["depth"]) == {"32"}
    rest = found.table[found.table["status"] != "ok"]
    assert rest["path"].tolist() == ["a/photo.png"]
    assert "no volume" in rest["reason"].iloc[0]
    with pytest.raises(ConfigError, match=r"--slices 12.*16 to 64"):
        index(tmp_path, volumes="whole", slices=12)


def test_random_changes_of_a_volume_are_of_the_whole_body() -> None:
    volume = np.zeros((40, 40, 24), np.uint8)
    volume[12:28, 14:24, 6:18] = 200
    pipeline = pickle.loads(pickle.dumps(APP.augment((32, 32))))
    made = []
    for seed in (5, 5, 6):
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        made.append(pipeline(image=volume)["image"])
    assert made[0].shape == (32, 32, 24)
    assert made[0].dtype == np.uint8
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    # One body still: as large as before, within the scale that is drawn.
    before = (volume > 100).sum() * (32 / 40) ** 2
    assert 0.6 < (made[0] > 90).sum() / before < 1.6


@pytest.mark.slow
def test_a_three_d_network_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.verbs.evaluate import evaluate  # noqa: PLC0415  (imports torch)
    from core.verbs.export import export  # noqa: PLC0415
    from core.verbs.predict import predict  # noqa: PLC0415
    from core.verbs.train import train  # noqa: PLC0415

    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    for number in range(48):
        # A ball in the one class, a hollow one in the other: no single bright spot tells them.
        values = ball((24, 24, 20), float(rng.uniform(6, 8)))
        if number % 2:
            values -= ball((24, 24, 20), 4) * 0.8
        values += rng.normal(0, 4, values.shape).astype(np.float32)
        save(tmp_path / "data" / ("hollow" if number % 2 else "full") / f"{number}.nii.gz", values)
    settings = {"epochs": 2, "weights": "none", "backbone": "resnet10_3d", "size_px": (32, 32)}
    made = train(
        "images",
        tmp_path / "data",
        tmp_path / "run",
        task="binary",
        flags=settings,
        options={"volumes": "whole", "slices": 16},
    )
    assert made["run"]["members"][0]["network"]["channels"] == 16
    page = (tmp_path / "run" / "report.html").read_text()
    # Where an error is shown, it is said what its picture is.
    assert ("a sheet of nine of its slices" in page) == ("Right of each picture" in page)
    judged = evaluate(tmp_path / "run", tmp_path / "data", tmp_path / "evaluation")
    assert judged["n_failed"] == 0
    inputs = [tmp_path / "data" / "full"]
    predict(tmp_path / "run", inputs, tmp_path / "predictions")
    export(tmp_path / "run", tmp_path / "exported")
    predict(tmp_path / "exported", inputs, tmp_path / "other")
    one, other = (
        pd.read_parquet(tmp_path / name / "predictions.parquet")
        for name in ("predictions", "other")
    )
    assert len(one) == 24
    assert (one["status"] == "ok").all()
    np.testing.assert_allclose(one["score_full"], other["score_full"], atol=1e-4)

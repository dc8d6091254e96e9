"""Every step from stored values to grey against arrays worked out by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from apps.mammography.dicom import choose_voi, pixels_from_dataset, read_dicom, why_not_pixels
from core.data import dicom as decoding
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import FileDataset

    Make = Callable[..., FileDataset]
    Save = Callable[..., Path]

FULL = 65535


def grey(data: Dataset, **options: str) -> list[int]:
    return pixels_from_dataset(data, **options)[..., 0].ravel().tolist()


def lut(first: int, entries: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, "<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def test_without_a_transform_the_range_of_values_is_spread(make: Make) -> None:
    # 100 -> 0, 300 -> 65535, 150 is a quarter of the way: 16383.75.
    assert grey(make([100, 150, 300])) == [0, 16384, FULL]


def test_a_flat_picture_is_black_and_does_not_divide_by_zero(make: Make) -> None:
    assert grey(make([7, 7])) == [0, 0]


def test_linear_window_ends_half_a_value_early(make: Make) -> None:
    # C.11.2.1.2.1 with c = 4, w = 5: ((x - 3.5) / 4 + 0.5): 1 -> -.125, 2 -> .125, 4 -> .625.
    data = make([1, 2, 4, 6], WindowCenter=4, WindowWidth=5)
    assert grey(data) == [0, round(0.125 * FULL), round(0.625 * FULL), FULL]


def test_linear_window_of_width_one_is_a_threshold(make: Make) -> None:
    assert grey(make([3, 4, 5], WindowCenter=4, WindowWidth=1)) == [0, FULL, FULL]


def test_linear_exact_window_is_taken_as_written(make: Make) -> None:
    # (x - 4) / 4 + 0.5: 2 -> 0, 3 -> .25, 5 -> .75.
    data = make([2, 3, 5], WindowCenter=4, WindowWidth=4, VOILUTFunction="LINEAR_EXACT")
    assert grey(data) == [0, round(0.25 * FULL), round(0.75 * FULL)]


def test_sigmoid_window(make: Make) -> None:
    # 1 / (1 + exp(-4 (x - c) / w)): at the centre one half, a width above it 1 / (1 + e^-4).
    data = make([10, 30], WindowCenter=10, WindowWidth=20, VOILUTFunction="SIGMOID")
    assert grey(data) == [round(0.5 * FULL), round(FULL / (1 + np.exp(-4)))]


def test_slope_and_intercept_come_before_the_window(make: Make) -> None:
    # 2 x - 10 gives 0, 10, 20; LINEAR_EXACT around 10 of width 20: 0, .5, 1.
    data = make([5, 10, 15], RescaleSlope=2, RescaleIntercept=-10, WindowCenter=10)
    data.WindowWidth, data.VOILUTFunction = 20, "LINEAR_EXACT"
    assert grey(data) == [0, round(0.5 * FULL), FULL]


def test_modality_table_maps_values_and_holds_its_ends(make: Make) -> None:
    # First mapped value 10: 9 takes the first entry, 13 the last. 0..30 is then spread.
    data = make([9, 10, 11, 12, 13])
    data.ModalityLUTSequence = [lut(10, [0, 10, 30], 16)]
    assert grey(data) == [0, 0, round(FULL / 3), FULL, FULL]


def test_voi_table_is_divided_by_its_own_bits(make: Make) -> None:
    # 12 bits: 4095 is white. 2048 / 4095.
    data = make([0, 1, 2], VOILUTSequence=[lut(0, [0, 2048, 4095], 12)])
    assert grey(data) == [0, round(2048 / 4095 * FULL), FULL]


def test_voi_table_with_more_bits_than_it_says(make: Make) -> None:
    data = make([0, 1], VOILUTSequence=[lut(0, [0, 4095], 8)])
    assert grey(data) == [0, FULL]


def test_voi_table_below_zero_after_the_intercept(make: Make) -> None:
    # 65036 means -500 where the intercept makes values negative.
    data = make([0, 500, 1000], RescaleSlope=1, RescaleIntercept=-500)
    data.VOILUTSequence = [lut(65036, [0] * 500 + [128] + [255] * 500, 8)]
    assert grey(data) == [0, round(128 / 255 * FULL), FULL]


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_inversion_happens_exactly_once(make: Make, elements: dict[str, str]) -> None:
    assert grey(make([0, 1, 4], **elements)) == [FULL, round(0.75 * FULL), 0]


def test_inversion_comes_after_the_window(make: Make) -> None:
    data = make([0, 5, 10, 20], PhotometricInterpretation="MONOCHROME1")
    data.WindowCenter, data.WindowWidth, data.VOILUTFunction = 5, 10, "LINEAR_EXACT"
    assert grey(data) == [FULL, round(0.5 * FULL), 0, 0]


def test_padding_is_black_and_outside_of_the_range(make: Make) -> None:
    # 0 to 9 is padding; 10 and 20 are the range. White at the low end without the rule.
    data = make([0, 9, 10, 20], PhotometricInterpretation="MONOCHROME1")
    data.PixelPaddingValue, data.PixelPaddingRangeLimit = 0, 9
    assert grey(data) == [0, 0, FULL, 0]


def test_negative_padding_written_as_unsigned(make: Make) -> None:
    data = make([-2000, 0, 100], bits=16, signed=True)
    data.add_new("PixelPaddingValue", "US", 63536)
    assert grey(data) == [0, 0, FULL]


def test_bits_above_the_high_bit_are_dropped(make: Make) -> None:
    # An overlay in bit 12 must not become tissue.
    assert grey(make([0, 4096 + 10, 20], bits=12)) == [0, round(0.5 * FULL), FULL]


def test_signed_values_keep_their_sign(make: Make) -> None:
    assert grey(make([-100, 0, 100], bits=12, signed=True)) == [0, round(0.5 * FULL), FULL]


def test_eight_bit_pixels_under_a_twelve_bit_header(make: Make) -> None:
    # The window 1000 to 4095 would be black; times 4095 / 255 it shows the picture.
    data = make([0, 255], WindowCenter=2548, WindowWidth=3096)
    assert grey(data) == [0, FULL]


def test_a_dark_picture_within_its_window_is_left_alone(make: Make) -> None:
    data = make([0, 255], WindowCenter=2048, WindowWidth=4096)
    assert grey(data)[1] < 0.07 * FULL


def test_which_voi_is_used(make: Make) -> None:
    data = make([0, 9], WindowCenter=[4, 5], WindowWidth=[0, 8])
    assert choose_voi(data) == "window:1"  # a width of zero is not allowed
    assert choose_voi(data, prefer="lut") == "range"
    data.VOILUTSequence = [lut(0, [0, 1], 8), lut(0, [0, 1], 8)]
    assert choose_voi(data) == "lut:0"
    assert choose_voi(data, index=7) == "lut:1"
    assert choose_voi(data, prefer="window", index=0) == "window:1"
    assert choose_voi(data, prefer="range") == "range"


def test_asking_for_a_window_that_is_not_there_is_refused(make: Make) -> None:
    with pytest.raises(ImageError, match="has 0 windows"):
        pixels_from_dataset(make([0, 9]), voi="window:0")


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Rows": 0}, "has no picture"),
        ({"NumberOfFrames": 30}, "30 frames"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not a grey image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "without its palette"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "slope of zero"),
        ({"Rows": 60000, "Columns": 60000}, "larger than"),
        ({"BitsAllocated": 1}, "1 bits per pixel"),
    ],
)
def test_what_cannot_be_shown_is_refused_from_the_header(
    make: Make, elements: dict[str, Any], reason: str
) -> None:
    data = make([0, 1], **elements)
    assert reason in why_not_pixels(data)
    with pytest.raises(ImageError, match=reason):
        pixels_from_dataset(data)


@pytest.mark.parametrize(
    "name",
    ["BitsStored", "HighBit", "SamplesPerPixel", "PixelRepresentation", "NumberOfFrames"],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_empty_of_the_pixels_description_and_can_be_but_one_thing_is_filled_in(
    make: Make, save: Save, name: str, is_there: bool
) -> None:
    data = make([100, 150, 300])
    if is_there:
        setattr(data, name, None)
    elif name in data:
        delattr(data, name)
    assert read_dicom(save(data))[..., 0].ravel().tolist() == [0, 16384, FULL]


def test_signs_that_nothing_tells_are_not_guessed(make: Make, save: Save) -> None:
    data = make([100, 150, 40_000])
    del data.PixelRepresentation
    with pytest.raises(ImageError, match="Pixel Representation"):
        read_dicom(save(data))


def test_a_code_in_lower_case_is_read_as_in_capitals(make: Make, save: Save) -> None:
    with decoding.quiet():
        file = save(make([100, 150, 300], PhotometricInterpretation="monochrome1 "))
    assert read_dicom(file)[..., 0].ravel().tolist() == [FULL, 49151, 0]


def test_an_unknown_transfer_syntax_is_refused(make: Make) -> None:
    data = make([0, 1])
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    assert "no decoder" in why_not_pixels(data)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_compression_gives_the_same_pixels(make: Make, save: Save, syntax: str) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (32, 40))
    plain = pixels_from_dataset(make(values))
    data = make(values)
    data.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read_dicom(save(data)), plain)


def test_big_endian_and_deflated_files(make: Make, save: Save, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (8, 9))
    plain = pixels_from_dataset(make(values))
    data = make(values)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_dicom(save(data, "deflated.dcm")), plain)
    data = make(values)
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.PixelData = values.astype(">u2").tobytes()
    path = tmp_path / "big.dcm"
    pydicom.dcmwrite(path, data, little_endian=False, implicit_vr=False, enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(path), plain)


def test_a_deflate_bomb_is_refused_before_it_is_inflated(
    make: Make, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(np.zeros((64, 64)))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(data)
    monkeypatch.setattr(decoding, "LARGEST_INFLATED", 1000)
    with pytest.raises(ImageError, match="inflates to more"):
        read_dicom(path)


def test_a_truncated_file_is_refused(make: Make, save: Save) -> None:
    path = save(make(np.arange(400).reshape(20, 20)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_dicom(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "not.dcm"
    path.write_bytes(b"\x89PNG" * 50)
    with pytest.raises(ImageError, match="not a DICOM file"):
        read_dicom(path)


def test_every_test_file_of_pydicom_is_shown_or_refused_with_a_reason() -> None:
    root = Path(pydicom.__file__).parent / "data"
    shown, reasons = 0, []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            pixels = read_dicom(path)
        except ImageError as error:
            reasons.append(str(error))
        else:
            shown += 1
            assert pixels.ndim == 3
            assert pixels.shape[2] == 1
            assert pixels.dtype == np.uint16
    assert shown > 25
    assert all(len(reason) > 20 for reason in reasons)


def test_large_values_go_without_a_table(make: Make) -> None:
    data = make([[0, 1]])
    data.BitsAllocated, data.BitsStored, data.HighBit = 32, 32, 31
    data.PixelData = np.array([0, 2**31], "<u4").tobytes()
    assert grey(data) == [0, FULL]


def test_warnings_of_odd_headers_stay_inside_and_filters_are_restored(
    make: Make, save: Save
) -> None:
    path = save(make([0, 1]))
    before = list(warnings.filters)
    read_dicom(path)
    assert list(warnings.filters) == before

"""Volumes as slices: NIfTI, DICOM of several frames, DICOM series, NumPy arrays.

A volume gives a fixed number of slices, spread over the part of it that is not background, and
is decided about as a whole. Each slice carries its two neighbours as colour channels, so that
a network for pictures sees a little of the third direction. A picture is never cropped in its
plane, because size can be the sign.

NIfTI is turned to its closest canonical orientation (RAS); slices run along the direction of
the coarsest spacing, else from below to above. Arrays are (slice, row, column). Grey values are
stretched from the volume's 0.5th to 99.5th percentile, or from ``--window``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.images.arrays import ARRAY_SUFFIXES, is_picture, load
from apps.images.dicom import read_header
from core.base.tables import groups_or_own
from core.data.dicom import DICOM_SUFFIXES, is_dicom, number_in, open_dicom, quiet
from core.data.scan import locate
from core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Manifest

__all__ = [
    "COARSE",
    "FOREGROUND",
    "VOLUME_SUFFIXES",
    "expand",
    "is_slice",
    "range_of",
    "read_slice",
    "refuse_several",
    "refuse_unless_volume",
    "stored",
    "volumes_in",
    "window_of",
]

# Endings under which volumes are found; .gz stands for .nii.gz.
VOLUME_SUFFIXES = frozenset({".nii", ".gz", ".npy", ".npz"})
SLICES = 12
# The sides of a body are told apart in a volume.
SIDED = "they are slices of volumes, in which sides are told apart"
# Values of a volume beyond which it is refused before memory is taken for it.
MOST_VALUES = 600_000_000
# Spacing along one direction over that of the others from which slices run along it.
COARSE = 1.5
# Share of the range above which a value is no background.
FOREGROUND = 0.1


def is_volume(path: Path) -> bool:
    """Whether a file holds a volume by its name, or by the shape or number of frames it states."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", *ARRAY_SUFFIXES)):
        return not is_picture(path)
    is_named = path.suffix.lower() in DICOM_SUFFIXES
    return is_named and is_dicom(path) and read_header(path).frames > 1


def volumes_in(found: Manifest) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The table of a manifest, what is packed and no volume skipped; and which rows are volumes."""
    table = found.table
    files = {path: locate(found.root, str(path)) for path in table["path"]}
    ok = (table["status"] == "ok").to_numpy()
    packed = table["path"].str.lower().str.endswith(".gz").to_numpy()
    strange = ok & packed & ~table["path"].str.lower().str.endswith(".nii.gz").to_numpy()
    if strange.any():
        reason = "it is packed and no NIfTI volume (.nii.gz)"
        table = table.assign(
            status=table["status"].where(~strange, "skipped"),
            reason=table["reason"].where(~strange, reason),
        )
        ok = ok & ~strange
    is_one = np.array(
        [good and is_volume(files[p]) for good, p in zip(ok, table["path"], strict=True)]
    )
    return table, is_one


def expand(found: Manifest, *, slices: int) -> Manifest:
    """A manifest with one row per slice where files are volumes; else the same.

    Args:
        found: one row per file.
        slices: of each volume.
    """
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    table, is_one = volumes_in(found)
    if not is_one.any():
        return replace(found, table=table)
    of = table[is_one]
    many = of.loc[of.index.repeat(slices)].reset_index(drop=True)
    number = np.tile(np.arange(slices), len(of))
    owner = many["image_id"].astype(str)
    many = many.assign(
        volume=owner,
        slice=[f"{n + 1}/{slices}" for n in number],
        image_id=[f"{name}#{n + 1:02d}" for name, n in zip(owner, number, strict=True)],
        group=groups_or_own(many),
    )
    # What is no volume is decided about alone.
    rest = table[~is_one].assign(slice="")
    rest = rest.assign(volume=rest["image_id"])
    whole = pd.concat([many, rest], ignore_index=True)
    note = (
        f"{len(of):,} volumes are read as {slices} slices each (--slices), and each volume is "
        "decided about as a whole."
    )
    rule = found.group_rule or "The group is the volume: its slices stay together."
    facts = {**found.facts, "sided": SIDED}
    return replace(
        found,
        table=whole,
        group_rule=rule,
        group_word=found.group_word or ("" if found.group_rule else "volume"),
        facts=facts,
        notes=(*found.notes, note),
    )


def is_slice(row: Mapping[str, Any]) -> bool:
    """Whether a manifest row is a slice of a volume."""
    return bool(row.get("slice")) and isinstance(row.get("slice"), str)


def read_slice(row: Mapping[str, Any], path: Path) -> NDArray[np.uint8]:
    """One slice and its neighbours, (H, W, 3) uint8.

    Raises:
        ImageError: the file is no volume, damaged, or too large.
    """
    window = str(row.get("window") or "")
    volume, first, last = _volume(str(path), path.stat().st_mtime_ns, window)
    number, _, of = str(row["slice"]).partition("/")
    # Middles of equal parts of what is not background.
    place = first + (last - first) * (int(number) - 0.5) / int(of)
    middle = min(max(round(place), 0), len(volume) - 1)
    near = [min(max(middle + step, 0), len(volume) - 1) for step in (-1, 0, 1)]
    return np.ascontiguousarray(np.stack([volume[i] for i in near], axis=-1))


def window_of(text: str) -> tuple[float, float] | None:
    """``-1000,400`` as (low, high); None where nothing is given.

    Raises:
        ConfigError: it is no pair of rising numbers.

    >>> window_of("-1000,400"), window_of("")
    ((-1000.0, 400.0), None)
    """
    if not text:
        return None
    number = r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"\s*({number})\s*,\s*({number})\s*", text)
    if not match or float(match[1]) >= float(match[2]):
        msg = f"--window {text}: write LOW,HIGH, the values shown as black and white: -1000,400."
        raise ConfigError(msg)
    return float(match[1]), float(match[2])


# All slices of a volume are read one after the other: it is decoded once.
@lru_cache(maxsize=2)
def _volume(path: str, _changed: int, window: str) -> tuple[NDArray[np.uint8], int, int]:
    """(D, H, W) uint8, and the first and last slice that is not background."""
    from pathlib import Path  # noqa: PLC0415  (a name for types above)

    file = Path(path)
    try:
        values = np.asarray(stored(file), dtype=np.float32)
    except ImageError:
        raise
    # nibabel, numpy and pydicom raise nearly every type there is on a damaged file.
    except Exception as error:
        msg = f"{file.name}: cannot be read as a volume ({type(error).__name__}: {error})."
        raise ImageError(msg) from error
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    refuse_unless_volume(file, values)
    low, high = window_of(window) or range_of(values)
    shown = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    has = np.flatnonzero((shown > FOREGROUND).any(axis=(1, 2)))
    first, last = (int(has[0]), int(has[-1]) + 1) if len(has) else (0, len(shown))
    return np.round(shown * 255).astype(np.uint8), first, last - 1


def range_of(values: NDArray[Any]) -> tuple[float, float]:
    """Values shown as black and white where no window is asked for: percentiles, or all."""
    low, high = (float(value) for value in np.percentile(values, [0.5, 99.5]))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def refuse_unless_volume(file: Path, values: NDArray[Any]) -> None:
    """Refuse what has no three directions, or no numbers.

    Raises:
        ImageError: the file is named, and what it holds.
    """
    refuse_several(file, values.shape)
    if values.ndim != 3 or min(values.shape) < 2:
        msg = (
            f"{file.name}: a volume has three directions; this has the shape {values.shape}. Save "
            "a picture as PNG or TIFF, and a volume with two slices or more."
        )
        raise ImageError(msg)
    if not np.isfinite(values).all():
        msg = (
            f"{file.name}: holds values that are no numbers (NaN or infinite). Replace them by "
            "those of the background, and save it again."
        )
        raise ImageError(msg)
    if values.size > MOST_VALUES:
        msg = f"{file.name}: holds more than {MOST_VALUES:,} values."
        raise ImageError(msg)


def refuse_several(file: Path, shape: tuple[int, ...]) -> None:
    """Refuse a file of several volumes; a fourth direction of length 1 is none.

    Raises:
        ImageError: nothing says which of them counts.
    """
    n = int(np.prod(shape[3:], dtype=np.int64))
    if n != 1:
        msg = (
            f"{file.name}: holds {n:,} volumes (its shape is {shape}), such as points in time, "
            "directions or contrasts, and nothing says which counts. Save the one that does, or "
            "their mean, as a file of three directions: nibabel's image.slicer[..., 0], or FSL's "
            "fslroi or fslmaths -Tmean."
        )
        raise ImageError(msg)


def stored(file: Path) -> NDArray[Any]:
    """(D, H, W) stored values of a file; (H, W) of a DICOM file of one frame."""
    name = file.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(file)
    if name.endswith(ARRAY_SUFFIXES):
        return load(file)
    data = open_dicom(file)
    count = number_in(data, "NumberOfFrames", 1.0) * number_in(data, "Rows")
    if count * number_in(data, "Columns") > MOST_VALUES:
        msg = f"{file.name}: holds more than {MOST_VALUES:,} values."
        raise ImageError(msg)
    with quiet():
        pixels = np.asarray(data.pixel_array)
    if pixels.ndim == 4:
        # Frames in colour, as of ultrasound: their brightness.
        pixels = pixels.mean(axis=-1)
    if str(data.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return pixels * number_in(data, "RescaleSlope", 1.0) + number_in(data, "RescaleIntercept")


def _nifti(file: Path) -> NDArray[Any]:
    """A NIfTI volume in canonical orientation as (slice, row, column), head up."""
    import nibabel as nib  # noqa: PLC0415  (an extra)

    image: Any = nib.load(file)
    if int(np.prod(image.shape)) > MOST_VALUES:
        msg = f"{file.name}: holds more than {MOST_VALUES:,} values."
        raise ImageError(msg)
    refuse_several(file, image.shape)
    if len(image.shape) < 3:
        refuse_unless_volume(file, np.broadcast_to(np.float32(0), image.shape))
    image = nib.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    spacing = np.asarray(image.header.get_zooms()[:3], dtype=float)
    values = np.asarray(image.dataobj)
    values = values.reshape(values.shape[:3])
    axis = int(spacing.argmax())
    if spacing[axis] < COARSE * np.sort(spacing)[1]:
        axis = 2
    # RAS counts to the right, forward and up; pictures count rows downwards.
    return np.flip(np.moveaxis(values, axis, 0).swapaxes(1, 2), axis=1)

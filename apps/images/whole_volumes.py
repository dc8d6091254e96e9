"""A volume as one body for a 3-D network: oriented, resampled, windowed by MONAI's transforms.

NIfTI and DICOM are turned to RAS by their headers; slices run along the direction of the
coarsest spacing, else from below to above, and rows downwards. Arrays of NumPy are
(slice, row, column) and say nothing of directions. DICOM series are put in order by the
positions in their headers.

Source of the DICOM geometry: PS3.3 C.7.6.2 (image plane) and C.7.6.16.2.3, .4 (per frame).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.images.dicom import read_header
from apps.images.volumes import (
    COARSE,
    FOREGROUND,
    SIDED,
    range_of,
    refuse_several,
    refuse_unless_volume,
    stored,
    volumes_in,
    window_of,
)
from core.base.tables import groups_or_own
from core.base.volumes import LEAST_SLICES, MOST_SLICES
from core.data.dicom import is_dicom, numbers_in, open_dicom, refuse
from core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from core.app import Manifest

__all__ = ["DEPTH", "as_bodies", "is_whole", "read_whole", "require_monai", "spacing_of"]

# Slices that a network sees of a whole volume.
DEPTH = 32
# What a row says of how its volume is read.
READING = ("window", "spacing", "foreground")

# What the header of a picture, or of a file of several frames, says of its place.
_PLANE = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# DICOM counts to the left and backwards, NIfTI and MONAI to the right and forwards.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def as_bodies(found: Manifest, options: Mapping[str, Any]) -> Manifest:
    """A manifest with one row per volume, each read as one body; files of a series are one row.

    Args:
        found: one row per file.
        options: the app's own, with ``slices``, ``window``, ``spacing`` and ``foreground``.

    Raises:
        ConfigError: an option cannot be meant, or MONAI is not installed.
    """
    require_monai()
    depth = int(options.get("slices") or DEPTH)
    if not LEAST_SLICES <= depth <= MOST_SLICES:
        msg = (
            f"--slices {depth}: a whole volume is seen as {LEAST_SLICES} to {MOST_SLICES} slices. "
            f"Pass --slices {DEPTH}, or leave --volumes out to see single slices."
        )
        raise ConfigError(msg)
    table, is_one = volumes_in(found)
    volume = table["image_id"].astype(str)
    if "volume" in table:
        # Of a series the first file stands for all.
        is_one = is_one | (table["volume"].astype(str) != volume).to_numpy()
        volume = table["volume"].astype(str)
    ok = (table["status"] == "ok").to_numpy()
    alone = ok & ~is_one
    table = table.assign(
        volume=volume,
        depth=[str(depth) if one else "" for one in is_one],
        status=table["status"].mask(alone, "skipped"),
        reason=table["reason"].mask(alone, "it is no volume, and whole volumes are asked for"),
        **{name: _as_text(options.get(name)) for name in READING},
    )
    table = table[~(is_one & ok & table["volume"].duplicated().to_numpy())].reset_index(drop=True)
    n = int(((table["status"] == "ok") & (table["depth"] != "")).sum())
    note = (
        f"{n:,} volumes are read whole, as {depth} slices each (--slices), for a network of three "
        "directions (--backbone)."
    )
    return replace(
        found,
        table=table.assign(group=groups_or_own(table, "volume")),
        group_rule=found.group_rule or "The group is the volume.",
        group_word=found.group_word or ("" if found.group_rule else "volume"),
        facts={**found.facts, "sided": SIDED},
        notes=(*found.notes, note),
    )


def _as_text(value: Any) -> str:
    """An option as a column holds it: empty where it is not given."""
    return "" if value in (None, False) else "yes" if value is True else str(value)


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a manifest row is a volume that is read as one body."""
    return str(row.get("depth") or "").isdigit()


def require_monai() -> None:
    """Refuse whole volumes at once where MONAI is not installed.

    Raises:
        ConfigError: this is an environment for exported models.
    """
    try:
        import monai  # noqa: F401, PLC0415  (seconds; only whole volumes need it)
    except ImportError as error:
        msg = (
            "Whole volumes are read by MONAI, which is not installed here. Install the whole of "
            "resight (pip install resight), or train on slices (--volumes slices)."
        )
        raise ConfigError(msg) from error


def spacing_of(text: str) -> float | None:
    """Millimetres of ``--spacing``; None where nothing is given.

    Raises:
        ConfigError: it is no positive number.

    >>> spacing_of("1.5"), spacing_of("")
    (1.5, None)
    """
    if not text:
        return None
    try:
        millimetres = float(text)
    except ValueError:
        millimetres = 0.0
    if not 0 < millimetres < 1_000:
        msg = f"--spacing {text}: write the side of a voxel in millimetres, such as 1.5."
        raise ConfigError(msg)
    return millimetres


def read_whole(row: Mapping[str, Any], path: Path) -> NDArray[np.uint8]:
    """A volume as an image whose channels are its slices, (H, W, D) uint8.

    Args:
        row: ``depth`` is D; ``window`` LOW,HIGH; ``spacing`` in mm; ``foreground`` not empty: what
            is dark all around is cut off.
        path: of the file, or of the first file of a series.

    Raises:
        ImageError: the file is no volume, damaged, too large, or lacks a spacing that is asked for.
    """
    asked = tuple(str(row.get(name) or "") for name in READING)
    return _read(str(path), path.stat().st_mtime_ns, int(row["depth"]), *asked)


# Training prepares each volume once; a page asks for the same one several times.
@lru_cache(maxsize=1)
def _read(
    path: str, _changed: int, depth: int, window: str, spacing: str, foreground: str
) -> NDArray[np.uint8]:
    # MONAI takes seconds to import.
    from monai.transforms.croppad.array import CropForeground, ResizeWithPadOrCrop  # noqa: PLC0415
    from monai.transforms.intensity.array import ScaleIntensityRange  # noqa: PLC0415
    from monai.transforms.spatial.array import Orientation, Resize, Spacing  # noqa: PLC0415

    file = Path(path)
    try:
        image: Any
        image, is_placed = _open(file)
        millimetres = spacing_of(spacing)
        if is_placed:
            image = Orientation(axcodes="RAS", labels=None)(image)
        if millimetres is not None:
            if not is_placed:
                refuse("says no spacing", "Leave --spacing out, or convert it to NIfTI.")
            image = Spacing(pixdim=(millimetres,) * 3, mode="bilinear")(image)
        low, high = window_of(window) or range_of(np.asarray(image))
        image = ScaleIntensityRange(low, max(high, low + 1e-6), 0, 1, clip=True)(image)
        if foreground and bool((image > FOREGROUND).any()):
            image = CropForeground(select_fn=_is_foreground, allow_smaller=True)(image)
        body = _slices_first(image) if is_placed else image
        wanted = (depth, *body.shape[2:])
        fit: Any = (
            # A voxel keeps its millimetres.
            ResizeWithPadOrCrop(wanted)
            if millimetres is not None
            else Resize(wanted, mode="trilinear", anti_aliasing=body.shape[1] > depth)
        )
        values = np.asarray(fit(body))[0]
    except (ImageError, ConfigError) as error:
        msg = f"{file.name}: {str(error).removeprefix(file.name + ': ')}"
        raise ImageError(msg) from error
    # nibabel, pydicom and MONAI raise nearly every type there is on a damaged file.
    except Exception as error:
        msg = f"{file.name}: cannot be read as a volume ({type(error).__name__}: {error})."
        raise ImageError(msg) from error
    shown = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(shown.transpose(1, 2, 0))


def _is_foreground(values: Any) -> Any:
    """What is no background, of values in [0, 1]."""
    return values > FOREGROUND


def _open(file: Path) -> tuple[Any, bool]:
    """A volume as MONAI's tensor (1, i, j, k) with its affine, and whether its place is known.

    Without a place it is (1, slice, row, column).
    """
    import torch  # noqa: PLC0415  (heavy)
    from monai.data.meta_tensor import MetaTensor  # noqa: PLC0415

    if file.name.lower().endswith((".nii", ".nii.gz")):
        from monai.data.image_reader import NibabelReader  # noqa: PLC0415

        reader = NibabelReader()
        # The header alone: pixels are read once it is known that they fit.
        header: Any = reader.read(file)
        refuse_several(file, header.shape)
        refuse_unless_volume(file, np.broadcast_to(np.float32(0), header.shape[:3]))
        values, meta = reader.get_data(header)
        # Further directions have the length 1.
        values = values.reshape(header.shape[:3]).astype(np.float32)
        refuse_unless_volume(file, values)
        return MetaTensor(values[None], affine=meta["affine"]), True
    if not is_dicom(file):
        # A copy: what is mapped from the file cannot be written to.
        values = np.array(stored(file), dtype=np.float32)
        values = values[..., 0] if values.ndim == 4 and values.shape[-1] == 1 else values
        refuse_unless_volume(file, values)
        return MetaTensor(values[None]), False
    values, affine = _dicom(file)
    refuse_unless_volume(file, values)
    if affine is None:
        return MetaTensor(values[None]), False
    return MetaTensor(values.transpose(2, 1, 0)[None].copy(), affine=torch.from_numpy(affine)), True


def _slices_first(image: Any) -> Any:
    """(1, x, y, z) in RAS -> (1, slice, row, column), rows downwards."""
    spacing = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    axis = int(spacing.argmax())
    if spacing[axis] < COARSE * np.sort(spacing)[1]:
        axis = 2
    return image.moveaxis(1 + axis, 1).swapaxes(2, 3).flip(2)


def _dicom(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """(slice, row, column) of a file of several frames, or of its series; and the affine in RAS."""
    header = read_header(file)
    if header.frames > 1:
        places = _frame_planes(open_dicom(file, tags=_GROUPS), header.frames)
        return np.asarray(stored(file), np.float32), _affine(places)
    near = sorted(other for other in file.parent.iterdir() if other.is_file() and is_dicom(other))
    files = [other for other in near if read_header(other).series == header.series]
    placed = [(_plane(open_dicom(other, tags=_PLANE)), other) for other in files]
    if all(plane is not None for plane, _ in placed):
        first = placed[0][0]
        assert first is not None
        normal = np.cross(first[0][:3], first[0][3:])
        placed.sort(key=lambda one: float(normal @ one[0][1]) if one[0] is not None else 0.0)
    values = np.stack([np.asarray(stored(other), np.float32) for _, other in placed])
    return values, _affine([plane for plane, _ in placed])


# Orientation (6,), position (3,) in mm, spacing of rows and of columns in mm.
_Plane = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]


def _plane(data: Any) -> _Plane | None:
    """Where a picture lies in the patient; None where the header does not say."""
    found = [np.asarray(numbers_in(data, name), dtype=np.float64) for name in _PLANE]
    if [len(values) for values in found] != [6, 3, 2]:
        return None
    return found[0], found[1], found[2]


def _frame_planes(data: Any, frames: int) -> list[_Plane | None]:
    """Where each frame of a file lies: what all share, and what each says of itself."""
    from pydicom.dataset import Dataset  # noqa: PLC0415  (an extra)

    shared = (data.get(_GROUPS[0]) or [Dataset()])[0]
    each = list(data.get(_GROUPS[1]) or [])
    planes = []
    for number in range(frames):
        one = Dataset()
        for group in (shared, each[number] if number < len(each) else Dataset()):
            for name in (
                "PlaneOrientationSequence",
                "PlanePositionSequence",
                "PixelMeasuresSequence",
            ):
                for item in (group.get(name) or [])[:1]:
                    one.update(item)
        planes.append(_plane(one))
    return planes


def _affine(planes: Sequence[_Plane | None]) -> NDArray[np.float64] | None:
    """(column, row, slice) -> mm in RAS, of parallel pictures in order; None if it is not known."""
    known = [plane for plane in planes if plane is not None]
    if len(known) < max(2, len(planes)):
        return None
    directions, start, spacing = known[0]
    step = (known[-1][1] - start) / (len(known) - 1)
    if not float(np.linalg.norm(step)):
        return None
    affine = np.eye(4)
    affine[:3, 0] = directions[:3] * spacing[1]
    affine[:3, 1] = directions[3:] * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = start
    return np.asarray(_LPS_TO_RAS @ affine)

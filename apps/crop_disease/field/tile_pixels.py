"""The pixels of one tile, and which pixels of a raster count at all.

Both go through the one door of ``raster``; this module only says where and what.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.channels import Reading
from apps.crop_disease.field.raster import borrow, need_geo, read_pixels, valid_pixels
from apps.crop_disease.field.window import window_of
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from apps.crop_disease.field.spatial import Shapes
    from apps.crop_disease.field.window import Window

__all__ = ["field_mask", "read_tile"]


def read_tile(row: Mapping[str, Any]) -> NDArray[Any]:
    """The tile of a manifest row, (H, W, C); what is not valid has the colour of padding.

    Cheapest in the order of the manifest: one handle per raster is kept, and GDAL keeps
    the stored blocks that the next tiles need.

    Raises:
        ImageError: the raster is damaged there, or was refused as a whole.
    """
    if row.get("refused"):
        raise ImageError(str(row["refused"]))
    need_geo("Reading a tile")
    from rasterio.errors import RasterioIOError  # noqa: PLC0415  (an extra)

    reading = Reading.parse(str(row["reading"]))
    try:
        with borrow(Path(row["path"])) as source:
            return read_pixels(source, reading, window_of(row))
    except (RasterioIOError, OSError) as error:
        detail = str(error.__cause__ or error)
        msg = f"the raster cannot be read at {window_of(row)[:2]} ({detail})"
        raise ImageError(msg) from error


def _valid_or_unreadable(source: Any, reading: Reading, window: Window) -> NDArray[np.bool_]:
    """What is valid in a window (H, W); where the file is damaged everything counts as valid.

    So tiles of damaged ground are read, fail with their reason and are counted, as if
    nobody had looked before.
    """
    import numpy as np  # noqa: PLC0415  (keeps the module light for readers)

    try:
        return valid_pixels(source, reading, window)
    except OSError:
        row, col, height, width = window
        block_height, block_width = source.block_shapes[0]
        if height > block_height:
            half = height // 2
            parts = [(row, col, half, width), (row + half, col, height - half, width)]
        elif width > block_width:
            half = width // 2
            parts = [(row, col, height, half), (row, col + half, height, width - half)]
        else:
            return np.ones((height, width), dtype=np.bool_)
        found = [_valid_or_unreadable(source, reading, part) for part in parts]
        return np.concatenate(found, axis=0 if height > block_height else 1)


@dataclass(frozen=True)
class field_mask:  # noqa: N801  (used as a function that pickles)
    """Window -> which pixels hold a measurement and lie within the field's boundary."""

    path: Path
    reading: Reading
    within: Shapes | None = None

    def __call__(self, window: Window) -> NDArray[np.bool_]:
        """The mask (H, W) of a window."""
        with borrow(self.path) as source:
            valid = _valid_or_unreadable(source, self.reading, window)
        return valid if self.within is None or not valid.any() else valid & self.within.mask(window)

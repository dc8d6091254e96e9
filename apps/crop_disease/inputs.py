"""Tell photos of leaves from rasters of a field among the inputs.

Each goes its own way to pixels, and what comes out is the same: one row per picture, one
picture per row. ``index`` makes the rows of both; nothing else in the app asks which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.files import is_raster
from apps.crop_disease.field.tile_pixels import read_tile
from apps.crop_disease.field.window import is_tile
from apps.crop_disease.images import read as read_photo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


__all__ = ["raster_found", "read"]


def raster_found(path: Path) -> str:
    """Why a path shows a field from the air, in words; empty where it does not.

    GeoTIFF in class folders are pictures of their own, such as satellite chips.
    """
    folders = [p for p in path.iterdir() if p.is_dir()] if path.is_dir() else []
    if len(folders) > 1 and not (path / "odm_orthophoto").is_dir():
        return ""
    return "it is a raster with a place on the ground" if is_raster(path, asked=False) else ""


def read(row: Mapping[str, Any]) -> NDArray[Any]:
    """The pixels (H, W, C) of a photo or of a tile."""
    if is_tile(row) or row.get("refused"):
        return read_tile(row)
    return read_photo(row)

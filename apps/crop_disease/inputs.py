"""What does the user point at: photos of leaves, or rasters of a field?

Each goes its own way to a manifest and to pixels, and what comes out is the same: one
row per picture, one picture per row. Nothing else in the app asks which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.files import is_raster
from apps.crop_disease.field.index import index_field
from apps.crop_disease.field.tile_pixels import read_tile
from apps.crop_disease.field.window import is_tile
from apps.crop_disease.images import index as index_photos
from apps.crop_disease.images import read as read_photo
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.app import Manifest, Source

__all__ = ["index", "raster_found", "read"]

# Options that make no sense without a raster. The others may have come with the run.
OF_RASTERS = ("labels", "within", "rates", "crs", "hold-out")


def index(source: Source) -> Manifest:
    """The manifest of photos (``images``) or of the tiles of rasters (``field``).

    A GeoTIFF, a folder of them and a WebODM project are rasters; a TIFF without a
    place on the ground is a photo, unless an option of rasters is given or the run
    was trained on tiles.

    Raises:
        ManifestError: both kinds at once, or an option of rasters with photos.
    """
    asked = any(source.options.get(name) for name in OF_RASTERS) or "tile_m" in source.trained
    rasters = [path for path in source.paths if is_raster(path, asked=asked)]
    photos = [path for path in source.paths if path not in rasters]
    if not rasters:
        given = [name for name in OF_RASTERS if source.options.get(name)]
        if given:
            msg = (
                f"--{given[0]}: speaks of a raster of a field, and {photos[0]} is none that is "
                "read. Pass a GeoTIFF, a folder of GeoTIFF, or a WebODM project; gdal_translate "
                "makes a GeoTIFF of a JPEG 2000, VRT, IMG or a picture with a world file."
            )
            raise ManifestError(msg)
        return index_photos(source)
    if photos:
        msg = (
            f"{rasters[0]} is a raster of a field and {photos[0]} is not; a model judges "
            "photos of leaves or tiles of fields. Pass them in two commands."
        )
        raise ManifestError(msg)
    return index_field(source)


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

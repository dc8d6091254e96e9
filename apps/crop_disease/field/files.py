"""Find the rasters that the user named, and refuse files that are no rasters of a field.

Told from photos of leaves by the tags of the file, which are read here, so that a
folder of photos needs none of the libraries for maps.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from core.base.regular_files import open_regular
from core.data.scan import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.app import Source

__all__ = ["is_raster", "rasters_of"]

WEBODM = Path("odm_orthophoto") / "odm_orthophoto.tif"
PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# TIFF tags: pixel scale, tie points, transformation, GeoTIFF keys, GDAL's metadata and nodata.
GEO_TAGS = frozenset({33550, 33922, 34264, 34735, 42112, 42113})


def rasters_of(source: Source) -> tuple[list[tuple[Path, str]], Path]:
    """(raster, flight) of everything the user points at, and the folder they start from."""
    files: list[tuple[Path, str]] = []
    for path in source.paths:
        if path.is_file():
            project = path.parent.parent if path.parent.name == WEBODM.parent.name else path.parent
            files.append((path, readable(project.name)))
            continue
        rasters = list(_walk(path))
        mosaics = [r for r in rasters if r.parts[-2:] == WEBODM.parts]
        if mosaics:
            files += [(raster, readable(raster.parent.parent.name)) for raster in mosaics]
        else:
            files += [(raster, readable(raster.parent.name)) for raster in rasters]
    unique = list(dict.fromkeys(files))
    folders = [str(path if path.is_dir() else path.parent) for path in source.paths]
    return unique, Path(os.path.commonpath(folders))


def _walk(folder: Path) -> Iterator[Path]:
    """TIFF files below a folder, in order of their names; hidden ones are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith((".tif", ".tiff")) and not name.startswith("."):
                yield Path(place) / name


def is_raster(path: Path, *, asked: bool) -> bool:
    """Whether a path is one of rasters of a field and not of photos of leaves.

    A GeoTIFF, a WebODM project, or a folder whose images are all GeoTIFF.

    Args:
        path: file or folder.
        asked: whether an option of rasters was given; then any TIFF is one.
    """
    if path.is_file():
        if path.suffix.lower() not in {".tif", ".tiff"}:
            return False
        return asked or _tiff_tags(path) & GEO_TAGS != set() or _is_vrt(path)
    if not path.is_dir():
        return False
    if (path / WEBODM).is_file():
        return True
    first = next(_walk(path), None)
    if first is None or any(f.suffix.lower() in PHOTOS for f in path.rglob("*")):
        return first is not None and first.parts[-2:] == WEBODM.parts
    return asked or bool(_tiff_tags(first) & GEO_TAGS)


def _is_vrt(path: Path) -> bool:
    """Whether a file that is called a TIFF is GDAL's virtual format."""
    with open_regular(path) as stream:
        return stream.read(256).lstrip().startswith(b"<VRT")


def _tiff_tags(path: Path) -> set[int]:
    """Tags of the first image of a TIFF or BigTIFF; empty if it is neither.

    Read here, so that a folder of photos is told from a field without the libraries for maps.
    """
    try:
        with open_regular(path) as stream:
            head = stream.read(16)
            order = {b"II": "<", b"MM": ">"}.get(head[:2])
            if order is None or len(head) < 16:
                return set()
            version = struct.unpack(order + "H", head[2:4])[0]
            if version not in {42, 43}:
                return set()
            big = version == 43
            place = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[
                0
            ]
            stream.seek(place)
            n = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))[0]
            size = 20 if big else 12
            entries = stream.read(size * min(n, 4096))
    except (OSError, struct.error):
        return set()
    return {
        struct.unpack(order + "H", entries[i : i + 2])[0]
        for i in range(0, len(entries) - size + 1, size)
    }

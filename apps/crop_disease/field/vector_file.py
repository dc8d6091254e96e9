"""The one layer of a vector file that is meant: which file, which layer, which encoding.

A zip or KMZ file is opened by the file of shapes in it. A shapefile without a .cpg does not
say its encoding: it is UTF-8 where it reads as that, else Western European, else refused.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from core.data.tables_in import is_western
from core.errors import ManifestError

__all__ = ["DRIVERS", "open_vectors"]

# Names of files of shapes that are read.
DRIVERS = (".gpkg", ".geojson", ".json", ".shp", ".zip", ".kml", ".kmz", ".fgb")
_PACKED = (".zip", ".kmz")


def open_vectors(path: Path, what: str, layer: str) -> Any:
    """The one layer of a vector file that is meant, as a frame.

    Args:
        path: of one of the kinds of ``DRIVERS``.
        what: the option the file was given by, for messages.
        layer: of a file with several; of a zip with several files, the name of one.

    Raises:
        ManifestError: it cannot be read, holds no shapes, or several layers.
    """
    if path.suffix.lower() not in DRIVERS or not path.is_file():
        why = "there is no such file" if not path.exists() else "is no kind of file known here"
        msg = (
            f"{what} {path}: {why}. Pass a GeoPackage, a GeoJSON, a shapefile, a KML or a "
            "FlatGeobuf; QGIS saves any other layer, and a table of coordinates, as one of these."
        )
        raise ManifestError(msg)
    # GDAL tells of layers, encodings and repairs in warnings; what matters is told here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame = _read(path, what, layer)
        except ManifestError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            msg = (
                f"{what} {path}: cannot be read ({words}). Export it again as GeoPackage or "
                "GeoJSON."
            )
            raise ManifestError(msg) from error
    if "geometry" not in getattr(frame, "columns", ()):
        msg = f"{what} {path}: holds a table and no shapes. Pass the layer with the polygons."
        raise ManifestError(msg)
    return frame


def _read(path: Path, what: str, layer: str) -> Any:
    """The frame of the layer that is meant."""
    import geopandas  # noqa: PLC0415  (an extra)
    import pyogrio  # noqa: PLC0415

    source, says_encoding = str(path), path.suffix.lower() != ".shp"
    if path.suffix.lower() in _PACKED:
        inside, says_encoding = _inside(path, what, layer)
        source = f"/vsizip/{path.resolve()}/{inside}"
        layer = "" if layer == PurePosixPath(inside).stem else layer
    elif not says_encoding:
        says_encoding = any(path.with_suffix(end).exists() for end in (".cpg", ".CPG"))
    if not says_encoding:
        return _without_encoding(source, path, what)
    chosen = _layer(pyogrio.list_layers(source), layer, path, what)
    return geopandas.read_file(source, layer=chosen, engine="pyogrio")


def _inside(path: Path, what: str, layer: str) -> tuple[str, bool]:
    """The file of shapes in a zip or KMZ file, and whether its encoding is known."""
    kinds = tuple(kind for kind in DRIVERS if kind not in _PACKED)
    with zipfile.ZipFile(path) as packed:
        names = [n for n in packed.namelist() if not n.startswith("__MACOSX/")]
    shapes = [name for name in names if name.lower().endswith(kinds)]
    named = [name for name in shapes if layer and PurePosixPath(name).stem == layer]
    if len(named or shapes) != 1:
        have = ", ".join(sorted(PurePosixPath(name).stem for name in shapes)) or "none"
        msg = (
            f"{what} {path}: holds {len(shapes)} files of shapes ({have}), and one is wanted. "
            "Name it with --layer, or unpack it and pass the file."
        )
        raise ManifestError(msg)
    inside = (named or shapes)[0]
    cpg = f"{inside[:-4]}.cpg".lower()
    is_known = not inside.lower().endswith(".shp") or cpg in map(str.lower, names)
    return inside, is_known


def _without_encoding(source: str, path: Path, what: str) -> Any:
    """A shapefile that does not say how its text is written."""
    import geopandas  # noqa: PLC0415  (an extra)

    try:
        return geopandas.read_file(source, engine="pyogrio", encoding="UTF-8")
    except UnicodeDecodeError:
        frame = geopandas.read_file(source, engine="pyogrio", encoding="cp1252")
    for name in frame.columns.drop("geometry"):
        cells = [cell for cell in frame[name] if isinstance(cell, str)]
        odd = [cell for cell in cells if not is_western(cell)]
        if odd and not is_western(" ".join(cells)):
            msg = (
                f"{what} {path}: its text is neither UTF-8 nor Western European, and no .cpg file "
                f"beside it names its encoding (first, in {name}: {odd[0]!r}). Export it as "
                "GeoPackage, or add a .cpg file that holds the encoding, such as 1251."
            )
            raise ManifestError(msg)
    return frame


def _layer(layers: Any, wanted: str, path: Path, what: str) -> str:
    """The layer that is named, or the only one with shapes."""
    names = [str(name) for name, _ in layers]
    with_shapes = [str(name) for name, kind in layers if kind is not None] or names
    if wanted:
        if wanted not in names:
            msg = f"{what} {path}: has no layer {wanted!r} (it has: {', '.join(names)})."
            raise ManifestError(msg)
        return wanted
    if len(with_shapes) > 1:
        msg = (
            f"{what} {path}: has {len(with_shapes)} layers with shapes ({', '.join(with_shapes)}), "
            f"and nothing says which is meant. Pass --layer {with_shapes[0]}, or another."
        )
        raise ManifestError(msg)
    return with_shapes[0]

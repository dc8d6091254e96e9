"""Open and check a GeoTIFF: bands, scaling, nodata, coordinate reference system.

The one door to rasters: everything else in the field part receives what is
opened here. A file is opened as a GeoTIFF and nothing else, because GDAL would
otherwise follow a VRT of that name into any file or address it names.

Which bands become which channels is ``channels``' business.

Windows are (row, col, height, width) in pixels, zero-based.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from apps.crop_disease.field.channels import BAND_NAMES, INDICES, Reading, named_bands, scaled
from apps.crop_disease.field.ground import Ground
from core.base.regular_files import open_regular
from core.data.framing import padding_for
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray

__all__ = [
    "CACHE_BYTES",
    "RasterFacts",
    "Window",
    "borrow",
    "cache_bytes",
    "choose_reading",
    "depth_of",
    "describe",
    "in_depth",
    "need_geo",
    "open_geotiff",
    "read_pixels",
    "valid_pixels",
]

Window: TypeAlias = tuple[int, int, int, int]

# GDAL's block cache. It holds one row of 512-px blocks of a 20,000 px wide raster of
# four bytes a pixel three times over, so that windows read in storage order decode
# each block once. GDAL's own default, a share of the machine's memory, is not constant.
CACHE_BYTES = 128 * 2**20
# For rasters whose rows are heavier it may grow to this, and no further: tiles then decode
# some blocks twice.
MOST_CACHE_BYTES = 512 * 2**20
# Rows that a strip of tiles spans, at least.
STRIP_ROWS = 1024
# Rasters held open at once by one process.
MOST_OPEN = 4
# Reflectance may pass 1 on glints; a 99th percentile above this is another quantity.
REFLECTANCE_LIMIT = 2.0


@dataclass(frozen=True)
class RasterFacts:
    """What a GeoTIFF says of itself.

    Attributes:
        path: the file.
        height, width: in pixels.
        dtype: of its bands.
        names: a name per band: R, G, B, N, Re where known, else ``B1`` ...; the
            alpha band is not among them.
        numbers: the band numbers, from 1, that belong to ``names``.
        alpha: number of the band that says what is valid; 0 if there is none.
        nodata: the value that says what is not, or None.
        scaled: whether the file declares a scale or an offset.
        crs: the coordinate reference system as WKT.
        transform: (col, row) of a pixel corner -> (x, y) in that system.
        gsd_m: ground sampling distance in metres, (down a column, along a row).
    """

    path: Path
    height: int
    width: int
    dtype: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    alpha: int
    nodata: float | None
    scaled: bool
    crs: str
    transform: Affine
    gsd_m: tuple[float, float]

    @property
    def pixel_m(self) -> float:
        """Side of a square pixel of the same area, in metres."""
        return float((self.gsd_m[0] * self.gsd_m[1]) ** 0.5)


def need_geo(doing: str) -> None:
    """Refuse to go on where the libraries for maps are not installed.

    Raises:
        ImageError: with the command that installs them.
    """
    try:
        import geopandas  # noqa: F401, PLC0415  (an extra)
        import pyogrio  # noqa: F401, PLC0415
        import rasterio  # noqa: F401, PLC0415
    except ImportError as error:
        msg = (
            f"{doing} needs the libraries for maps, and {error.name} is not installed. "
            'Install them: pip install "resight[geo]".'
        )
        raise ImageError(msg) from error


def open_geotiff(path: Path) -> Any:
    """Open a GeoTIFF for reading, and nothing that only bears its name.

    Raises:
        ImageError: it is another kind of file, or damaged.
    """
    need_geo("Reading a GeoTIFF")
    import rasterio  # noqa: PLC0415  (an extra)
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError  # noqa: PLC0415

    try:
        with open_regular(path) as stream:
            start = stream.read(256)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}). Check the path."
        raise ImageError(msg) from error
    if start.lstrip().startswith((b"<VRT", b"<?xml")):
        msg = (
            f"{path}: is a VRT, a text that points at other files, and not a GeoTIFF. It could "
            "bring in any file or address, so it is not followed. Convert it: gdal_translate "
            f"{path.name} mosaic.tif."
        )
        raise ImageError(msg)
    try:
        with warnings.catch_warnings():
            # That a file has no place on the ground is refused, with advice, by describe.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path, driver="GTiff", sharing=False)
    except RasterioIOError as error:
        msg = f"{path}: is not a GeoTIFF that can be read ({error}). Export it again as GeoTIFF."
        raise ImageError(msg) from error


def describe(path: Path, *, crs: str = "") -> RasterFacts:
    """What a GeoTIFF says of itself, checked.

    Args:
        path: the file.
        crs: system to assume where the file names none, such as ``EPSG:32615``.

    Raises:
        ImageError: it cannot be placed on the ground, or its values cannot be channels.
    """
    with open_geotiff(path) as source:
        _refuse_control_points(source, path)
        system = _crs_of(source, path, crs)
        if source.transform.is_identity or not source.transform.determinant:
            msg = (
                f"{path}: is not georeferenced (it has no pixel size or position), so nothing on "
                "it could be found in the field. Export it with its world position, or add that: "
                "gdal_translate -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM in.tif out.tif."
            )
            raise ImageError(msg)
        _check_dtypes(source, path)
        alpha, names, numbers = _bands_of(source)
        if not numbers:
            msg = f"{path}: has no band but its mask, so there is nothing to look at."
            raise ImageError(msg)
        scaled = any(source.scales[n - 1] != 1 or source.offsets[n - 1] != 0 for n in numbers)
        return RasterFacts(
            path=path,
            height=source.height,
            width=source.width,
            dtype=source.dtypes[numbers[0] - 1],
            names=names,
            numbers=numbers,
            alpha=alpha,
            nodata=source.nodata,
            scaled=scaled,
            crs=system,
            transform=source.transform,
            gsd_m=_gsd_m(source, system, path),
        )


def choose_reading(
    facts: RasterFacts,
    *,
    bands: str = "",
    indices: str = "",
    full_scale: float = 0.0,
) -> Reading:
    """Which bands and indices become channels.

    Without ``bands``: red, green and blue of an 8-bit picture, otherwise every
    band but alpha.

    Args:
        facts: of the raster.
        bands: names of the file's bands in order, ``RGBN``, ``RGNRe`` or
            ``R,G,B,N``; a ``-`` passes over a band.
        indices: names in ``INDICES``, with commas.
        full_scale: see ``Reading``.

    Raises:
        ImageError: a name is unknown, a band is missing, or the dtype needs a
            ``full_scale`` and has none.
    """
    have = dict(zip(facts.names, facts.numbers, strict=True))
    if bands:
        chosen = named_bands(bands, facts.numbers, facts.path)
    elif facts.dtype == "uint8" and {"R", "G", "B"} <= set(have):
        chosen = tuple((name, have[name]) for name in ("R", "G", "B"))
    else:
        chosen = tuple(have.items())
    known = {name.lower(): name for name in INDICES}
    wanted = [word.strip() for word in indices.split(",") if word.strip()]
    strange = [word for word in wanted if word.lower() not in known]
    if strange:
        msg = f"--indices {indices}: {strange[0]!r} is not known (known: {', '.join(INDICES)})."
        raise ImageError(msg)
    names = tuple(known[word.lower()] for word in wanted)
    present = {name for name, _ in chosen}
    for name in names:
        missing = [band for band in INDICES[name].bands if band not in present]
        if missing:
            msg = (
                f"{facts.path}: {name} needs the band {missing[0]}, and the file's bands are "
                f"{', '.join(sorted(present))}. Name its bands in order, as in --bands RGBN, or "
                f"leave {name} out."
            )
            raise ImageError(msg)
    if not full_scale and not facts.scaled and facts.dtype not in {"uint8", "uint16"}:
        _check_reflectance(facts, [number for _, number in chosen])
    return Reading(chosen, names, float(full_scale), facts.alpha)


def depth_of(facts: RasterFacts, reading: Reading) -> str:
    """The kind of pixels a reading gives: ``uint8``, ``uint16`` or ``float32``."""
    if reading.depth:
        return reading.depth
    is_plain = facts.dtype in {"uint8", "uint16"} and not facts.scaled
    return facts.dtype if is_plain and not (reading.full_scale or reading.indices) else "float32"


def in_depth(facts: RasterFacts, reading: Reading, depth: str) -> Reading:
    """The reading in the depth a model learned from; values must say which of them is white.

    Args:
        facts: of the raster.
        reading: how its bands become channels.
        depth: ``uint8``, ``uint16`` or ``float32``.

    Raises:
        ImageError: they do not, and a guess would show the model another brightness.
    """
    have = depth_of(facts, reading)
    if have == depth:
        return reading
    if reading.full_scale or facts.scaled:
        return replace(reading, depth="" if depth == "float32" else depth)
    white = {"uint8": "255", "uint16": "65535, or 10000 for reflectance"}.get(have, "1")
    msg = (
        f"{facts.path}: holds {have} values, and the model learned from {depth}; nothing says "
        "which value is white, and a guess would show it another brightness. Pass the stored value "
        f"that stands for white or a reflectance of 100 %: --full-scale {white}."
    )
    raise ImageError(msg)


@contextmanager
def borrow(path: Path) -> Iterator[Any]:
    """A raster held open by this process, for one reader at a time.

    GDAL's handles must not be shared between threads, and one handle per thread
    would decode and keep every block several times over.
    """
    import rasterio  # noqa: PLC0415  (an extra)

    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    with _LOCK:
        source = _OPEN.pop(key, None) or open_geotiff(path)
        _OPEN[key] = source
        while len(_OPEN) > MOST_OPEN:
            _OPEN.popitem(last=False)[1].close()
        with rasterio.Env(GDAL_CACHEMAX=cache_bytes(source)):
            yield source


def cache_bytes(source: Any) -> int:
    """Memory that holds the stored blocks of one strip of tiles, within limits.

    It depends on the width of a raster and not on its height.
    """
    rows = max(STRIP_ROWS, 3 * source.block_shapes[0][0])
    pixel = sum(np.dtype(name).itemsize for name in source.dtypes)
    return int(min(MOST_CACHE_BYTES, max(CACHE_BYTES, rows * source.width * pixel)))


def read_pixels(source: Any, reading: Reading, window: Window) -> NDArray[Any]:
    """Channels (H, W, C) of a window; what is not valid has the colour of padding.

    Args:
        source: an open raster.
        reading: which bands and indices.
        window: inside the raster.

    Returns:
        uint8, uint16 or float32, see the module.
    """
    raw = source.read([number for _, number in reading.bands], window=_window(window))
    values = scaled(source, raw, reading)
    # A copy: raw bands are looked at again for what is valid.
    pixels = np.array(np.moveaxis(values, 0, 2), order="C")
    valid = _valid(source, reading, window, raw)
    if not valid.all():
        pixels[~valid] = np.array(padding_for(pixels[:1, :1]), pixels.dtype)
    return pixels


def valid_pixels(source: Any, reading: Reading, window: Window) -> NDArray[np.bool_]:
    """Which pixels (H, W) of a window hold a measurement.

    The alpha band decides where there is one; else the mask or the nodata
    value. A colour of an 8-bit picture may equal nodata in one band by chance, so
    there a pixel is missing only if all bands say so; in any other raster one band suffices,
    as does a value that is not a number.
    """
    numbers = [number for _, number in reading.bands]
    raw = None
    if source.dtypes[numbers[0] - 1].startswith("float"):
        raw = source.read(numbers, window=_window(window))
    return _valid(source, reading, window, raw)


def _valid(
    source: Any, reading: Reading, window: Window, raw: NDArray[Any] | None
) -> NDArray[np.bool_]:
    """See ``valid_pixels``; ``raw`` holds the bands if they are read already."""
    place = _window(window)
    if reading.alpha:
        valid = source.read(reading.alpha, window=place) > 0
    else:
        numbers = [number for _, number in reading.bands]
        masks = source.read_masks(numbers, window=place) > 0
        eight_bit = source.dtypes[numbers[0] - 1] == "uint8"
        valid = masks.any(axis=0) if eight_bit else masks.all(axis=0)
    if raw is not None and raw.dtype.kind == "f":
        valid = valid & np.isfinite(raw).all(axis=0)
    return np.asarray(valid)


def _crs_of(source: Any, path: Path, given: str) -> str:
    """The file's system as WKT, or the one the user gave."""
    if source.crs:
        return str(source.crs.to_wkt())
    if not given:
        msg = (
            f"{path}: names no coordinate reference system, so its areas and positions on the "
            "ground are unknown. Pass the one it was made in, as in --crs EPSG:32615, or write it "
            "into the file: gdal_edit.py -a_srs EPSG:32615 FILE."
        )
        raise ImageError(msg)
    from rasterio.crs import CRS  # noqa: PLC0415  (an extra)
    from rasterio.errors import CRSError  # noqa: PLC0415

    try:
        return str(CRS.from_user_input(given).to_wkt())
    except CRSError as error:
        msg = f"--crs {given}: is not a coordinate reference system. Write EPSG:32615 or the like."
        raise ImageError(msg) from error


def _refuse_control_points(source: Any, path: Path) -> None:
    """Refuse a raster that is placed by points or a camera model, with the way to warp it."""
    if not source.transform.is_identity:
        return
    points, system = source.gcps
    if points:
        code = system.to_epsg() if system else None
        here = f"EPSG:{code}" if code else "EPSG:32615"
        if system is not None and system.is_geographic:
            lon, lat = (float(np.mean([getattr(p, axis) for p in points])) for axis in "xy")
            # The UTM zone, so that a pixel is as long as it is high.
            here = f"EPSG:{(32700 if lat < 0 else 32600) + int((lon + 180) // 6) % 60 + 1}"
        msg = (
            f"{path}: is placed by {len(points)} ground control points and not by a position and "
            f"pixel size. Warp it first: gdalwarp -t_srs {here} in.tif out.tif."
        )
        raise ImageError(msg)
    if source.rpcs:
        msg = (
            f"{path}: is placed by the camera model of a satellite (RPC). Warp it first: gdalwarp "
            "-rpc -t_srs EPSG:CODE in.tif out.tif."
        )
        raise ImageError(msg)


def _check_dtypes(source: Any, path: Path) -> None:
    """Refuse values that no rule turns into channels."""
    from rasterio.enums import ColorInterp  # noqa: PLC0415  (an extra)

    if ColorInterp.palette in source.colorinterp:
        msg = (
            f"{path}: holds indices into a palette, so it is a map of classes or a reduced "
            "picture. Convert it: gdal_translate -expand rgb in.tif out.tif."
        )
        raise ImageError(msg)
    strange = [d for d in source.dtypes if d.startswith("complex") or d in {"int64", "uint64"}]
    if strange:
        msg = (
            f"{path}: holds {strange[0]} values, which are no brightness. Export it as reflectance."
        )
        raise ImageError(msg)


def _bands_of(source: Any) -> tuple[int, tuple[str, ...], tuple[int, ...]]:
    """Number of the alpha band (0 if none), and names and numbers of the others."""
    from rasterio.enums import ColorInterp  # noqa: PLC0415  (an extra)

    colours = {ColorInterp.red: "R", ColorInterp.green: "G", ColorInterp.blue: "B"}
    alpha, names, numbers = 0, [], []
    for number in range(1, source.count + 1):
        colour = source.colorinterp[number - 1]
        text = re.sub(r"[^a-z0-9]", "", (source.descriptions[number - 1] or "").lower())
        if colour == ColorInterp.alpha or text == "alpha":
            alpha = alpha or number
            continue
        band = next((name for name, words in BAND_NAMES.items() if text in words), None)
        name = band or (colours.get(colour) if not text else None) or f"B{number}"
        names.append(name if name not in names else f"B{number}")
        numbers.append(number)
    # Some programs write the mask of an 8-bit picture as a fourth band and do not call it so.
    rgb = names == ["R", "G", "B", "B4"] and source.dtypes[0] == "uint8"
    if rgb and not alpha and _is_mask(source, numbers[3]):
        return numbers[3], tuple(names[:3]), tuple(numbers[:3])
    return alpha, tuple(names), tuple(numbers)


def _check_reflectance(facts: RasterFacts, numbers: list[int]) -> None:
    """Refuse values far above 1 that nothing says how to scale."""
    advice = (
        "Pass the stored value that stands for 1 (white, or a reflectance of 100 %), as in "
        "--full-scale 10000; the same at training and prediction."
    )
    if not facts.dtype.startswith("float"):
        msg = f"{facts.path}: holds {facts.dtype} values and declares no scale. {advice}"
        raise ImageError(msg)
    reading = Reading(tuple((f"B{n}", n) for n in numbers), alpha=facts.alpha)
    sample: list[NDArray[Any]] = []
    with borrow(facts.path) as source:
        for window in _spread(source):
            raw = source.read(numbers, window=_window(window))
            sample.append(raw[:, _valid(source, reading, window, raw)].ravel())
    values = np.concatenate(sample)
    if len(values) and np.percentile(values, 99) > REFLECTANCE_LIMIT:
        msg = (
            f"{facts.path}: holds values up to {values.max():.4g}, where reflectance between 0 and "
            f"1 was expected; a surface model or a temperature cannot be judged. {advice}"
        )
        raise ImageError(msg)


def _is_mask(source: Any, number: int) -> bool:
    """Whether a band holds nothing but 0 and 255, looked at in a few places."""
    return all(
        bool(np.isin(source.read(number, window=_window(window)), (0, 255)).all())
        for window in _spread(source)
    )


def _spread(source: Any) -> Iterator[Window]:
    """Sixteen windows spread over a raster."""
    side = 256
    for row in np.linspace(0, max(0, source.height - side), 4, dtype=int):
        for col in np.linspace(0, max(0, source.width - side), 4, dtype=int):
            size = min(side, source.height - int(row)), min(side, source.width - int(col))
            yield int(row), int(col), *size


def _gsd_m(source: Any, crs: str, path: Path) -> tuple[float, float]:
    """Metres on the ground per pixel at the centre, (down a column, along a row)."""
    ground = Ground.of(crs, source.transform, path)
    row, col = source.height / 2, source.width / 2
    return (
        ground.distance_m((row, col), (row + 1, col)),
        ground.distance_m((row, col), (row, col + 1)),
    )


def _window(window: Window) -> Any:
    """Rasterio's own kind of window."""
    from rasterio.windows import Window as Rectangle  # noqa: PLC0415  (an extra)

    row, col, height, width = window
    return Rectangle(col, row, width, height)


_LOCK = threading.RLock()
_OPEN: OrderedDict[tuple[str, int, int], Any] = OrderedDict()

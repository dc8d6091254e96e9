"""What is in a GeoTIFF, and may it be read? Bands, scaling, validity, place on the ground.

The one door to rasters: everything else in the field part receives what is
opened here. A file is opened as a GeoTIFF and nothing else, because GDAL would
otherwise follow a VRT of that name into any file or address it names.

How stored values become channels is a fixed rule of the dtype and of what the
file and the user declare, never of the values in a tile:

    uint8, uint16          kept as they are
    float32, float64       float32, cut to [0, 1]; reflectance is expected
    a declared scale       float32: value x scale + offset, cut to [0, 1]
    ``full_scale``         float32: value / full_scale, cut to [0, 1]
    with indices           float32: bands by full scale, indices from their range to [0, 1]

Windows are (row, col, height, width) in pixels, zero-based.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from apps.crop_disease.ground import Ground
from apps.crop_disease.images import padding_for
from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray

__all__ = [
    "CACHE_BYTES",
    "INDICES",
    "RasterFacts",
    "Reading",
    "Window",
    "borrow",
    "choose_reading",
    "describe",
    "need_geo",
    "open_geotiff",
    "read_pixels",
    "valid_pixels",
]

Window: TypeAlias = tuple[int, int, int, int]
Floats: TypeAlias = "NDArray[np.float32]"

# GDAL's block cache. It holds one row of 512-px blocks of a 20,000 px wide raster of
# four bytes a pixel three times over, so that windows read in storage order decode
# each block once. GDAL's own default, a share of the machine's memory, is not constant.
CACHE_BYTES = 128 * 2**20
# Rasters held open at once by one process.
MOST_OPEN = 4
# Reflectance may pass 1 on glints; a 99th percentile above this is another quantity.
REFLECTANCE_LIMIT = 2.0

# Names under which cameras and WebODM describe bands, in lower case without separators.
_NAMES = {
    "R": ("r", "red"),
    "G": ("g", "green"),
    "B": ("b", "blue"),
    "N": ("n", "nir", "nearinfrared", "nearir"),
    "Re": ("re", "rededge", "rededge740", "rededge705"),
}


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Quotient; 0 where the denominator is."""
    return np.asarray(np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0))


def _exg(r: Floats, g: Floats, b: Floats) -> Floats:
    """2g - r - b of the shares of the three colours."""
    total = r + g + b
    return np.asarray(_ratio(2 * g - r - b, total))


@dataclass(frozen=True)
class Index:
    """A vegetation index: the bands it needs, its formula, the range mapped to [0, 1]."""

    bands: tuple[str, ...]
    formula: Callable[..., Floats]
    low: float = -1.0
    high: float = 1.0


# Rouse 1974, Barnes 2000, Gitelson 1996 (GNDVI), Woebbecke 1995 (ExG), Gitelson 2002 (VARI),
# Louhaichi 2001 (GLI), Huete 1988 (SAVI, L = 0.5), Rondeaux 1996 (OSAVI, 0.16).
INDICES: Mapping[str, Index] = {
    "NDVI": Index(("N", "R"), lambda n, r: _ratio(n - r, n + r)),
    "NDRE": Index(("N", "Re"), lambda n, e: _ratio(n - e, n + e)),
    "GNDVI": Index(("N", "G"), lambda n, g: _ratio(n - g, n + g)),
    "ExG": Index(("R", "G", "B"), _exg, -1.0, 2.0),
    "VARI": Index(("R", "G", "B"), lambda r, g, b: _ratio(g - r, g + r - b)),
    "GLI": Index(("R", "G", "B"), lambda r, g, b: _ratio(2 * g - r - b, 2 * g + r + b)),
    "SAVI": Index(("N", "R"), lambda n, r: _ratio(1.5 * (n - r), n + r + 0.5)),
    "OSAVI": Index(("N", "R"), lambda n, r: _ratio(n - r, n + r + 0.16)),
}


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


@dataclass(frozen=True)
class Reading:
    """Which bands become which channels. Travels in the manifest as text.

    Attributes:
        bands: (name, band number) of each channel, in order.
        indices: names in ``INDICES``, appended as further channels.
        full_scale: the stored value that counts as 1; 0 keeps values as they are.
        alpha: number of the band that says what is valid; 0 asks the file's mask.
    """

    bands: tuple[tuple[str, int], ...]
    indices: tuple[str, ...] = ()
    full_scale: float = 0.0
    alpha: int = 0

    def __str__(self) -> str:
        """One line that ``parse`` reads.

        >>> str(Reading((("R", 1), ("N", 4)), ("NDVI",), 10000.0))
        'R=1 N=4 NDVI /10000'
        """
        words = [f"{name}={number}" for name, number in self.bands] + list(self.indices)
        words += [f"alpha={self.alpha}"] if self.alpha else []
        return " ".join([*words, *([f"/{self.full_scale:g}"] if self.full_scale else [])])

    @classmethod
    def parse(cls, text: str) -> Reading:
        """The inverse of ``str``.

        >>> Reading.parse("R=1 N=4 NDVI /10000") == Reading(
        ...     (("R", 1), ("N", 4)), ("NDVI",), 10000.0)
        True
        """
        words = text.split()
        pairs = [word.partition("=") for word in words if "=" in word]
        scale = [float(word[1:]) for word in words if word.startswith("/")]
        return cls(
            tuple((name, int(number)) for name, _, number in pairs if name != "alpha"),
            tuple(word for word in words if "=" not in word and not word.startswith("/")),
            scale[0] if scale else 0.0,
            next((int(number) for name, _, number in pairs if name == "alpha"), 0),
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return (*(name for name, _ in self.bands), *self.indices)


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
        with path.open("rb") as stream:
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
    facts: RasterFacts, *, bands: str = "", indices: str = "", full_scale: float = 0.0
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
        chosen = _named_bands(facts, bands)
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
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            yield source


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
    values = _scaled(source, raw, reading)
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


def _scaled(source: Any, raw: NDArray[Any], reading: Reading) -> NDArray[Any]:
    """Stored values (C, H, W) by the fixed rule, indices appended."""
    numbers = [number for _, number in reading.bands]
    scales = np.array([source.scales[n - 1] for n in numbers], np.float64)
    offsets = np.array([source.offsets[n - 1] for n in numbers], np.float64)
    declared = bool((scales != 1).any() or (offsets != 0).any())
    plain = raw.dtype.kind == "u" and raw.dtype.itemsize <= 2
    if plain and not (reading.full_scale or declared or reading.indices):
        return raw
    if reading.full_scale:
        scales, offsets = np.full(len(numbers), 1 / reading.full_scale), np.zeros(len(numbers))
    elif plain and not declared:
        scales = scales / np.iinfo(raw.dtype).max
    values = raw.astype(np.float32)
    values *= scales.astype(np.float32)[:, None, None]
    values += offsets.astype(np.float32)[:, None, None]
    values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(values, 0, 1, out=values)
    if not reading.indices:
        return values
    by_name = {name: values[i] for i, (name, _) in enumerate(reading.bands)}
    extra = []
    for name in reading.indices:
        index = INDICES[name]
        value = index.formula(*(by_name[band] for band in index.bands))
        extra.append(np.clip((value - index.low) / (index.high - index.low), 0, 1))
    return np.concatenate([values, np.stack(extra).astype(np.float32)])


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
        told = next((name for name, words in _NAMES.items() if text in words), None)
        name = told or (colours.get(colour) if not text else None) or f"B{number}"
        names.append(name if name not in names else f"B{number}")
        numbers.append(number)
    # Some programs write the mask of an 8-bit picture as a fourth band and do not call it so.
    rgb = names == ["R", "G", "B", "B4"] and source.dtypes[0] == "uint8"
    if rgb and not alpha and _is_mask(source, numbers[3]):
        return numbers[3], tuple(names[:3]), tuple(numbers[:3])
    return alpha, tuple(names), tuple(numbers)


def _named_bands(facts: RasterFacts, text: str) -> tuple[tuple[str, int], ...]:
    """The user's names of the file's bands, in order."""
    words = (
        [word.strip() for word in text.split(",")]
        if "," in text
        else re.findall(r"Re|[A-Z]|-|.", text)
    )
    known = {**{name.lower(): name for name in _NAMES}, "-": "-"}
    strange = [w for w in words if w.lower() not in known and not re.fullmatch(r"B\d+", w)]
    if strange:
        msg = (
            f"--bands {text}: {strange[0]!r} is no name of a band (R, G, B, N for near infrared, "
            "Re for red edge, B1, B2 ... for others, - to pass over one)."
        )
        raise ImageError(msg)
    if len(words) > len(facts.numbers):
        msg = (
            f"{facts.path}: --bands {text} names {len(words)} bands, and the file has "
            f"{len(facts.numbers)}{' beside its alpha band' if facts.alpha else ''}."
        )
        raise ImageError(msg)
    pairs = [
        (known.get(word.lower(), word), number)
        for word, number in zip(words, facts.numbers, strict=False)
    ]
    chosen = tuple((name, number) for name, number in pairs if name != "-")
    if not chosen or len({name for name, _ in chosen}) < len(chosen):
        msg = f"--bands {text}: names {'no band' if not chosen else 'a band twice'}."
        raise ImageError(msg)
    return chosen


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

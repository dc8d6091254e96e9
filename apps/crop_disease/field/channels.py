"""From the bands of a raster to the channels of a picture: names, scaling, vegetation indices.

How stored values become channels is a fixed rule of the dtype and of what the
file and the user declare, never of the values in a tile:

    uint8, uint16          kept as they are
    float32, float64       float32, cut to [0, 1]; reflectance is expected
    a declared scale       float32: value x scale + offset, cut to [0, 1]
    ``full_scale``         float32: value / full_scale, cut to [0, 1]
    with indices           float32: bands by full scale, indices from their range to [0, 1]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from core.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["BAND_NAMES", "INDICES", "Index", "Reading", "named_bands", "scaled"]

Floats: TypeAlias = "NDArray[np.float32]"

# Names under which cameras and WebODM describe bands, in lower case without separators.
BAND_NAMES = {
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
class Reading:
    """Which bands become which channels. Travels in the manifest as text.

    Attributes:
        bands: (name, band number) of each channel, in order.
        indices: names in ``INDICES``, appended as further channels.
        full_scale: the stored value that counts as 1; 0 keeps values as they are.
        alpha: number of the band that says what is valid; 0 asks the file's mask.
        depth: ``uint8`` or ``uint16`` rounds scaled values to that depth, for a model that
            learned from it; empty leaves them as they are.
    """

    bands: tuple[tuple[str, int], ...]
    indices: tuple[str, ...] = ()
    full_scale: float = 0.0
    alpha: int = 0
    depth: str = ""

    def __str__(self) -> str:
        """One line that ``parse`` reads.

        >>> str(Reading((("R", 1), ("N", 4)), ("NDVI",), 10000.0))
        'R=1 N=4 NDVI /10000'
        """
        words = [f"{name}={number}" for name, number in self.bands] + list(self.indices)
        words += [f"alpha={self.alpha}"] if self.alpha else []
        words += [f"/{self.full_scale:g}"] if self.full_scale else []
        return " ".join([*words, *([f">{self.depth}"] if self.depth else [])])

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
            tuple(word for word in words if "=" not in word and word[0] not in "/>"),
            scale[0] if scale else 0.0,
            next((int(number) for name, _, number in pairs if name == "alpha"), 0),
            next((word[1:] for word in words if word.startswith(">")), ""),
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return (*(name for name, _ in self.bands), *self.indices)


def named_bands(text: str, numbers: Sequence[int], path: Path) -> tuple[tuple[str, int], ...]:
    """The user's names of the file's bands, in order: (name, band number) each.

    Raises:
        ImageError: a name is unknown or stands twice, or there are more names than bands.
    """
    words = (
        [word.strip() for word in text.split(",")]
        if "," in text
        else re.findall(r"Re|[A-Z]|-|.", text)
    )
    known = {**{name.lower(): name for name in BAND_NAMES}, "-": "-"}
    strange = [w for w in words if w.lower() not in known and not re.fullmatch(r"B\d+", w)]
    if strange:
        msg = (
            f"--bands {text}: {strange[0]!r} is no name of a band (R, G, B, N for near infrared, "
            "Re for red edge, B1, B2 ... for others, - to pass over one)."
        )
        raise ImageError(msg)
    if len(words) > len(numbers):
        msg = (
            f"{path}: --bands {text} names {len(words)} bands, and the file has "
            f"{len(numbers)} (a mask does not count)."
        )
        raise ImageError(msg)
    pairs = [
        (known.get(word.lower(), word), number)
        for word, number in zip(words, numbers, strict=False)
    ]
    chosen = tuple((name, number) for name, number in pairs if name != "-")
    if not chosen or len({name for name, _ in chosen}) < len(chosen):
        msg = f"--bands {text}: names {'no band' if not chosen else 'a band twice'}."
        raise ImageError(msg)
    return chosen


def scaled(source: Any, raw: NDArray[Any], reading: Reading) -> NDArray[Any]:
    """Stored values (C, H, W) by the fixed rule of this module, indices appended."""
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
        return _rounded(values, reading.depth)
    by_name = {name: values[i] for i, (name, _) in enumerate(reading.bands)}
    extra = []
    for name in reading.indices:
        index = INDICES[name]
        value = index.formula(*(by_name[band] for band in index.bands))
        extra.append(np.clip((value - index.low) / (index.high - index.low), 0, 1))
    whole = np.concatenate([values, np.stack(extra).astype(np.float32)])
    return _rounded(whole, reading.depth)


def _rounded(values: NDArray[np.float32], depth: str) -> NDArray[Any]:
    """Values in [0, 1] in the depth asked for; 1 is its largest number."""
    if not depth:
        return values
    return np.rint(values * np.iinfo(depth).max).astype(depth)

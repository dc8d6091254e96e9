"""Overlays, which people keep: a saliency map over its image, with name and legend.

The strip below the picture says which image it is, what the model said, what the colours mean and
that it is for research. It is added below, so every place of the picture stays where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["HOT", "hot_region", "is_strongest_outside", "overlay", "png_bytes", "with_legend"]

# A region of attention: at least half of the map's maximum, as outlined in every overlay.
HOT = 0.5
# The part of the colour in the strongest spot; the picture must stay visible below it.
STRENGTH = 0.6
LEGEND = "attention: none to strongest; outlined: at least half of the strongest; no finding"
RESEARCH = "RESEARCH USE ONLY"


def hot_region(
    heat: NDArray[np.floating], inside: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Where attention is at least half of its maximum, (H, W).

    Args:
        heat: (H, W) in [0, 1].
        inside: (H, W) what may be marked: breast or disc, never air; None marks all.
    """
    kept = np.asarray(heat) if inside is None else np.where(inside, heat, 0.0)
    return np.asarray((kept >= HOT) & (kept > 0), dtype=bool)


def is_strongest_outside(heat: NDArray[np.floating], inside: NDArray[np.bool_]) -> bool:
    """Whether the strongest attention lies where nothing is shown: on air, a label, the rim.

    >>> is_strongest_outside(np.array([[0.4, 1.0]]), np.array([[True, False]]))
    True
    """
    kept = heat[inside].max(initial=0.0)
    return bool(heat.max(initial=0.0) > kept)


def overlay(picture: NDArray[np.uint8], saliency: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A saliency map over its picture.

    The picture turns grey, so that a colour can only mean saliency whatever the
    tissue or leaf; a double line, dark and light, bounds the half-maximum.

    Args:
        picture: (H, W, 3).
        saliency: (H, W) in [0, 1].

    Returns:
        (H, W, 3).
    """
    import cv2  # noqa: PLC0415  (slow; only for pictures)

    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    heat = np.clip(np.asarray(saliency, dtype=np.float32), 0, 1)
    # By table: evaluating the colours of a mammogram's 14 million pixels takes half a minute.
    color = _colours()[np.rint(255 * heat).astype(np.uint8)]
    weight = STRENGTH * heat[..., None]
    mixed = (1 - weight) * grey[..., None] + weight * color
    shown: NDArray[np.uint8] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    inside = (heat >= HOT).astype(np.uint8)
    if inside.any() and not inside.all():
        thick = max(1, round(min(inside.shape) / 160))
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, outlines, -1, (0, 0, 0), 3 * thick)
        cv2.drawContours(shown, outlines, -1, (255, 255, 255), thick)
    return shown


def _colours() -> NDArray[np.float32]:
    """(256, 3) colours of saliency from none to strongest, 0 to 255."""
    from matplotlib import colormaps  # noqa: PLC0415  (slow; only for pictures)

    return np.asarray(colormaps["viridis"](np.arange(256))[:, :3] * 255, dtype=np.float32)


def with_legend(picture: NDArray[np.uint8], lines: Sequence[str]) -> NDArray[np.uint8]:
    """The picture with a strip of words below it, which explains the colours.

    Args:
        picture: (H, W, 3).
        lines: what stands there: name, side, score, decision, doubt.

    Returns:
        (H + h, W, 3); rows 0 to H are the picture.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  (only for pictures)

    width = picture.shape[1]
    size = max(9, min(40, width // 45))
    font = ImageFont.load_default(size)
    words = [*lines, LEGEND, RESEARCH]
    wrapped = [part for line in words for part in _wrapped(line, font, width - size)]
    high = round(size * 1.35)
    strip = Image.new("RGB", (width, high * len(wrapped) + size + high))
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(wrapped):
        draw.text((size // 2, size // 2 + number * high), line, fill=(255, 255, 255), font=font)
    drawn = np.asarray(strip).copy()
    bar = _colours()[np.linspace(0, 255, min(width - size, 20 * size)).round().astype(int)]
    top = size // 2 + len(wrapped) * high
    drawn[top : top + high // 2, size // 2 : size // 2 + len(bar)] = bar.astype(np.uint8)
    return np.concatenate([picture, drawn], axis=0)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """RGB pixels as PNG."""
    import io  # noqa: PLC0415  (only for pictures)

    from PIL import Image  # noqa: PLC0415  (only for pictures)

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def _wrapped(line: str, font: object, width: int) -> list[str]:
    """A line cut at spaces so that it fits."""
    found, now = [], ""
    for word in line.split():
        longer = f"{now} {word}".strip()
        if now and font.getlength(longer) > width:  # type: ignore[attr-defined]
            found.append(now)
            now = word
        else:
            now = longer
    return [*found, now] if now else found

"""Synthetic cells under a microscope, with a known answer: round, spindle or granular.

A slide holds cells of one kind and gives several crops; stain and light belong to the slide
and say nothing about the kind, so a model that looks at colour alone must end at chance. The
file name says the slide: ``slide012_crop3.png``. Cells lie in any direction, so pictures may
be mirrored and turned. The pictures serve tests and the demo, and no claim about any tissue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CLASSES", "write_phantom"]

CLASSES = ("granular", "round", "spindle")
# Crops of successive slides of a class.
_CROPS = (2, 3, 2, 1)
_SIDE = 96


def write_phantom(out: Path, n: int, seed: int) -> Path:
    """Write ``n`` crops in class folders below ``out``; the same arguments give the same bytes.

    Args:
        out: folder to write to; made if absent.
        n: number of crops; 45 is the least that leaves every class several slides per split.
        seed: of all randomness; non-negative.

    Returns:
        ``out``.
    """
    done = slide = 0
    while done < n:
        kind = CLASSES[slide % len(CLASSES)]
        rng = np.random.default_rng([seed, slide])
        ground = rng.uniform((200, 170, 190), (245, 225, 240))
        stain = rng.uniform((70, 30, 80), (150, 110, 170))
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for crop in range(min(_CROPS[slide // len(CLASSES) % len(_CROPS)], n - done)):
            picture = _crop(kind, ground, stain, rng)
            Image.fromarray(picture).save(folder / f"slide{slide:03d}_crop{crop}.png")
            done += 1
        slide += 1
    return out


def _crop(
    kind: str, ground: NDArray[np.float64], stain: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One crop (96, 96, 3) with five to nine cells of a kind."""
    picture: NDArray[Any] = np.full((_SIDE, _SIDE, 3), ground, np.float32)
    for _ in range(int(rng.integers(5, 10))):
        centre = rng.integers(8, _SIDE - 8, 2).tolist()
        size = float(rng.uniform(7, 11))
        axes = (round(2.1 * size), round(0.42 * size)) if kind == "spindle" else (round(size),) * 2
        angle = float(rng.uniform(0, 180))
        colour = (stain * rng.uniform(0.85, 1.15)).tolist()
        cv2.ellipse(picture, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
        if kind == "granular":
            for _ in range(9):
                grain = (np.array(centre) + rng.normal(0, size / 2.4, 2)).round().astype(int)
                cv2.circle(picture, grain.tolist(), 1, ground.tolist(), -1, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.8)))
    picture += rng.normal(0, 4, picture.shape).astype(np.float32)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)

"""What random changes of training have in common, whatever they show: pose, and one stream.

``Pose`` scales, turns, shifts and brings to the final size in one resampling; ``Changes`` is
a pipeline whose steps draw from one stream of random numbers. Which steps change nothing
about a diagnosis is the app's question.

Importing this module imports albumentations; an app's ``augment`` imports it late.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import albumentations as A  # noqa: N812  (as its documentation)
import cv2
import numpy as np

from core.data.resizing import resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Changes", "Pose", "soft_or_compressed"]


class Pose(A.Affine):  # type: ignore[misc]
    """Scale, rotation, shear, shift and the step to the final size, in one resampling.

    Args:
        size_px: (H, W) of the result.
        scale: least and largest; 1 keeps the size.
        rotate: least and largest angle in degrees.
        translate: least and largest shift, as a share of the side.
        shear: least and largest angle in degrees.
        fill_of: image (H, W, C) -> the colour, in its dtype, of what comes into view; black
            without it.
    """

    def __init__(
        self,
        size_px: tuple[int, int],
        *,
        scale: tuple[float, float] = (0.85, 1.15),
        rotate: tuple[float, float] = (-20, 20),
        translate: tuple[float, float] = (-0.04, 0.04),
        shear: tuple[float, float] = (0, 0),
        fill_of: Callable[[NDArray[Any]], tuple[float, ...]] | None = None,
    ) -> None:
        super().__init__(
            scale=scale,
            rotate=rotate,
            shear=shear,
            translate_percent=translate,
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            p=1,
        )
        self.size_px = size_px
        self.fill_of = fill_of

    def apply(
        self,
        img: NDArray[Any],
        matrix: NDArray[Any],
        output_shape: tuple[int, int],
        **params: Any,
    ) -> NDArray[Any]:
        """Pixels after the change; ``matrix`` maps (col, row) of ``img`` to the changed image."""
        height, width = self.size_px
        step = _scaling(width / img.shape[1], height / img.shape[0])
        if img.shape[0] > 1.3 * height:
            # Linear sampling would skip pixels: average them first.
            img = resized(img, self.size_px, cv2.INTER_AREA)
            matrix = matrix @ np.linalg.inv(step)
        if self.fill_of is not None:
            # Albumentations takes one fill for every dtype; here it follows the image's.
            self.fill = self.fill_of(np.atleast_3d(img))
        return np.asarray(
            super().apply(img, matrix=step @ matrix, output_shape=self.size_px, **params)
        )

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """What albumentations shows of this step."""
        return ("size_px",)


class Changes(A.Compose):  # type: ignore[misc]
    """A pipeline whose steps draw from one stream, for images of 8 or 16 bits or in [0, 1]."""

    def set_random_seed(self, seed: int | None) -> None:
        """Make the changes of the next image a function of the seed.

        Albumentations 2.0.8 gives every step a generator of its own with this
        same seed, so that their draws coincide: an image would be mirrored
        left to right exactly when it is mirrored top to bottom. Here the
        steps share one generator.
        """
        self.seed = seed
        self.set_random_state(np.random.default_rng(seed), random.Random(seed))

    def __call__(self, **data: Any) -> dict[str, Any]:
        """The changed image, in the dtype it came in."""
        image = data.get("image")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint16:
            return dict(super().__call__(**data))
        # Its colour and compression steps know 8 bits and floats only.
        data["image"] = image.astype(np.float32) / 65535
        changed = dict(super().__call__(**data))
        changed["image"] = np.round(changed["image"].clip(0, 1) * 65535).astype(np.uint16)
        return changed


def _scaling(by_col: float, by_row: float) -> NDArray[np.float64]:
    """Matrix (3, 3) on (col, row, 1) that scales a picture; pixel centres stay centres."""
    return np.array([[by_col, 0, (by_col - 1) / 2], [0, by_row, (by_row - 1) / 2], [0, 0, 1]])


def soft_or_compressed(*, sigma: float, quality: int, p: float) -> A.OneOf:
    """A lens a little out of focus, or a file that was compressed again.

    Args:
        sigma: of the strongest blur, in pixels.
        quality: of the strongest compression, of 100.
        p: how often one of the two is done.
    """
    return A.OneOf(
        [
            A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, sigma), p=1),
            A.ImageCompression(quality_range=(quality, 95), p=1),
        ],
        p=p,
    )

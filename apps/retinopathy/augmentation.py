"""Random changes of a fundus photograph that do not change its grade; training only.

A retina has no upright pose in this preparation, so it is turned to any angle and
mirrored. Light, focus and compression vary as they do between cameras. Hue hardly
does: the difference between a haemorrhage and a pigment spot is one of hue.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import albumentations as A  # noqa: N812  (as its documentation)
import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HUE_LIMIT", "FundusChanges", "Pose", "fundus_changes"]

# Half degrees of the hue circle, the unit of albumentations: 6 degrees either way, about
# the difference between two cameras' reds.
HUE_LIMIT = 3


class Pose(A.Affine):  # type: ignore[misc]
    """Turn, scale, shear, shift and the step to the final size, in one resampling.

    What comes into view is black, as outside of the disc.

    Args:
        size_px: (H, W) of the result.
    """

    def __init__(self, size_px: tuple[int, int]) -> None:
        super().__init__(
            scale=(0.9, 1.15),
            rotate=(-180, 180),
            shear=(-6, 6),
            translate_percent=(-0.03, 0.03),
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            p=1,
        )
        self.size_px = size_px

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
            img = cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA)
            matrix = matrix @ np.linalg.inv(step)
        return np.asarray(
            super().apply(img, matrix=step @ matrix, output_shape=self.size_px, **params)
        )

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """What albumentations shows of this step."""
        return ("size_px",)


class FundusChanges(A.Compose):  # type: ignore[misc]
    """A pipeline whose steps draw from one stream, for images of 8 or 16 bits or in [0, 1]."""

    def set_random_seed(self, seed: int | None) -> None:
        """Make the changes of the next image a function of the seed.

        The seeding of albumentations 2.0.8 starts every step from this same
        seed, so that what two steps draw goes together; here all share one
        generator.
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


def fundus_changes(size_px: tuple[int, int]) -> FundusChanges:
    """The pipeline for images of this size or larger.

    Args:
        size_px: (H, W) of the result. The pixels that come in have the same
            shape of frame and are mostly larger, so that what is drawn nearer stays sharp.
    """
    return FundusChanges(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            Pose(size_px),
            # Contrast multiplies and brightness adds in albumentations: exposure, which keeps
            # the hue, and next to no haze, which would light the black surround.
            A.RandomBrightnessContrast(brightness_limit=0.02, contrast_limit=0.2, p=0.5),
            A.RandomGamma(gamma_limit=(75, 135), p=0.4),
            A.Illumination(mode="linear", intensity_range=(0.05, 0.2), effect_type="both", p=0.25),
            A.HueSaturationValue(
                hue_shift_limit=HUE_LIMIT, sat_shift_limit=15, val_shift_limit=0, p=0.3
            ),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.2), p=1),
                    A.ImageCompression(quality_range=(55, 95), p=1),
                ],
                p=0.2,
            ),
        ]
    )


def _scaling(by_col: float, by_row: float) -> NDArray[np.float64]:
    """Matrix (3, 3) on (col, row, 1) that scales a picture; pixel centres stay centres."""
    return np.array([[by_col, 0, (by_col - 1) / 2], [0, by_row, (by_row - 1) / 2], [0, 0, 1]])

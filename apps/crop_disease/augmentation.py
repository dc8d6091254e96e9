"""Random changes of a leaf photo that do not change its diagnosis; training only.

Pose, light and lens vary as they do between two photos of one leaf. Colour
hardly does, because colour is the symptom: rust is told from a leaf spot by
its orange. Nothing is cut out of the picture, for the one lesion that names the
disease may be at the margin.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import albumentations as A  # noqa: N812  (as its documentation)
import cv2
import numpy as np

from apps.crop_disease.padding import padding_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HUE_LIMIT", "LeafChanges", "Pose", "leaf_changes"]

# Share of the hue circle: 0.02 is 7 degrees, a fifth of the way from orange to yellow.
HUE_LIMIT = 0.02


class Pose(A.Affine):  # type: ignore[misc]
    """Scale, rotation, shift and the step to the final size, in one resampling.

    What comes into view is filled as ``prepare`` pads.

    Args:
        size_px: (H, W) of the result.
    """

    def __init__(self, size_px: tuple[int, int]) -> None:
        super().__init__(
            scale=(0.85, 1.15),
            rotate=(-20, 20),
            translate_percent=(-0.04, 0.04),
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_CONSTANT,
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
        reduce = _scaling((width / img.shape[1], height / img.shape[0]))
        if img.shape[0] > 1.3 * height:
            # Linear sampling would skip pixels: average them first.
            img = cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA)
            matrix = matrix @ np.linalg.inv(reduce)
        # Albumentations takes one fill for every dtype; here it follows the image's.
        self.fill = padding_for(np.atleast_3d(img))
        changed = super().apply(img, matrix=reduce @ matrix, output_shape=self.size_px, **params)
        return np.asarray(changed)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """What albumentations shows of this step."""
        return ("size_px",)


class LeafChanges(A.Compose):  # type: ignore[misc]
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


def leaf_changes(size_px: tuple[int, int]) -> LeafChanges:
    """The pipeline for images of this size or larger.

    Args:
        size_px: (H, W) of the result. The pixels that come in have the same
            shape of frame and are mostly larger, so that a leaf drawn nearer stays sharp.
    """
    height, width = size_px
    # A quarter turn would squeeze a leaf into a frame that is not square.
    mirror = [A.D4(p=1)] if height == width else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    return LeafChanges(
        [
            *mirror,
            Pose(size_px),
            # In albumentations contrast multiplies and brightness adds: this is exposure,
            # which keeps the hue, and next to no offset, which would not.
            A.RandomBrightnessContrast(brightness_limit=0.02, contrast_limit=0.2, p=0.6),
            A.HueSaturationValue(
                # Its unit is half degrees of the hue circle, then 8-bit steps.
                hue_shift_limit=HUE_LIMIT * 180,
                sat_shift_limit=8,
                val_shift_limit=0,
                p=0.3,
            ),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 0.9), p=1),
                    A.ImageCompression(quality_range=(60, 95), p=1),
                ],
                p=0.15,
            ),
        ]
    )


def _scaling(factors: tuple[float, float]) -> NDArray[np.float64]:
    """Matrix (3, 3) on (col, row, 1) that scales a picture; pixel centres stay centres."""
    by_col, by_row = factors
    return np.array([[by_col, 0, (by_col - 1) / 2], [0, by_row, (by_row - 1) / 2], [0, 0, 1]])

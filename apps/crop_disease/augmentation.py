"""Random changes of a leaf photo that do not change its diagnosis; training only.

Pose, light and lens vary as they do between two photos of one leaf. Colour
hardly does, because colour is the symptom: rust is told from a leaf spot by
its orange. Nothing is cut out of the picture, for the one lesion that names the
disease may be at the margin.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

import albumentations as A  # noqa: N812  (as its documentation)

from core.data.augmentation import Changes, Pose, soft_or_compressed
from core.data.framing import padding_for

__all__ = ["HUE_LIMIT", "leaf_changes"]

# Share of the hue circle: 0.02 is 7 degrees, a fifth of the way from orange to yellow.
HUE_LIMIT = 0.02


def leaf_changes(size_px: tuple[int, int]) -> Changes:
    """The pipeline that gives images of this size (H, W); see ``App.augment``."""
    height, width = size_px
    # A quarter turn would squeeze a leaf into a frame that is not square.
    mirror = [A.D4(p=1)] if height == width else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    return Changes(
        [
            *mirror,
            # What comes into view is filled as ``prepare`` pads.
            Pose(size_px, fill_of=padding_for),
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
            soft_or_compressed(sigma=0.9, quality=60, p=0.15),
        ]
    )

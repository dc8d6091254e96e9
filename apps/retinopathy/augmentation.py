"""Random changes of a fundus photograph that do not change its grade; training only.

A retina has no upright pose in this preparation, so it is turned to any angle and
mirrored. Light, focus and compression vary as they do between cameras. Hue hardly
does: the difference between a haemorrhage and a pigment spot is one of hue.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

import albumentations as A  # noqa: N812  (as its documentation)

from core.data.augmentation import Changes, Pose, soft_or_compressed

__all__ = ["HUE_LIMIT", "fundus_changes"]

# Half degrees of the hue circle, the unit of albumentations: 6 degrees either way, about
# the difference between two cameras' reds.
HUE_LIMIT = 3


def fundus_changes(size_px: tuple[int, int]) -> Changes:
    """The pipeline that gives images of this size (H, W); see ``App.augment``."""
    return Changes(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            # What comes into view is black, as outside of the disc.
            Pose(
                size_px,
                scale=(0.9, 1.15),
                rotate=(-180, 180),
                shear=(-6, 6),
                translate=(-0.03, 0.03),
            ),
            # Contrast multiplies and brightness adds in albumentations: exposure, which keeps
            # the hue, and next to no haze, which would light the black surround.
            A.RandomBrightnessContrast(brightness_limit=0.02, contrast_limit=0.2, p=0.5),
            A.RandomGamma(gamma_limit=(75, 135), p=0.4),
            A.Illumination(mode="linear", intensity_range=(0.05, 0.2), effect_type="both", p=0.25),
            A.HueSaturationValue(
                hue_shift_limit=HUE_LIMIT, sat_shift_limit=15, val_shift_limit=0, p=0.3
            ),
            soft_or_compressed(sigma=1.2, quality=55, p=0.2),
        ]
    )

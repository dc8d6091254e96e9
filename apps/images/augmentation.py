"""Random changes of an image of which nothing is known but what the audit measured.

Small changes of pose and exposure keep what most images show; a mirror image is drawn only
where the data allow it (``core.data.symmetry``). Hue is left alone, for in stained tissue, on
leaves and in satellite pictures colour is the sign itself, and nothing is cut out.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

import albumentations as A  # noqa: N812  (as its documentation)

from core.data.augmentation import Changes, Pose
from core.data.framing import padding_for

__all__ = ["changes"]

# Degrees to either side. A picture with an upright pose is seldom taken further off.
TILT, TURN = 8, 20


def changes(size_px: tuple[int, int], symmetry: str) -> Changes:
    """The pipeline for images of this size or larger.

    Args:
        size_px: (H, W) of the result.
        symmetry: ``none``, ``left_right``, ``both`` or ``any``, as ``core.data.symmetry`` has it.
    """
    height, width = size_px
    # A quarter turn would squeeze a picture into a frame that is not square.
    flips = {
        "none": [],
        "left_right": [A.HorizontalFlip(p=0.5)],
        "both": [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)],
        "any": [A.D4(p=1)] if height == width else [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)],
    }[symmetry]
    tilt = TURN if symmetry in {"both", "any"} else TILT
    return Changes(
        [
            *flips,
            Pose(size_px, scale=(0.88, 1.15), rotate=(-tilt, tilt), fill_of=padding_for),
            # In albumentations contrast multiplies and brightness adds: exposure, which keeps
            # the hue, and next to no offset.
            A.RandomBrightnessContrast(brightness_limit=0.03, contrast_limit=0.2, p=0.6),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 0.9), p=1),
                    A.ImageCompression(quality_range=(60, 95), p=1),
                ],
                p=0.15,
            ),
        ]
    )

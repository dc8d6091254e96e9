"""Random changes of an image of which nothing is known but what the audit measured.

Small changes of pose and exposure keep what most images show; a mirror image is drawn only
where the data allow it (``core.data.symmetry``). A volume is turned, scaled and shifted as one
body, a little, and never mirrored. Hue is left alone, for in stained tissue, on
leaves and in satellite pictures colour is the sign itself, and nothing is cut out.

Importing this module imports albumentations; ``images.augment`` is the way in.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import albumentations as A  # noqa: N812  (as its documentation)
import numpy as np

from core.base.volumes import LEAST_SLICES
from core.data.augmentation import Changes, Pose, soft_or_compressed
from core.data.framing import padding_for
from core.data.prepared import resize_to

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

__all__ = ["changes"]

# Degrees to either side. A picture with an upright pose is seldom taken further off.
TILT, TURN = 8, 20


# Largest turn of a volume about each axis, in radians; change of its size; shift in voxels.
_ROTATE, _SCALE, _SHIFT = 0.15, 0.12, 3


class PictureOrVolume:
    """Changes a picture by albumentations, and a volume as one body by MONAI.

    Args:
        size_px: (H, W) of the result.
        pictures: the pipeline for pictures.
    """

    def __init__(self, size_px: tuple[int, int], pictures: Changes) -> None:
        self.size_px = size_px
        self.pictures = pictures
        self.state = 0

    def set_random_state(self, rng: np.random.Generator, other: random.Random) -> None:
        """Begin the stream of random numbers."""
        self.pictures.set_random_state(rng, other)
        self.state = int(rng.integers(2**31))

    def __call__(self, image: NDArray[Any]) -> dict[str, Any]:
        """``image`` (H, W, C) changed, to ``size_px``."""
        if image.shape[2] < LEAST_SLICES:
            made: dict[str, Any] = self.pictures(image=image)
            return made
        body = resize_to(image, self.size_px)[None].astype(np.float32)
        self._volumes.set_random_state(seed=self.state)
        changed = np.asarray(self._volumes(body))[0]
        return {"image": np.clip(np.round(changed), 0, 255).astype(image.dtype)}

    @cached_property
    def _volumes(self) -> Any:
        """The changes of a volume (1, H, W, D)."""
        # Only volumes need MONAI, which takes seconds to import.
        from monai.transforms.compose import Compose  # noqa: PLC0415
        from monai.transforms.intensity.array import RandGaussianSmooth, RandScaleIntensity  # noqa: PLC0415
        from monai.transforms.spatial.array import RandAffine  # noqa: PLC0415

        return Compose(
            [
                RandAffine(
                    prob=1,
                    # The last axis is that of the slices.
                    rotate_range=(_ROTATE,) * 3,
                    scale_range=(_SCALE,) * 3,
                    translate_range=(_SHIFT,) * 3,
                    padding_mode="zeros",
                    mode="bilinear",
                ),
                RandScaleIntensity(factors=0.2, prob=0.6),
                RandGaussianSmooth((0.3, 0.8), (0.3, 0.8), (0.3, 0.8), prob=0.1),
            ]
        )


def changes(size_px: tuple[int, int], symmetry: str) -> PictureOrVolume:
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
    pictures = Changes(
        [
            *flips,
            Pose(size_px, scale=(0.88, 1.15), rotate=(-tilt, tilt), fill_of=padding_for),
            # In albumentations contrast multiplies and brightness adds: exposure, which keeps
            # the hue, and next to no offset.
            A.RandomBrightnessContrast(brightness_limit=0.03, contrast_limit=0.2, p=0.6),
            soft_or_compressed(sigma=0.9, quality=60, p=0.15),
        ]
    )
    return PictureOrVolume(size_px, pictures)

"""Out-of-distribution score: Mahalanobis distance of the embedding; 1 is the 95th percentile.

The distance from the embeddings of training in the directions in which these
vary, plus what lies outside of them, scaled by the validation images. It answers "is
this the kind of picture the model knows?", not "is the answer right?".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Familiarity", "fit_familiarity"]

DIRECTIONS = 32


@dataclass(frozen=True)
class Familiarity:
    """Where training images lie in the space of embeddings.

    Attributes:
        mean: (D,).
        directions: (D, R) orthonormal.
        variance: (R,) along them.
        rest: mean squared distance outside of them.
        scale: distance that counts as 1.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    variance: NDArray[np.float32]
    rest: float
    scale: float

    def distance(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, D) embeddings -> (N,) distances; above 1 is rarer than 1 in 20 of validation."""
        return self._raw(embeddings) / self.scale

    def _raw(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        centred = embeddings.astype(np.float64) - self.mean
        inside = centred @ self.directions
        outside = np.maximum((centred**2).sum(1) - (inside**2).sum(1), 0.0)
        squared = (inside**2 / self.variance).mean(1) + outside / self.rest
        return np.asarray(np.sqrt(squared))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays to be stored beside the weights."""
        return {
            "mean": self.mean,
            "directions": self.directions,
            "variance": self.variance,
            "rest_scale": np.array([self.rest, self.scale], dtype=np.float32),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[np.float32]]) -> Familiarity:
        """The inverse of ``tensors``."""
        rest, scale = (float(v) for v in tensors["rest_scale"])
        return cls(tensors["mean"], tensors["directions"], tensors["variance"], rest, scale)


def fit_familiarity(train: NDArray[np.float32], val: NDArray[np.float32]) -> Familiarity:
    """Fit on training embeddings, scale on validation embeddings.

    Args:
        train: (N, D), N at least 2.
        val: (M, D), not seen in training.
    """
    mean = train.mean(0)
    centred = (train - mean).astype(np.float64)
    # Directions from the smaller of the two Gram matrices' sides.
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    kept = max(1, min(DIRECTIONS, len(train) // 4, int((singular > 1e-6 * singular[0]).sum())))
    directions = rows[:kept].T
    variance = np.maximum(singular[:kept] ** 2 / max(1, len(train) - 1), 1e-12)
    outside = (centred**2).sum(1) - ((centred @ directions) ** 2).sum(1)
    rest = max(float(outside.mean()), 1e-12)
    unscaled = Familiarity(
        mean.astype(np.float32),
        directions.astype(np.float32),
        variance.astype(np.float32),
        rest,
        1.0,
    )
    scale = float(np.percentile(unscaled._raw(val if len(val) else train), 95))
    return Familiarity(
        unscaled.mean, unscaled.directions, unscaled.variance, rest, max(scale, 1e-12)
    )

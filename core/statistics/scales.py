"""Scales without ends, on which intervals of shares, agreements and losses are symmetric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AT_END", "SCALES", "Scale"]

# A value this near to an end of its scale is at the end.
AT_END = 1e-12
# Beyond this the exponential overflows.
FAR = 700.0


@dataclass(frozen=True)
class Scale:
    """A scale without ends.

    Attributes:
        name: in words.
        forward, back: onto it and from it.
        slope: derivative of ``back`` at a value, on the value's own scale.
        is_skewed: whether the values without each group are brought onto it, too, and not
            the value alone: where a few cases can raise the number much.
    """

    name: str
    forward: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    is_skewed: bool = False


SCALES = {
    # Of a share or an area, in [0, 1].
    "share": Scale(
        "log odds", lambda v: float(logit(v)), lambda t: float(expit(t)), lambda v: v * (1 - v)
    ),
    # Of a kappa or a correlation, in [-1, 1].
    "agreement": Scale(
        "Fisher's z",
        lambda v: float(np.arctanh(v)),
        lambda t: float(np.tanh(t)),
        lambda v: 1 - v * v,
    ),
    # Of a mean loss or error, 0 or more.
    "loss": Scale(
        "logarithm",
        lambda v: float(np.log(v)),
        lambda t: float(np.exp(min(t, FAR))),
        lambda v: v,
        True,
    ),
    # Of a skill score, 1 or less.
    "skill": Scale(
        "logarithm of 1 minus it",
        lambda v: float(-np.log(1 - v)),
        lambda t: float(1 - np.exp(min(-t, FAR))),
        lambda v: 1 - v,
    ),
    # Of a difference, or of a number whose ends are not known.
    "plain": Scale("", lambda v: v, lambda t: t, lambda _: 1.0),
}

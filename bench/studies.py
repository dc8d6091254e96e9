"""Simulated studies whose truth is known: patients with several images, scored by two models.

The number of positives is a matter of chance, as in any sample that was not put together by
class. Images of a patient share their truth and part of their noise. Scores are the true
chances given one image, so they are calibrated; both models are equally good, so every
difference between them, and between two samples, is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit, softmax
from scipy.stats import norm

from core.app import Cases, Task
from core.evaluation.cases import Level
from core.statistics.resampling import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TASKS", "Study", "draw", "levels_of"]

TASKS = {
    "binary": Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",)),
    "ordinal": Task(
        name="g", kind="ordinal", classes=("0", "1", "2", "3", "4"), positive=("2", "3", "4")
    ),
    "multiclass": Task(name="c", kind="multiclass", classes=("a", "b", "c", "d")),
    "multilabel": Task(name="l", kind="multilabel", classes=("x", "y", "z")),
}
# Shares of the grades 0 to 4 in EyePACS, 0 to 3 of them cumulated.
GRADES = np.cumsum([0.735, 0.07, 0.15, 0.025])
PRIORS = np.array([0.5, 0.25, 0.15, 0.1])
LABELS = np.array([0.3, 0.15, 0.1])


@dataclass(frozen=True)
class Study:
    """A kind of study.

    Attributes:
        kind: of the task.
        patients: how many.
        prevalence: share of positive patients, of a binary task.
        icc: share of the noise that the images of a patient have in common.
        shift: distance of the classes; 1.6 gives an area of .87 under the ROC curve.
        shared: share of the noise that both models have in common.
    """

    kind: str = "binary"
    patients: int = 60
    prevalence: float = 0.3
    icc: float = 0.3
    shift: float = 1.6
    shared: float = 0.7

    @property
    def words(self) -> str:
        """A short name."""
        if self.kind == "binary":
            far = ", strong" if self.shift > 2 else ""
            return f"{self.patients}/{self.prevalence:g}/{self.icc:g}{far}"
        return f"{self.kind} {self.patients}/{self.icc:g}"


def _noise(
    rng: np.random.Generator, patient: NDArray[np.int_], icc: float, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Standard normal noise of each image, part of it that of its patient."""
    own = rng.standard_normal((len(patient), *shape))
    common = rng.standard_normal((int(patient.max()) + 1, *shape))[patient]
    return np.asarray(np.sqrt(icc) * common + np.sqrt(1 - icc) * own)


def draw(
    rng: np.random.Generator, study: Study, patients: int | None = None
) -> tuple[list[Cases], NDArray[np.int_]]:
    """The images of one study as scored by two models, and the patient of each (N,)."""
    n = patients or study.patients
    sizes = np.full(n, 2) if study.kind == "ordinal" else rng.integers(2, 5, n)
    patient = np.repeat(np.arange(n), sizes)
    shape = {"multiclass": (4,), "multilabel": (3,)}.get(study.kind, ())
    common = _noise(rng, patient, study.icc, shape)
    noises = [
        np.sqrt(study.shared) * common
        + np.sqrt(1 - study.shared) * _noise(rng, patient, study.icc, shape)
        for _ in range(2)
    ]
    of = {"binary": _binary, "ordinal": _ordinal, "multiclass": _classes, "multilabel": _labels}
    y, found = of[study.kind](rng, study, n, patient, noises)
    positive = TASKS[study.kind].positive_index
    ones = np.ones(len(patient))
    return [Cases(y, scores, decided, ones, positive) for scores, decided in found], patient


Scored = list[tuple[Any, Any]]


def _binary(
    rng: np.random.Generator, study: Study, n: int, patient: NDArray[np.int_], noises: list[Any]
) -> tuple[Any, Scored]:
    y = (rng.random(n) < study.prevalence).astype(int)[patient]
    found = []
    for noise in noises:
        odds = logit(study.prevalence) + study.shift * (noise + study.shift * y)
        p = expit(odds - study.shift**2 / 2)
        # Called at the prevalence, as in screening: half of the cases would be found at .5.
        found.append((np.column_stack([1 - p, p]), (p >= study.prevalence).astype(int)))
    return y, found


def _ordinal(
    rng: np.random.Generator, study: Study, n: int, patient: NDArray[np.int_], noises: list[Any]
) -> tuple[Any, Scored]:
    severity = _noise(rng, patient, 0.8, ())
    cuts, blur = norm.ppf(GRADES), 0.45
    found = []
    for noise in noises:
        middle = (severity + blur * noise) / (1 + blur**2)
        spread = blur / np.sqrt(1 + blur**2)
        edges = norm.cdf((cuts[None] - middle[:, None]) / spread)
        zero, one = np.zeros((len(patient), 1)), np.ones((len(patient), 1))
        p = np.diff(np.concatenate([zero, edges, one], axis=1), axis=1)
        found.append((p, (np.cumsum(p, axis=1) < 0.5 - 1e-12).sum(axis=1).clip(max=4)))
    return np.searchsorted(cuts, severity), found


def _classes(
    rng: np.random.Generator, study: Study, n: int, patient: NDArray[np.int_], noises: list[Any]
) -> tuple[Any, Scored]:
    y = rng.choice(4, n, p=PRIORS)[patient]
    found = []
    for noise in noises:
        seen = noise + study.shift * np.eye(4)[y]
        p = softmax(study.shift * seen + np.log(PRIORS), axis=1)
        found.append((p, p.argmax(axis=1)))
    return y, found


def _labels(
    rng: np.random.Generator, study: Study, n: int, patient: NDArray[np.int_], noises: list[Any]
) -> tuple[Any, Scored]:
    y = (rng.random((n, 3)) < LABELS).astype(int)[patient]
    found = []
    for noise in noises:
        odds = logit(LABELS) + study.shift * (noise + study.shift * y)
        p = expit(odds - study.shift**2 / 2)
        found.append((p, (p >= 0.3).astype(int)))
    return y, found


def levels_of(
    rng: np.random.Generator,
    study: Study,
    *,
    resamples: int,
    seed: int,
    patients: int | None = None,
) -> list[Level]:
    """One study as the product sees it: a level for each model."""
    found, patient = draw(rng, study, patients)
    groups = np.array([f"p{number:06}" for number in patient])
    return [
        Level.of(
            "image",
            cases,
            groups,
            task=TASKS[study.kind],
            draws=Draws(resamples=resamples, seed=seed, word="patient"),
        )
        for cases in found
    ]

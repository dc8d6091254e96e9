"""Do the intervals cover what they claim? Simulated studies whose truth is known.

Each study has 200 patients with one to four images; images of a patient share a
random effect of standard deviation 1.2 on the logit scale. Sensitivity and the
area under the ROC curve are those of images of new patients, and known exactly
by quadrature. The short version runs always; the full one, 1,000 studies of
2,000 resamples, takes minutes: ``RESIGHT_SLOW=1 pytest tests/test_coverage.py``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import expit

from core.errors import MetricError
from core.statistics.delong import delong, newcombe_auroc
from core.statistics.discrimination import Ranking, auroc
from core.statistics.intervals import cluster_proportion, wilson
from core.statistics.resampling import bootstrap, percentile_interval, resample_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

slow = pytest.mark.skipif(
    not os.environ.get("RESIGHT_SLOW"), reason="takes minutes; set RESIGHT_SLOW=1 to run it"
)

PATIENTS = 200
EFFECT = 1.2
SHIFT = 1.5
NODES, MASS = np.polynomial.hermite_e.hermegauss(120)
MASS = MASS / MASS.sum()
# A positive image is called when its score is above 0.
TRUE_SENSITIVITY = float(MASS @ expit(SHIFT + EFFECT * NODES))


def logistic_difference(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(L1 - L0 <= x) for two independent standard logistic variables."""
    e = np.exp(-np.where(np.abs(x) < 1e-6, 1e-6, x))
    return 1 / (1 - e) + np.log(e) * e / (1 - e) ** 2


# Two patients differ by SHIFT + sqrt(2) * EFFECT * normal + difference of logistics.
TRUE_AREA = float(MASS @ logistic_difference(SHIFT + np.sqrt(2) * EFFECT * NODES))


def study(
    rng: np.random.Generator,
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.int_]]:
    """Labels, scores and patients of the images of one study; half the patients are positive."""
    patient = np.repeat(np.arange(PATIENTS), rng.integers(1, 5, PATIENTS))
    y = (np.arange(PATIENTS) % 2)[patient]
    effect = EFFECT * rng.standard_normal(PATIENTS)
    score = SHIFT * y + effect[patient] + rng.logistic(size=len(patient))
    return y, score, patient


def coverage(studies: int, resamples: int, seed: int) -> dict[str, float]:
    """Share of studies whose 95 % interval holds the truth, by method."""
    rng = np.random.default_rng(seed)
    held: dict[str, int] = {}

    def note(name: str, ends: tuple[float, float], truth: float) -> None:
        held[name] = held.get(name, 0) + (ends[0] <= truth <= ends[1])

    for i in range(studies):
        y, score, patient = study(rng)
        hit = (score > 0)[y == 1]
        of = patient[y == 1]
        note("sensitivity, Wilson over images", wilson(hit.sum(), len(hit)).ends, TRUE_SENSITIVITY)
        for scale in ("wald", "wilson"):
            found = cluster_proportion(hit, of, scale=scale).ends
            note(f"sensitivity, ratio estimator ({scale})", found, TRUE_SENSITIVITY)
        ranking = Ranking(y, score)
        for name, groups in (("patients", patient), ("images", None)):
            plan = resample_groups(groups, n=len(y), outcome=y, resamples=resamples, seed=i)
            positive = (y == 1).astype(float)
            called = positive * (score > 0)

            def both(
                w: NDArray[np.float64],
                p: NDArray[np.float64] = positive,
                c: NDArray[np.float64] = called,
                r: Ranking = ranking,
            ) -> NDArray[np.float64]:
                return np.stack([(w @ c) / (w @ p), r.auroc(w)], axis=1)

            drawn = bootstrap(both, plan)
            note(
                f"sensitivity, bootstrap of {name}",
                percentile_interval(drawn[:, 0]),
                TRUE_SENSITIVITY,
            )
            note(f"AUROC, bootstrap of {name}", percentile_interval(drawn[:, 1]), TRUE_AREA)
        note("AUROC, DeLong over images", delong(y, score).ends, TRUE_AREA)
    return {name: count / studies for name, count in held.items()}


def test_bootstrap_by_patient_covers_and_by_image_does_not() -> None:
    found = coverage(studies=120, resamples=200, seed=7)
    for number in ("sensitivity", "AUROC"):
        # 120 studies tell a coverage to 2 points, 200 resamples cost another.
        assert found[f"{number}, bootstrap of patients"] >= 0.90
        # The planted fault: images drawn as if they were independent.
        assert found[f"{number}, bootstrap of images"] < 0.90
    assert found["sensitivity, ratio estimator (wilson)"] >= 0.92
    assert found["sensitivity, Wilson over images"] < 0.92
    assert found["AUROC, DeLong over images"] < 0.90


@slow
def test_full_coverage_simulation() -> None:
    found = coverage(studies=1000, resamples=2000, seed=2026)
    report = "\n".join(f"{name:45s} {share:.3f}" for name, share in found.items())
    for number in ("sensitivity", "AUROC"):
        assert 0.93 <= found[f"{number}, bootstrap of patients"] <= 0.97, report
        assert found[f"{number}, bootstrap of images"] < 0.92, report
    assert 0.93 <= found["sensitivity, ratio estimator (wilson)"] <= 0.97, report


def independent(
    n_positive: int, studies: int, seed: int, interval: Callable[..., tuple[float, float]]
) -> float:
    """Coverage of an interval of the area 0.9 with few positive and 100 negative cases."""
    rng = np.random.default_rng(seed)
    # Normal scores: area = Phi(shift / sqrt(2)) = 0.9.
    shift = 1.2815515655446004 * np.sqrt(2)
    y = np.r_[np.ones(n_positive, dtype=int), np.zeros(100, dtype=int)]
    held = 0
    for _ in range(studies):
        score = rng.standard_normal(len(y)) + shift * y
        low, high = interval(y, score)
        held += low <= 0.9 <= high
    return held / studies


def of_delong(y: NDArray[np.int_], score: NDArray[np.float64]) -> tuple[float, float]:
    """DeLong's interval; a perfect result as DeLong itself has it."""
    area = auroc(y, score)
    if area == 1.0:
        return 1.0, 1.0
    return delong(y, score).ends


def of_newcombe(y: NDArray[np.int_], score: NDArray[np.float64]) -> tuple[float, float]:
    return newcombe_auroc(auroc(y, score), int(y.sum()), int((1 - y).sum())).ends


@pytest.mark.parametrize("n_positive", [3, 5, 10, 30])
def test_few_positives_break_delong_but_not_newcombe(n_positive: int) -> None:
    by_delong = independent(n_positive, 300, 3, of_delong)
    by_newcombe = independent(n_positive, 300, 3, of_newcombe)
    assert by_newcombe >= 0.92
    if n_positive < 10:
        assert by_delong < 0.90


@pytest.mark.parametrize("n_positive", [3, 5, 10, 30])
def test_wilson_covers_on_average_over_proportions(n_positive: int) -> None:
    # Exact: the binomial chance of every count whose interval holds the proportion.
    from scipy.stats import binom  # noqa: PLC0415

    shares = np.linspace(0.02, 0.98, 97)
    ends = [wilson(x, n_positive).ends for x in range(n_positive + 1)]
    chance = [
        sum(binom.pmf(x, n_positive, p) for x, (low, high) in enumerate(ends) if low <= p <= high)
        for p in shares
    ]
    assert np.mean(chance) >= 0.92


def test_truths_of_the_simulation_agree_with_brute_force() -> None:
    rng = np.random.default_rng(1)
    n = 400_000
    one = SHIFT + EFFECT * rng.standard_normal(n) + rng.logistic(size=n)
    other = EFFECT * rng.standard_normal(n) + rng.logistic(size=n)
    assert (one > 0).mean() == pytest.approx(TRUE_SENSITIVITY, abs=0.003)
    assert (one > other).mean() == pytest.approx(TRUE_AREA, abs=0.003)


def test_one_group_alone_has_no_interval() -> None:
    with pytest.raises(MetricError, match="one group"):
        cluster_proportion([1, 0], ["a", "a"])

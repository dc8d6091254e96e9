"""Sizes of studies: published examples, and simulation of what they promise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

from core.cli.main import build
from core.errors import MetricError
from core.statistics.comparisons import mcnemar
from core.statistics.delong import delong, delong_paired
from core.statistics.intervals import wilson
from core.statistics.study_size import (
    Aim,
    cases_for_area_width,
    cases_for_better_area,
    cases_for_better_proportion,
    cases_for_proportion_width,
    plan,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_the_interval_of_a_share_is_as_narrow_as_asked_and_no_narrower() -> None:
    n = cases_for_proportion_width(0.9, 0.05)
    for cases, holds in ((n, True), (n - 1, False)):
        # On the very share, which need not be a whole number of cases.
        z = 1.959963984540054
        half = z * np.sqrt(0.09 / cases + z * z / (4 * cases**2)) / (1 + z * z / cases)
        assert bool(half <= 0.05) is holds
    # And of whole cases: 127 of 141.
    low, high = wilson(127, 141).ends
    assert (high - low) / 2 == pytest.approx(0.05, abs=0.001)


def two_scores(
    rng: np.random.Generator, areas: tuple[float, float], n: int, ratio: float
) -> tuple[NDArray[np.int_], list[NDArray[np.float64]]]:
    """Labels, and two normal scores of the same cases with these areas; half is common to both."""
    m = round(n * ratio)
    y = np.repeat([1, 0], [n, m])
    common = rng.standard_normal(n + m)
    # Of normal scores the area is Phi(shift / sqrt(2)).
    shifts = [np.sqrt(2) * norm.ppf(area) for area in areas]
    return y, [np.sqrt(0.5) * (common + rng.standard_normal(n + m)) + shift * y for shift in shifts]


@pytest.mark.parametrize(("area", "ratio"), [(0.8, 9.0), (0.8, 0.25), (0.9, 1.0)])
def test_the_interval_of_an_area_is_as_narrow_as_asked(area: float, ratio: float) -> None:
    n = cases_for_area_width(area, 0.05, ratio)
    rng = np.random.default_rng(2)
    half = []
    for _ in range(60):
        y, (score, _) = two_scores(rng, (area, area), n, ratio)
        low, high = delong(y, score, scale="logit").ends
        half.append((high - low) / 2)
    # Hanley and McNeil's variance would give 0.043 and 0.056 for the first two.
    assert np.mean(half) == pytest.approx(0.05, abs=0.003)


def test_paired_shares_are_told_apart_as_often_as_promised() -> None:
    # Discordant cases: 5 % of one kind and 15 % of the other.
    n = cases_for_better_proportion(0.8, 0.9, discordant=0.2, power=0.8)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, [0.05, 0.15, 0.8], size=1500)
    pairs, often = np.unique(drawn[:, :2], axis=0, return_counts=True)
    called = [(mcnemar(int(a), int(b)).p or 1) < 0.05 for a, b in pairs]
    plain = np.average(called, weights=often)
    assert plain == pytest.approx(0.8, abs=0.04)


def test_models_cannot_differ_on_more_cases_than_one_of_them_misses() -> None:
    # Right on .9 and .85: both right on at least .75, so only one is right on .25 at most.
    assert cases_for_better_proportion(0.9, 0.85, discordant=0.25, power=0.8) > 0
    assert cases_for_better_proportion(0.9, 0.85, discordant=0.05, power=0.8) > 0
    for discordant in (0.26, 0.9, 0.04):
        with pytest.raises(MetricError, match=r"0\.05 to 0\.25 of the cases"):
            cases_for_better_proportion(0.9, 0.85, discordant=discordant, power=0.8)
    with pytest.raises(MetricError, match="equal shares"):
        cases_for_better_proportion(0.9, 0.9, discordant=0.1, power=0.8)


@pytest.mark.parametrize(
    ("areas", "ratio"), [((0.75, 0.85), 1.0), ((0.8, 0.88), 9.0), ((0.8, 0.87), 0.25)]
)
def test_paired_areas_are_told_apart_as_often_as_promised(
    areas: tuple[float, float], ratio: float
) -> None:
    rng = np.random.default_rng(1)
    # The correlation of the areas, which is less than that of the scores.
    y, (one, two) = two_scores(rng, areas, 4000, ratio)
    test, own = delong_paired(y, one, two), [delong(y, score).se for score in (one, two)]
    first, second = own[0] or 1.0, own[1] or 1.0
    # Of a difference the variance is the sum of both without twice their covariance.
    correlation = (first**2 + second**2 - test.se**2) / (2 * first * second)
    n = cases_for_better_area(*areas, ratio, correlation=correlation, power=0.8)
    called = 0
    for _ in range(300):
        y, (one, two) = two_scores(rng, areas, n, ratio)
        called += delong_paired(y, two, one).p < 0.05
    # With Hanley and McNeil's variance it was 0.94 and 0.67 for the last two.
    assert called / 300 == pytest.approx(0.8, abs=0.07)


def test_a_plan_counts_positives_and_groups() -> None:
    aim = Aim(kind="sensitivity", expected=0.9, half_width=0.05)
    alone = plan(aim, prevalence=0.1)
    grouped = plan(aim, prevalence=0.1, per_group=4, icc=0.5)
    assert (alone.positive, alone.cases) == (141, 1410)
    # Four images of a patient, ICC .5: a design effect of 2.5.
    assert grouped.cases == 2.5 * 1410
    assert grouped.groups == -(-3525 // 4)


@pytest.mark.parametrize(
    "more",
    [{}, {"half_width": 0.05, "against": 0.5}, {"against": 0.9}, {"against": 0.8, "power": 1.5}],
)
def test_a_plan_that_cannot_be_is_refused(more: dict[str, float]) -> None:
    with pytest.raises(MetricError):
        plan(Aim(kind="accuracy", expected=0.9, **more))


def test_the_command_says_what_is_needed() -> None:
    words = ["size", "auroc", "0.8", "--against", "0.5", "--prevalence", "0.1"]
    told = CliRunner().invoke(build(), words)
    assert told.exit_code == 0
    assert "of them positive at a prevalence of 0.1" in told.output
    found = json.loads(CliRunner().invoke(build(), [*words, "--json"]).output)
    assert found["positive"] + found["negative"] == found["cases"]
    assert CliRunner().invoke(build(), ["size", "auroc", "0.4", "--width", "0.1"]).exit_code == 2

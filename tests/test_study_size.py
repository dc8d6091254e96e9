"""Sizes of studies: published examples, and simulation of what they promise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from core.cli.main import build
from core.errors import MetricError
from core.statistics.comparisons import mcnemar
from core.statistics.delong import delong_paired
from core.statistics.intervals import wilson
from core.statistics.study_size import (
    Aim,
    cases_for_area_width,
    cases_for_better_area,
    cases_for_better_proportion,
    cases_for_proportion_width,
    plan,
)


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


def test_variance_of_an_area_is_that_of_hanley_and_mcneil() -> None:
    # Their example: area 0.893 of 51 abnormal and 58 normal images has a standard error of 0.032.
    half = 1.959963984540054 * 0.0325
    assert cases_for_area_width(0.893, half, 58 / 51) in range(48, 55)


def test_paired_shares_are_told_apart_as_often_as_promised() -> None:
    # Discordant cases: 5 % of one kind and 15 % of the other.
    n = cases_for_better_proportion(0.8, 0.9, discordant=0.2, power=0.8)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, [0.05, 0.15, 0.8], size=1500)
    plain = np.mean([(mcnemar(int(a), int(b)).p or 1) < 0.05 for a, b, _ in drawn])
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


def test_paired_areas_are_told_apart_as_often_as_promised() -> None:
    n = cases_for_better_area(0.75, 0.85, 1.0, correlation=0.5, power=0.8)
    rng = np.random.default_rng(1)
    called = 0
    y = np.repeat([0, 1], n)
    for _ in range(300):
        common = rng.standard_normal(2 * n)
        scores = [
            np.sqrt(0.5) * common + np.sqrt(0.5) * rng.standard_normal(2 * n) + shift * y
            # Normal scores: area = Phi(shift / sqrt(2)).
            for shift in (0.954, 1.466)
        ]
        called += delong_paired(y, scores[1], scores[0]).p < 0.05
    assert called / 300 == pytest.approx(0.8, abs=0.08)


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

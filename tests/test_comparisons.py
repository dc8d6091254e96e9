"""Tests of differences, families of tests, and sizes of studies."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests

from core.errors import MetricError
from core.statistics.comparisons import (
    adjust,
    cases_for_auroc,
    cases_to_halve,
    mcnemar,
    mcnemar_of,
    power_of_auroc,
)
from core.statistics.jackknife import paired_proportions


@pytest.mark.parametrize(("b", "c"), [(150, 86), (3, 9), (0, 5), (4, 4)])
def test_mcnemar_agrees_with_statsmodels(b: int, c: int) -> None:
    found, table = mcnemar(b, c), [[10, b], [c, 10]]
    assert found.p_exact == pytest.approx(sm_mcnemar(table, exact=True).pvalue)
    plain = sm_mcnemar(table, exact=False, correction=False)
    assert (found.chi2, found.p) == pytest.approx((plain.statistic, plain.pvalue))
    if b != c:
        corrected = sm_mcnemar(table, exact=False, correction=True)
        assert found.p_corrected == pytest.approx(corrected.pvalue)


def test_equal_counts_are_not_more_than_certain() -> None:
    # Without a floor the correction would turn a difference of 0 into one of -1.
    assert mcnemar(4, 4).p_corrected == 1.0


def test_no_differing_case_has_p_1() -> None:
    found = mcnemar(0, 0)
    assert found.p_exact == 1.0
    assert found.chi2 is None


def test_decisions_are_compared_on_being_right() -> None:
    found = mcnemar_of([0, 1, 2, 2], [0, 1, 0, 1], [1, 1, 2, 0])
    assert (found.first_only, found.second_only) == (1, 1)


def test_adjusted_p_agrees_with_statsmodels() -> None:
    p = np.random.default_rng(0).random(12) ** 3
    assert adjust(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_missing_p_values_do_not_count_in_the_family() -> None:
    found = adjust([0.01, np.nan, 0.04])
    assert found[[0, 2]].tolist() == [0.02, 0.04]
    assert np.isnan(found[1])
    assert adjust([]).tolist() == []
    with pytest.raises(MetricError, match=r"\[0, 1\]"):
        adjust([1.5])


# Both right, the second alone, the first alone, neither; ends of Newcombe 1998, Table III.
@pytest.mark.parametrize(
    ("counts", "ends"),
    [((36, 12, 2, 0), (0.0611, 0.3447)), ((43, 0, 1, 0), (-0.1181, 0.0594)), ((0, 30, 29, 1), ())],
)
def test_ends_of_a_paired_difference_are_where_its_score_test_begins_to_reject(
    counts: tuple[int, ...], ends: tuple[float, ...]
) -> None:
    first, second = np.repeat([1, 0, 1, 0], counts), np.repeat([1, 1, 0, 0], counts)
    found, p = paired_proportions(first, second)
    if ends:
        assert found.ends == pytest.approx(ends, abs=1e-4)
    n, (_, gained, lost, _) = sum(counts), counts
    # The score test by brute force: the likelihood is maximised where the difference is fixed.
    shares = np.linspace(1e-6, 1 - 1e-6, 400_001)
    for end in found.ends:
        q = shares[(shares + end > 0) & (2 * shares + end < 1)]
        rest = n - gained - lost
        log_likelihood = gained * np.log(q + end) + lost * np.log(q) + rest * np.log1p(-2 * q - end)
        q = q[log_likelihood.argmax()]
        z = (gained - lost - n * end) / np.sqrt(n * (2 * q + end - end**2))
        assert abs(z) == pytest.approx(1.959964, abs=2e-3)
    assert p == pytest.approx(sm_mcnemar([[0, gained], [lost, 0]], False, False).pvalue)


def test_power_and_size_are_inverse() -> None:
    cases, controls = cases_for_auroc(0.8, power=0.85, ratio=2.5)
    assert power_of_auroc(0.8, cases, controls) == pytest.approx(0.85)
    with pytest.raises(MetricError, match=r"0\.5 and 1"):
        power_of_auroc(0.5, 10, 10)


def test_an_interval_of_half_the_width_takes_four_times_the_cases() -> None:
    assert cases_to_halve(50) == 150

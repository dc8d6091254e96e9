"""Every function against true values: numbers printed in publications or computed with R.

The values lie beside the clone, for some of their data are of patients; without
them these tests are skipped, and the other tests of core/evaluation still compare
with scikit-learn, statsmodels and hand-made numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import MetricError
from core.statistics.agreement import confusion_matrix, from_confusion
from core.statistics.calibration import calibration_line, fit_temperature
from core.statistics.comparisons import adjust, cases_for_auroc, mcnemar, power_of_auroc
from core.statistics.decision_curves import decision_curve
from core.statistics.delong import delong, delong_paired
from core.statistics.discrimination import Ranking, roc_points
from core.statistics.intervals import clopper_pearson, cluster_proportion, wilson
from core.statistics.operating_points import choose_threshold, predictive_values, two_by_two
from core.statistics.reliability import brier_rows, expected_calibration_error, log_loss
from core.statistics.resampling import Resampling, percentile_interval, resample_groups

FILE = Path(__file__).resolve().parent.parent.parent / "shared/reference/stat_vectors.json"
if not FILE.is_file():
    pytest.skip(
        "needs the true values of ../shared/reference, which are not here", allow_module_level=True
    )
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
CLOSE = {"abs": 1e-6}


def arrays(vector: dict[str, Any], score: str = "score") -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores a vector speaks of."""
    data = VECTORS[vector["data"]]
    keep = np.ones(len(data["y"]), dtype=bool)
    if "subset" in vector:
        column, value = vector["subset"].split("==")
        keep = np.array(data[column]) == value
    return np.array(data["y"])[keep], np.array(data[vector[score]], dtype=float)[keep]


def auroc(y: np.ndarray, score: np.ndarray) -> float:
    """The area of cases that count once each."""
    return float(Ranking(y, score).auroc(np.ones((1, len(y))))[0])


def named(vectors: list[dict[str, Any]]) -> list[Any]:
    """Parameters with a readable id."""
    keys = ("data", "subset", "score", "a", "b", "name", "rule", "x", "n", "t", "prev")
    return [
        pytest.param(v, id="-".join(str(v[k]) for k in keys if k in v) or None) for v in vectors
    ]


@pytest.mark.parametrize("vector", named(VECTORS["auc_delong_single"]))
def test_area_and_delong(vector: dict[str, Any]) -> None:
    y, score = arrays(vector)
    found = delong(y, score)
    assert auroc(y, score) == pytest.approx(vector["auc"], **CLOSE)
    assert found.ends == pytest.approx(vector["ci95"], **CLOSE)
    assert found.se is not None
    if "var" in vector:
        assert found.se**2 == pytest.approx(vector["var"], rel=1e-9)
    if "se" in vector:
        assert found.se == pytest.approx(vector["se"], **CLOSE)


@pytest.mark.parametrize("vector", named(VECTORS["delong_paired"]))
def test_paired_delong(vector: dict[str, Any]) -> None:
    y, a = arrays(vector, "a")
    _, b = arrays(vector, "b")
    found = delong_paired(y, a, b)
    assert found.p == pytest.approx(vector["p"], rel=1e-6)
    for key, value in (
        ("z", found.statistic),
        ("diff", found.difference),
        ("se", found.se),
    ):
        if key in vector:
            assert value == pytest.approx(vector[key], **CLOSE)
    if "diff_ci95" in vector:
        assert (found.low, found.high) == pytest.approx(vector["diff_ci95"], **CLOSE)


@pytest.mark.parametrize("vector", named(VECTORS["operating_point"]))
def test_operating_point(vector: dict[str, Any]) -> None:
    y, score = arrays(vector)
    found = choose_threshold(y, score, target=vector["rule"])
    assert found.threshold == pytest.approx(vector["reported_threshold"], **CLOSE)
    table = two_by_two(y, score >= found.threshold)
    assert table.sensitivity.value == pytest.approx(vector["sens"], **CLOSE)
    assert table.specificity.value == pytest.approx(vector["spec"], **CLOSE)
    if "threshold_between" in vector:
        low, high = vector["threshold_between"]
        assert low < found.threshold < high
        assert (table.tp, table.sensitivity.n) == (vector["tp"], vector["n_pos"])
        ends = (table.sensitivity.low, table.sensitivity.high)
        assert ends == pytest.approx(vector["sens_wilson"], **CLOSE)
        ends = (table.specificity.low, table.specificity.high)
        assert ends == pytest.approx(vector["spec_wilson"], **CLOSE)


@pytest.mark.parametrize("vector", named(VECTORS["proportion_ci"]))
def test_proportions(vector: dict[str, Any]) -> None:
    x, n = vector["x"], vector["n"]
    assert wilson(x, n).ends == pytest.approx(vector["wilson"], **CLOSE)
    assert wilson(x, n, continuity=True).ends == pytest.approx(vector["wilson_cc"], **CLOSE)
    assert clopper_pearson(x, n).ends == pytest.approx(vector["clopper_pearson"], **CLOSE)


@pytest.mark.parametrize("vector", VECTORS["mcnemar"])
def test_mcnemar(vector: dict[str, Any]) -> None:
    found = mcnemar(vector["table"][0][1], vector["table"][1][0])
    assert found.chi2 == pytest.approx(vector["chi2"], **CLOSE)
    assert found.chi2_corrected == pytest.approx(vector["chi2_cc"], **CLOSE)
    assert found.p == pytest.approx(vector["p"], rel=1e-6)
    assert found.p_corrected == pytest.approx(vector["p_cc"], rel=1e-6)
    assert found.p_exact == pytest.approx(vector["p_exact"], rel=1e-6)


@pytest.mark.parametrize("vector", named(VECTORS["kappa"]))
def test_kappa(vector: dict[str, Any]) -> None:
    if "y" in vector:
        y, decided = np.array(vector["y"]), np.array(vector["p"])
        fixed = "labels 0..4" in vector["name"]
        first, n_classes = (0, 5) if fixed else (1, int(max(y.max(), decided.max())))
        table = confusion_matrix(y - first, decided - first, n_classes)
        found = from_confusion(table)["quadratic_kappa"]
        assert found == pytest.approx(vector["quadratic"], **CLOSE)
        if "wrong_if_labels_inferred" in vector:
            assert found != pytest.approx(vector["wrong_if_labels_inferred"], abs=1e-3)
        return
    numbers = from_confusion(np.array(vector["table"]))
    names = {"unweighted": "kappa", "linear": "linear_kappa", "quadratic": "quadratic_kappa"}
    for key, name in names.items():
        if key in vector:
            assert numbers[name] == pytest.approx(vector[key], **CLOSE)
        if f"{key}_rounded" in vector:
            assert round(float(numbers[name]), 2) == vector[f"{key}_rounded"]


def test_calibration() -> None:
    vector = VECTORS["calibration"]
    y, p = np.array(vector["y"]), np.array(vector["p"])
    assert brier_rows(y, p).mean() == pytest.approx(vector["brier"], **CLOSE)
    assert log_loss(y, p) == pytest.approx(vector["logloss"], **CLOSE)
    for bins in (10, 15):
        found = expected_calibration_error(y, p, bins=bins)
        assert found == pytest.approx(vector[f"ece_equal_width_{bins}"], **CLOSE)


def test_miscalibration() -> None:
    vector = VECTORS["calibration_miscal"]
    y, p = np.array(vector["y"]), np.array(vector["p"])
    line = calibration_line(y, p)
    assert brier_rows(y, p).mean() == pytest.approx(vector["brier"], **CLOSE)
    assert line.slope == pytest.approx(vector["cal_slope"], **CLOSE)
    assert line.intercept == pytest.approx(vector["cal_intercept_joint"], **CLOSE)
    assert line.in_the_large == pytest.approx(vector["cal_in_the_large"], **CLOSE)
    z = np.log(p / (1 - p))
    for logits, link in ((z, "sigmoid"), (np.column_stack([np.zeros_like(z), z]), "softmax")):
        found = fit_temperature(logits, y, link=link)
        assert found == pytest.approx(vector["temperature_ML"], abs=1e-4)
    low, middle, high = vector["auc_ci95"]
    assert (*delong(y, p).ends, auroc(y, p)) == pytest.approx((low, high, middle), **CLOSE)


@pytest.mark.parametrize("vector", named(VECTORS["decision_curve"]))
def test_decision_curve(vector: dict[str, Any]) -> None:
    data = VECTORS["calibration"]
    found = decision_curve(data["y"], data["p"], thresholds=[vector["t"]])
    assert found["model"][0] == pytest.approx(vector["nb"], **CLOSE)
    assert found["everybody"][0] == pytest.approx(vector["nb_all"], **CLOSE)
    called = np.array(data["p"]) >= vector["t"]
    table = two_by_two(data["y"], called)
    assert (table.tp, table.fp) == (vector["tp"], vector["fp"])


@pytest.mark.parametrize("vector", named(VECTORS["prevalence"]))
def test_predictive_values(vector: dict[str, Any]) -> None:
    found = predictive_values(vector["sens"], vector["spec"], vector["prev"])
    assert found["ppv"] == pytest.approx(vector["ppv"], **CLOSE)
    assert found["npv"] == pytest.approx(vector["npv"], **CLOSE)


def test_clustered_sensitivity() -> None:
    vector = VECTORS["clustered_sensitivity"]
    hit, patient = np.array(vector["correct"], dtype=float), np.array(vector["patient"])
    found = cluster_proportion(hit, patient)
    assert hit.mean() == pytest.approx(vector["estimate"], **CLOSE)
    assert found.se == pytest.approx(vector["se_ratio_estimator"], **CLOSE)
    assert found.ends == pytest.approx(vector["ci95_ratio"], **CLOSE)
    plan = resample_groups(patient, resamples=20_000, seed=1, word="patient")

    def drawn(plan: Resampling) -> np.ndarray:
        return np.concatenate([(w @ hit) / w.sum(axis=1) for w in plan.weights()])

    ends = percentile_interval(drawn(plan))
    expected = vector["cluster_bootstrap_percentile"]
    assert ends == pytest.approx(expected, abs=vector["bootstrap_tol"])
    # Images drawn as if independent give another, narrower interval.
    images = resample_groups(None, n=len(hit), resamples=20_000, seed=1)
    narrow = percentile_interval(drawn(images))
    assert narrow != pytest.approx(expected, abs=vector["bootstrap_tol"])


def test_multiplicity() -> None:
    vector = VECTORS["multiplicity"]
    assert adjust(vector["p"]) == pytest.approx(vector["holm"], **CLOSE)


def test_power_of_an_area() -> None:
    of_power, of_size = VECTORS["power_auc"]
    found = power_of_auroc(
        of_power["auc"], of_power["ncases"], of_power["ncontrols"], alpha=of_power["alpha"]
    )
    assert found == pytest.approx(of_power["power"], abs=of_power["tol"])
    cases, controls = cases_for_auroc(
        of_size["auc"], power=of_size["power"], ratio=of_size["kappa"], alpha=of_size["alpha"]
    )
    assert cases == pytest.approx(of_size["ncases"], abs=1e-5)
    assert controls == pytest.approx(of_size["ncontrols"], abs=1e-3)


def test_degenerate_cases_are_said() -> None:
    with pytest.raises(MetricError, match="none of 3 cases is negative"):
        roc_points([1, 1, 1], [0.1, 0.2, 0.3])
    y, score = arrays({"data": "aSAH", "score": "ndka"})
    outside = next(v for v in VECTORS["degenerate"] if "true" in v)
    assert score.max() > 1
    assert auroc(y, score) == pytest.approx(outside["true"], **CLOSE)
    perfect = delong([0] * 10 + [1] * 10, np.arange(20.0))
    assert perfect.ends != (1.0, 1.0)
    assert "separated perfectly" in perfect.reason

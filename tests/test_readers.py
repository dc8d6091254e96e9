"""Several readers: published examples, and simulation of what the comparison promises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, roc_auc_score, roc_curve
from typer.testing import CliRunner

from core.cli.main import build
from core.errors import MetricError
from core.statistics.delong import delong_paired, delong_several
from core.statistics.readers import (
    compare_with_readers,
    icc,
    mean_kappa_of,
    obuchowski_rockette,
    reader_point,
)
from core.statistics.resampling import resample_groups

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) is .29.
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
    dtype=float,
)
# Van Dyke et al. 1993, areas of five readers with two kinds of magnetic resonance imaging, as
# analysed with readers and cases random: F = 4.46 on 1 and 15.3 degrees of freedom, p = .052.
CINE = np.array([0.91964573, 0.85877867, 0.90386473, 0.97310789, 0.82979066])
SPIN = np.array([0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169])
COV_2, COV_3 = 0.0003440748, 0.0002390284


def test_intraclass_correlation_of_shrout_and_fleiss() -> None:
    assert float(icc(JUDGES)[0]) == pytest.approx(0.29, abs=0.005)
    # A case that counts twice is a case written twice.
    twice = icc(JUDGES, np.array([[2.0, 1, 1, 1, 1, 1]]))
    assert twice == pytest.approx(icc(np.vstack([JUDGES[:1], JUDGES])))


def test_obuchowski_and_rockette_on_the_data_of_van_dyke() -> None:
    found, p, df = obuchowski_rockette(SPIN - CINE, 2 * (COV_2 - COV_3))
    assert ((SPIN - CINE).mean() / found.se) ** 2 == pytest.approx(4.456, abs=0.01)
    assert df == pytest.approx(15.26, abs=0.05)
    assert p == pytest.approx(0.0517, abs=0.0005)
    assert found.ends == pytest.approx((-0.00036, 0.08796), abs=0.0005)


def test_kappas_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 80)
    ratings = np.column_stack(
        [np.clip(truth + rng.integers(-1, 2, 80), 0, 3) for _ in range(3)]
    )  # fmt: skip
    plan = resample_groups(np.arange(80) // 2)
    value, between = mean_kappa_of(ratings[:, :2], 4, plan, is_ordered=True)
    expected = cohen_kappa_score(ratings[:, 0], ratings[:, 1], weights="quadratic")
    assert value == pytest.approx(expected)
    assert between.ends[0] < value < between.ends[1]
    mean, _ = mean_kappa_of(ratings, 4, plan)
    pairs = [cohen_kappa_score(ratings[:, a], ratings[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert mean == pytest.approx(np.mean(pairs))


def study(rng: np.random.Generator, better: float) -> tuple[NDArray[np.bool_], ...]:
    """60 patients with two images, four readers of differing skill, and a model."""
    patient = np.repeat(np.arange(60), 2)
    truth = (rng.random(60) < 0.4)[patient]
    common = rng.standard_normal(60)[patient]
    skill = 1.3 + 0.25 * rng.standard_normal(4)
    readers = truth[:, None] * skill + 0.7 * common[:, None] + 0.7 * rng.standard_normal((120, 4))
    model = truth * (1.3 + better) + 0.7 * common + 0.7 * rng.standard_normal(120)
    return truth, readers, model, patient


def test_the_test_of_all_areas_at_once_is_the_paired_one_of_two_and_keeps_its_level() -> None:
    truth, readers, _, patient = study(np.random.default_rng(4), 0.0)
    chi2, df, p = delong_several(truth, readers[:, :2])
    pair = delong_paired(truth, readers[:, 0], readers[:, 1])
    assert (chi2, df, p) == pytest.approx((pair.statistic**2, 1, pair.p))
    # One score twice is one contrast less.
    assert delong_several(truth, readers[:, [0, 1, 1]])[:2] == pytest.approx((chi2, 1))
    rng, called = np.random.default_rng(6), {0.0: 0, 1.0: 0}
    for better in called:
        for _ in range(200):
            common = rng.standard_normal(60)[patient]
            gain = np.array([0.0, 0.0, better])
            scores = truth[:, None] * (1 + gain) + 0.7 * common[:, None]
            scores = scores + 0.7 * rng.standard_normal((120, 3))
            called[better] += delong_several(truth, scores, patient)[2] < 0.05
    # Chance of more than 20 of 200 at 5 %: less than 1 in 100.
    assert called[0.0] <= 20
    assert called[1.0] >= 150


def test_a_model_as_good_as_the_readers_is_seldom_called_and_a_better_one_is() -> None:
    rng = np.random.default_rng(5)
    called = {0.0: 0, 1.0: 0}
    for better in called:
        for _ in range(100):
            truth, readers, model, patient = study(rng, better)
            found = compare_with_readers(truth, readers, model, resample_groups(patient))
            called[better] += found.p is not None and found.p < 0.05
    # Chance of more than 11 of 100 at 5 %: less than 1 %.
    assert called[0.0] <= 11
    assert called[1.0] >= 90


def test_a_table_with_a_column_for_each_reader_gives_agreement_and_comparison(
    tmp_path: Path,
) -> None:
    truth, readers, model, patient = study(np.random.default_rng(2), 1.0)
    table = pd.DataFrame({"id": range(120), "group": [f"p{p}" for p in patient]})
    table["label"] = np.where(truth, "cancer", "none")
    table["score"] = 1 / (1 + np.exp(-model))
    for i, column in enumerate(readers.T):
        table[f"reader_{i}"] = np.digitize(column, [-0.5, 0.5, 1.2, 2.0])
    file = tmp_path / "readers.csv"
    table.to_csv(file, index=False)
    words = ["readers", str(file), "--positive", "cancer", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(build(), [*words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found == {"out": str(tmp_path / "out")} | json.loads(
        (tmp_path / "out" / "readers.json").read_text()
    )
    assert len(found["pairs"]) == 6
    areas = [roc_auc_score(truth, table[f"reader_{i}"]) for i in range(4)]
    assert [row["value"] for row in found["comparison"]["readers"]] == pytest.approx(areas)
    assert found["comparison"]["p"] < 0.05
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Obuchowski and Rockette" in page
    assert found["comparison"]["all_alike"]["df"] == 4
    assert "with 4 degrees of freedom" in page
    assert "intraclass correlation" in page.lower()
    refused = CliRunner().invoke(build(), ["readers", str(file), "--reader", "reader_0"])
    assert refused.exit_code == 2
    assert "at least 2" in refused.output


def test_readers_who_say_yes_or_no_are_held_against_the_model_at_their_specificity(
    tmp_path: Path,
) -> None:
    truth, readers, model, patient = study(np.random.default_rng(3), 0.0)
    calls = readers > 0.7
    # Equally good, but one point of a curve has less area than the whole.
    whole = np.mean([roc_auc_score(truth, column) for column in readers.T])
    assert np.mean([roc_auc_score(truth, column) for column in calls.T]) < whole
    with pytest.raises(MetricError, match="one point"):
        compare_with_readers(truth, calls.astype(float), model, resample_groups(patient))
    away, hits, _ = roc_curve(truth, model, drop_intermediate=False)
    table = pd.DataFrame({"label": truth.astype(int), "score": model})
    for i, column in enumerate(calls.T):
        table[f"reader_{i}"] = column.astype(int)
        point = reader_point(truth, column, model)
        assert point.sensitivity == column[truth].mean()
        assert point.specificity == pytest.approx((~column[~truth]).mean())
        assert point.model == hits[np.isclose(away, 1 - point.specificity)].max()
    file = tmp_path / "calls.csv"
    table.to_csv(file, index=False)
    done = CliRunner().invoke(build(), ["readers", str(file), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    flat = " ".join(done.output.split())
    for named in (
        "kappa: mean of all pairs",
        "kappa: reader_0 and reader_1",
        "kappa against the label: reader_3",
        "at the specificity of reader_0",
        "AUROC: the model minus the mean of the readers not estimable",
        "one point of a ROC curve",
    ):
        assert named in flat, named
    page = (tmp_path / "out" / "report.html").read_text()
    content = json.loads((tmp_path / "out" / "readers.json").read_text())
    rates = content["comparison"]["readers"][0]
    for name, among in (("sensitivity", truth), ("specificity", ~truth)):
        right, n = int((calls[:, 0] == truth)[among].sum()), int(among.sum())
        low, high = binomtest(right, n).proportion_ci(method="wilson")
        # No column of groups: every case counts as independent.
        assert (rates[name]["x"], rates[name]["n"]) == (right, n)
        assert rates[name]["low"] == pytest.approx(low)
        assert rates[name]["high"] == pytest.approx(high)
    assert "threshold found here" in page
    assert "Described, not tested" in page
    assert "difference is shown" not in page

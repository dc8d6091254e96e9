"""All numbers of one level: their values, their rows, and which interval each has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics as sk

from core.app import Cases, Metric, Task
from core.errors import MetricError
from core.evaluation.cases import Level
from core.evaluation.metric_specs import MetricSpec, specs_of
from core.evaluation.unit_intervals import (
    SLOW_RESAMPLES,
    interval_of,
    needs_resamples,
    replicates_of,
    share_rate,
)
from core.evaluation.unit_metrics import rows_of, too_few, values_of
from core.statistics import metrics
from core.statistics.delong import delong, delong_clustered, newcombe_auroc
from core.statistics.discrimination import Ranking
from core.statistics.intervals import cluster_proportion, wilson
from core.statistics.jackknife import jackknife_interval
from core.statistics.metric_kinds import Basis, Share
from core.statistics.resampling import Draws, bootstrap_interval, jackknife
from core.statistics.weighted import calibration_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASKS = {
    "binary": Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",)),
    "ordinal": Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2")),
    "multiclass": Task(name="k", kind="multiclass", classes=("a", "b", "c")),
    "multilabel": Task(name="m", kind="multilabel", classes=("spot", "rust", "rot")),
}
CONFIDENCE = 0.9
AT_EIGHTY = partial(metrics.sensitivity_at_specificity, at_least=0.8)


def level_of(kind: str, n: int = 90, *, of_group: int = 1, gain: float = 0.3) -> Level:
    """Cases whose scores lean towards the truth, some images to a patient."""
    rng = np.random.default_rng(4)
    task = TASKS[kind]
    k = len(task.classes)
    owner = np.arange(n) // of_group
    y: NDArray[np.int_] = owner % k
    scores = (1 - gain) * rng.dirichlet(np.ones(k), n) + gain * np.eye(k)[y]
    decided = scores.argmax(axis=1)
    if kind == "multilabel":
        scores = rng.random((n, k))
        y = (rng.random((n, k)) < 0.2 + 0.6 * scores).astype(int)
        decided = (scores >= 0.5).astype(int)
    cases = Cases(y, scores, decided, np.ones(n), positive=task.positive_index)
    draws = Draws(level=CONFIDENCE, resamples=60, word="patient")
    return Level.of("eye", cases, np.array([f"p{i}" for i in owner]), task=task, draws=draws)


def spec_of(level: Level, name: str, of: str = "", own: Metric | None = None) -> MetricSpec:
    found = [s for s in specs_of(level, [own] if own else []) if (s.name, s.of) == (name, of)]
    assert len(found) == 1, name
    return found[0]


def row_of(level: Level, name: str, of: str = "", own: Metric | None = None) -> dict[str, Any]:
    (row,) = rows_of(level, [spec_of(level, name, of, own)], split="test")
    return row


# --------------------------------------------------------------------------- values


@pytest.mark.parametrize("kind", ["binary", "ordinal", "multiclass"])
def test_values_of_weighted_cases_are_those_of_sklearn(kind: str) -> None:
    level = level_of(kind)
    weights = np.random.default_rng(1).integers(0, 4, (3, level.n)).astype(float)
    found = values_of(level, specs_of(level, []), weights)
    y, scores, decided = level.cases.y, level.cases.scores, level.cases.decided
    k = len(level.task.classes)
    for i, w in enumerate(weights):
        expected = {
            "accuracy": sk.accuracy_score(y, decided, sample_weight=w),
            "balanced_accuracy": sk.balanced_accuracy_score(y, decided, sample_weight=w),
            "macro_f1": sk.f1_score(y, decided, average="macro", sample_weight=w),
            "log_loss": sk.log_loss(y, scores, sample_weight=w),
        }
        if kind == "ordinal":
            expected["quadratic_kappa"] = sk.cohen_kappa_score(
                y, decided, weights="quadratic", sample_weight=w
            )
            expected["auroc_positive"] = sk.roc_auc_score(
                y > 0, scores[:, 1:].sum(axis=1), sample_weight=w
            )
        precision, recall, f1, _ = sk.precision_recall_fscore_support(y, decided, sample_weight=w)
        for c in range(k):
            expected |= {f"precision:{c}": precision[c], f"recall:{c}": recall[c], f"f1:{c}": f1[c]}
            expected[f"support:{c}"] = w[y == c].sum()
        if kind != "binary":
            areas = [sk.roc_auc_score(y == c, scores[:, c], sample_weight=w) for c in range(k)]
            tops = [
                sk.average_precision_score(y == c, scores[:, c], sample_weight=w) for c in range(k)
            ]
            expected |= {f"auroc:{c}": area for c, area in enumerate(areas)}
            expected |= {f"average_precision:{c}": top for c, top in enumerate(tops)}
            expected["macro_auroc"] = np.mean(areas)
            expected["macro_average_precision"] = np.mean(tops)
        for key, value in expected.items():
            assert found[key][i] == pytest.approx(value), key
    assert ("macro_auroc" in found) == (kind != "binary")


def test_values_of_several_labels_are_those_of_sklearn() -> None:
    level = level_of("multilabel")
    w = np.random.default_rng(1).integers(0, 4, level.n).astype(float)
    found = values_of(level, specs_of(level, []), w[None])
    y, scores, decided = level.cases.y, level.cases.scores, level.cases.decided
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, decided, sample_weight=w)
    assert found["accuracy"][0] == pytest.approx(sk.accuracy_score(y, decided, sample_weight=w))
    assert found["macro_f1"][0] == pytest.approx(f1.mean())
    for c in range(3):
        assert found[f"precision:{c}"][0] == pytest.approx(precision[c])
        assert found[f"recall:{c}"][0] == pytest.approx(recall[c])
        assert found[f"f1:{c}"][0] == pytest.approx(f1[c])
        assert found[f"support:{c}"][0] == support[c]
        area = sk.roc_auc_score(y[:, c], scores[:, c], sample_weight=w)
        assert found[f"auroc:{c}"][0] == pytest.approx(area)


def test_only_what_is_asked_for_is_computed() -> None:
    level = level_of("multiclass")
    ones = np.ones((1, level.n))
    assert set(values_of(level, [spec_of(level, "brier")], ones)) == {"brier"}
    ranked = values_of(level, [spec_of(level, "auroc", "b")], ones)
    assert "macro_auroc" in ranked
    assert values_of(level, [spec_of(level, "macro_auroc")], ones)["macro_auroc"] == ranked.get(
        "macro_auroc"
    )


# --------------------------------------------------------------------------- rows


def test_a_row_says_what_it_counts() -> None:
    level = level_of("multiclass", of_group=3)
    y, decided = level.cases.y, level.cases.decided
    row = row_of(level, "precision", "b")
    called = decided == 1
    assert row["value"] == pytest.approx((y[called] == 1).mean())
    assert row["n"] == called.sum()
    assert row["n_groups"] == len(set(level.groups[called]))
    expected = {"title": "Precision", "of": "b", "unit": "eye", "split": "test", "subgroup": ""}
    expected |= {"level": CONFIDENCE, "n_events": 30, "percent": True, "reason": ""}
    assert {key: row[key] for key in expected} == expected
    count = row_of(level, "support", "b")
    assert (count["value"], count["n"], count["n_groups"]) == (30.0, 90, 30)
    assert count["low"] is count["high"] is None
    assert (count["method"], count["reason"]) == ("", "")
    accuracy = row_of(level, "accuracy")
    assert (accuracy["n_events"], accuracy["n"], accuracy["n_groups"]) == (None, 90, 30)


def test_few_cases_of_a_class_are_cautioned() -> None:
    assert too_few(9, 200) == "too few to judge: 9 events"
    assert too_few(200, 1) == "too few to judge: 1 non-event"
    assert too_few(1, 1) == "too few to judge: 1 event"
    assert too_few(10, 10) == ""
    level = level_of("multiclass", n=27)
    assert "too few to judge: 9 events" in row_of(level, "recall", "a")["reason"]
    assert "too few" not in row_of(level, "support", "a")["reason"]
    y = np.where(np.arange(27) < 20, 0, level.cases.y)
    most = replace(level, cases=replace(level.cases, y=y))
    assert "non-events" in row_of(most, "recall", "a")["reason"]
    # Nothing is to be judged where there is no value.
    none = replace(level, cases=replace(level.cases, y=np.zeros(27, dtype=int)))
    row = row_of(none, "recall", "b")
    assert row["value"] is None
    assert row["reason"] == "not estimable: no case is of this class"


def test_an_undefined_number_has_the_reason_of_its_function() -> None:
    def moonless(cases: Cases) -> float:
        msg = f"no moon over {len(cases.y)} cases"
        raise MetricError(msg)

    level = level_of("binary")
    row = row_of(level, "moon", own=Metric(name="moon", title="Moon", compute=moonless))
    assert (row["value"], row["low"]) == (None, None)
    assert row["reason"] == "no moon over 90 cases"
    infinite = Metric(name="inf", title="Inf", compute=lambda _: float("inf"))
    row = row_of(level, "inf", own=infinite)
    assert row["value"] is None
    assert row["reason"] == "not estimable: no case is left"


def test_a_number_whose_threshold_is_sought_says_so() -> None:
    own = Metric(name="s", title="S", compute=AT_EIGHTY, percent=True, seeks=True)
    level = level_of("binary")
    assert row_of(level, "s", own=own)["reason"].endswith(
        "its threshold is chosen on these same cases: optimistic"
    )
    alone = replace(level, cases=replace(level.cases, y=np.zeros(90, dtype=int)))
    assert "optimistic" not in row_of(alone, "s", own=own)["reason"]


@pytest.mark.parametrize("kind", list(TASKS))
def test_a_number_has_the_same_interval_alone_and_among_others(kind: str) -> None:
    level = level_of(kind, of_group=3)
    specs = specs_of(level, [])
    for row, spec in zip(rows_of(level, specs, split="test"), specs, strict=True):
        (alone,) = rows_of(level, [spec], split="test")
        assert alone == row
        if row["value"] is not None and row["name"] != "support":
            assert row["low"] < row["value"] < row["high"] or row["reason"], row


# --------------------------------------------------------------------------- intervals


def ends(row: dict[str, Any]) -> Any:
    return pytest.approx((row["low"], row["high"]))


def test_a_share_of_independent_cases_has_wilsons_interval_and_one_of_groups_their_spread() -> None:
    for of_group in (1, 3):
        level = level_of("multiclass", of_group=of_group)
        right = level.cases.y == level.cases.decided
        row = row_of(level, "accuracy")
        if of_group == 1:
            expected = wilson(right.sum(), 90, level=CONFIDENCE)
        else:
            expected = cluster_proportion(
                right, level.groups, level=CONFIDENCE, scale="wilson", word="patient"
            )
        assert ends(row) == expected.ends
        assert row["method"] == expected.method
        # F1 = 2 J / (1 + J) of the share J of cases that are both among those that are either.
        held, called = level.cases.y == 1, level.cases.decided == 1
        either = held | called
        row = row_of(level, "f1", "b")
        if of_group == 1:
            low, high = wilson((held & called).sum(), either.sum(), level=CONFIDENCE).ends
        else:
            low, high = cluster_proportion(
                (held & called)[either], level.groups[either], level=CONFIDENCE, scale="wilson"
            ).ends
        assert ends(row) == (2 * low / (1 + low), 2 * high / (1 + high))
        rate = share_rate(level, Share(held & called, either), 0.5)
        assert low < rate.low < rate.high < high  # type: ignore[operator]


def test_an_area_has_the_interval_that_its_numbers_of_cases_and_groups_allow() -> None:
    def area(y: Any, score: Any, groups: Any = None) -> tuple[dict[str, Any], Level]:
        truth, s = np.asarray(y), np.asarray(score, dtype=float)
        cases = Cases(truth, np.column_stack([1 - s, s]), truth, np.ones(len(truth)), (1,))
        names = np.array([f"p{i:03}" for i in (range(len(truth)) if groups is None else groups)])
        draws = Draws(level=CONFIDENCE, resamples=20, word="patient")
        level = Level.of("eye", cases, names, task=TASKS["binary"], draws=draws)
        return row_of(level, "auroc"), level

    rng = np.random.default_rng(0)
    y = np.r_[np.ones(10, int), np.zeros(30, int)]
    score = np.clip(0.3 * y + 0.7 * rng.random(40), 0, 1)
    # Independent: DeLong's from ten cases of each class on, Newcombe's below.
    row, _ = area(y, score)
    assert ends(row) == delong(y, score, level=CONFIDENCE, scale="logit").ends
    row, _ = area(y[1:], score[1:])
    value = sk.roc_auc_score(y[1:], score[1:])
    assert row["value"] == pytest.approx(value)
    assert ends(row) == newcombe_auroc(value, 9, 30, level=CONFIDENCE).ends
    # Of groups: Newcombe's over them where one class has fewer than four, or nothing is wrong.
    groups = np.r_[np.arange(10) // 4, 3 + np.arange(30) // 2]
    row, _ = area(y, score, groups)
    value = sk.roc_auc_score(y, score)
    expected = newcombe_auroc(value, 3, 15, level=CONFIDENCE, word="patient")
    assert (ends(row), row["method"]) == (expected.ends, expected.method)
    groups = np.arange(40) // 2
    for worth in (0.5, -0.5):
        row, _ = area(y, 0.5 + worth * (y - 0.5), groups)
        expected = newcombe_auroc(float(worth > 0), 5, 15, level=CONFIDENCE, word="patient")
        assert ends(row) == expected.ends
    # The jackknife's below thirty groups of a class, DeLong's for clusters from there on.
    row, level = area(y, score, groups)
    left_out = jackknife(Ranking(y == 1, score).auroc, level.plan)
    expected = jackknife_interval(value, left_out, level.plan, scale="share", level=CONFIDENCE)
    assert (ends(row), row["method"]) == (expected.ends, expected.method)
    y = np.tile([1, 1, 0, 0], 30)
    score = 0.3 * y + 0.7 * rng.random(120)
    groups = np.arange(120) // 2
    row, level = area(y, score, groups)
    expected = delong_clustered(
        y, score, level.groups, level=CONFIDENCE, scale="logit", word="patient"
    )
    assert (ends(row), row["method"]) == (expected.ends, expected.method)
    # Four patients with both classes: too few for the jackknife.
    row, level = area(y[:16], score[:16], np.arange(16) // 4)
    expected = delong_clustered(
        y[:16], score[:16], level.groups, level=CONFIDENCE, scale="logit", word="patient"
    )
    assert (ends(row), row["method"]) == (expected.ends, expected.method)


def test_the_mean_recall_has_its_interval_from_the_ends_of_the_recalls() -> None:
    level = level_of("multiclass")
    row = row_of(level, "balanced_accuracy")
    below = above = 0.0
    for c in range(3):
        hit = (level.cases.decided == c)[level.cases.y == c]
        low, high = wilson(hit.sum(), 30, level=CONFIDENCE).ends
        below += (hit.mean() - low) ** 2
        above += (high - hit.mean()) ** 2
    assert row["low"] == pytest.approx(row["value"] - np.sqrt(below) / 3)
    assert row["high"] == pytest.approx(row["value"] + np.sqrt(above) / 3)
    assert "Zou and Donner" in row["method"]
    # A recall of one patient alone has no interval, nor has the mean then.
    level = level_of("binary", n=24)
    groups = np.array(["one" if y else f"p{i // 4}" for i, y in enumerate(level.cases.y)])
    one = Level.of(
        "eye",
        level.cases,
        groups,
        task=level.task,
        draws=Draws(level=CONFIDENCE, resamples=20, word="patient"),
    )
    row = row_of(one, "balanced_accuracy")
    assert row["low"] is None
    assert "cases are of one patient" in row["reason"]
    # All right, or all wrong: cut off at the ends.
    right = level_of("binary", gain=1.0)
    wrong = replace(right, cases=replace(right.cases, decided=1 - right.cases.y))
    for level, end, value in ((right, "high", 1.0), (wrong, "low", 0.0)):
        row = row_of(level, "balanced_accuracy")
        assert row[end] == row["value"] == value


def test_a_smooth_number_has_the_jackknifes_interval_on_its_scale() -> None:
    level = level_of("ordinal", of_group=3)
    for name, compute, scale in (
        ("quadratic_kappa", metrics.quadratic_kappa, "agreement"),
        ("log_loss", metrics.log_loss, "loss"),
        ("macro_f1", metrics.macro_f1, "share"),
    ):
        row, spec = row_of(level, name), spec_of(level, name)
        left_out = jackknife(
            lambda w, of=compute: metrics.over_weights(of, level.cases, w), level.plan
        )
        expected = jackknife_interval(
            row["value"], left_out, level.plan, scale=scale, level=CONFIDENCE
        )
        assert (ends(row), row["method"]) == (expected.ends, expected.method)
        assert interval_of(level, spec, row["value"]).ends == pytest.approx(expected.ends)
    # Nothing is wrong: the exact limit on the groups of each class.
    perfect = level_of("ordinal", of_group=3, gain=1.0)
    row = row_of(perfect, "macro_f1")
    assert (row["value"], row["high"]) == (1.0, 1.0)
    assert row["method"] == "exact limit on 30 patients"
    average = row_of(level_of("multiclass", of_group=3), "average_precision", "b")
    assert average["method"].startswith("jackknife over 30 patients on the scale of")


def test_a_macro_f1_says_how_few_groups_hold_its_rarest_class() -> None:
    def reason(n_rare: int, *, word: str = "patient") -> str:
        y = np.repeat(np.arange(3), [40, 40, n_rare])
        decided = np.where(np.arange(len(y)) % 4 == 0, (y + 1) % 3, y)
        cases = Cases(y, np.eye(3)[decided], decided, np.ones(len(y)), ())
        draws = Draws(level=CONFIDENCE, resamples=2, word=word)
        names = np.arange(len(y)).astype(str)
        level = Level.of("image", cases, names, task=TASKS["multiclass"], draws=draws)
        return str(row_of(level, "macro_f1")["reason"])

    assert reason(5) == ""
    assert reason(4).startswith("approximate: a class is held by 4 patients, and such intervals ")
    assert "in about 87 to 95 % of studies, not in 90 %" in reason(3)
    assert "held by 2 patients" in reason(2)
    assert "in about 70 to 85 % of studies" in reason(2)
    assert "held by no patient," in reason(0)


def half_right(cases: Cases) -> float:
    """A function of an app, which says nothing of its kind."""
    return float(np.average(cases.y == cases.decided, weights=cases.weight)) / 2


def test_what_moves_in_steps_is_resampled() -> None:
    level = level_of("binary", of_group=3, gain=0.1)
    quick = Metric(name="q", title="Q", compute=AT_EIGHTY, percent=True, seeks=True)
    slow = Metric(name="s", title="S", compute=half_right, percent=True)
    plain = Metric(name="p", title="P", compute=half_right)
    for own, scale in ((quick, "share"), (slow, "share"), (plain, "plain")):
        spec, row = spec_of(level, own.name, own=own), row_of(level, own.name, own=own)
        drawn = replicates_of(level, spec)
        assert len(drawn) == 60
        expected = bootstrap_interval(
            row["value"], drawn, level.plan, level=CONFIDENCE, scale=scale
        )
        assert (ends(row), row["method"]) == (expected.ends, expected.method)
        assert needs_resamples(spec)
    assert not needs_resamples(spec_of(level, "macro_f1"))
    # A function that has to be called once for each resample is called less often.
    many = replace(level, plan=replace(level.plan, resamples=SLOW_RESAMPLES + 100))
    assert len(replicates_of(many, spec_of(level, "s", own=slow))) == SLOW_RESAMPLES
    assert len(replicates_of(many, spec_of(level, "q", own=quick))) == SLOW_RESAMPLES + 100
    assert np.isnan(replicates_of(level, spec_of(level, "recall", "yes"))).all()


def high_share(cases: Cases) -> float:
    """A share above nine tenths."""
    return 0.9 + half_right(cases) / 5


def test_a_high_share_that_is_resampled_is_marked_approximate() -> None:
    level = level_of("binary", of_group=3, gain=0.1)
    for percent, value in ((True, high_share), (False, high_share), (True, half_right)):
        row = row_of(level, "s", own=Metric(name="s", title="S", compute=value, percent=percent))
        is_marked = percent and value is high_share
        assert row["reason"].startswith("approximate: above 90 %, and") == is_marked
        assert ("in about 83 % of studies, not in 90 %" in row["reason"]) == is_marked
    # Of few patients there is no interval that could be marked.
    few = level_of("binary", n=12, of_group=3, gain=0.1)
    own = Metric(name="s", title="S", compute=high_share, percent=True)
    row = row_of(few, "s", own=own)
    assert row["reason"].startswith("interval withheld: 4 patients are too few")


@pytest.mark.parametrize("name", ["expected_calibration_error", "adaptive_calibration_error"])
def test_a_calibration_error_has_chance_taken_off_below(name: str) -> None:
    level = level_of("binary", of_group=3)
    spec, row = spec_of(level, name), row_of(level, name)
    drawn = replicates_of(level, spec)
    equal = "mass" if name.startswith("adaptive") else "width"
    chance = calibration_noise(level.cases, level.plan.index, seed=level.plan.seed, equal=equal)
    noise = np.quantile(chance, 0.95)
    assert row["low"] == pytest.approx(max(0.0, row["value"] - noise))
    # The spread of 30 patients, of which resamples show 29 / 30.
    rise = 1.6448536 * drawn.std(ddof=1) * np.sqrt(30 / 29)
    assert row["high"] == pytest.approx(row["value"] + rise)
    assert row["reason"] == f"a perfectly calibrated model would show up to {noise:.3f} here"
    assert row["method"].startswith("bootstrap of 60 resamples of 30 patients above")
    wrong = replace(level, cases=replace(level.cases, y=1 - level.cases.y))
    assert row_of(wrong, name)["low"] > 0


def test_few_groups_have_no_interval_of_what_is_not_a_share_or_an_area() -> None:
    level = level_of("multiclass", n=12, of_group=3)
    for name in ("macro_f1", "balanced_accuracy", "brier", "expected_calibration_error"):
        row = row_of(level, name)
        assert row["value"] is not None
        assert row["low"] is row["high"] is None
        assert row["reason"].startswith("interval withheld: 4 patients are too few")
    assert row_of(level, "accuracy")["low"] is not None


def test_a_number_without_a_function_has_no_interval_of_its_own() -> None:
    level = level_of("multiclass", of_group=3)
    for basis in (None, Basis("smooth")):
        found = interval_of(level, MetricSpec(name="x", title="X", key="x", basis=basis), 0.5)
        assert (found.low, found.high, found.level) == (None, None, CONFIDENCE)

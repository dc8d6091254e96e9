"""What of a report is held against the truth, beside the tables of numbers.

Operating points with their likelihood ratios, predictive values at another prevalence, net
benefit, numbers that apps add, subgroups and their gaps, referral, bins of reliability, and
areas of a map from tiles in blocks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from apps.crop_disease.field.areas import corrected_areas
from core.app import Metric
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.curves import decision_of, reliability_of, risk_coverage_of
from core.evaluation.metric_specs import specs_of
from core.evaluation.stored_thresholds import reached
from core.evaluation.subgroups import subgroup_calibration, subgroup_gaps, subgroup_rows
from core.evaluation.unit_metrics import rows_of
from core.statistics import metrics as named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from bench.studies import Study
    from core.evaluation.cases import Level

__all__ = [
    "BLOCKS",
    "MARKS",
    "area_facts",
    "areas_truth",
    "bin_facts",
    "facts_of",
    "mark_of",
    "subgroup_facts",
]

# A number: its name in the table, which one of that name, value, low, high.
Fact = tuple[str, str, float | None, float | None, float | None]
ELSEWHERE = 0.05
# Behind the name of a number whose interval a report marks, and the words it begins with there.
MARKS = {
    "approximate": ", marked approximate",
    "too few to judge": ", marked too few",
}
# Numbers of blocks that judged tiles of a map lie in.
BLOCKS = (5, 9, 12, 30)
# Numbers that apps add to those of every task, by kind of task.
OF_APPS: dict[str, dict[str, Any]] = {
    "binary": {
        "partial_auroc": named.partial_auroc_of_positive,
        "probabilistic_f1": named.probabilistic_f1_of_positive,
        "brier_of_positive": named.brier_of_positive,
        "sensitivity_at_specificity_90": partial(named.sensitivity_at_specificity, at_least=0.9),
        "specificity_at_sensitivity_90": partial(named.specificity_at_sensitivity, at_least=0.9),
        "sensitivity_at_recall_10": partial(named.sensitivity_at_recall_rate, limit=0.1),
        "matthews": named.matthews,
        "kappa": named.kappa,
    },
    "ordinal": {
        "matthews": named.matthews,
        "kappa": named.kappa,
        "lins_concordance": named.lins_concordance,
    },
    "multiclass": {
        "matthews": named.matthews,
        "kappa": named.kappa,
        "top_two_accuracy": named.top_two_accuracy,
        "micro_auroc": named.micro_auroc,
    },
    "multilabel": {"micro_auroc": named.micro_auroc},
}


def mark_of(row: Mapping[str, Any]) -> str:
    """What stands behind the name of a number whose row a report marks; empty of others.

    >>> mark_of({"reason": "too few to judge: 4 events"}), mark_of({"reason": ""})
    (', marked too few', '')
    """
    return next((mark for words, mark in MARKS.items() if words in row["reason"]), "")


def facts_of(level: Level, study: Study) -> Iterator[Fact]:
    """What a report says beyond its tables of numbers; of a very large sample, the truth."""
    added = [
        Metric(name=name, title=name, compute=compute)
        for name, compute in OF_APPS[study.kind].items()
    ]
    specs = specs_of(level, added)[: len(added)]
    for row in rows_of(level, specs, split="test"):
        yield row["name"] + mark_of(row), "", row["value"], row["low"], row["high"]
    for row in risk_coverage_of(level)["rows"]:
        share = round(100 * row["referred"])
        if share in {5, 10, 20, 30}:
            name = "error among the rest, least certain referred"
            yield name, str(share), row["error"], row["low"], row["high"]
    if not level.task.positive_index or study.kind == "multilabel":
        return
    yield from _point(level, study)
    line = calibration_of(level) or {}
    if "intercept" in line:
        row = line["intercept"]
        yield "intercept", "", row["value"], row["low"], row["high"]
    for prevalence, name in ((None, "net benefit"), (ELSEWHERE, "net benefit elsewhere")):
        found = decision_of(level, prevalence)
        for row in (found or {}).get("rows", []):
            at = f"{row['threshold']:.2f}"
            yield f"{name}, model minus all", at, row["gain"], row["low"], row["high"]


def _point(level: Level, study: Study) -> Iterator[Fact]:
    """Rates at a threshold set before, likelihood ratios, and predictive values elsewhere."""
    threshold = study.prevalence if study.kind == "binary" else 0.5
    entry, rows = reached(
        {"name": "set", "threshold": threshold},
        {"image": level},
        "image",
        prevalence=ELSEWHERE,
        split="test",
    )
    for row in rows:
        yield f"{row['name']} at a threshold", "", row["value"], row["low"], row["high"]
    for name, row in entry["likelihood_ratios"].items():
        yield f"{name} likelihood ratio", "", row["value"], row["low"], row["high"]
    there = entry["at_prevalence"]
    for name in ("ppv", "npv"):
        if there.get(name) is not None:
            ends = there[f"{name}_low"], there[f"{name}_high"]
            yield f"{name} at another prevalence", "", there[name], *ends


def subgroup_facts(
    level: Level, study: Study, rng: np.random.Generator
) -> Iterator[tuple[str, str, float | None, float | None]]:
    """Subgroups that do not matter: name, whole number they must hold (or 0), low, high.

    One column parts the patients, the other the images of each patient.
    """
    groups, own = np.unique(level.groups, return_inverse=True)
    camera = np.where(rng.random(len(groups)) < 0.4, "a", "b")[own]
    view = np.where(rng.random(level.n) < 0.4, "a", "b")
    headline = {"binary": "auroc", "ordinal": "quadratic_kappa"}.get(study.kind, "macro_f1")
    specs = [spec for spec in specs_of(level, []) if not spec.of]
    specs = [s for s in specs if s.name == headline] + [s for s in specs if s.name == "accuracy"]
    for column, values in (("patients", camera), ("images", view)):
        rows, compared = subgroup_rows(level, specs, {column: values}, split="test")
        for row in rows:
            if row["value"] is not None:
                yield f"{row['name']} of a subgroup", row["name"], row["low"], row["high"]
        for row in [*compared, *subgroup_gaps(level, {column: values})]:
            if row["difference"] is not None and not row["reason"].startswith("too few"):
                yield f"gap of {row['name']}, by {column}", "", row["low"], row["high"]
        for row in subgroup_calibration(level, {column: values}):
            for key, of in (("slope", "1"), ("in_the_large", "0")):
                if key in row:
                    one = row[key]
                    yield f"{key} of a subgroup", of, one["low"], one["high"]


def bin_facts(level: Level) -> Iterator[tuple[float, float, float]]:
    """Bins of the reliability diagram: what scores that are right say, low, high."""
    for row in reliability_of(level):
        if row["n"] and row["low"] is not None:
            yield row["score"], row["low"], row["high"]


# --------------------------------------------------------------------------- areas of a map


def _tiles(rng: np.random.Generator, blocks: int, tiles: int = 30) -> NDArray[np.float64]:
    """Counts (G, 2, 2) of judged tiles by block, class on the map and true class."""
    found = np.zeros((blocks, 2, 2))
    for counts in found:
        sick, hit, alarm = expit(logit([0.3, 0.85, 0.1]) + rng.standard_normal(3))
        truth = rng.random(tiles) < sick
        mapped = np.where(truth, rng.random(tiles) < hit, rng.random(tiles) < alarm)
        np.add.at(counts, (mapped.astype(int), truth.astype(int)), 1)
    return found


def areas_truth() -> tuple[NDArray[np.float64], float, float]:
    """Shares on the map (2,), and the true area and accuracy, of very many blocks."""
    counts = _tiles(np.random.default_rng(0), 40_000).sum(axis=0)
    counts /= counts.sum()
    return counts.sum(axis=1), float(counts.sum(axis=0)[1]), float(np.trace(counts))


def area_facts(
    rng: np.random.Generator, blocks: int, mapped: NDArray[np.float64]
) -> list[tuple[str, float, float]]:
    """Name, low and high of the area of a class and of the accuracy weighted by area."""
    found = corrected_areas(mapped, _tiles(rng, blocks))
    return [
        ("area of a class", float(found.low[1]), float(found.high[1])),
        ("accuracy weighted by area", found.accuracy_low, found.accuracy_high),
    ]

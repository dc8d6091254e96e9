"""Coverage of confidence intervals by simulation: the full grid, written to docs/coverage.md.

    python -m bench.coverage --results counts.json --studies 300 --before bench/coverage_0_1.json

Each study is drawn anew, judged by the product's own functions, and each interval is held
against the truth of a very large sample. Studies whose interval was withheld are not
counted; how many were is said.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from bench.coverage_parts import (
    BLOCKS,
    area_facts,
    areas_truth,
    bin_facts,
    facts_of,
    mark_of,
    subgroup_facts,
)
from bench.studies import Study, levels_of
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.cases import Level
from core.evaluation.drift import number_drift
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import compare_levels, hold_family
from core.evaluation.paired_decisions import PairedCases
from core.evaluation.unit_metrics import rows_of, values_of
from core.statistics.resampling import Draws

# Name, interval and truth of what a study says.
Facts = Iterator[tuple[str, float | None, float | None, float]]
HEADLINES = {"binary": "auroc", "ordinal": "quadratic_kappa"}
GRID = (
    Study(patients=60, prevalence=0.1, icc=0.3),
    Study(patients=60, prevalence=0.3, icc=0.3),
    Study(patients=30, prevalence=0.3, icc=0.8),
    Study(patients=150, prevalence=0.05, icc=0.3),
    Study(patients=150, prevalence=0.1, icc=0.3),
    Study(patients=150, prevalence=0.3, icc=0.8),
    Study(patients=60, prevalence=0.2, icc=0.5, shift=3.5),
    Study("ordinal", patients=60, icc=0.8),
    Study("ordinal", patients=150, icc=0.3),
    Study("multiclass", patients=60, icc=0.5),
    Study("multiclass", patients=150, icc=0.3),
    Study("multilabel", patients=60, icc=0.3),
    Study("multilabel", patients=150, icc=0.8),
)
LARGE = 60_000
# Odds against chance from which a cell is said to lie outside.
ODDS = 1000
# Names of what ``parts_of`` gives, beside the numbers of apps.
OF_PARTS = re.compile(
    "threshold|likelihood|another prev|net benefit|subgroup|gap of|bin of|referred"
)
# Numbers that are compared with new data.
COMPARED = (
    *("auroc", "auroc_positive", "quadratic_kappa", "macro_f1", "accuracy", "balanced_accuracy"),
    *("macro_auroc", "log_loss", "brier"),
)
EXPECTED = ("expected_calibration_error", "adaptive_calibration_error")


def truth_of(
    study: Study, patients: int = LARGE, *, parts: bool = True
) -> dict[tuple[str, str], float]:
    """Every number of a very large sample; with ``parts`` also what ``parts_of`` needs."""
    rng = np.random.default_rng(1)
    level = levels_of(rng, study, resamples=2, seed=0, patients=patients)[0]
    specs = [spec for spec in specs_of(level, []) if spec.kind != "count"]
    values = values_of(level, specs, np.ones((1, level.n)))
    found = {(spec.name, spec.of): float(values[spec.key][0]) for spec in specs}
    # Scores are the true chances. Bins of a large sample tell no error but noise.
    found |= {(name, ""): 0.0 for name in EXPECTED if (name, "") in found}
    for name, of, value, _, _ in facts_of(in_ten_groups(level), study) if parts else ():
        found[name.partition(", marked")[0], of] = float("nan" if value is None else value)
    lines = {(name, ""): 0.0 for name in ("in_the_large", "intercept")}
    return found | lines | {("slope", ""): 1.0}


def in_ten_groups(level: Level) -> Level:
    """The same cases in ten groups: values do not depend on groups, and intervals cost less."""
    return Level.of(
        level.unit,
        level.cases,
        np.array([name[-1] for name in level.groups]),
        task=level.task,
        draws=Draws(
            level=level.confidence,
            resamples=level.plan.resamples,
            seed=level.plan.seed,
            word=level.plan.word,
        ),
    )


def words_of(name: str, of: str, study: Study) -> str:
    """What a number is called in the table; classes of several are taken together."""
    if study.kind == "binary" and of == "no":
        return ""
    return f"{name} of a class" if of else name


def note(
    counts: dict[str, list[float]], name: str, low: float | None, high: float | None, true: float
) -> None:
    """Count one interval: shown, of, covered, width."""
    one = counts.setdefault(name, [0.0, 0.0, 0.0, 0.0])
    one[1] += 1
    if low is not None and high is not None:
        one[0] += 1
        one[2] += low <= true + 1e-9 and true - 1e-9 <= high
        one[3] += high - low


def numbers_of(
    study: Study, number: int, truth: dict[tuple[str, str], float], resamples: int
) -> Facts:
    """Every number, and every difference, of a study: name, interval and truth."""
    headline = HEADLINES.get(study.kind, "macro_f1")
    rng = np.random.default_rng([2026, number])
    first, second = levels_of(rng, study, resamples=resamples, seed=number)
    for row in rows_of(first, specs_of(first, []), split="test"):
        name = words_of(row["name"], row["of"], study)
        if name and row["value"] is not None and row["name"] != "support":
            true = truth[row["name"], row["of"]]
            yield name + mark_of(row), row["low"], row["high"], true
    line = calibration_of(first)
    if line is not None and "slope" in line:
        for key in ("slope", "in_the_large"):
            yield key, line[key]["low"], line[key]["high"], truth[key, ""]
    specs = [s for s in specs_of(first, []) if not s.of and s.name not in EXPECTED]
    specs.sort(key=lambda spec: spec.name != headline)
    rows = compare_levels(PairedCases(first, second), specs, headline=headline)
    hold_family(rows)
    other = levels_of(rng, study, resamples=resamples, seed=number)[0]
    far = number_drift(first, other, [s for s in specs if s.name in COMPARED])
    for what, some in (("paired", rows), ("external", far)):
        for row in some:
            if row["difference"] is not None:
                yield f"{what} difference of {row['name']}", row["low"], row["high"], 0.0
        called = any(r["verdict"].startswith(("higher", "lower")) for r in some)
        yield f"any {what} difference called", 0.0, 0.0, 0.0 if called else 1.0


def parts_of(
    study: Study, number: int, truth: dict[tuple[str, str], float], resamples: int
) -> Facts:
    """What a report says of a study beyond its tables of numbers: name, interval and truth."""
    rng = np.random.default_rng([2026, number])
    level = levels_of(rng, study, resamples=resamples, seed=number)[0]
    for name, of, value, low, high in facts_of(level, study):
        if value is not None:
            yield name, low, high, truth[name.partition(", marked")[0], of]
    rng = np.random.default_rng([2027, number])
    for name, of, low, high in subgroup_facts(level, study, rng):
        fixed = {"": 0.0, "0": 0.0, "1": 1.0}
        yield name, low, high, fixed[of] if of in fixed else truth[of, ""]
    for score, low, high in bin_facts(level):
        yield "bin of a reliability diagram", low, high, score


def measure(
    study: Study,
    studies: range,
    counts: dict[str, list[float]],
    *,
    facts: Callable[..., Facts] = numbers_of,
    resamples: int = 200,
    truth: dict[tuple[str, str], float] | None = None,
) -> None:
    """Hold what some studies say against the truth.

    Args:
        study: the kind of study.
        studies: their numbers, which are their seeds.
        counts: name -> shown, of, covered, width; added to.
        facts: ``numbers_of`` or ``parts_of``.
        resamples: of the numbers that need a bootstrap.
        truth: of ``truth_of``, where it is known.
    """
    truth = truth or truth_of(study)
    for number in studies:
        for name, low, high, true in facts(study, number, truth, resamples):
            note(counts, name, low, high, true)


def measure_areas(studies: range, counts: dict[str, list[float]], blocks: int) -> None:
    """Hold areas of a map, corrected by tiles in blocks, against the truth."""
    mapped, area, accuracy = areas_truth()
    for number in studies:
        rng = np.random.default_rng([2028, number])
        for (name, low, high), true in zip(
            area_facts(rng, blocks, mapped), (area, accuracy), strict=True
        ):
            note(counts, name, low, high, true)


Results = dict[str, dict[str, list[float]]]


def before_words(before: Results | None, studies: int) -> list[str]:
    """What the rows in italics are."""
    if before is None:
        return []
    return [
        f"In italics the same measurement of the code before the change (version 0.1 at 1de5446), "
        f"{studies} studies for each column: its resamples held the share of classes fixed.",
        "",
    ]


def page(state: dict[str, Any], before: Results | None, *, before_studies: int = 0) -> str:
    """docs/coverage.md.

    Args:
        state: ``studies`` of each design, ``counts``: design -> name -> shown, of, covered,
            width; ``areas``, the same by the number of blocks; and ``called``, where calls
            were counted over another number of studies.
        before: counts of an earlier version.
        before_studies: of each design of the earlier version.
    """
    results, studies = state["counts"], int(state["studies"])
    designs = list(results)
    names = list(dict.fromkeys(name for one in results.values() for name in one))
    n_cells = sum(len(one) for one in results.values())
    lines = [
        "# What the intervals cover",
        "",
        "Written by `python -m bench.coverage`; the quick form of it is `tests/test_coverage.py`.",
        f"{studies} simulated studies for each column: patients with two to four images, the "
        "number of positives left to chance. A column is named by patients, prevalence and the "
        "share of noise that images of a patient share; `strong`: a sensitivity of about .98. "
        "In a cell: percent of the 95 % intervals that hold the truth; behind a bar, the studies "
        "in a hundred in which the interval was withheld. A coverage of 95 is known here to "
        f"about {196 * (0.95 * 0.05 / max(1, studies)) ** 0.5:.1f} points.",
        "",
        f"Numbers that stand in a table of their own in a report (operating points, net benefit, "
        f"subgroups, bins) are those of the first {state['parts']} of these studies. The last "
        "column takes all kinds of studies together, and tells a coverage far better than a cell "
        "does. In bold what lies below 93, underlined what lies above 97, by more than chance: "
        f"less than one in {ODDS:,} at 93 or 97, for there are some {n_cells:,} cells. What is "
        "underlined is wider than it need be.",
        "",
        "A macro-F1 of which a class is held by fewer than five groups does not reach 93, nor "
        "does a share above 90 % at a threshold that is sought on the cases themselves. A "
        "report marks them approximate and says what such intervals cover; "
        "here they have a line of their own, and so have numbers of fewer than ten events or "
        "others, which a report calls too few to judge. Where nearly all studies stand in such a "
        "line, the few of the other are those whose estimate came out low by chance: a coverage "
        "of 0 beside 95 withheld is that selection, and both lines together are the interval.",
        "",
        f"The table of calls is the share of {state.get('called', studies)} studies of each design "
        "in which any number is called different where none is. That a difference which is there "
        "is called, .985 against .302 of the same cases, is part of the test.",
        "",
        *before_words(before, before_studies),
    ]
    for title, some in (
        ("Numbers", [n for n in names if not OF_PARTS.search(n) and "difference" not in n]),
        ("Operating points, net benefit and subgroups", [n for n in names if OF_PARTS.search(n)]),
        ("Paired differences between two models", [n for n in names if n.startswith("paired")]),
        ("Differences to new data", [n for n in names if n.startswith("external")]),
        ("Any difference called where there is none", [n for n in names if n.startswith("any")]),
    ):
        lines += [
            f"## {title}",
            "",
            f"| | {' | '.join(designs)} | all |",
            "|---" * (len(designs) + 2) + "|",
        ]
        for name in some:
            cells = _line(results, name, designs)
            lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
            if before is not None and any(name in before.get(d, {}) for d in designs):
                cells = _line(before, name, designs, mark=False)
                lines.append(f"| *before (0.1)* | {' | '.join(cells)} |")
        lines.append("")
    # Measured by another process, and so not by this program.
    unequal = Path(__file__).with_name("coverage_unequal.md").read_text(encoding="utf-8")
    return "\n".join([*lines, *_areas(state["areas"]), unequal])


def _areas(areas: Results) -> list[str]:
    """The table of areas of a map."""
    names = list(dict.fromkeys(name for one in areas.values() for name in one))
    lines = [
        "## Areas of a map",
        "",
        "Corrected by what the classifier mistakes; 30 judged tiles in each block, which differ.",
        "",
        f"| | {' | '.join(f'{blocks} blocks' for blocks in areas)} | all |",
        "|---" * (len(areas) + 2) + "|",
    ]
    lines += [f"| {name} | {' | '.join(_line(areas, name, list(areas)))} |" for name in names]
    return [*lines, ""]


def _line(results: Results, name: str, designs: list[str], *, mark: bool = True) -> list[str]:
    """The cells of a number, and all designs together."""
    found = [results.get(design, {}).get(name) for design in designs]
    known = [one for one in found if one is not None]
    total = [float(sum(one[i] for one in known)) for i in range(4)] if known else None
    is_rate = name.startswith("any")
    return [_cell(one, mark=mark and not is_rate) for one in (*found, total)]


def _cell(one: list[float] | None, *, mark: bool = True) -> str:
    """Coverage in percent, and the share of studies without an interval."""
    if one is None:
        return ""
    shown, of, covered, _ = one
    if not shown:
        return "withheld"
    deviation = 100 * (1 - shown / of)
    text = f"{100 * covered / shown:.0f}"
    if mark and binom.cdf(covered, shown, 0.93) < 1 / ODDS:
        text = f"**{text}**"
    elif mark and binom.sf(covered - 1, shown, 0.97) < 1 / ODDS:
        text = f"<u>{text}</u>"
    return text + (f" \\| {deviation:.0f}" if deviation >= 0.5 else "")


def main() -> None:
    """Measure the grid, round by round, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--round", type=int, default=25, help="studies of a design in one go")
    parser.add_argument("--before", type=Path, help="results of an earlier version")
    parser.add_argument("--results", type=Path, required=True, help="counts; continued if there")
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.md"))
    given = parser.parse_args()
    state: dict[str, Any] = {"studies": 0, "parts": 0}
    state |= {"counts": {study.words: {} for study in GRID}}
    state |= {"areas": {str(blocks): {} for blocks in BLOCKS}}
    if given.results.is_file():
        state |= json.loads(given.results.read_text(encoding="utf-8"))
    before, n_before = None, 0
    if given.before and given.before.is_file():
        earlier = json.loads(given.before.read_text(encoding="utf-8"))
        before, n_before = earlier["counts"], int(earlier.get("studies", 0))
    truths = {study.words: truth_of(study) for study in GRID}
    while min(state["studies"], state["parts"]) < given.studies:
        # What lags behind first: either may have been measured on its own.
        key = "parts" if state["parts"] <= state["studies"] else "studies"
        some = range(state[key], min(given.studies, state[key] + given.round))
        for study in GRID:
            facts = parts_of if key == "parts" else numbers_of
            counts, truth = state["counts"][study.words], truths[study.words]
            measure(study, some, counts, facts=facts, truth=truth)
        if key == "parts":
            for blocks, counts in state["areas"].items():
                measure_areas(some, counts, int(blocks))
        state[key] = some.stop
        given.results.write_text(json.dumps(state), encoding="utf-8")
        written = page(state, before, before_studies=n_before)
        given.out.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()

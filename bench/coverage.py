"""Do the intervals cover what they say? The full grid, written to docs/coverage.md.

    python -m bench.coverage --results counts.json --studies 300 --before bench/coverage_0_1.json

Each study is drawn anew, judged by the product's own functions, and each interval is held
against the truth of a very large sample. Studies whose interval was withheld are not
counted; how many were is said.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from bench.studies import Study, levels_of
from core.evaluation.calibration_of_level import calibration_of
from core.evaluation.drift import number_drift
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import compare_levels, hold_family
from core.evaluation.unit_metrics import rows_of, values_of

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
# Numbers that are compared with new data.
COMPARED = (
    *("auroc", "auroc_positive", "quadratic_kappa", "macro_f1", "accuracy", "balanced_accuracy"),
    *("macro_auroc", "log_loss", "brier"),
)
EXPECTED = ("expected_calibration_error", "adaptive_calibration_error")


def truth_of(study: Study, patients: int = LARGE) -> dict[tuple[str, str], float]:
    """Every number of a very large sample."""
    rng = np.random.default_rng(1)
    level = levels_of(rng, study, resamples=2, seed=0, patients=patients)[0]
    specs = [spec for spec in specs_of(level, []) if spec.kind != "count"]
    values = values_of(level, specs, np.ones((1, level.n)))
    found = {(spec.name, spec.of): float(values[spec.key][0]) for spec in specs}
    # Scores are the true chances. Bins of a large sample tell no error but noise.
    found |= {(name, ""): 0.0 for name in EXPECTED if (name, "") in found}
    return found | {("slope", ""): 1.0, ("in_the_large", ""): 0.0}


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


def measure(
    study: Study,
    studies: range,
    counts: dict[str, list[float]],
    *,
    resamples: int = 200,
    truth: dict[tuple[str, str], float] | None = None,
) -> None:
    """Hold every number, and every difference, of some studies against the truth.

    Args:
        study: the kind of study.
        studies: their numbers, which are their seeds.
        counts: name -> shown, of, covered, width; added to.
        resamples: of the numbers that need a bootstrap.
        truth: of ``truth_of``, where it is known.
    """
    truth = truth or truth_of(study)
    headline = HEADLINES.get(study.kind, "macro_f1")
    for number in studies:
        rng = np.random.default_rng([2026, number])
        first, second = levels_of(rng, study, resamples=resamples, seed=number)
        for row in rows_of(first, specs_of(first, []), split="test"):
            name = words_of(row["name"], row["of"], study)
            if name and row["value"] is not None and row["name"] != "support":
                note(counts, name, row["low"], row["high"], truth[row["name"], row["of"]])
        line = calibration_of(first)
        if line is not None and "slope" in line:
            for key in ("slope", "in_the_large"):
                note(counts, key, line[key]["low"], line[key]["high"], truth[key, ""])
        specs = [s for s in specs_of(first, []) if not s.of and s.name not in EXPECTED]
        specs.sort(key=lambda spec: spec.name != headline)
        rows = compare_levels(first, second, specs, headline=headline)
        hold_family(rows)
        other = levels_of(rng, study, resamples=resamples, seed=number)[0]
        far = number_drift(first, other, [s for s in specs if s.name in COMPARED])
        for what, some in (("paired", rows), ("external", far)):
            for row in some:
                if row["difference"] is not None:
                    name = f"{what} difference of {row['name']}"
                    note(counts, name, row["low"], row["high"], 0.0)
            called = any(r["verdict"].startswith(("higher", "lower")) for r in some)
            note(counts, f"any {what} difference called", 0.0, 0.0, 0.0 if called else 1.0)


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


def page(results: Results, before: Results | None, studies: int, *, before_studies: int = 0) -> str:
    """docs/coverage.md.

    Args:
        results: design -> name -> shown, of, covered, width.
        before: the same of an earlier version.
        studies: of each design.
        before_studies: of each design of the earlier version.
    """
    designs = list(results)
    names = list(dict.fromkeys(name for one in results.values() for name in one))
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
        "The last column takes all kinds of studies together, and tells a coverage far better "
        "than a cell does. In bold what lies below 93 by more than chance: numbers of so few "
        "groups are marked approximate in a report, with what was measured here.",
        "",
        "The last table is the share of studies in which any number is called different where "
        "none is. That a difference which is there is called, .985 against .302 of the same "
        "cases, is part of the test.",
        "",
        *before_words(before, before_studies),
    ]
    for title, some in (
        ("Numbers", [n for n in names if "difference" not in n]),
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
    return "\n".join(lines)


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
    away = 100 * (1 - shown / of)
    text = f"{100 * covered / shown:.0f}"
    # Too few of so many for a true 93 %: less than one in forty.
    if mark and covered < binom.ppf(0.025, shown, 0.93):
        text = f"**{text}**"
    return text + (f" \\| {away:.0f}" if away >= 0.5 else "")


def main() -> None:
    """Measure the grid, round by round, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--round", type=int, default=25, help="studies of a design in one go")
    parser.add_argument("--before", type=Path, help="results of an earlier version")
    parser.add_argument("--results", type=Path, required=True, help="counts; continued if there")
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.md"))
    given = parser.parse_args()
    state: dict[str, Any] = {"studies": 0, "counts": {study.words: {} for study in GRID}}
    if given.results.is_file():
        state = json.loads(given.results.read_text(encoding="utf-8"))
    before, n_before = None, 0
    if given.before and given.before.is_file():
        earlier = json.loads(given.before.read_text(encoding="utf-8"))
        before, n_before = earlier["counts"], int(earlier.get("studies", 0))
    truths = {study.words: truth_of(study) for study in GRID}
    while state["studies"] < given.studies:
        some = range(state["studies"], min(given.studies, state["studies"] + given.round))
        for study in GRID:
            counts, truth = state["counts"][study.words], truths[study.words]
            measure(study, some, counts, truth=truth)
        state["studies"] = some.stop
        given.results.write_text(json.dumps(state), encoding="utf-8")
        written = page(state["counts"], before, some.stop, before_studies=n_before)
        given.out.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()

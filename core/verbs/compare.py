"""``resight compare``: two runs on the same cases, number by number, and what changed between them.

Cases are those that neither run was trained or tuned on: the test (or out-of-fold)
rows both share, or a labelled folder that both score now. Cases of one that the
other was trained on are left out and counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.base.jobs import Job, open_output
from core.base.outputs import plain_json, write_json
from core.base.tables import POSITIVE, score_columns
from core.data.input_files import require_apart
from core.errors import ConfigError, ManifestError
from core.evaluation.cases import Level
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import compare_levels, hold_family, non_inferiority, still_possible
from core.evaluation.paired_decisions import (
    PairedCases,
    agreement_at_threshold,
    agreement_of,
    point_words,
)
from core.evaluation.stored_thresholds import threshold_in_force
from core.evaluation.threshold_choice import headline_unit
from core.evaluation.units import decisions_by_unit
from core.prediction.labelled import score_labelled
from core.report.comparison import write_comparison
from core.runs.results import print_page
from core.runs.run import load_run, units_of_run
from core.runs.run_metrics import draws_of
from core.runs.table_files import read_table, write_table
from core.verbs.run_differences import changed, check_alike, facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import Metric
    from core.runs.run import Run

__all__ = ["compare"]

RESAMPLES = 2000
FIXED_MIX = (
    "The number of cases of each class was fixed by the design (case-control): intervals are "
    "resampled within classes."
)


def compare(
    first_path: Path,
    second_path: Path,
    out: Path | None = None,
    *,
    data: Path | None = None,
    label: str | None = None,
    group: str | None = None,
    card: str | None = None,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    margin: float | None = None,
    pdf: bool = False,
) -> dict[str, Any]:
    """Compare two runs on the same cases.

    Args:
        first_path: a complete run: the one to be measured against.
        second_path: another, of the same app and classes.
        out: directory of the comparison; replaced if it holds an earlier one. None writes
            nothing.
        data: a labelled folder or table that both score; None takes the held-out
            rows that both have.
        label: column of the labels.
        group: column of the groups.
        card: data card to use.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own.
        margin: the greatest loss of the headline that does not matter, on its own scale (0.02
            of a share is 2 points), set before the data are seen: is the second not worse?
        pdf: print the page to ``report.pdf`` as well.

    Returns:
        the content of ``comparison.json``, and ``out`` where it was written.

    Raises:
        ResightError: the runs answer different questions, or share no case.
    """
    if out is not None:
        require_apart(out, [first_path, second_path, *([data] if data else [])])
    runs = (load_run(first_path), load_run(second_path))
    check_alike(runs)
    notes: list[str] = []
    if data is None:
        tables = _shared_rows(runs, notes)
        of = "held-out cases of both"
    else:
        about: dict[str, Any] = {"label": label, "group": group, "card": card}
        about |= {"allow_outside": allow_outside, "options": options or {}}
        scored = [score_labelled(run, data, **about) for run in runs]
        tables = (scored[0].predictions, scored[1].predictions)
        notes += scored[0].notes
        of = "new data"
    if margin is not None and not 0 < margin < 1:
        msg = f"--margin {margin:g}: must lie between 0 and 1, as in 0.02 for 2 points."
        raise ConfigError(msg)
    design = runs[0].app.design if data else runs[0].content.get("design", runs[0].app.design)
    fixed_mix = design == "case-control"
    if fixed_mix:
        notes.append(FIXED_MIX)
    content, cases = _compared(runs, tables, notes, of, margin, fixed_mix=fixed_mix)
    if out is None:
        return content
    with open_output(out, Job("comparison", replaces=True)):
        write_json(out / "comparison.json", content)
        for unit, table in cases.items():
            write_table(out / f"cases_{unit}", table)
        write_comparison(out, content, runs[0].app, runs[0].task, cases)
        print_page(out, pdf=pdf)
    return {"out": str(out), **content}


def _compared(
    runs: tuple[Run, Run],
    tables: tuple[pd.DataFrame, pd.DataFrame],
    notes: list[str],
    of: str,
    margin: float | None,
    *,
    fixed_mix: bool,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """The content of ``comparison.json``, and the cases side by side for each unit."""
    first = runs[0]
    metrics = first.app.metrics_for(first.task)
    thresholds = _thresholds(runs, tables, notes)
    decided = _decided(runs, tables, thresholds)
    common = [name for name in decided[0] if name in decided[1]]
    unit = headline_unit(metrics, common)
    pairs: dict[str, PairedCases] = {}
    cases: dict[str, pd.DataFrame] = {}
    shown: dict[str, str] = {}
    for name in sorted(common, key=lambda n: n != unit):
        pair, side = _pair(runs, decided, name, thresholds, notes, fixed_mix=fixed_mix)
        if pair is None:
            continue
        like = next((other for other in cases if _same_rows(cases[other], side)), name)
        shown[name] = like
        if like == name:
            pairs[name], cases[name] = pair, side
        else:
            notes.append(
                f"Each {like} is one {name} here: the rows are the same, and are shown once."
            )
    rows: list[dict[str, Any]] = []
    for name, pair in pairs.items():
        here = [m for m in metrics if shown.get(m.unit or common[-1]) == name]
        headline = _headline(metrics, pair.first) if name == unit else ""
        wanted = [s for s in specs_of(pair.first, here) if not s.of]
        rows += compare_levels(pair, wanted, headline=headline)
    if not rows:
        msg = "The two runs have no case in common that both were judged on. Pass --data."
        raise ManifestError(msg)
    families = hold_family(rows)
    word = next(iter(pairs.values())).first.plan.word
    main = next((row for row in rows if row["is_headline"]), rows[0])
    content: dict[str, Any] = {
        "schema": 1,
        "of": of,
        "unit": unit,
        "group": word,
        "possible": still_possible(main, word),
        "runs": [facts_of(run) for run in runs],
        "families": families,
        "rows": plain_json(rows),
        "agreement": {name: agreement_of(pair) for name, pair in pairs.items()},
        "agreement_at_threshold": {
            name: found
            for name, pair in pairs.items()
            if (found := agreement_at_threshold(pair)) is not None
        },
        "changed": changed(runs, [_split_of(table) for table in tables]),
        "notes": list(dict.fromkeys(notes)),
        "margin": None,
        "counted_at": [
            point_words(run.content, run.task, _split_of(table))
            + ("; not used here" if at is None and run.content.get("operating_point") else "")
            for run, table, at in zip(runs, tables, thresholds, strict=True)
        ],
        "resamples": RESAMPLES,
        "seed": int(first.content["seed"]),
    }
    if margin is not None:
        up = next((m.higher_is_better for m in metrics if m.name == main["name"]), True)
        content["margin"] = non_inferiority(main, margin, higher_is_better=up)
        content["notes"].insert(0, content["margin"]["words"])
    return content, cases


def _split_of(table: pd.DataFrame) -> str:
    """What these rows are: out-of-fold, if any are; rows of no fold have the run's threshold."""
    return "out-of-fold" if (table["split"] == "out-of-fold").any() else "test"


def _thresholds(
    runs: tuple[Run, Run], tables: tuple[pd.DataFrame, pd.DataFrame], notes: list[str]
) -> list[float | dict[str, float] | None]:
    """The threshold of each run; of neither where one has none.

    Out-of-fold cases helped to choose the threshold of their run, so each is decided at that
    of the other folds, as an evaluation does.
    """
    found = [
        threshold_in_force(run.content, _split_of(table))
        for run, table in zip(runs, tables, strict=True)
    ]
    if (found[0] is None) == (found[1] is None):
        return found
    which = int(found[0] is None)
    notes.append(
        f"Only the {('first', 'second')[which]} run has an operating point "
        f"({point_words(runs[which].content, runs[which].task, _split_of(tables[which]))}), so "
        "decisions at a threshold are not compared: both runs are decided without one, by "
        f"{point_words({}, runs[0].task, '')}."
    )
    return [None, None]


def _same_rows(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two units hold the same cases, whatever their names."""
    if len(one) != len(other):
        return False
    sides = [side.drop(columns=["unit", "unit_id"]) for side in (one, other)]
    by = sides[0].columns.tolist()
    a, b = (side.sort_values(by, kind="stable").reset_index(drop=True) for side in sides)
    return a.equals(b)


def _decided(
    runs: Sequence[Run],
    tables: Sequence[pd.DataFrame],
    thresholds: Sequence[float | dict[str, float] | None],
) -> list[dict[str, pd.DataFrame]]:
    """The decisions of each run by unit: each by its own cuts between grades and its threshold."""
    return [
        decisions_by_unit(
            table,
            task=run.task,
            units=units_of_run(run.content),
            threshold=threshold,
            keep=("fold",),
        )[0]
        for run, table, threshold in zip(runs, tables, thresholds, strict=True)
    ]


def _pair(
    runs: tuple[Run, Run],
    decided: Sequence[Mapping[str, pd.DataFrame]],
    name: str,
    thresholds: Sequence[float | dict[str, float] | None],
    notes: list[str],
    *,
    fixed_mix: bool,
) -> tuple[PairedCases | None, pd.DataFrame]:
    """The cases of one unit that both judged, in one order, and their decisions side by side."""
    first = runs[0]
    parts = [judged_rows(tables[name], first.task) for tables in decided]
    shared = sorted(set(parts[0]["unit_id"]) & set(parts[1]["unit_id"]))
    if not shared:
        return None, pd.DataFrame()
    a, b = (
        part.set_index("unit_id", drop=False).loc[shared].reset_index(drop=True) for part in parts
    )
    same = (a["label"] == b["label"]).to_numpy()
    if not same.all():
        notes.append(
            f"{int((~same).sum()):,} of {len(same):,} cases by {name} have another label in the "
            "second run and are left out."
        )
        a, b = a[same].reset_index(drop=True), b[same].reset_index(drop=True)
    if not len(a):
        return None, pd.DataFrame()
    draws = replace(draws_of(first.content, resamples=RESAMPLES), within_classes=fixed_mix)
    about: dict[str, Any] = {"task": first.task, "draws": draws}
    levels = [Level.of(name, cases_of(t, first.task), groups_of(a), **about) for t in (a, b)]
    side = a[["unit", "unit_id", "label", "group"]].copy()
    task, called = first.task, None
    if task.positive_index and task.kind != "multilabel":
        positive = [task.classes[i] for i in task.positive_index]
        side["positive_label"] = side["label"].isin(positive)
        if None not in thresholds:
            yes = positive if task.is_two_way else [POSITIVE]
            called = (a["decision"].isin(yes).to_numpy(), b["decision"].isin(yes).to_numpy())
    for column in ("predicted", "decision", *score_columns(task.classes)):
        side[f"{column}_first"], side[f"{column}_second"] = a[column], b[column]
    same_threshold = thresholds[0] == thresholds[1]
    return PairedCases(levels[0], levels[1], called, same_threshold), side


def _headline(metrics: Sequence[Metric], level: Level) -> str:
    """The number named before."""
    if metrics:
        return metrics[0].name
    return {"binary": "auroc", "ordinal": "quadratic_kappa"}.get(level.task.kind, "macro_f1")


def _shared_rows(runs: tuple[Run, Run], notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Held-out rows of both runs; those the other was trained or tuned on are left out."""
    tables = []
    for run in runs:
        table = read_table(run.path / "predictions")
        tables.append(table[table["split"].isin(["test", "out-of-fold"])])
    shared = set(tables[0]["image_id"]) & set(tables[1]["image_id"])
    for run, table in zip(runs, tables, strict=True):
        lost = len(table) - int(table["image_id"].isin(shared).sum())
        if lost:
            notes.append(
                f"{lost:,} of {len(table):,} held-out images of {run.path.name} are left out: the "
                "other run was trained or tuned on them, or does not know them."
            )
    if not shared:
        msg = (
            f"{runs[0].path} and {runs[1].path} share no image that neither was trained on. Train "
            "both on the same data with the same --seed, or pass --data with images new to both."
        )
        raise ManifestError(msg)
    kept = [
        table[table["image_id"].isin(shared)].sort_values("image_id").reset_index(drop=True)
        for table in tables
    ]
    return kept[0], kept[1]

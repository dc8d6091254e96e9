"""``resight compare``: two runs on the same cases, number by number, and what changed between them.

Cases are those that neither run was trained or tuned on: the test (or out-of-fold)
rows both share, or a labelled folder that both score now. Cases of one that the
other was trained on are left out and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.jobs import Job, open_output
from core.base.outputs import write_json
from core.base.settings import read_plan_rows
from core.base.tables import score_columns
from core.errors import ConfigError, ManifestError
from core.evaluation.cases import Level
from core.evaluation.labelled_rows import cases_of, groups_of, judged_rows
from core.evaluation.metric_specs import specs_of
from core.evaluation.paired import (
    compare_levels,
    hold_family,
    non_inferiority,
    still_possible,
)
from core.evaluation.stored_thresholds import counted_at, threshold_in_force
from core.evaluation.threshold_choice import headline_unit
from core.evaluation.units import decisions_by_unit
from core.prediction.labelled import score_labelled
from core.report.comparison import write_comparison
from core.runs.results import print_page, read_table, write_table
from core.runs.run import load_run, units_of_run
from core.statistics.scores import rule_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.app import Metric
    from core.runs.run import Run

__all__ = ["compare"]

RESAMPLES = 2000
# Scores that moved by no more are near to each other: a flip between them is one of the threshold.
NEAR = 0.05
# Facts of a run that may differ beside the settings of its plan.
FACTS = (
    ("data_sha256", "data, sha256"),
    ("task", "task"),
    ("split_rule", "split"),
    ("group_rule", "groups"),
    ("units", "units and their rules"),
    ("options", "options of the app"),
    ("cards", "data cards"),
    ("temperature", "temperature"),
    ("n_images", "images"),
    ("start", "starting weights"),
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
    runs = (load_run(first_path), load_run(second_path))
    _check_alike(runs)
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
    content, cases = _compared(runs, tables, notes, of, margin)
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
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """The content of ``comparison.json``, and the cases side by side for each unit."""
    first = runs[0]
    metrics = first.app.metrics_for(first.task)
    # Out-of-fold cases helped to choose the threshold of their run, so each is decided at that
    # of the other folds, as an evaluation does.
    decided = [
        decisions_by_unit(
            table,
            task=first.task,
            units=units_of_run(run.content),
            threshold=threshold_in_force(run.content, _split_of(table)),
            keep=("fold",),
        )[0]
        for run, table in zip(runs, tables, strict=True)
    ]
    common = [name for name in decided[0] if name in decided[1]]
    unit = headline_unit(metrics, common)
    rows: list[dict[str, Any]] = []
    cases: dict[str, pd.DataFrame] = {}
    for name in sorted(common, key=lambda n: n != unit):
        levels, side = _levels(runs, decided, name, notes)
        if levels is None:
            continue
        here = [m for m in metrics if (m.unit or common[-1]) == name]
        headline = _headline(metrics, levels[0]) if name == unit else ""
        wanted = [s for s in specs_of(levels[0], here) if not s.of]
        rows += compare_levels(*levels, wanted, headline=headline)
        cases[name] = side
    if not rows:
        msg = "The two runs have no case in common that both were judged on. Pass --data."
        raise ManifestError(msg)
    hold_family(rows)
    word = str(first.content["group"])
    main = next((row for row in rows if row["is_headline"]), rows[0])
    content: dict[str, Any] = {
        "schema": 1,
        "of": of,
        "unit": unit,
        "group": word,
        "possible": still_possible(main, word),
        "runs": [_facts(run) for run in runs],
        "rows": _plain(rows),
        "agreement": {name: _agreement(side) for name, side in cases.items()},
        "changed": _changed(*runs),
        "notes": list(dict.fromkeys(notes)),
        "margin": None,
        "counted_at": [_counted_at(run, table) for run, table in zip(runs, tables, strict=True)],
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


def _counted_at(run: Run, table: pd.DataFrame) -> str:
    """At which threshold a run decided these cases, in words."""
    point = run.content.get("operating_point")
    if point is None or point.get("threshold") is None:
        return rule_words(run.task).removesuffix(" is decided").removesuffix(",")
    return f"{point['name']}, {counted_at(point, _split_of(table))}"


def _levels(
    runs: tuple[Run, Run],
    decided: Sequence[Mapping[str, pd.DataFrame]],
    name: str,
    notes: list[str],
) -> tuple[tuple[Level, Level] | None, pd.DataFrame]:
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
    settings: dict[str, Any] = {
        "task": first.task,
        "confidence": 0.95,
        "resamples": RESAMPLES,
        "seed": int(first.content["seed"]),
        "word": str(first.content["group"]),
    }
    groups = groups_of(a)
    levels = tuple(Level.of(name, cases_of(t, first.task), groups, **settings) for t in (a, b))
    side = a[["unit", "unit_id", "label", "group"]].copy()
    side["decision_first"], side["decision_second"] = a["decision"], b["decision"]
    for column in score_columns(first.task.classes):
        side[f"{column}_first"], side[f"{column}_second"] = a[column], b[column]
    return (levels[0], levels[1]), side


def _headline(metrics: Sequence[Metric], level: Level) -> str:
    """The number named before."""
    if metrics:
        return metrics[0].name
    return {"binary": "auroc", "ordinal": "quadratic_kappa"}.get(level.task.kind, "macro_f1")


def _check_alike(runs: tuple[Run, Run]) -> None:
    """Refuse runs that do not answer the same question."""
    first, second = runs
    for words, one, other in (
        ("app", first.app.name, second.app.name),
        ("classes", first.task.classes, second.task.classes),
        ("kind of task", first.task.kind, second.task.kind),
        ("positive classes", first.task.positive, second.task.positive),
    ):
        if one != other:
            msg = (
                f"{first.path} and {second.path} differ in {words} ({one!r} and {other!r}), so "
                "their numbers mean different things. Compare runs of one task."
            )
            raise ConfigError(msg)


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


def _agreement(side: pd.DataFrame) -> dict[str, int]:
    """How often both, one or neither decide right, how often they decide alike, and how near.

    A flip is near the threshold where no score moved by more than ``NEAR``: such decisions
    change with the precision or the machine, and say little about either run.
    """
    flipped = (side["decision_first"] != side["decision_second"]).to_numpy()
    moved = np.abs(
        side.filter(regex="^score_.*_first$").to_numpy(dtype=float)
        - side.filter(regex="^score_.*_second$").to_numpy(dtype=float)
    ).max(axis=1, initial=0.0)
    one = (side["decision_first"] == side["label"]).to_numpy()
    other = (side["decision_second"] == side["label"]).to_numpy()
    return {
        "n": len(side),
        "both_right": int((one & other).sum()),
        "first_only": int((one & ~other).sum()),
        "second_only": int((~one & other).sum()),
        "both_wrong": int((~one & ~other).sum()),
        "same_decision": int((~flipped).sum()),
        "flipped": int(flipped.sum()),
        "flipped_near": int((flipped & (moved <= NEAR)).sum()),
    }


def _facts(run: Run) -> dict[str, Any]:
    """What identifies a run."""
    backbones = dict.fromkeys(str(m.network["backbone"]) for m in run.members)
    return {
        "name": run.path.name,
        "model_id": run.model_id,
        "backbone": ", ".join(backbones),
        "members": len(run.members),
        "made": run.content.get("made"),
        "operating_point": (run.content.get("operating_point") or {}).get("name"),
        "versions": dict(run.content.get("versions") or {}),
    }


def _changed(first: Run, second: Run) -> list[dict[str, str]]:
    """What differs between the two trainings: settings with their reasons, then facts."""
    found = []
    plans = [read_plan_rows(run.path / "plan.yaml") for run in (first, second)]
    if all(plan is not None for plan in plans):
        sides = [plan.set_index("setting") for plan in plans]
        for name in sides[0].index.union(sides[1].index, sort=False):
            one, other = (
                str(side.loc[name, "value"]) if name in side.index else "absent" for side in sides
            )
            if one != other:
                why = str(sides[1].loc[name, "reason"]) if name in sides[1].index else ""
                found.append({"what": str(name), "first": one, "second": other, "why": why})
    for key, words in FACTS:
        then, now = first.content.get(key), second.content.get(key)
        if then != now:
            found.append({"what": words, "first": _brief(then), "second": _brief(now), "why": ""})
    old, new = (dict(run.content.get("versions") or {}) for run in (first, second))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            one, other = str(old.get(name, "absent")), str(new.get(name, "absent"))
            found.append({"what": f"version of {name}", "first": one, "second": other, "why": ""})
    return found


def _brief(value: Any) -> str:
    """A fact in a table cell."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in sorted(value.items()) if v not in (None, ""))[:160]
    return str(value)[:160]


def _plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of plain JSON types; numbers that are not finite become None."""
    found = []
    for row in rows:
        plain = {}
        for key, cell in row.items():
            value = cell.item() if isinstance(cell, np.generic) else cell
            if isinstance(value, float) and not np.isfinite(value):
                value = None
            plain[key] = value
        found.append(plain)
    return found

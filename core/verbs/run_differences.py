"""What two runs are, and what differs between them: operating points, settings, data, versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.base.settings import read_plan_rows
from core.errors import ConfigError
from core.evaluation.paired_decisions import point_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.runs.run import Run

__all__ = ["changed", "check_alike", "facts_of", "unlike"]

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


def check_alike(runs: tuple[Run, Run]) -> None:
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
                f"{first.path} and {second.path} differ in {words} ({unlike(one, other)}), so "
                "their numbers mean different things. Compare runs of one task."
            )
            raise ConfigError(msg)


def unlike(one: Any, other: Any) -> str:
    """The first thing in which two values differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return f"{key.replace('_', ' ')} is {unlike(one.get(key), other.get(key))}"
    shown = (
        ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for v in (one, other)
    )
    return " against ".join(text or "none" for text in shown)


def facts_of(run: Run) -> dict[str, Any]:
    """What identifies a run."""
    backbones = dict.fromkeys(str(m.network["backbone"]) for m in run.members)
    return {
        "name": run.path.name,
        "model_id": run.model_id,
        "backbone": ", ".join(backbones),
        "members": len(run.members),
        "made": run.content.get("made"),
        "operating_point": (run.content.get("operating_point") or {}).get("name"),
        "threshold": (run.content.get("operating_point") or {}).get("threshold"),
        "versions": dict(run.content.get("versions") or {}),
    }


def changed(runs: tuple[Run, Run], splits: Sequence[str]) -> list[dict[str, str]]:
    """What differs between two runs: operating points, settings with their reasons, facts."""
    first, second = runs
    found = []
    points = [
        point_words(run.content, run.task, split) for run, split in zip(runs, splits, strict=True)
    ]
    if points[0] != points[1]:
        row = {"what": "operating point", "first": points[0], "second": points[1], "why": ""}
        found.append(row)
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
        then, now = _differing(first.content.get(key), second.content.get(key))
        if then != now:
            found.append({"what": words, "first": _brief(then), "second": _brief(now), "why": ""})
    old, new = (dict(run.content.get("versions") or {}) for run in (first, second))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            one, other = str(old.get(name, "absent")), str(new.get(name, "absent"))
            found.append({"what": f"version of {name}", "first": one, "second": other, "why": ""})
    return found


def _differing(then: Any, now: Any) -> tuple[Any, Any]:
    """Two facts; of those with several parts only what differs, or a cell would cut it off.

    >>> _differing({"name": "grade", "cuts": [0.4], "fold_cuts": {}}, {"name": "grade", "cuts": []})
    ({'cuts': [0.4]}, {})
    """
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return then, now
    empty: tuple[Any, ...] = (None, "", [], {})
    sides = [{k: v for k, v in one.items() if v not in empty} for one in (then, now)]
    one, other = (
        {k: v for k, v in own.items() if rest.get(k) != v} for own, rest in (sides, sides[::-1])
    )
    return one, other


def _brief(value: Any) -> str:
    """A fact in a table cell."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        if not value:
            return "absent"
        return ", ".join(f"{k}: {v}" for k, v in sorted(value.items()) if v not in (None, ""))[:160]
    return str(value)[:160]

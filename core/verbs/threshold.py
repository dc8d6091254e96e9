"""``resight threshold``: set the operating point at which a run decides.

The threshold is chosen on the run's own validation or out-of-fold predictions,
stored with its provenance, and used by every later prediction and evaluation.
The weights are not touched. Reports made before keep the decisions of their time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.base.outputs import claim, is_complete, json_bytes, replace_sealed
from core.errors import ConfigError, RunError
from core.evaluation.threshold_choice import MAY_CHOOSE
from core.runs.predictions import points_for_run
from core.runs.run import load_run, units_of_run
from core.runs.table_files import read_table
from core.statistics.scores import rule_words

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["set_threshold"]


def set_threshold(
    run_path: Path,
    *,
    target: str | None = None,
    unit: str | None = None,
    off: bool = False,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Choose an operating point on validation cases and put it in use.

    Args:
        run_path: a complete run.
        target: ``sensitivity=0.95``, ``specificity=0.9``, ``recall-rate=0.1``, ``youden`` or
            ``cost=5:1``; None only lists what is stored.
        unit: the unit to choose for; None takes that of the headline.
        off: put none in use, see ``core.statistics.scores.rule_words`` for what is decided then.
        prevalence: of the positive classes where the model will be used: a recall rate is then
            that of this place.

    Returns:
        ``operating_points`` and ``operating_point`` (in use, or None) of the run, and
        ``otherwise``: what is decided where none is in use.

    Raises:
        ResightError: the run holds no predictions to choose on, has no positive classes, or the
            target cannot be met.
    """
    run = load_run(run_path)
    content = dict(run.content)
    points = [dict(point) for point in content["operating_points"]]
    otherwise = rule_words(run.task)
    if target is None and not off:
        active = content.get("operating_point")
        return {"operating_points": points, "operating_point": active, "otherwise": otherwise}
    if target is not None and off:
        msg = "--target and --off contradict each other. Pass one of them."
        raise ConfigError(msg)
    if not is_complete(run_path):
        msg = f"{run_path}: is not complete, so its thresholds cannot be set. Train it to the end."
        raise RunError(msg)
    points = [{**point, "active": False} for point in points]
    active = None
    if target is not None:
        active = {**_chosen(run_path, target, unit, prevalence), "active": True}
        active["set"] = datetime.now(UTC).isoformat(timespec="seconds")
        points = [p for p in points if (p["name"], p["unit"]) != (active["name"], active["unit"])]
        points.append(active)
    content["operating_points"], content["operating_point"] = points, active
    with claim(run_path):
        replace_sealed(run_path, "run.json", json_bytes(content))
    return {"operating_points": points, "operating_point": active, "otherwise": otherwise}


def _chosen(
    run_path: Path, target: str, unit: str | None, prevalence: float | None
) -> dict[str, Any]:
    """The operating point that this target gives on the run's own predictions."""
    run = load_run(run_path)
    if not run.task.positive_index or run.task.kind == "multilabel":
        msg = (
            f"{run_path}: the task {run.task.name!r} names no positive classes, so no threshold "
            f"can be set; {rule_words(run.task)}."
        )
        raise ConfigError(msg)
    predictions = read_table(run_path / "predictions")
    if not predictions["split"].isin(MAY_CHOOSE).any():
        msg = (
            f"{run_path}: holds no validation predictions, and a threshold is never chosen on "
            "test cases. Train again with this version."
        )
        raise RunError(msg)
    (point,) = points_for_run(
        predictions,
        run.content,
        targets=[target],
        units=units_of_run(run.content),
        metrics=run.app.metrics_for(run.task),
        unit=unit,
        prevalence=prevalence,
    )
    if point["threshold"] is None:
        msg = (
            f"{target}: no threshold can be chosen on {point['n']} validation cases, "
            f"{point['n_events']} of them positive ({point['reason']}). Train with --folds, so "
            "that every case can choose."
        )
        raise ConfigError(msg)
    return point

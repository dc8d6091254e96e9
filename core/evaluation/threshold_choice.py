"""Choose operating points (thresholds) from validation or out-of-fold predictions.

Validation rows, or out-of-fold rows of a cross-validation; never the rows that
judge. What is chosen here is stored with the run and from then on only counted
at (``core.evaluation.stored_thresholds``). A target that these cases cannot answer keeps
its place, without a threshold and with the reason.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from core.base.tables import as_text
from core.errors import ConfigError, MetricError
from core.evaluation.labelled_rows import cases_of, judged_rows
from core.evaluation.units import decisions_by_unit
from core.statistics.operating_points import choose_threshold, parse_target
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Metric, Task, Unit

__all__ = ["MAY_CHOOSE", "choose_points", "headline_unit"]

# Splits that a threshold may be chosen on, the better basis first.
MAY_CHOOSE = ("out-of-fold", "val")


def headline_unit(metrics: Sequence[Metric], present: Sequence[str]) -> str:
    """The unit of the headline: that of the app's first metric, or the highest there is.

    >>> headline_unit([], ["image", "eye", "patient"])
    'patient'
    """
    wanted = metrics[0].unit if metrics else ""
    return wanted if wanted in present else present[-1]


def choose_points(
    predictions: pd.DataFrame,
    *,
    task: Task,
    targets: Sequence[str],
    units: Sequence[Unit] = (),
    metrics: Sequence[Metric] = (),
    unit: str | None = None,
    prevalence: float | None = None,
    exploratory: str = "",
) -> list[dict[str, Any]]:
    """Operating points for ``run.json``, chosen on out-of-fold or validation rows.

    Args:
        predictions: ``core.base.tables.PREDICTIONS`` of a run with ``split``, and ``fold``
            where it was cross-validated. Rows of other splits are not looked at.
        task: with its class order; its positive classes are the question.
        targets: see ``core.statistics.operating_points.parse_target``.
        units: the steps above the image.
        metrics: the app's; the first says which unit is meant.
        unit: another unit to choose for.
        prevalence: of the positive classes where the model will be used, for recall rates.
        exploratory: what the rows are called where all of them are the very cases that are
            judged: for looking, not for claims. Such points are marked.

    Returns:
        for each target ``name``, ``target``, ``unit``, ``threshold``, ``active`` (False) and
        its provenance: ``split``, ``n``, ``n_events``, ``between``, ``reached``, and where there
        are folds ``fold_thresholds``: for each fold the threshold that the other folds alone
        give, so that out-of-fold cases are never judged by a threshold they helped to choose.
        Empty for a task without positive classes.

    Raises:
        ConfigError: a target is none, or no unit is called so.
    """
    if exploratory:
        basis, rows = exploratory, predictions.drop(columns="fold", errors="ignore")
    else:
        split = as_text(predictions["split"])
        basis = next((name for name in MAY_CHOOSE if (split == name).any()), MAY_CHOOSE[-1])
        rows = predictions[split == basis].reset_index(drop=True)
    for target in targets:
        parse_target(target)
    if not task.positive_index or task.kind == "multilabel" or not targets:
        return []
    tables, _ = decisions_by_unit(rows, task=task, units=units, keep=("fold",))
    where = unit or headline_unit(metrics, list(tables))
    if where not in tables:
        msg = f"No unit is called {where!r}; these data have: {', '.join(tables)}."
        raise ConfigError(msg)
    table = judged_rows(tables[where], task)
    truth, score, _ = positive_part(cases_of(table, task), task.positive_index)
    fold = table["fold"].to_numpy().astype(str) if "fold" in table else None
    about = {"unit": where, "split": basis, "active": False}
    points = [{**_point(target, truth, score, fold, prevalence), **about} for target in targets]
    if not exploratory:
        return points
    marked = {"exploratory": True}
    return [{**point, "name": f"{point['name']} (exploratory)", **marked} for point in points]


def _point(
    target: str,
    truth: NDArray[np.int_],
    score: NDArray[np.float64],
    fold: NDArray[np.str_] | None,
    prevalence: float | None,
) -> dict[str, Any]:
    """One operating point, or why there is none."""
    common = {
        "name": target,
        "target": target,
        "n": len(truth),
        "n_events": int(truth.sum()),
    }
    # The other rules are of these cases alone, and so is what they reach.
    share = prevalence if parse_target(target)[0] == "recall-rate" else None
    choose = partial(choose_threshold, target=target, prevalence=share)
    # Out-of-fold cases are judged by what the other folds alone give.
    folds = set() if fold is None else set(fold.tolist()) - {""}
    by_fold: dict[str, Any] = {}
    try:
        found = choose(truth, score)
        if share is not None:
            common["prevalence"] = share
        if len(folds) > 1:
            by_fold["fold_thresholds"] = {
                name: choose(truth[fold != name], score[fold != name]).threshold
                for name in sorted(folds)
            }
    except MetricError as error:
        return {**common, "threshold": None, "reason": str(error)}
    return {
        **common,
        "threshold": found.threshold,
        "between": list(found.between),
        "reached": {
            "sensitivity": found.sensitivity,
            "specificity": found.specificity,
            "recall_rate": found.recall_rate,
        },
        **by_fold,
    }

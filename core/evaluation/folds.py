"""Metrics of each cross-validation fold, and their spread.

In a cross-validation every case is judged once, by the network that had not seen
its group. The pooled number and its interval speak of cases; the spread over folds
speaks of trainings as well. Folds share training data, so their standard deviation
is no standard error, and none is made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.evaluation.cases import part_of
from core.statistics import metrics as named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.evaluation.cases import Level
    from core.evaluation.metric_specs import MetricSpec

__all__ = ["fold_spread"]


def fold_spread(
    level: Level, specs: Sequence[MetricSpec], fold: NDArray[np.str_]
) -> dict[str, Any] | None:
    """Numbers of each fold, and their mean, standard deviation and range.

    Args:
        level: the out-of-fold cases.
        specs: what is computed.
        fold: (N,) the fold each case was left out in; empty where it has none.

    Returns:
        ``unit``, ``n_folds`` and ``rows``: ``name``, ``title``, ``percent``, ``values`` (``fold``,
        ``n``, ``n_groups``, ``value``, None where undefined), ``mean``, ``sd``, ``low`` and
        ``high`` (the least and the greatest); None with fewer than two folds.
    """
    names = sorted(set(fold.tolist()) - {""}, key=lambda name: (len(name), name))
    if len(names) < 2:
        return None
    parts = [(name, part_of(level, fold == name)) for name in names]
    rows = []
    for spec in specs:
        if spec.compute is None:
            continue
        values = []
        for name, part in parts:
            value = float(named.over_weights(spec.compute, part.cases, np.ones((1, part.n)))[0])
            values.append(
                {
                    "fold": name,
                    "n": part.n,
                    "n_groups": part.plan.n_groups,
                    "value": value if np.isfinite(value) else None,
                }
            )
        known = np.array([v["value"] for v in values if v["value"] is not None], dtype=float)
        several = len(known) > 1
        rows.append(
            {
                "name": spec.name,
                "title": spec.title,
                "percent": spec.percent,
                "values": values,
                "mean": float(known.mean()) if len(known) else None,
                "sd": float(known.std(ddof=1)) if several else None,
                "low": float(known.min()) if len(known) else None,
                "high": float(known.max()) if len(known) else None,
            }
        )
    return {"unit": level.unit, "n_folds": len(names), "rows": rows}

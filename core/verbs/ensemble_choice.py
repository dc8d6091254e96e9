"""Which runs are worth averaging, and whether the average is really better than one of them.

Runs are added greedily while the log-loss of the averaged, calibrated logits falls on the rows
that may be fitted on (validation, or out-of-fold); the rows a report judges are not looked at.
The gain is then tested on the judged rows, paired, against the member that was best before.

Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models",
doi:10.1145/1015330.1015432, without replacement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.tables import logits_in
from core.errors import ConfigError, ResightError
from core.model.heads import loss_of
from core.statistics.calibration import fit_temperature
from core.statistics.scores import encode
from core.verbs.compare import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from core.runs.run import Run

__all__ = ["Choice", "choose", "choose_members", "gain_over", "member_table", "require_several"]

# Log-loss that an added run must take off; less is noise of the optimiser.
LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class Choice:
    """Which runs are kept.

    Attributes:
        order: places of the runs, the one best alone first.
        kept: how many of them are averaged.
        alone: (R,) log-loss of each run alone, on rows that may be fitted on.
        path: log-loss after each run that was tried in ``order``.
        n: rows it was measured on.
    """

    order: tuple[int, ...]
    kept: int
    alone: tuple[float, ...]
    path: tuple[float, ...]
    n: int


def choose_members(
    runs: Sequence[Run], tables: Sequence[pd.DataFrame], *, greedy: bool = True
) -> Choice:
    """Order runs by what each adds, and say how many are worth it.

    Args:
        runs: split alike.
        tables: their predictions.
        greedy: whether to stop where nothing is gained; else all are kept.
    """
    logits, y = _fitted_rows(runs, tables)
    return choose(logits, y, link=runs[0].link, greedy=greedy)


def choose(
    logits: Sequence[NDArray[np.float64]], y: NDArray[np.int_], *, link: str, greedy: bool = True
) -> Choice:
    """As ``choose_members``, from (N, L) calibrated logits of each run and their labels."""
    alone = [_log_loss(z, y, link) for z in logits]
    order = [int(np.argmin(alone))]
    path = [alone[order[0]]]
    while len(order) < len(logits):
        rest = [i for i in range(len(logits)) if i not in order]
        tried = {
            i: _log_loss(np.mean([logits[j] for j in (*order, i)], axis=0), y, link) for i in rest
        }
        best = min(rest, key=lambda i: tried[i])
        order.append(best)
        path.append(tried[best])
    kept = 1
    while greedy and kept < len(path) and path[kept] < path[kept - 1] - LEAST_GAIN:
        kept += 1
    return Choice(
        order=tuple(order),
        kept=kept if greedy else len(logits),
        alone=tuple(alone),
        path=tuple(path),
        n=len(y),
    )


def require_several(choice: Choice, runs: Sequence[Run]) -> None:
    """Refuse to make an ensemble of one.

    Raises:
        ConfigError: no second run lowers the log-loss.
    """
    if choice.kept > 1:
        return
    best = runs[choice.order[0]]
    msg = (
        f"No average has a lower log-loss on {choice.n:,} validation images than {best.path} alone "
        f"({choice.path[0]:.4f}; with the next {choice.path[1]:.4f}). Use that run, or leave "
        "--greedy out to average all."
    )
    raise ConfigError(msg)


def member_table(
    runs: Sequence[Run], choice: Choice, kept: Sequence[int], metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row per run and one for their average: backbone, headline on judged rows, log-loss.

    Args:
        runs: all that were named.
        choice: of members.
        kept: places of the runs that are averaged.
        metrics: of the ensemble; its ``members`` are those runs, in this order.
    """
    name = metrics["about"].get("headline")
    places = {run: place for place, run in enumerate(kept)}
    rows = []
    for i, run in enumerate(runs):
        found = metrics["members"][places[i]]["metrics"] if i in places else []
        backbones = dict.fromkeys(str(m.network["backbone"]) for m in run.members)
        rows.append(
            {
                "run": str(run.path),
                "backbone": ", ".join(backbones),
                **_headline(found, name),
                "log_loss": choice.alone[i],
                "kept": i in places,
            }
        )
    rows.append(
        {
            "run": "average",
            "backbone": f"{len(kept)} runs",
            **_headline(metrics["metrics"], name),
            "log_loss": choice.path[choice.kept - 1],
            "kept": True,
        }
    )
    return rows


def gain_over(best: Path, ensemble: Path) -> dict[str, Any]:
    """The headline of the ensemble less that of a member, paired on the judged cases.

    Returns:
        ``title``, ``difference``, ``low``, ``high``, ``p``, ``n``, ``n_groups`` and ``is_real``:
        whether the whole interval lies on the better side.
    """
    try:
        content = compare(best, ensemble)
    except ResightError as error:
        # The ensemble is made all the same.
        nothing = dict.fromkeys(("title", "difference", "low", "high", "p", "n", "n_groups"))
        return {**nothing, "verdict": str(error), "is_real": False}
    row = next((r for r in content["rows"] if r["is_headline"]), content["rows"][0])
    keys = ("title", "difference", "low", "high", "p", "n", "n_groups", "verdict")
    found = {key: row.get(key) for key in keys}
    return {**found, "is_real": row.get("low") is not None and row["low"] > 0}


def _headline(metrics: Sequence[dict[str, Any]], name: str | None) -> dict[str, Any]:
    """Value and interval of the headline among numbers; None where it is not there."""
    for row in metrics:
        if row["name"] == name and not row.get("of") and not row.get("subgroup"):
            return {"title": row["title"], **{k: row.get(k) for k in ("value", "low", "high")}}
    return {"title": "", "value": None, "low": None, "high": None}


def _fitted_rows(
    runs: Sequence[Run], tables: Sequence[pd.DataFrame]
) -> tuple[list[NDArray[np.float64]], NDArray[np.int_]]:
    """Calibrated logits of each run, and labels, of the rows that may be fitted on."""
    first = tables[0]
    name = "out-of-fold" if (first["split"] == "out-of-fold").any() else "val"
    rows = first[(first["split"] == name) & (first["status"] == "ok")]
    parts = []
    for run, table in zip(runs, tables, strict=True):
        place = table.set_index("image_id").reindex(rows["image_id"])
        parts.append(place[logits_in(table)].to_numpy(dtype=np.float64) / run.temperature)
    good = np.isfinite(np.stack(parts)).all(axis=(0, 2))
    y = encode(list(rows[good]["label"].astype(str)), runs[0].task)
    return [part[good] for part in parts], np.asarray(y)


def _log_loss(z: NDArray[np.float64], y: NDArray[np.int_], link: str) -> float:
    """Log-loss at the temperature that suits these rows best."""
    heat = fit_temperature(z, y, link=link)
    return float(loss_of(link, torch.from_numpy(z / heat), torch.from_numpy(y)))

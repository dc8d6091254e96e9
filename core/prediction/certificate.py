"""The certificate of an exported model: the run and the export on the same held-out images.

Both paths read the same files through the same reader and preparation; what
differs is the engine. The certificate says by how much: scores and decisions of
images and of units (an eye, a breast, a field), headline metric, embeddings, and
images called unlike the training. An export is sealed only within limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.base.tables import score_columns
from core.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.prediction.scorer import Scorer

__all__ = ["MOST_CHANGED", "Comparison", "compare_paths", "require_within_limits"]

# Largest difference of a score, by precision; None asks for decisions alone.
LARGEST_DIFFERENCE = {"fp32": 1e-4, "bf16": None}
# Largest share of images whose decision changes, by precision.
MOST_CHANGED = {"fp32": 0.0, "bf16": 0.005}


@dataclass(frozen=True)
class Comparison:
    """The two paths on the same images.

    Attributes:
        run, export: predictions of both, one row per image.
        embedding_error: largest of |e - e'| / |e| over images and members.
    """

    run: pd.DataFrame
    export: pd.DataFrame
    embedding_error: float

    def facts(
        self,
        *,
        classes: Sequence[str],
        headline: Callable[[pd.DataFrame], float | None],
        decide: Callable[[pd.DataFrame], Mapping[str, pd.DataFrame]],
    ) -> dict[str, Any]:
        """The numbers of the certificate.

        Args:
            classes: of the task, in order.
            headline: predictions -> the task's first metric, None where it is undefined.
            decide: predictions -> decisions by unit, with their scores.
        """
        scored = (self.run["status"] == "ok").to_numpy()
        one, other = self.run[scored], self.export[scored]
        gap = _gap(one, other, classes)
        changed = (one["decision"].to_numpy() != other["decision"].to_numpy()) | (
            one["predicted"].to_numpy() != other["predicted"].to_numpy()
        )
        before, after = headline(one), headline(other)
        return {
            "n_images": int(scored.sum()),
            "n_failed": int((~scored).sum()),
            "same_status": bool((self.run["status"] == self.export["status"]).all()),
            "largest_difference": float(gap.max()) if gap.size else None,
            "mean_difference": float(gap.mean()) if gap.size else None,
            "changed_decisions": int(changed.sum()),
            "units": _of_units(decide(one), decide(other), classes),
            "headline_of_run": before,
            "headline_of_export": after,
            "largest_embedding_error": self.embedding_error,
            "changed_unfamiliar": int(
                (one["unfamiliar"].to_numpy() != other["unfamiliar"].to_numpy()).sum()
            ),
        }


def _gap(
    one: pd.DataFrame, other: pd.DataFrame, classes: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, K) differences of scores."""
    columns = list(score_columns(classes))
    found = one[columns].to_numpy(dtype=float) - other[columns].to_numpy(dtype=float)
    return np.abs(np.asarray(found, dtype=np.float64))


def _of_units(
    run: Mapping[str, pd.DataFrame], export: Mapping[str, pd.DataFrame], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Unit -> how many, largest difference of a score, changed decisions.

    Where images of a unit are weighted, its scores come from outputs that no score of a single
    image shows.
    """
    found = {}
    for unit, one in run.items():
        if unit == "image":
            continue
        gap = _gap(one, export[unit], classes)
        changed = one["decision"].to_numpy() != export[unit]["decision"].to_numpy()
        # A unit without a scored image has no score in either.
        worst = float(np.nanmax(gap)) if np.isfinite(gap).any() else 0.0
        found[unit] = {
            "n": len(one),
            "largest_difference": worst,
            "changed_decisions": int(changed.sum()),
        }
    return found


def compare_paths(
    run: Scorer,
    export: Scorer,
    rows: Sequence[dict[str, Any]],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Score manifest rows with both.

    Args:
        run: with the networks of the run.
        export: with the exported files.
        rows: of the manifest, ``path`` absolute, status ok.
        advance: told how many images are done.

    Raises:
        RunError: the run itself scores none of them.
    """
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    worst = 0.0
    for first in range(0, len(rows), run.block):
        block = rows[first : first + run.block]
        found = [scorer.forward(block) for scorer in (run, export)]
        for scorer, forwarded, parts in zip((run, export), found, tables, strict=True):
            parts.append(scorer.table_of(block, forwarded))
        for one, other in zip(found[0].results, found[1].results, strict=True):
            gap = np.linalg.norm(one.embeddings - other.embeddings, axis=1)
            size = np.maximum(np.linalg.norm(one.embeddings, axis=1), 1e-12)
            worst = max(worst, float((gap / size).max()))
        advance(len(block))
    before, after = (pd.concat(parts, ignore_index=True) for parts in tables)
    if not (before["status"] == "ok").any():
        msg = (
            f"{run.run.path}: gives none of {len(before):,} held-out images a score (first reason: "
            f"{before['reason'].iloc[0]}), so nothing can show that an export is like it. Copy the "
            "run again from where it was trained, or pass --data with its images."
        )
        raise RunError(msg)
    return Comparison(before, after, worst)


def require_within_limits(facts: Mapping[str, Any], *, precision: str) -> None:
    """Refuse an export that is not the run.

    Raises:
        RunError: a score, or too many decisions, differ.
    """
    largest = LARGEST_DIFFERENCE[precision]
    faults = []
    if not facts["same_status"]:
        faults.append("an image that one path scores fails in the other")
    levels = {"image": {**facts, "n": facts["n_images"]}, **facts["units"]}
    for unit, of_unit in levels.items():
        changed, gap = of_unit["changed_decisions"], of_unit["largest_difference"] or 0.0
        if largest is not None and gap > largest:
            whose = "a score" if unit == "image" else f"a score of a {unit}"
            faults.append(f"{whose} differs by {gap:.2g} ({largest:g} allowed)")
        if changed > MOST_CHANGED[precision] * of_unit["n"]:
            faults.append(
                f"{changed} of {of_unit['n']:,} decisions by {unit} change "
                f"({MOST_CHANGED[precision]:.1%} allowed)"
            )
    if faults:
        msg = (
            f"The exported model does not pass its certificate at {precision}: "
            f"{'; '.join(faults)}. Nothing was sealed. "
            + (
                "Export with --precision fp32."
                if precision != "fp32"
                else "Please report it: in fp32 the two must agree."
            )
        )
        raise RunError(msg)

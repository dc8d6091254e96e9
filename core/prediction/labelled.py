"""Score a labelled folder with a run, for an evaluation or a comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.app import Manifest, Source
from core.base.options import resolve_options
from core.base.progress import track
from core.base.tables import check_manifest
from core.base.words import quantity
from core.data.input_files import absolute_rows
from core.data.recognition import index_with_cards
from core.evaluation.copies import CONTENT, PICTURE
from core.prediction.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.runs.run import Run

__all__ = ["Scored", "score_labelled"]


@dataclass(frozen=True)
class Scored:
    """A labelled folder, scored.

    Attributes:
        predictions: one row per input.
        manifest: of the folder.
        root: that its paths start from.
        notes: what was assumed, and which classes are absent.
        picture, saliency: image_id -> what a person can look at.
    """

    predictions: pd.DataFrame
    manifest: pd.DataFrame
    root: Path
    notes: list[str]
    picture: Callable[[str], NDArray[Any]]
    saliency: Callable[[str], NDArray[Any]]


def score_labelled(
    run: Run,
    data: Path,
    *,
    label: str | None,
    group: str | None,
    card: str | None,
    allow_outside: bool,
    options: Mapping[str, Any],
) -> Scored:
    """Score a labelled folder with the classes of the run.

    Raises:
        ManifestError: a label is not a class of the run.
    """
    task = run.task if label is None else replace(run.task, label=label)
    own = resolve_options(run.app, "evaluate", options, stored=run.options)
    source = Source(
        paths=(data.resolve(),),
        labelled=True,
        task=task,
        label=label,
        group=group,
        allow_outside=allow_outside,
        options=own,
        trained=run.content.get("facts", {}),
    )
    found, _ = index_with_cards(run.app, source, card, trains=False)
    check_manifest(found.table, labelled=True)
    labels = set(found.table.loc[found.table["status"] == "ok", "label"].astype(str))
    run.task.with_classes(sorted(labels))
    notes = list(found.notes)
    absent = [name for name in run.task.classes if name not in labels]
    if absent and run.task.kind != "multilabel":
        notes.append(
            f"The new data hold no image of {quantity(len(absent), 'class')} of the run: "
            f"{', '.join(run.task.title(name) for name in absent)}. No number of "
            f"{'it' if len(absent) == 1 else 'these'} is estimable here."
        )
    table = found.table.assign(split="new data")
    rows = absolute_rows(Manifest(table=table, root=found.root))
    scorer = Scorer(run, options=own)
    by_id = {row["image_id"]: row for row in rows}
    parts = []
    with track("scoring", len(rows)) as advance:
        for _, part in scorer.blocks(rows):
            parts.append(part)
            advance(len(part))
    predictions = pd.concat(parts, ignore_index=True).drop(columns=[CONTENT, PICTURE])
    return Scored(
        predictions=predictions,
        manifest=table,
        root=found.root,
        notes=notes,
        picture=lambda image_id: scorer.picture(by_id[image_id]),
        saliency=lambda image_id: scorer.saliency(by_id[image_id], in_source=False),
    )

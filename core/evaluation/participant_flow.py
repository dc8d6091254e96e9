"""What became of every image, and what a reader must know before believing a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.words import plural
from core.evaluation.labelled_rows import is_labelled
from core.evaluation.units import text_of
from core.statistics.comparisons import enough_events
from core.statistics.resampling import MIN_GROUPS
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task
    from core.evaluation.cases import Level

__all__ = ["absent_classes", "cautions_of", "flow_of"]

# With no more groups than this intervals by group are themselves approximate.
FEW_GROUPS = 30
# What was measured with so many (docs/coverage.md): of all 95 % intervals together, and of the
# number that fared worst.
MEASURED, WORST = 95, 91


def absent_classes(level: Level) -> list[str]:
    """Classes without a case."""
    return [name for i, name in enumerate(level.task.classes) if not level.holds(i).any()]


def flow_of(
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    judged: Mapping[str, pd.DataFrame],
    task: Task,
    word: str,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """What became of every image, and how many were left out for which reason."""
    image = tables["image"]
    status = text_of(predictions["status"])
    of = dict(zip(text_of(predictions["image_id"]), status, strict=True))
    state = np.array([of[name] for name in image["unit_id"]])
    scored = (image["n_images"] > 0).to_numpy()
    bare = (image["label"] == "").to_numpy()
    unknown = ~bare & ~is_labelled(image, task).to_numpy()

    def step(words: str, rows: NDArray[np.bool_], **more: Any) -> dict[str, Any]:
        groups = image["group"].to_numpy()[rows]
        known = len(set(groups.tolist()) - {""})
        return {"step": words, "n": int(rows.sum()), "groups": known or None, **more}

    everything = np.ones(len(image), dtype=bool)
    found = [step("Images given", everything, unit="image")]
    excluded: dict[str, int] = {}
    for words, rows in (
        ("Skipped", state == "skipped"),
        ("Failed: no score", ~scored & (state != "skipped")),
        ("Without a label", scored & bare),
        ("Excluded: label unknown to the model", scored & unknown),
    ):
        if rows.any():
            found.append(step(words, rows, unit="image", aside=True))
            excluded[words] = int(rows.sum())
    found.append(step("Images evaluated", scored & ~bare & ~unknown, unit="image"))
    for name, table in judged.items():
        if name != "image":
            known = len(set(table["group"].tolist()) - {""})
            words = f"{plural(name).capitalize()} evaluated"
            found.append({"step": words, "n": len(table), "groups": known or None, "unit": name})
    return found, excluded


def cautions_of(
    main: Level,
    images: pd.DataFrame,
    excluded: Mapping[str, int],
    notes: Sequence[str],
    word: str,
) -> list[str]:
    """What a reader must know before believing a number."""
    found = list(notes)
    grouped = (images["group"] != "").to_numpy()
    if not grouped.any():
        found.append(
            f"No {word} is known, so every image counts as independent. If images of one {word} "
            "resemble each other, the intervals are too narrow."
        )
    elif not grouped.all():
        n_bare = int((~grouped).sum())
        found.append(f"{n_bare:,} images without a {word} count as one {word} each.")
    n_groups, word = main.plan.n_groups, main.plan.word
    if n_groups < MIN_GROUPS:
        found.append(f"Only {n_groups} {plural(word, n_groups)}: intervals are withheld.")
    elif n_groups <= FEW_GROUPS:
        found.append(
            f"Only {n_groups} {plural(word)}: the intervals are uncertain and may be too narrow. "
            f"In simulated studies of {FEW_GROUPS} groups, {MEASURED} of 100 intervals called 95 % "
            f"held the truth, of some numbers only {WORST} (docs/coverage.md)."
        )
    for words, n in excluded.items():
        found.append(f"{n:,} {plural('image', n)} left out of the numbers ({words.lower()}).")
    task = main.task
    absent = absent_classes(main)
    if absent:
        names = ", ".join(task.title(name) for name in absent[:6])
        found.append(f"No case of {len(absent)} of {len(task.classes)} classes: {names}.")
    if task.positive_index and task.kind != "multilabel":
        truth = positive_part(main.cases, task.positive_index)[0]
        words = enough_events(int(truth.sum()), int(len(truth) - truth.sum()), of="positive cases")
        if words:
            found.append(words)
        held = main.groups_in(truth == 1)
        if not main.plan.is_independent and held < FEW_GROUPS:
            found.append(
                f"Only {held} {plural(word, held)} with a positive case: intervals of what is "
                "found among them may be too narrow."
            )
    else:
        few = [
            f"{task.title(name)} ({int(main.holds(i).sum())})"
            for i, name in enumerate(task.classes)
            if 0 < main.holds(i).sum() < 10
        ]
        if few:
            found.append(f"Too few cases to judge these classes: {', '.join(few)}.")
    return list(dict.fromkeys(found))

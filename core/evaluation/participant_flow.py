"""What became of every image, and what a reader must know before believing a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.tables import count_groups
from core.base.words import plural
from core.evaluation.labelled_rows import is_labelled
from core.evaluation.units import text_of
from core.statistics.comparisons import cases_to_halve
from core.statistics.resampling import MIN_GROUPS
from core.statistics.weighted import positive_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Task
    from core.evaluation.cases import Level

__all__ = ["absent_classes", "cautions_of", "flow_of"]

# With no more groups than this intervals by group are themselves approximate (docs/coverage.md).
FEW_GROUPS = 30
# Cases of either kind below which nothing can be judged, and below which care is needed.
TOO_FEW, FEW = 10, 100


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
        known = count_groups(image["group"].to_numpy()[rows].tolist())
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
            known = count_groups(table["group"].tolist())
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
            f"Only {n_groups} {plural(word)}: the intervals are uncertain and may be too narrow."
        )
    for words, n in excluded.items():
        found.append(f"{n:,} {plural('image', n)} left out of the numbers ({words.lower()}).")
    task = main.task
    absent = absent_classes(main)
    if absent:
        names = ", ".join(task.title(name) for name in absent[:6])
        found.append(f"No case of {len(absent)} of {len(task.classes)} classes: {names}.")
    if task.positive_index and task.kind != "multilabel":
        words = _few_of_a_kind(main, word)
        found += [words] if words else []
    else:
        few = [
            f"{task.title(name)} ({int(main.holds(i).sum())})"
            for i, name in enumerate(task.classes)
            if 0 < main.holds(i).sum() < 10
        ]
        if few:
            found.append(f"Too few cases to judge these classes: {', '.join(few)}.")
    return list(dict.fromkeys(found))


def _few_of_a_kind(main: Level, word: str) -> str:
    """Whether positive or other cases are few, and how many more would help; empty if neither is.

    Args:
        main: the cases of the headline's unit, of a task with positive classes.
        word: what a group is called.
    """
    truth = positive_part(main.cases, main.task.positive_index)[0]
    events, others = int(truth.sum()), int(len(truth) - truth.sum())
    held = main.groups_in(truth == 1)
    is_grouped = not main.plan.is_independent
    limits = []
    if min(events, others) < FEW:
        n, what = (TOO_FEW, "are too few to judge") if min(events, others) < TOO_FEW else (FEW, "")
        limits.append(f"fewer than {n} of either {what or 'call for caution'}")
    if is_grouped and held < FEW_GROUPS:
        limits.append("intervals of what is found may be too narrow")
    if not limits:
        return ""
    unit, name = main.unit, main.task.positive_name
    of = f" of {held:,} {plural(word, held)}" if is_grouped else ""
    more = (
        f" About {cases_to_halve(events + others):,} more ({cases_to_halve(events):,} of them "
        f"{name}) would halve the intervals."
        if min(events, others) < FEW
        else ""
    )
    return (
        f"{events:,} {plural(unit, events)}{of} that {'is' if events == 1 else 'are'} {name}, "
        f"{others:,} that {'is' if others == 1 else 'are'} not: {' and '.join(limits)}.{more}"
    )

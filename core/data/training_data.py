"""The images and labels that a plan names, as they are now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.app import Source
from core.data.corrections import corrected
from core.data.recognition import index_with_cards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import App, Manifest, Task
    from core.base.settings import Question
    from core.cards.card import Card

__all__ = ["chosen_task", "index_and_cards", "index_for"]


def index_for(app: App, question: Question, options: Mapping[str, Any]) -> Manifest:
    """The data of a training, as they are now.

    Raises:
        ManifestError: they are not there, or cannot be used.
    """
    return index_and_cards(app, question, options)[0]


def index_and_cards(
    app: App, question: Question, options: Mapping[str, Any]
) -> tuple[Manifest, Sequence[Card]]:
    """The manifest and its cards."""
    source = Source(
        paths=(Path(question.data),),
        labelled=True,
        task=chosen_task(app, question.task, question.label),
        label=question.label,
        group=question.group,
        allow_outside=question.allow_outside,
        options=options,
    )
    found, cards = index_with_cards(app, source, question.card)
    if question.corrections:
        found = corrected(found, Path(question.corrections))
    return found, cards


def chosen_task(app: App, name: str | None, label: str | None) -> Task:
    """The task asked for; a label column named alone keeps the kind of the first task."""
    task = app.task(name)
    if label is not None and label != task.label:
        return replace(task, label=label)
    return task

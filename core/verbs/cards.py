"""``resight cards``: one data card as text, and a new card for a folder of labelled images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.base.outputs import write_text
from core.base.settings import Question
from core.cards.card import card_named, read_card
from core.cards.croissant import croissant_text
from core.cards.draft import card_name, new_card_text
from core.cards.licence_terms import may_release, terms_of
from core.errors import OutputError
from core.verbs.check import look

if TYPE_CHECKING:
    from core.app import App
    from core.cards.card import CardFile

__all__ = ["card_text", "new_card"]


def card_text(name: str, form: Literal["page", "json", "croissant"] = "page") -> str:
    """A data card as a page for a terminal, as JSON, or as Croissant JSON-LD.

    Args:
        name: of a card, or the path of a card file.
        form: of the text.

    Raises:
        CardError: there is no such card, or the file is none.
    """
    path = Path(name)
    file = read_card(path) if path.suffix == ".md" or path.is_file() else card_named(name)
    if form == "croissant":
        return croissant_text(file)
    if form == "json":
        content = file.card.model_dump()
        return json.dumps(content, indent=1, default=str, ensure_ascii=False) + "\n"
    return "\n".join(_lines(file)) + "\n"


def new_card(
    app: App, data: Path, out: Path | None = None, *, title: str | None = None, **asked: Any
) -> tuple[Path, int]:
    """Write a card for a folder; questions that only a person can answer are marked.

    Args:
        app: that indexes the folder.
        data: a folder or a table of labelled images.
        out: file to write; ``NAME.md`` in the current directory if it is not given.
        title: what the data are called.
        asked: task, label, group and options, as for ``core.base.settings.Question``.

    Returns:
        the file, and how many questions stand in it.

    Raises:
        OutputError: the file exists already.
    """
    stem = data.name if data.is_dir() else data.stem
    name = card_name(stem)
    place = out or Path(f"{name}.md")
    if place.exists():
        msg = (
            f"{place}: exists already, and answers may stand in it. Choose another --out, or "
            "remove it."
        )
        raise OutputError(msg)
    question = Question(app=app.name, data=str(data.absolute()), card="none", **asked)
    seen = look(app, question)
    text = new_card_text(app, seen.manifest, seen.audited, name=name, title=title or stem)
    write_text(place, text)
    return place, text.count("QUESTION:")


def _lines(file: CardFile) -> list[str]:
    """A card for a terminal: facts, marks, problems, prose."""
    card = file.card
    counts = card.counts.model_dump(exclude={"classes"})
    counted = [f"{n:,} {what}" for what, n in counts.items() if n is not None]
    rows: list[tuple[str, str]] = [
        ("app", card.app),
        ("homepage", card.homepage + card.mark("homepage")),
        ("doi", (card.doi or "none") + card.mark("doi")),
        ("licence", card.licence + card.mark("licence")),
        ("conditions", (", ".join(card.conditions) or "none known") + card.mark("conditions")),
        ("access", card.access + card.mark("access")),
        ("modality", card.modality + card.mark("modality")),
        ("counts", (", ".join(counted) or "unknown") + card.mark("counts")),
        *(
            ("", f"{label}: {n:,}" + card.mark("counts.classes"))
            for label, n in card.counts.classes.items()
        ),
        ("label of", card.label_unit + card.mark("label_unit")),
        ("group", card.group_key + card.mark("group_key")),
        ("split", card.split.how + card.mark("split.how")),
        *(("file", pattern + card.mark("layout.files")) for pattern in card.layout.files),
        *(
            (
                "table",
                f"{entry.file}: {', '.join([*entry.columns, *entry.further]) or 'no headings'}"
                + (f"; {entry.note}" if entry.note else "")
                + card.mark(f"layout.tables.{i}"),
            )
            for i, entry in enumerate(card.layout.tables)
        ),
        *(("class folder", name) for name in card.layout.folders),
        *(
            (
                "problem",
                f"{issue.severity}: {issue.text} ({issue.source})"
                + ("" if "(unchecked)" in issue.source else card.mark(f"known_issues.{i}")),
            )
            for i, issue in enumerate(card.known_issues)
        ),
        ("adapter", card.adapter or "none"),
    ]
    width = max(len(name) for name, _ in rows)
    aligned = [f"{name:<{width}}  {value}".rstrip() for name, value in rows]
    lines = [card.title, "", may_release(terms_of([card])), "", *aligned]
    for heading, text in file.prose.items():
        if heading != "Known problems":
            lines += ["", heading, re.sub(r"(?m)^", "  ", text)]
    return lines

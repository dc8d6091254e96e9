"""Data cards: the facts about a data set, in a form that people and programs read.

A card is a Markdown file: YAML front matter, checked against ``Card``, and
prose under fixed headings. The cards of public sets lie in ``data_cards`` beside
this package; a user's own lies in the data folder or is named. This module reads
no image and knows no domain; how a folder is recognised is the apps' business.

Sources: the fields follow the dataset cards of the Hugging Face Hub where these
have a key, and Gebru et al. 2021, "Datasheets for Datasets", doi:10.1145/3458723.
"""

from __future__ import annotations

import difflib
import io
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.base.parsing import ParsingError, parse_yaml
from core.base.regular_files import open_regular
from core.errors import CardError

__all__ = [
    "FOLDER",
    "HEADINGS",
    "QUESTION",
    "Card",
    "Counts",
    "Issue",
    "Layout",
    "Split",
    "Table",
    "all_cards",
    "card_named",
    "find_cards",
    "is_card_file",
    "read_card",
    "schema",
]

# Beside the package both in a checkout and in an installed wheel.
FOLDER = Path(__file__).resolve().parents[2] / "data_cards"

# Headings of the prose, in order.
HEADINGS = (
    "Motivation",
    "Provenance",
    "Collection",
    "Labelling",
    "Splits",
    "Known problems",
    "Access",
    "Citation",
)

# What an answer that only a person can give begins with until it is given.
QUESTION = "QUESTION:"

# A card is a page of text; a larger file is something else.
_LARGEST_BYTES = 1_000_000

Certainty = Literal["secondary", "knowledge"]
Release = Literal["allowed", "forbidden", "unclear"]
Condition = Literal[
    "attribution",
    "share-alike",
    "non-commercial",
    "research-only",
    "no-redistribution",
    "no-derivatives",
    "no-clinical-use",
    "no-re-identification",
]


class _Part(BaseModel):
    """A part of a card: nothing in it is ignored."""

    # Compiled when a card is first read.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Counts(_Part):
    """How many there are; absent where it is not published."""

    patients: int | None = None
    exams: int | None = None
    images: int | None = None
    classes: dict[str, int] = {}


class Split(_Part):
    """Whether the authors drew one, and how."""

    official: bool
    how: str


class Table(_Part):
    """One table of the published tree: the columns that every copy must have, and the further."""

    file: str
    columns: list[str]
    further: list[str] = []
    note: str = ""


class Layout(_Part):
    """How the folder is recognised: files (globs), tables, and class folders by name."""

    files: list[str]
    tables: list[Table] = []
    folders: list[str] = []
    note: str = ""


class Issue(_Part):
    """A known problem."""

    kind: Literal["leakage", "duplicate", "label_noise", "bias", "format", "missing", "licence"]
    text: str
    source: str
    severity: Literal["low", "medium", "high"]


class Card(_Part):
    """The front matter of a data card.

    ``unchecked`` names each fact that was not checked against a primary source
    (a dotted path, such as ``counts.classes`` or ``known_issues.0``) and says
    where it comes from instead: ``secondary``, read in programs and pages of
    others that use the set, or ``knowledge``, general knowledge.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    title: str
    app: str
    homepage: str
    doi: str | None
    licence: str
    weights_release: Release
    weights_release_source: str
    conditions: list[Condition]
    access: Literal["open", "registration", "credentialed", "request", "private"]
    modality: str
    counts: Counts
    label_unit: Literal["image", "leaf", "eye", "breast", "exam", "patient", "lesion"]
    # Whether the number of cases of each class was fixed when the set was made.
    design: Literal["cohort", "case-control"] = "cohort"
    group_key: str
    split: Split
    layout: Layout
    known_issues: list[Issue]
    adapter: str | None
    citation: str
    unchecked: dict[str, Certainty] = {}
    audit: dict[str, Any] = {}
    # Keys of the Hugging Face Hub.
    pretty_name: str
    license: str
    task_categories: list[str] = ["image-classification"]
    size_categories: list[str] = []
    tags: list[str] = []

    def mark(self, field: str) -> str:
        """`` (unchecked: ...)`` if the fact, or the part it belongs to, was not checked."""
        parts = field.split(".")
        for n in range(len(parts), 0, -1):
            certainty = self.unchecked.get(".".join(parts[:n]))
            if certainty:
                source = {"secondary": "from secondary sources", "knowledge": "general knowledge"}
                return f" (unchecked: {source[certainty]})"
        return ""

    def questions(self) -> list[str]:
        """Questions that only a person can answer and nobody has yet."""
        found = re.findall(rf"{QUESTION}\s*([^\n]+)", "\n".join(_texts(self.model_dump())))
        return [text.strip() for text in found]


class CardFile(_Part):
    """A card as read: its front matter, its prose by heading, and where it lies."""

    card: Card
    prose: dict[str, str]
    path: Path


def read_card(path: Path) -> CardFile:
    """Read and check one card.

    Raises:
        CardError: it cannot be read, or breaks the schema; all problems at once.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            msg = f"{path}: is {path.stat().st_size:,} bytes, and a data card is a page of text."
            raise CardError(msg)
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read()
    except (OSError, UnicodeError) as error:
        msg = f"{path}: cannot be read as a data card ({error}). Name a Markdown file in UTF-8."
        raise CardError(msg) from error
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0].strip():
        msg = (
            f"{path}: does not begin with YAML front matter between two lines of ---, so nothing "
            "of it can be read by a program. `resight cards new APP FOLDER` writes a card to fill "
            "in."
        )
        raise CardError(msg)
    try:
        front = parse_yaml(parts[1])
    except ParsingError as error:
        msg = f"{path}: its front matter {error}. Correct it."
        raise CardError(msg) from error
    try:
        card = Card.model_validate(front)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'front matter'}: {e['msg']}" for e in error.errors()
        )
        msg = f"{path}: breaks the schema of data cards ({problems}). See data_cards/schema.json."
        raise CardError(msg) from error
    wrong = [field for field in card.unchecked if not _has(card.model_dump(), field)]
    if wrong:
        msg = f"{path}: `unchecked` names what the card does not have: {', '.join(wrong)}."
        raise CardError(msg)
    return CardFile(card=card, prose=_prose(parts[2]), path=path)


def is_card_file(path: Path) -> bool:
    """Whether a file begins as a data card does; any other Markdown is no concern of ours."""
    try:
        with open_regular(path) as stream:
            head = stream.read(4096).decode("utf-8", "replace")
    except OSError:
        return False
    return head.startswith("---") and "\nweights_release:" in head.replace("\r", "") + "\n"


@cache
def all_cards() -> dict[str, CardFile]:
    """The cards of public sets by name, sorted by app and name."""
    files = [read_card(path) for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"]
    files.sort(key=lambda file: (file.card.app, file.card.name))
    return {file.card.name: file for file in files}


def card_named(name: str, *, app: str = "") -> CardFile:
    """The card of this name, however it is spelled: ``mini-MIAS`` is ``mini_mias``.

    Args:
        name: as the user wrote it.
        app: the card must be of this app; empty if any will do.

    Raises:
        CardError: there is none, or it is of another app.
    """
    cards = all_cards()
    by_plain = {_plain(key): file for key, file in cards.items()}
    found = by_plain.get(_plain(name))
    if found is None:
        near = difflib.get_close_matches(_plain(name), by_plain, n=1)
        hint = f" Did you mean {by_plain[near[0]].card.name!r}?" if near else ""
        msg = (
            f"No data card is called {name!r}.{hint} `resight cards` lists them; pass the path of "
            "a card file of your own, or none."
        )
        raise CardError(msg)
    if app and found.card.app != app:
        mine = ", ".join(card for card, file in cards.items() if file.card.app == app)
        msg = (
            f"The data card {found.card.name!r} is of {found.card.app}, and the app here is {app} "
            f"(it has: {mine or 'none'}). Name one of these, or none."
        )
        raise CardError(msg)
    return found


def find_cards(words: str) -> list[CardFile]:
    """The cards in which every word occurs, in the front matter or the prose; all if none given."""
    wanted = words.casefold().split()
    return [
        file for file in all_cards().values() if all(word in _searchable(file) for word in wanted)
    ]


def schema() -> dict[str, Any]:
    """The JSON Schema of the front matter; kept in ``data_cards/schema.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Card.model_json_schema(),
        "title": "Front matter of a resight data card",
    }


def _searchable(file: CardFile) -> str:
    """Everything a search looks at."""
    return "\n".join([*_texts(file.card.model_dump()), *file.prose.values()]).casefold()


def _texts(value: Any) -> list[str]:
    """Every text below a value."""
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in _texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [] if value is None else [str(value)]


def _has(value: Any, field: str) -> bool:
    """Whether a dotted path leads to something."""
    for part in field.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return False
    return True


def _prose(text: str) -> dict[str, str]:
    """Paragraphs by heading of the second level."""
    parts = re.split(r"^## +(.+?)\s*$", text, flags=re.MULTILINE)
    return {parts[i].strip(): parts[i + 1].strip() for i in range(1, len(parts) - 1, 2)}


def _plain(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())

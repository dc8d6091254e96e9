"""Which data cards a folder has: the one named, the user's own, and the one its layout shows.

The app recognises public layouts while it indexes; this module tells it what
was asked for, adds the user's own card, and checks that every card exists.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.cards.card import FOLDER, all_cards, card_named, is_card_file, read_card
from core.cards.licence_terms import may_release, terms_of
from core.errors import CardError, ManifestError

if TYPE_CHECKING:
    from core.app import App, Manifest, Source
    from core.cards.card import Card

__all__ = ["index_with_cards", "own_card"]


def index_with_cards(
    app: App, source: Source, card: str | None, *, trains: bool = True
) -> tuple[Manifest, tuple[Card, ...]]:
    """Index a source, and load the cards that its data have.

    Args:
        app: indexes, and recognises public layouts.
        source: of labelled data.
        card: the name of a card, ``none``, the path of a card file, or None to let
            the layout and the folder decide.
        trains: whether a model may learn from these data, and inherits their terms;
            data it is only judged on bind no weights.

    Returns:
        The manifest, whose ``cards`` name every card and whose notes say what
        they mean for the user, and the cards.

    Raises:
        CardError: the card is unknown, malformed, or of another app.
        ManifestError: the data cannot be indexed, or are not those of the card.
    """
    forced, mine = _asked(app, card)
    if mine is None and card != "none":
        mine = next(filter(None, (own_card(path) for path in source.paths)), None)
    if mine is not None and mine.app != app.name:
        msg = (
            f"The data card {mine.name!r} is of the app {mine.app}, and the data are read by "
            f"{app.name}. Correct `app` in the card, or name the other app."
        )
        raise CardError(msg)
    options = {key: value for key, value in source.options.items() if key != "card"}
    if forced:
        options["card"] = forced
    manifest = _index(app, replace(source, options=options), forced)
    known = all_cards()
    recognised = [known[name].card for name in manifest.cards if name in known]
    cards = (*recognised, *([mine] if mine is not None else []))
    how = "named" if forced else "recognised by its layout"
    notes = [note for entry in recognised for note in _notes(entry, how=how, trains=trains)]
    notes += [note for card in recognised if (note := _how_much(card, manifest))]
    notes += [
        f"The app recognises a data card {name!r} that is not installed: its terms are unknown."
        for name in manifest.cards
        if name not in known
    ]
    if mine is not None:
        is_public = mine.name in known and mine == known[mine.name].card
        how = "named by its file" if is_public else "your own card"
        notes += _notes(mine, how=how, trains=trains)
    if forced == "none":
        notes.append("No data card is used, as asked; nothing is known of the data's terms.")
    return (
        replace(
            manifest,
            cards=(*manifest.cards, *([mine.name] if mine is not None else [])),
            notes=(*notes, *manifest.notes),
        ),
        cards,
    )


def _index(app: App, source: Source, forced: str) -> Manifest:
    """The manifest; where a card was named the data must be laid out as it says."""
    if forced in {"", "none"}:
        return app.index(source)
    hint = (
        "If these are its images in a layout of your own, pass the card's file, so that its terms "
        f"travel with the weights: --card {FOLDER / forced}.md."
    )
    try:
        manifest = app.index(source)
    except ManifestError as error:
        msg = f"{error} {hint}"
        raise type(error)(msg) from error
    if forced not in manifest.cards:
        msg = f"{source.paths[0]}: is not laid out as the data card {forced!r} says. {hint}"
        raise CardError(msg)
    return manifest


def own_card(path: Path) -> Card | None:
    """The user's own card of a folder or table; None if there is none.

    It is ``card.md``, or has the name of the folder or table, in the same folder.

    Raises:
        CardError: such a file is a card, but breaks the schema.
    """
    folder = path if path.is_dir() else path.parent
    stem = path.name if path.is_dir() else path.stem
    for file in (folder / "card.md", folder / f"{stem}.md"):
        if is_card_file(file):
            return read_card(file).card
    return None


def _asked(app: App, card: str | None) -> tuple[str, Card | None]:
    """What the app is told, and the card file that was named."""
    if not card:
        return "", None
    if card == "none":
        return "none", None
    path = Path(card)
    if path.is_file() or path.suffix.lower() == ".md":
        return "", read_card(path).card
    return card_named(card, app=app.name).card.name, None


def _how_much(card: Card, manifest: Manifest) -> str:
    """How much of the published set is here; empty where the card does not know its size."""
    ok = int((manifest.table["status"] == "ok").sum())
    published = card.counts.images
    if not published or ok == published:
        return ""
    return f"{card.title}: {ok:,} of {published:,} published images are here and can be used."


def _notes(card: Card, *, how: str, trains: bool) -> list[str]:
    """What a user must know of a card before anything is done with its data."""
    licence = terms_of([card])[0]["licence"]
    text = f"{licence.rstrip('.')}{card.mark('licence')}"
    notes = [f"Data card: {card.title} ({card.name}), {how}. Licence: {text}."]
    if not trains:
        return notes
    if card.weights_release != "allowed":
        notes.append(may_release(terms_of([card])))
    questions = card.questions()
    if questions:
        notes.append(
            f"The data card {card.name} leaves {len(questions)} question(s) open (first: "
            f"{questions[0]})."
        )
    notes.extend(
        f"{card.title}: {issue.text.rstrip('.')}."
        for issue in card.known_issues
        # A licence has its sentence already.
        if issue.severity == "high" and issue.kind != "licence"
    )
    return notes

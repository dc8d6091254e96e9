"""What the data allow: the terms of the cards used, and whether the weights may be released.

Licences bind what is made from data. A run keeps the terms of its cards, so
that every page and file made from it can say them without the cards.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.base.parsing import read_json
from core.cards.card import QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.cards.card import Card

__all__ = [
    "joined_terms",
    "may_release",
    "summary_of_terms",
    "terms_of",
    "terms_of_weights",
    "union_of_terms",
]

# The stricter the later.
_STRICTNESS = ("allowed", "unclear", "forbidden")


def terms_of(cards: Iterable[Card]) -> list[dict[str, Any]]:
    """The terms of each card as plain values for ``run.json``."""
    return [
        {
            "card": card.name,
            # Which words of the card were believed, whatever becomes of its file.
            "card_sha256": hashlib.sha256(card.model_dump_json().encode()).hexdigest(),
            "title": card.title,
            "licence": _answer(card.licence, "not stated"),
            "licence_unchecked": bool(card.mark("licence")),
            "weights_release": card.weights_release,
            "weights_release_source": _answer(
                card.weights_release_source, "the card leaves the question open"
            ),
            "weights_release_unchecked": bool(card.mark("weights_release")),
            "conditions": list(card.conditions),
            "homepage": card.homepage,
            "citation": _answer(card.citation, "not stated"),
            "open_questions": len(card.questions()),
        }
        for card in cards
    ]


def joined_terms(*several: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The terms of several sources, each card once: of an ensemble, or of a start and its data."""
    joined: dict[tuple[str, str], dict[str, Any]] = {}
    for terms in several:
        for term in terms:
            # A card that was corrected in between counts in both its versions.
            joined.setdefault((str(term["card"]), str(term.get("card_sha256"))), dict(term))
    return list(joined.values())


def terms_of_weights(weights: str) -> list[dict[str, Any]]:
    """The terms that weights inherit from the run whose file they are; none if they are no run's.

    Args:
        weights: ``hub``, ``none``, or the path of a file.
    """
    run = Path(weights).parent / "run.json"
    if not (weights.endswith(".safetensors") and run.is_file()):
        return []
    try:
        content = read_json(run)
        return joined_terms(content.get("terms") or [])
    except (ValueError, AttributeError, KeyError, TypeError):
        # Some other program's run.json beside weights of its own.
        return []


def union_of_terms(terms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All terms at once: every licence and condition, and the strictest word on release.

    ``weights_release`` is ``unknown`` where no card was used.

    >>> union_of_terms([])["weights_release"]
    'unknown'
    """
    release = max(
        (str(term["weights_release"]) for term in terms), key=_STRICTNESS.index, default="unknown"
    )
    return {
        "weights_release": release,
        "licences": list(dict.fromkeys(_licence(term) for term in terms)),
        "conditions": sorted({str(c) for term in terms for c in term.get("conditions", [])}),
    }


def may_release(terms: Sequence[Mapping[str, Any]]) -> str:
    """The answer to "may I release these weights?" in one sentence."""
    release = union_of_terms(terms)["weights_release"]
    if release == "unknown":
        return (
            "No data card says under which terms the data are used, so nothing here tells whether "
            "these weights may be released."
        )
    deciding = [term for term in terms if term["weights_release"] == release]
    names = _joined([str(term["title"]) for term in deciding])
    why = _joined(
        list(dict.fromkeys(str(term["weights_release_source"]).rstrip(".") for term in deciding))
    )
    mark = ", unchecked" if any(term.get("weights_release_unchecked") for term in deciding) else ""
    if release == "forbidden":
        return (
            f"These weights may not be released: the terms of {names} forbid it without the "
            f"owner's permission ({why}{mark})."
        )
    if release == "unclear":
        return (
            f"Whether these weights may be released is unclear: the terms of {names} do not settle "
            f"it ({why}{mark}); ask the owner before you give them away."
        )
    licences = _joined(union_of_terms(terms)["licences"])
    return (
        f"By the data card of {names} these weights may be released, with credit and under the "
        f"conditions of the licence of the data: {licences} ({why}{mark})."
    )


def summary_of_terms(run: Mapping[str, Any]) -> dict[str, Any]:
    """What files made with a run's weights say of the data's terms.

    Args:
        run: the content of ``run.json``; one without ``terms`` used no card.
    """
    terms = list(run.get("terms") or [])
    return {
        "cards": [str(term["card"]) for term in terms],
        **union_of_terms(terms),
        "may_release_weights": may_release(terms),
    }


def _answer(text: str, otherwise: str) -> str:
    """What a card says, or other words while it only asks."""
    return otherwise if QUESTION in text else text


def _licence(term: Mapping[str, Any]) -> str:
    """The licence in words, marked if nobody checked it at its source."""
    return f"{term['licence']}{' (unchecked)' if term.get('licence_unchecked') else ''}"


def _joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> _joined(["a", "b", "c"])
    'a, b and c'
    """
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1] if words else ""

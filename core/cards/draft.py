"""A data card for a folder of one's own: what can be counted is counted, the rest is asked.

Counts, sizes, groups, splits, copies and a hash come from the audit. What only a
person can know (who, why, how labelled, under which terms) is left as a marked
question, and every command that uses the card says how many are open.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from core.cards.card import HEADINGS, QUESTION, Card

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from core.app import App, Manifest

__all__ = ["card_name", "new_card_text"]

_PROSE = {
    "Motivation": "For what purpose were these data collected, and by whom was it paid?",
    "Provenance": "Where and when were the images made, and by whom were they handed on?",
    "Collection": "Which cameras or machines, which subjects, who was left out and why?",
    "Labelling": "Who labelled, by which rule, and how were disagreements settled?",
    "Splits": "Is a split agreed upon, and was the test part kept from everybody who trained?",
    "Known problems": "What else do you know to be wrong with these data?",
    "Access": "Who may use these data, and whom does one ask?",
    "Citation": "How should these data be cited?",
}


def card_name(folder_name: str) -> str:
    """A name that a card may have, from that of a folder.

    >>> card_name("My Clinic (2024)"), card_name("...")
    ('my_clinic_2024', 'data')
    """
    return re.sub(r"[^a-z0-9]+", "_", folder_name.casefold()).strip("_") or "data"


def new_card_text(
    app: App, manifest: Manifest, audited: Mapping[str, Any], *, name: str, title: str
) -> str:
    """The card as text.

    Args:
        app: that indexed the folder.
        manifest: of the folder, labelled where labels are known.
        audited: the content of ``audit.json``.
        name: of the card.
        title: of the data, a person's words.
    """
    front = _front(app, manifest, audited, name=name, title=title)
    Card.model_validate(front)
    words = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    parts = [f"---\n{words}---\n"]
    for heading in HEADINGS:
        known = _known_prose(heading, manifest, audited)
        parts.append(f"\n## {heading}\n{known}{QUESTION} {_PROSE[heading]}\n")
    return "".join(parts)


def _front(
    app: App, manifest: Manifest, audited: Mapping[str, Any], *, name: str, title: str
) -> dict[str, Any]:
    """The front matter."""
    ok = manifest.table[manifest.table["status"] == "ok"]
    groups = _known(ok, "group")
    classes = {label: sum(n.values()) for label, n in audited["classes"].items()}
    splits = _known(ok, "split").value_counts().to_dict()
    how = manifest.split_rule or "none is given; one is drawn at training"
    if splits:
        how += " (" + ", ".join(f"{split} {n:,}" for split, n in sorted(splits.items())) + ")"
    return {
        "name": name,
        "title": title,
        "app": app.name,
        "homepage": "none; data of one's own",
        "doi": None,
        "licence": f"{QUESTION} under which terms may these data be used?",
        "weights_release": "unclear",
        "weights_release_source": f"{QUESTION} may weights trained on these data be given away, "
        "and who decided it? Set weights_release to allowed or forbidden",
        "conditions": [],
        "access": "private",
        "modality": f"{QUESTION} what kind of images are these, from which machines? Files: "
        + ", ".join(f"{n:,} {kind}" for kind, n in audited["formats"].items()),
        "counts": {
            "patients": int(groups.nunique()) if app.group == "patient" and len(groups) else None,
            "exams": int(_known(ok, "exam").nunique()) if "exam" in ok else None,
            "images": len(ok),
            "classes": classes,
        },
        "label_unit": "image",
        "group_key": manifest.group_rule
        or f"{QUESTION} which images are of one {app.group}? Nothing in the data says it",
        "split": {"official": bool(splits), "how": how},
        "layout": {"files": ["**/*"], "note": "Data of one's own; no layout to recognise."},
        "known_issues": _issues(audited),
        "adapter": None,
        "citation": f"{QUESTION} how should these data be cited?",
        "unchecked": {},
        "audit": {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_sha256": _digest(ok, audited),
            "skipped": int(audited["counts"]["skipped"]),
            "unreadable": int(audited["counts"]["unreadable"]),
            "groups": int(groups.nunique()),
            "sizes_px": {str(size): int(n) for size, n in list(audited["sizes"].items())[:5]},
            "exact_copies": sum(len(ids) - 1 for ids in audited["exact"]),
            "near_copies": len(audited["near"]),
            "conflicting_copies": len(audited["conflicts"]),
        },
        "pretty_name": title,
        "license": "unknown",
        "task_categories": ["image-classification"],
        "size_categories": [],
        "tags": [app.name],
    }


def _known(table: pd.DataFrame, column: str) -> pd.Series[Any]:
    """The cells of a column that hold something."""
    values = table[column].fillna("").astype(str)
    return values[values != ""]


def _issues(audited: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the audit warned of, as known issues."""
    kinds = {
        "readable": "format",
        "classes": "bias",
        "labels": "label_noise",
        "exact": "duplicate",
        "near": "duplicate",
        "copies_across": "leakage",
        "groups_across": "leakage",
        "forms": "format",
    }
    return [
        {
            "kind": kinds.get(check["name"], "bias"),
            "text": _unnamed(check["words"]),
            "source": "found by `resight cards new`",
            "severity": "high" if kinds.get(check["name"]) == "leakage" else "medium",
        }
        for check in audited["checks"]
        if check["verdict"] == "warning"
    ]


def _unnamed(words: str) -> str:
    """A sentence of the audit without its example: a card is shown to others, file names are not.

    >>> _unnamed("2 pairs of copies (first: a/1_left.jpg and b.jpg). Look at them.")
    '2 pairs of copies. Look at them.'
    """
    return re.sub(r" \(first: [^)]*\)", "", words)


def _known_prose(heading: str, manifest: Manifest, audited: Mapping[str, Any]) -> str:
    """What is known under a heading, before the question."""
    sentences: list[str] = []
    if heading == "Splits" and manifest.split_rule:
        sentences = [manifest.split_rule]
    if heading == "Collection":
        counts = audited["counts"]
        sentences = [f"{counts['ok']:,} images; {manifest.group_rule or 'no group is known.'}"]
    if heading == "Known problems":
        warned = [check for check in audited["checks"] if check["verdict"] == "warning"]
        sentences = [f"- {check['title']}: {_unnamed(check['words'])}" for check in warned]
    return "".join(f"{sentence}\n" for sentence in sentences) + ("\n" if sentences else "")


def _digest(ok: pd.DataFrame, audited: Mapping[str, Any]) -> str:
    """One hash of all images and labels, whatever the files are called."""
    label = dict(zip(ok["image_id"], ok["label"].fillna("").astype(str), strict=True))
    images = audited["images"]
    lines = sorted(
        f"{digest} {label.get(image_id, '')}"
        for image_id, digest in zip(images["image_id"], images["sha256"], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

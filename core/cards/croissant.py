"""A data card as Croissant JSON-LD, which data set search engines and loaders read.

The images themselves stay where their owner publishes them: the record names
where that is, and how files and labels go together. What the card does not know
is left out; nothing is invented, so no checksum of files nobody here holds.

Source: MLCommons Croissant Format Specification 1.0, docs.mlcommons.org/croissant.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.cards.card import CardFile

__all__ = ["croissant", "croissant_text"]

# The context of the specification, version 1.0, section "JSON-LD context".
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_LICENCES = {
    "cc-by-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "mit": "https://opensource.org/license/mit",
}
_FORMATS = {"dcm": "application/dicom", "dicom": "application/dicom", "png": "image/png"}


def croissant(file: CardFile) -> dict[str, Any]:
    """The card as a JSON-LD dictionary.

    Args:
        file: a card as read.
    """
    card = file.card
    about = " ".join(
        part
        for part in (
            file.prose.get("Motivation", ""),
            file.prose.get("Collection", ""),
            f"Weights trained on it: release {card.weights_release} "
            f"({card.weights_release_source}).",
            f"Not checked against a primary source: {', '.join(card.unchecked)}."
            if card.unchecked
            else "",
        )
        if part
    )
    record: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": card.name,
        "alternateName": card.title,
        "description": " ".join(about.split()),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "url": _home(file),
        "license": _LICENCES.get(card.license, card.licence),
        "citeAs": card.citation,
        "keywords": [*card.tags, *card.task_categories],
        "rai:dataBiases": [
            issue.text for issue in card.known_issues if issue.kind in {"bias", "label_noise"}
        ],
        "rai:dataLimitations": [
            issue.text for issue in card.known_issues if issue.kind not in {"bias", "label_noise"}
        ],
        "rai:dataCollection": " ".join(file.prose.get("Collection", "").split()),
        "distribution": _distribution(file),
        "recordSet": _records(file),
    }
    if card.doi:
        record["sameAs"] = f"https://doi.org/{card.doi}"
    return {key: value for key, value in record.items() if value not in ("", [], None)}


def croissant_text(file: CardFile) -> str:
    """The card as JSON-LD text, the same bytes every time."""
    return json.dumps(croissant(file), indent=2, ensure_ascii=False) + "\n"


def _home(file: CardFile) -> str:
    """Where the set is published; data of one's own have a name only."""
    page = file.card.homepage
    return page if page.startswith(("http://", "https://")) else f"urn:resight:{file.card.name}"


def _distribution(file: CardFile) -> list[dict[str, Any]]:
    """Where the data lie, and which files in it are images."""
    card = file.card
    where = _home(file)
    home = {
        "@type": "cr:FileObject",
        "@id": "home",
        "name": "home",
        "description": f"Where the owner publishes the data; access: {card.access}.",
        "contentUrl": where,
        "encodingFormat": "git+https" if where.startswith("https://github") else "text/html",
        # The format asks for a checksum; its own examples write this where a page is no file.
        "sha256": "https://github.com/mlcommons/croissant/issues/80",
    }
    suffixes = [glob.rsplit(".", 1)[-1].casefold() for glob in card.layout.files if "." in glob]
    kinds = [_FORMATS.get(suffix, "image/jpeg") for suffix in suffixes if suffix not in _NO_IMAGES]
    images = {
        "@type": "cr:FileSet",
        "@id": "images",
        "name": "images",
        "containedIn": {"@id": "home"},
        "encodingFormat": kinds[0] if kinds else "image/jpeg",
        "includes": [
            glob for glob in card.layout.files if glob.rsplit(".", 1)[-1] not in _NO_IMAGES
        ]
        or ["**/*"],
    }
    return [home, images]


_NO_IMAGES = {"txt", "json", "csv"}


def _records(file: CardFile) -> list[dict[str, Any]]:
    """One record per image; and the classes with their numbers where these are known."""
    picture = {
        "@type": "cr:Field",
        "@id": "images_of/image",
        "name": "image",
        "description": f"One image; the label is of the {file.card.label_unit}, the group is "
        f"{file.card.group_key}.",
        "dataType": "sc:ImageObject",
        "source": {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "content"}},
    }
    records: list[dict[str, Any]] = [
        {"@type": "cr:RecordSet", "@id": "images_of", "name": "images_of", "field": [picture]}
    ]
    classes = file.card.counts.classes
    if classes:
        fields = [
            ("name", "sc:Text", "Name of the class."),
            ("images", "sc:Integer", "How many images it has."),
        ]
        records.append(
            {
                "@type": "cr:RecordSet",
                "@id": "classes",
                "name": "classes",
                "dataType": "sc:Enumeration",
                "key": {"@id": "classes/name"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"classes/{name}",
                        "name": name,
                        "description": words,
                        "dataType": kind,
                    }
                    for name, kind, words in fields
                ],
                "data": [
                    {"classes/name": re.sub(r"\s+", " ", name), "classes/images": n}
                    for name, n in classes.items()
                ],
            }
        )
    return records

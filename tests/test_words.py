"""What users read, in one place: no word of our own, one way to write a percentage and a plural.

``pytest -s tests/test_words.py`` prints every sentence, so that all can be edited in one view.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where sentences for users are written; rooms below them have tests of their own.
ROOMS = ("core/report", "core/cli", "core/verbs", "core/evaluation", "core/data", "apps")
# Rooms whose sentences stand on a page of core.
PAGES = ("core/report", "core/cli", "core/verbs", "core/evaluation", "core/data")
# What the field has a word for, or what reads as a riddle.
OURS = re.compile(
    r"foretold|foretell|climb|drawn (images|leaves)|small forest|one answer|"
    r"\bmend\b|classs|boxs"
)


@cache
def trees() -> list[tuple[Path, list[ast.AST]]]:
    """Each file with the nodes of its source."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    return [(f, list(ast.walk(ast.parse(f.read_text(encoding="utf-8"))))) for f in files]


def sentences() -> list[tuple[str, str]]:
    """(place, text) of every string literal with two words or more that is no docstring."""
    found = []
    for file, nodes in trees():
        docs = {
            id(node.body[0].value)
            for node in nodes
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = " ".join(node.value.split())
                if id(node) not in docs and text.count(" ") > 1:
                    found.append((f"{file.relative_to(ROOT)}:{node.lineno}", text))
    return found


def test_every_sentence_is_in_the_words_of_the_field() -> None:
    known = sentences()
    print("\n".join(ascii(f"{place}: {text}") for place, text in known))  # noqa: T201  (asked for by -s)
    wrong = [f"{place}: {text}" for place, text in known if OURS.search(text)]
    assert len(known) > 1000
    assert wrong == []


def test_the_percent_sign_stands_apart_from_its_number() -> None:
    # The format ".0%" writes 44%; everywhere else a page has a no-break space between.
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, nodes in trees()
        if str(file.relative_to(ROOT).as_posix()).startswith(PAGES)
        for node in nodes
        if isinstance(node, ast.FormattedValue)
        and isinstance(node.format_spec, ast.JoinedStr)
        and any(str(getattr(v, "value", "")).endswith("%") for v in node.format_spec.values)
    ]
    assert wrong == []

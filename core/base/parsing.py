"""Read JSON and YAML that a stranger may have written: limits of size and depth come first.

The parsers themselves recurse, and one of them in C: a file of some kilobytes that
is nested deeply enough ends the process with a segmentation fault. So nesting is
counted before anything is built, and what is too large is not read at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.base.regular_files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ParsingError", "parse_json", "parse_yaml", "read_json"]

# Levels of nesting; the deepest file of ours has eight.
DEEPEST = 40
# Bytes; the largest file of ours, a prediction's job, takes some 60 for each input.
LARGEST = 512 * 2**20


class ParsingError(ValueError):
    """Text that is damaged, or larger or deeper than any file of ours."""


def read_json(path: Path, *, largest: int = LARGEST) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: an existing file.
        largest: bytes that are read at most.

    Raises:
        ParsingError: it cannot be read, is too large, too deep, damaged, or no object.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            msg = f"is {size:,} bytes, and at most {largest:,} are read"
            raise ParsingError(msg)
        data = read_regular(path)
    except OSError as error:
        msg = f"cannot be read ({error.strerror})"
        raise ParsingError(msg) from error
    content = parse_json(data)
    if not isinstance(content, dict):
        msg = "holds no JSON object"
        raise ParsingError(msg)
    return content


def parse_json(data: bytes | str) -> Any:
    """What JSON text says; NaN and infinity, which JSON does not have, are refused.

    Raises:
        ParsingError: it is damaged or nested too deeply.

    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        content = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        msg = f"is nested more than {DEEPEST} levels deep"
        raise ParsingError(msg) from error
    except ValueError as error:
        msg = f"is damaged ({error})"
        raise ParsingError(msg) from error
    _refuse_deep(content)
    return content


def parse_yaml(text: str) -> Any:
    """What YAML text says, read with the safe loader.

    Anchors and aliases are refused: nothing of ours needs them, and a few of them
    can stand for gigabytes.

    Raises:
        ParsingError: it is no YAML, nested too deeply, or holds an alias.

    >>> parse_yaml("a: [1, 2]")
    {'a': [1, 2]}
    """
    import yaml  # noqa: PLC0415  (a sixth of the time that --help takes)

    # The same loader in C, ten times as fast: a command reads every card.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        # Events come one after the other, without recursion; building what they say recurses.
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.AliasEvent):
                msg = f"line {line} holds an alias (*{event.anchor})"
                raise ParsingError(msg)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > DEEPEST:
                msg = f"line {line} is nested more than {DEEPEST} levels deep"
                raise ParsingError(msg)
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ParsingError):
            raise
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        msg = f"is not YAML{where}: {' '.join(str(error).split())}"
        raise ParsingError(msg) from error


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no number of JSON"
    raise ValueError(msg)


def _refuse_deep(content: Any) -> None:
    """Raise if containers stand in containers more than ``DEEPEST`` times."""
    level = [content]
    for _ in range(DEEPEST + 1):
        level = (
            [
                inner
                for outer in level
                for inner in (outer.values() if isinstance(outer, dict) else outer)
                if isinstance(inner, dict | list)
            ]
            if isinstance(content, dict | list)
            else []
        )
        if not level:
            return
    msg = f"is nested more than {DEEPEST} levels deep"
    raise ParsingError(msg)

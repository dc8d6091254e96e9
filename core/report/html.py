"""How blocks become one page that opens anywhere, offline, and runs nothing of a stranger's.

Blocks hold data and words; jinja2 escapes every one of them. The only markup
that enters from outside the templates is SVG, and of that only the elements and
attributes named here. The page carries a content-security policy that allows
its own style sheet and its own copy button, both by hash, and pictures stored
in the page; nothing is ever fetched.

This module knows nothing of metrics or models. The same blocks give the same
bytes: no date, no random name.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from core.blocks import MARKS, Block, Fold, Numbers, Pictures, Table, Text
from core.report.glossary import TERMS, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["clean", "page_template", "render_page", "safe_svg"]

TEMPLATES = Path(__file__).parent / "templates"

# Figures at least this wide (CSS pixels) get a line of their own on a wide screen.
WIDE_PX = 430.0

_ELEMENTS = frozenset(
    {"svg", "g", "path", "rect", "line", "polyline", "polygon", "circle", "ellipse"}
    | {"text", "tspan", "defs", "clipPath", "use"}
)
_GEOMETRY = {"d", "x", "y", "x1", "x2", "y1", "y2", "r", "rx", "ry", "cx", "cy", "points"}
_ATTRIBUTES = frozenset(
    _GEOMETRY
    | {"transform", "viewBox", "width", "height", "clip-path", "clip-rule", "clipPathUnits"}
    | {"fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity"}
    | {"stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "opacity"}
    | {"font-size", "font-weight", "font-style", "text-anchor", "dominant-baseline"}
)
_LOCAL_URL = re.compile(r"url\(#([\w.-]+)\)")
_FONT = re.compile(r"(?P<style>italic |oblique )?(?P<weight>bold |\d{3} )?(?P<size>[\d.]+)px ")
# Controls, soft hyphens, zero-width and bidirectional marks, lone surrogates: they
# would hide or reorder what a file is really called.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def render_page(
    title: str,
    *,
    lead: str,
    sections: Sequence[tuple[str, Sequence[Block]]],
    footer: str = "",
    glossary: bool = False,
) -> str:
    """One self-contained HTML page.

    Args:
        title: heading of the page.
        lead: the sentence below it; of a report, the intended use.
        sections: (heading, blocks) in order; a section without blocks is left
            out, one without a heading stands above the table of contents.
        footer: the last line of the page.
        glossary: whether terms in tables lead to a list of their meanings at the end.

    Raises:
        ValueError: a picture is neither PNG nor JPEG, or an SVG is not well formed.

    >>> page = render_page("Leaves", lead="Photos.", sections=[("A", [Text("<b>&")])])
    >>> "&lt;b&gt;&amp;" in page and "<b>" not in page
    True
    """
    number = iter(range(1, 1_000_000))
    names: set[str] = set()
    labels: set[str] = set()
    used: set[str] = set()

    def term_of(text: object) -> str:
        """The id of the glossary's entry for a cell; empty if there is none."""
        name = entry_of(str(text)) if glossary else ""
        used.update([name] if name else [])
        return _term_id(name) if name else ""

    def used_terms() -> list[tuple[str, str, str]]:
        return [(_term_id(name), name, TERMS[name]) for name in sorted(used, key=str.lower)]

    return _rendered(
        "page.html",
        script="copy.js",
        pictures="data:",
        title=title,
        lead=lead,
        sections=[
            {
                "title": heading,
                "id": _anchor(heading, names),
                "runs": _runs(blocks, number, labels, heading),
            }
            for heading, blocks in sections
            if blocks
        ],
        footer=footer,
        glossary=glossary,
        term_of=term_of,
        used_terms=used_terms,
    )


def page_template(name: str, *, script: str, data: str, pictures: str, **words: Any) -> str:
    """A page of its own template: its style and script are allowed by hash, nothing else runs.

    Args:
        name: the template.
        script: file of the script beside it.
        data: JSON that the script reads; no ``<`` may stand in it.
        pictures: sources of the policy that pictures may come from.
        words: what the template shows, escaped.

    Raises:
        ValueError: the data hold a ``<``.
    """
    if "<" in data:
        msg = "data of a page hold a '<', which could end the element that holds them"
        raise ValueError(msg)
    return _rendered(name, script=script, pictures=pictures, data=_trusted(data), **words)


def _rendered(name: str, *, script: str, pictures: str, **words: Any) -> str:
    """A template with its style and its script, which the page's policy allows by their hashes."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    code = (TEMPLATES / script).read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {pictures}; "
        f"style-src '{_hash(css)}'; script-src '{_hash(code)}'"
    )
    own = {"policy": policy, "css": css, "script": code}
    trusted = {key: _trusted(text) for key, text in own.items()}
    return _environment().get_template(name).render(**trusted, **words)


def clean(text: object) -> str:
    r"""Text with hidden characters made visible: what would disguise a file name.

    >>> clean("a" + chr(0x202E) + "gnp.exe")
    'a\\u202egnp.exe'
    """
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))


def safe_svg(svg: str, prefix: str) -> str:
    """The drawing alone: no script, style, link, image, comment or event handler.

    Style declarations become presentation attributes, because the page's policy
    allows no style attribute; ids get ``prefix``, because many drawings share a page.

    Args:
        svg: an SVG document, as matplotlib writes it.
        prefix: letters and digits, unique on the page.

    Raises:
        ValueError: it is not well formed, declares entities, or is no SVG.

    >>> safe_svg('<svg viewBox="0 0 1 1" onload="x()"><script/><path d="M0 0"/></svg>', "a")
    '<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>'
    """
    if "<!ENTITY" in svg:
        msg = "a drawing declares entities, which no plot of ours does"
        raise ValueError(msg)
    try:
        root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", svg))
    except ElementTree.ParseError as error:
        msg = f"a drawing is not well-formed SVG ({error})"
        raise ValueError(msg) from error
    if _local(root.tag) != "svg":
        msg = f"a drawing starts with <{_local(root.tag)}>, not with <svg>"
        raise ValueError(msg)
    wanted = set(_LOCAL_URL.findall(svg)) | set(re.findall(r'href="#([\w.-]+)"', svg))
    return "".join(_draw(root, prefix, wanted))


def _draw(node: ElementTree.Element, prefix: str, wanted: set[str]) -> Iterator[str]:
    """The text of one element and of what it holds, if it is on the list."""
    from markupsafe import escape  # noqa: PLC0415  (only a page needs it)

    name = _local(node.tag)
    if name not in _ELEMENTS:
        return
    attributes: dict[str, str] = {}
    for raw, value in node.attrib.items():
        key = _local(raw)
        if key == "style":
            attributes.update(_declarations(value))
        elif key == "id" and value in wanted:
            attributes["id"] = f"{prefix}-{value}"
        elif key == "href" and name == "use" and value.startswith("#"):
            attributes["href"] = f"#{prefix}-{value[1:]}"
        elif key in _ATTRIBUTES:
            attributes[key] = value
    for key, value in attributes.items():
        if "url(" in value:
            local = _LOCAL_URL.fullmatch(value.strip())
            attributes[key] = f"url(#{prefix}-{local[1]})" if local else "none"
    inside = "".join(part for child in node for part in _draw(child, prefix, wanted))
    if name in {"text", "tspan"} and node.text:
        inside = str(escape(clean(node.text))) + inside
    if name == "g" and not attributes:
        # A group that says nothing only costs bytes; matplotlib nests them deep.
        yield inside
        return
    opening = f"<{name}" + "".join(f' {key}="{escape(v)}"' for key, v in attributes.items())
    yield f"{opening}>{inside}</{name}>" if inside else f"{opening}/>"


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    """Presentation attributes of a style attribute; of a font only size, weight and slant."""
    for declaration in style.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font" and (font := _FONT.match(value)):
            yield "font-size", font["size"]
            if font["weight"]:
                yield "font-weight", font["weight"].strip()
            if font["style"]:
                yield "font-style", font["style"].strip()
        elif key in _ATTRIBUTES:
            yield key, value


def _local(name: str) -> str:
    """An XML name without its namespace."""
    return name.rpartition("}")[2]


def _runs(
    blocks: Sequence[Block], number: Iterator[int], labels: set[str], heading: str
) -> list[tuple[str, list[dict[str, Any]]]]:
    """What the template shows of blocks; neighbouring figures are kept together."""
    views = [_view(block, number, labels, heading) for block in blocks]
    return [(kind, list(run)) for kind, run in groupby(views, _kind)]


def _view(block: Block, number: Iterator[int], labels: set[str], heading: str) -> dict[str, Any]:
    """What the template shows of one block."""
    if isinstance(block, Text):
        return {"kind": "text", "text": block.text, "tone": block.tone}
    if isinstance(block, Numbers):
        return {"kind": "numbers", "entries": list(block.entries)}
    if isinstance(block, Fold):
        runs = _runs(block.blocks, number, labels, f"{heading}: {block.title}")
        return {"kind": "fold", "title": block.title, "runs": runs}
    if isinstance(block, Table):
        return {
            "kind": "table",
            "title": block.title,
            "label": _label(block.title or heading or "table", labels),
            "note": block.note,
            "broad": _is_broad(block),
            "marked": list(zip(unicodedata.normalize("NFKC", MARKS), block.marked, strict=False)),
            **_cells(block.frame, block.numeric),
        }
    if isinstance(block, Pictures):
        return {
            "kind": "pictures",
            "id": f"g{next(number)}",
            "title": block.title,
            "note": block.note,
            "pictures": [(_trusted(_data_uri(data)), caption) for data, caption in block.pictures],
        }
    svg = safe_svg(block.svg, f"f{next(number)}")
    width = re.search(r'<svg[^>]*? width="([\d.]+)', svg)
    return {
        "kind": "figure",
        "title": block.title,
        "label": _label(block.title or "figure", labels),
        "note": block.note,
        "svg": _trusted(svg),
        "wide": width is None or float(width[1]) >= WIDE_PX,
        "data": None if block.data is None else _plotted(block.data),
    }


def _is_broad(table: Table) -> bool:
    """Whether a table needs the whole width of a sheet of paper."""
    widths = [
        max(
            _LINE_OF_WORDS if " " in head else len(head),
            *(len(str(cell)) for cell in table.frame.iloc[:, i]),
            0,
        )
        for i, head in enumerate(map(str, table.frame.columns))
    ]
    # A long cell of words breaks into lines; numbers and their intervals do not.
    fitted = [width if width <= _LONG_CELL else _LONG_CELL for width in widths]
    return sum(fitted) + 2 * len(fitted) > HALF_SHEET


# Letters of a table on half a sheet; of a cell after which words break; of a broken heading.
HALF_SHEET, _LONG_CELL, _LINE_OF_WORDS = 72, 32, 9


def _label(text: str, taken: set[str]) -> str:
    """The name of a region for those who hear the page; unique."""
    name, count = text.rstrip("."), 1
    while name in taken:
        count += 1
        name = f"{text.rstrip('.')} ({count})"
    taken.add(name)
    return name


def _term_id(name: str) -> str:
    """The id of an entry of the glossary."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def _kind(view: dict[str, Any]) -> str:
    """Neighbouring figures of a kind stand side by side; every other block alone."""
    if view["kind"] != "figure":
        return "flow"
    return "figures wide" if view["wide"] else "figures"


def _cells(frame: pd.DataFrame, numeric: Sequence[str]) -> dict[str, Any]:
    """Heading and rows of a frame; missing values become empty cells."""
    columns = [str(name) for name in frame.columns]
    shown = frame.astype("object").where(frame.notna(), "")
    rows = list(shown.itertuples(index=False, name=None))
    return {"columns": columns, "rows": rows, "numeric": set(numeric)}


def _plotted(frame: pd.DataFrame) -> dict[str, Any]:
    """The numbers behind a figure, to so many digits as an eye or a check can use."""
    numeric = _numbers(frame)
    shown = frame.copy()
    for name in shown.columns:
        if shown[name].dtype.kind == "f":
            shown[name] = [float(f"{value:.5g}") for value in shown[name]]
    return _cells(shown, numeric)


def _numbers(frame: pd.DataFrame) -> list[str]:
    """The columns of numbers."""
    return [str(name) for name in frame.columns if frame[name].dtype.kind in "iuf"]


def _anchor(heading: str, taken: set[str]) -> str:
    """A short id of a heading, unique on the page; empty for no heading."""
    if not heading:
        return ""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"
    name, count = stem, 1
    while name in taken or name in {"content", "contents"}:
        count += 1
        name = f"{stem}-{count}"
    taken.add(name)
    return name


def _data_uri(data: bytes) -> str:
    """A picture as an address that holds the picture."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "png"
    elif data.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    else:
        msg = "a picture of a page must be PNG or JPEG"
        raise ValueError(msg)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _hash(text: str) -> str:
    """The source expression of a content-security policy that allows exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _trusted(text: str) -> Markup:
    """Text that is markup of our own making and must not be escaped again."""
    from markupsafe import Markup  # noqa: PLC0415  (only a page needs it)

    return Markup(text)


@cache
def _environment() -> Environment:
    """The templates, with everything escaped and a missing name an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  (only a page needs it)
    from markupsafe import Markup  # noqa: PLC0415  (only a page needs it)

    made = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
    )
    made.filters["parts"] = _parts
    return made


def _parts(value: object) -> tuple[object, str]:
    """A cell without the raised letters it ends in, and these as letters of the line.

    >>> _parts("0.5 (0.4 to 0.6)ᵃᵇ")
    ('0.5 (0.4 to 0.6)', 'a, b')
    """
    text = str(value)
    bare = text.rstrip(MARKS)
    marks = unicodedata.normalize("NFKC", text[len(bare) :])
    return (bare, ", ".join(marks)) if marks else (value, "")

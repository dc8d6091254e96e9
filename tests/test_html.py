"""The page: nothing from a name becomes markup, nothing is fetched, same blocks same bytes."""

from __future__ import annotations

import base64
import hashlib
import re

import pandas as pd
import pytest

from core.blocks import Figure, Pictures, Table, Text
from core.report.html import clean, render_page, safe_svg
from tests.page_reader import Reader

HOSTILE = (
    "<script>alert(1)</script>",
    '"onload="alert(1)',
    "' onerror='alert(1)",
    "=1+1",
    "</style><img src=x>",
    "{{ 7*7 }}",
    "<!--",
    "]]>",
    "javascript:alert(1)",
)
SVG = (
    '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "y"><svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" width="420" height="90" viewBox="0 0 420 90">'
    '<path id="p" d="M0 0L9 9" style="fill: none; stroke: #0072b2"/></svg>'
)
# The first bytes of the two kinds of picture are all that the page looks at.
PNG, JPEG = b"\x89PNG\r\n\x1a\n0000", b"\xff\xd8\xff0000"


def page_with(name: str) -> str:
    """A page that holds this name in every place a name can stand."""
    frame = pd.DataFrame({name: [name], "n": ["1"]})
    return render_page(
        name,
        lead=name,
        sections=[
            ("", [Text(name, "verdict"), Text(name, "warning")]),
            (name, [Text(name, name), Table(frame, name, name, ("n",))]),
            ("B", [Figure(SVG, name, name, pd.DataFrame({name: [name]}))]),
            ("C", [Pictures(name, [(PNG, name), (JPEG, name)], name)]),
        ],
        footer=name,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_become_markup(name: str) -> None:
    # A hostile page has exactly the tags and attribute names of a harmless one.
    hostile, harmless = Reader(page_with(name)), Reader(page_with("harmless"))
    assert hostile.tags == harmless.tags
    assert [a[:2] for a in hostile.attributes] == [a[:2] for a in harmless.attributes]
    # And the name is shown as it is, in the 13 places of text.
    assert sum(name in words for words in hostile.words) >= 13


def test_nothing_is_fetched_and_nothing_runs_but_the_copy_button() -> None:
    page = page_with("leaf")
    reader = Reader(page)
    for tag, name, value in reader.attributes:
        if name in {"href", "src", "data", "action", "poster", "srcset", "xlink:href"}:
            assert value.startswith(("#", "data:image/")), (tag, name, value)
        assert not name.startswith("on")
        assert name != "style"
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(reader.tags)
    assert "://" not in page
    assert "@import" not in page


def test_the_policy_allows_exactly_the_style_and_script_of_the_page() -> None:
    page = page_with("leaf")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert len(inside) == 1
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_the_policy_stands_before_what_it_governs() -> None:
    page = page_with("leaf")
    assert page.index("Content-Security-Policy") < page.index("<title>") < page.index("<style>")


def test_same_blocks_same_bytes() -> None:
    assert page_with("leaf") == page_with("leaf")


def test_hidden_characters_are_shown() -> None:
    # A right-to-left override would show "gnp.exe" as "exe.png".
    page = render_page("t", lead="", sections=[("", [Text("a\u202egnp.exe\x00\udc80")])])
    assert "a\\u202egnp.exe\\u0000\\udc80" in page
    page.encode("utf-8")
    assert clean("naïve µ 叶 \n\t") == "naïve µ 叶 \n\t"


def test_equal_headings_get_different_anchors() -> None:
    some = [Text("x")]
    page = render_page("t", lead="", sections=[("A", some), ("A", some), ("叶", some)])
    ids = re.findall(r'<section id="([^"]+)"', page)
    assert ids == ["a", "a-2", "section"]
    assert re.findall(r'<li><a href="#([^"]+)"', page) == ids


def test_sections_without_blocks_are_left_out() -> None:
    page = render_page("t", lead="", sections=[("Here", [Text("x")]), ("Gone", [])])
    assert "Here" in page
    assert "Gone" not in page


def test_missing_cells_are_empty() -> None:
    frame = pd.DataFrame({"a": [None, "x"], "b": [float("nan"), 2.0]})
    page = render_page("t", lead="", sections=[("s", [Table(frame)])])
    assert '<th scope="row"></th><td></td>' in page
    assert "nan" not in page.lower().replace("finance", "")


def test_figures_side_by_side_share_no_id() -> None:
    svg = SVG.replace("</svg>", '<use xlink:href="#p"/></svg>')
    figures = [Figure(svg, "a"), Figure(svg, "b")]
    page = render_page("t", lead="", sections=[("s", figures)])
    ids = re.findall(r'<path id="([^"]+)"', page)
    assert ids == ["f1-p", "f2-p"]
    assert re.findall(r'<use href="#([^"]+)"', page) == ids


@pytest.mark.parametrize(
    "inside",
    [
        "<script>x()</script>",
        '<a href="javascript:x()"><path d="M0 0"/></a>',
        '<image href="http://e.org/a.png"/>',
        '<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>',
        "<style>*{fill:red}</style>",
        '<use href="http://e.org/a.svg#b"/>',
        '<path onclick="x()" d="M0 0"/>',
        '<path style="fill: url(http://e.org/a)" d="M0 0"/>',
        '<set attributeName="href" to="x"/>',
        "<!-- x -->",
    ],
)
def test_drawings_keep_no_script_link_or_address(inside: str) -> None:
    svg = safe_svg(f'<svg viewBox="0 0 1 1" onload="x()">{inside}</svg>', "f1")
    assert not re.search(r"script|href=|http|onclick|onload|foreign|style|x\(\)|<set|<!--", svg)


def test_style_declarations_become_attributes_the_policy_allows() -> None:
    svg = safe_svg(
        "<svg><text style=\"font: bold 11px 'DejaVu Sans'; text-anchor: middle; fill: #1a1a1a\">"
        "a &lt; b</text></svg>",
        "f1",
    )
    assert svg == (
        '<svg><text font-size="11" font-weight="bold" text-anchor="middle" fill="#1a1a1a">'
        "a &lt; b</text></svg>"
    )


@pytest.mark.parametrize(
    "svg", ["<svg>", "<p/>", '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "", "<svg>&a;</svg>"]
)
def test_what_is_no_drawing_is_refused(svg: str) -> None:
    with pytest.raises(ValueError, match="drawing"):
        safe_svg(svg, "f1")


def test_only_png_and_jpeg_are_pictures() -> None:
    with pytest.raises(ValueError, match="PNG or JPEG"):
        render_page("t", lead="", sections=[("s", [Pictures("p", [(b"<svg/>", "c")])])])

"""Pages of the documentation site that stand elsewhere in the tree, and their links.

A README tells of the folder that it stands in, so it is not copied into docs/: mkdocs gets
it as a page, with links to other pages turned to them and links to sources left as text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Page of the site by the file that it is made from, in the order of the menu.
PAGES = {
    "README.md": "index.md",
    **{
        path.relative_to(ROOT).as_posix(): f"apps/{path.parent.name}.md"
        for path in sorted((ROOT / "apps").glob("*/README.md"))
    },
    "data_cards/README.md": "data_cards/index.md",
    **{
        path.relative_to(ROOT).as_posix(): f"data_cards/{path.name}"
        for path in sorted((ROOT / "data_cards").glob("*.md"))
        if path.name != "README.md"
    },
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, source, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page of docs/ that leave the folder."""
    here = page.file.src_uri
    return markdown if here in PAGES.values() else relinked(markdown, f"docs/{here}", here)


def relinked(text: str, source: str, page: str) -> str:
    """The text of a source file with its links as they are from a page."""

    def turned(link: re.Match[str]) -> str:
        mark, words, target, anchor = link.groups()
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        to = PAGES.get(there) or (there[5:] if there.startswith("docs/") else None)
        if to is None:
            return words
        path = posixpath.relpath(to, posixpath.dirname(page) or ".")
        return f"{mark}[{words}]({path}{anchor or ''})"

    # What stands in a block of code is shown, not linked.
    parts = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(p if p.startswith("```") else LINK.sub(turned, p) for p in parts)

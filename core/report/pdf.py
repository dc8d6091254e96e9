"""A PDF copy of a page, by whichever engine this machine has.

What is folded on the screen is printed in an appendix: paper has no fold to open.

WeasyPrint first, because it needs no browser; then Chromium or Chrome. Neither
is told to fetch anything: a page of ours holds all it shows.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from PIL import ImageFile

from core.base.outputs import write_bytes
from core.errors import OutputError

__all__ = ["on_paper", "write_pdf"]

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Seconds; a report of forty pages takes about five.
PATIENCE = 120


def write_pdf(html_path: Path, pdf_path: Path) -> str:
    """Print a page to PDF.

    Args:
        html_path: a page written by ``core.report``.
        pdf_path: the file to write.

    Returns:
        Which engine was used: ``weasyprint`` or ``chromium``.

    Raises:
        OutputError: no engine is installed, or the file cannot be written.
    """
    page = on_paper(html_path.read_text(encoding="utf-8"))
    data = _by_weasyprint(page)
    if data is not None:
        write_bytes(pdf_path, data)
        return "weasyprint"
    data = _by_browser(page)
    if data is not None:
        write_bytes(pdf_path, data)
        return "chromium"
    msg = (
        f"{pdf_path}: this machine has neither WeasyPrint with Pango nor Chromium, so no PDF was "
        f"made. The page itself is complete: open {html_path} and print it to PDF from the "
        "browser, or install the pdf extra (pip install 'resight[pdf]') and run again."
    )
    raise OutputError(msg)


# A fold as the templates write it: its line, and what it holds.
_DETAILS = (
    r'<!--fold--><details class="fold"><summary>(?P<{0}>.*?)</summary>(?P<{1}>.*?)</details>'
    r"<!--/fold-->"
)
# A section that holds nothing else goes with its heading.
_FOLD = re.compile(
    r'<section id="[^"]*">\s*<h2>(?P<heading>[^<]*)</h2>\s*'
    + _DETAILS.format("line", "alone")
    + r"\s*</section>|"
    + _DETAILS.format("title", "body"),
    re.DOTALL,
)
_NEEDS_WIDTH = re.compile(r'class="[^"]*\b(?:broad|wide|glossary)\b')
# The first title within what was folded.
_OWN_TITLE = re.compile(r"<h3>(?P<title>[^<]*)</h3>\n?")
_POINTER = '<p class="text note pointer">'


def on_paper(page: str) -> str:
    """The page with what is folded moved into an appendix, and a pointer left in its place.

    >>> fold = '<!--fold--><details class="fold"><summary>More</summary>x</details><!--/fold-->'
    >>> on_paper(f"<main>{fold}</main>").count("Appendix")
    2
    """
    parts: list[str] = []

    def moved(found: re.Match[str]) -> str:
        title, held = found["heading"] or found["title"], found["alone"] or found["body"]
        kind = "part broad" if _NEEDS_WIDTH.search(held) else "part"
        own = _OWN_TITLE.search(held)
        if own is not None and own["title"].startswith(title):
            # What its table is called says the same, and more.
            title, held = own["title"], held[: own.start()] + held[own.end() :]
        parts.append(f'<div class="{kind}"><h3>A{len(parts) + 1}. {title}</h3>\n{held}</div>')
        title = found["title"]
        return "" if found["heading"] else f"{_POINTER}{title}: Appendix A{len(parts)}.</p>"

    body = _FOLD.sub(moved, page)
    if not parts:
        return page
    # One line of pointers where several things were folded.
    body = re.sub(rf"(?<=Appendix )(A\d+\.)</p>\s*{re.escape(_POINTER)}", r"\1 ", body)
    appendix = "\n".join(['<section id="appendix"><h2>Appendix</h2>', *parts, "</section>"])
    head, _, tail = body.rpartition("</main>")
    return f"{head}{appendix}</main>{tail}"


def _by_weasyprint(page: str) -> bytes | None:
    """The PDF, or None where WeasyPrint or the libraries it needs are absent."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            # It warns of system libraries that a later version will need; it prints without.
            warnings.simplefilter("ignore")
            from weasyprint import HTML  # noqa: PLC0415  (optional)
            from weasyprint.urls import URLFetcher  # noqa: PLC0415
    except (ImportError, OSError):
        # OSError: the package is there, the system's Pango is not.
        return None
    finally:
        # WeasyPrint makes Pillow pass half a file for an image, in the whole process.
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    # It tells of every property that a screen has and paper has not.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    # What is stored in the page may be opened, nothing else.
    stored = URLFetcher(allowed_protocols={"data"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            printed: bytes | None = HTML(string=page, url_fetcher=stored).write_pdf()
        except (AssertionError, AttributeError, IndexError, TypeError, ValueError):
            # Its columns fail on some pages (version 69); one column is longer and never did.
            single = page.replace("{ columns: 2;", "{ columns: auto;").replace(
                ".plot, .plot.wide { display: block; width: 100%;",
                ".plot:not(.wide) { display: inline-block; width: 48%; vertical-align: top;",
            )
            printed = HTML(string=single, url_fetcher=stored).write_pdf()
    return printed


def _by_browser(page: str) -> bytes | None:
    """The PDF, or None where no browser is found or it does not print."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, target = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            found,
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={target}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses to sandbox itself for the superuser, as in most containers.
            command.append("--no-sandbox")
        with suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run(
                [*command, source.as_uri()],
                check=False,
                capture_output=True,
                timeout=PATIENCE,
            )
        return target.read_bytes() if target.is_file() else None

"""A PDF copy of a page, by whichever engine this machine has.

WeasyPrint first, because it needs no browser; then Chromium or Chrome. Neither
is told to fetch anything: a page of ours holds all it shows.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from PIL import ImageFile

from core.base.outputs import write_bytes
from core.errors import OutputError

__all__ = ["write_pdf"]

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
    data = _by_weasyprint(html_path)
    if data is not None:
        write_bytes(pdf_path, data)
        return "weasyprint"
    data = _by_browser(html_path)
    if data is not None:
        write_bytes(pdf_path, data)
        return "chromium"
    msg = (
        f"{pdf_path}: this machine has neither WeasyPrint with Pango nor Chromium, so no PDF was "
        f"made. The page itself is complete: open {html_path} and print it to PDF from the "
        "browser, or install the pdf extra (pip install 'resight[pdf]') and run again."
    )
    raise OutputError(msg)


def _by_weasyprint(html_path: Path) -> bytes | None:
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
    text = html_path.read_text(encoding="utf-8")
    # What is stored in the page may be opened, nothing else.
    stored = URLFetcher(allowed_protocols={"data"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        printed: bytes | None = HTML(string=text, url_fetcher=stored).write_pdf()
    return printed


def _by_browser(html_path: Path) -> bytes | None:
    """The PDF, or None where no browser is found or it does not print."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "page.pdf"
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
                [*command, html_path.resolve().as_uri()],
                check=False,
                capture_output=True,
                timeout=PATIENCE,
            )
        return target.read_bytes() if target.is_file() else None

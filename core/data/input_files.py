"""Which files a job works on, so that other pictures under the same names are noticed.

Size and time of change are asked of the file system and cost no reading; where they
lie is no part of it, so data may be moved between a job and its resumption.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.scan import locate
from core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from core.app import Manifest

__all__ = ["absolute_rows", "require_apart", "stamps_of", "with_paths"]


def absolute_rows(found: Manifest) -> list[dict[str, Any]]:
    """Manifest rows with an absolute ``path``, and the path to show in ``shown``."""
    rows = [{str(k): v for k, v in r.items()} for r in found.table.to_dict("records")]
    for row in rows:
        row["shown"] = row["path"]
        # Readers may have been started elsewhere.
        row["path"] = str(locate(found.root, str(row["path"])).absolute())
    return rows


def with_paths(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with the absolute ``path`` of each row, which need not be UTF-8."""
    import pandas as pd  # noqa: PLC0415  (keeps the module light for readers)

    # Arrow's strings refuse the lone surrogates by which Python names such files.
    paths = pd.Series([str(row["path"]) for row in rows], index=table.index, dtype=object)
    return table.assign(path=paths)


def stamps_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """image_id -> size in bytes and time of change in ns, as text; ``absent`` if not reachable.

    Args:
        rows: of a manifest, with an absolute ``path``.
    """
    known: dict[str, str] = {}
    found = {}
    for row in rows:
        path = str(row["path"])
        if path not in known:
            try:
                status = Path(path).stat()
                known[path] = f"{status.st_size} {status.st_mtime_ns}"
            except (OSError, ValueError):
                known[path] = "absent"
        found[str(row["image_id"])] = known[path]
    return found


def require_apart(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output that lies in a folder of inputs: the next command would read it as input.

    Raises:
        OutputError: it does.
    """
    place = out.resolve()
    for path in inputs:
        if path.is_dir() and place.is_relative_to(path.resolve()):
            msg = (
                f"{out}: lies inside the data {path}. Inputs are never changed, and the next "
                "command would take our files for images. Choose another --out."
            )
            raise OutputError(msg)

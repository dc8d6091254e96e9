"""Which images make one exam, and what it lacks.

An exam is one study of one patient. Archives and anonymisers write one StudyInstanceUID into
files of several patients; their images are exams of their own, for two halves of two women are no
whole exam. The accession number does not part a study: some archives give each series one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JOINED", "SCREENING", "fill_missing_views", "part_shared_exams"]

JOINED = " For training they are one group; --group patient keeps them apart."
SCREENING = ("L CC", "L MLO", "R CC", "R MLO")


def part_shared_exams(rows: list[dict[str, Any]], *, joins_groups: bool) -> list[str]:
    """Give each patient of a shared exam one of its own, and join their groups.

    Two ids in one study may also be one woman under two names; so that she never lies in
    training and test at once, all images of such patients are one group.

    Args:
        rows: of the manifest, changed in place; ``patient`` is the exam where none is named.
        joins_groups: whether ``group`` is the patient and not what the user asked for.

    Returns:
        a sentence, or nothing.
    """
    patients: dict[str, set[str]] = {}
    for row in rows:
        # Who is not named may be another patient than the one who is.
        if row["status"] != "skipped" and row["exam"]:
            patients.setdefault(row["exam"], set()).add(row["patient"])
    shared = {exam: names for exam, names in patients.items() if len(names) > 1}
    if not shared:
        return []
    if joins_groups:
        first = _joined(shared)
        for row in rows:
            row["group"] = first.get(row["patient"], first.get(row["exam"], row["group"]))
    for row in rows:
        if row["exam"] in shared:
            is_named = row["patient"] != row["exam"]
            row["exam"] += f" of {row['patient']}" if is_named else " of an unnamed patient"
    exam, names = next(iter(shared.items()))
    n = f"{len(shared):,} Study UIDs (or exam numbers of a table) are each"
    message = "1 Study UID (or exam number of a table) is" if len(shared) == 1 else n
    return [
        f"{message} shared by several patients (first: {exam}, by {len(names):,} patients). "
        "Each patient's images are an exam of their own; which of them belong together cannot be "
        f"known.{JOINED if joins_groups else ''}"
    ]


def _joined(shared: Mapping[str, set[str]]) -> dict[str, str]:
    """Patient or exam -> the first name of all that share exams with it, however indirectly."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for exam, names in shared.items():
        for name in (exam, *names):
            ends = sorted((top(name), top(min(names))))
            parent[ends[1]] = ends[0]
    return {name: top(name) for name in list(parent)}


def fill_missing_views(rows: list[dict[str, Any]]) -> None:
    """Say on each image which of the four screening views its exam lacks."""
    present: dict[str, set[str]] = {}
    for row in rows:
        if row["status"] == "ok" and row["exam"]:
            present.setdefault(row["exam"], set()).add(f"{row['laterality']} {row['view']}")
    named = any(view in SCREENING for views in present.values() for view in views)
    for row in rows:
        views = present.get(row["exam"], set())
        absent = [view for view in SCREENING if view not in views]
        row["missing_views"] = ", ".join(absent) if named and row["status"] == "ok" else ""

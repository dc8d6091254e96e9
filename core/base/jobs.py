"""The state of an output: absent, ours and incomplete, or complete; the same for every command.

A command says what it is about to make (``Job``) and gets the directory in one of
two states: complete already, or open, to be written from the start or gone on with.
What it makes is noted in ``job.json`` before anything else, so that the same
command recognises its own leftovers whenever it was killed, and no command ever
writes among the files of another.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.base.lock import LOCK_NAME
from core.base.outputs import MANIFEST_NAME, claim, is_complete, unseal, write_json
from core.base.parsing import ParsingError, read_json
from core.errors import OutputError, ResightError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["JOB_NAME", "Job", "differences", "open_output"]

JOB_NAME = "job.json"

# Files by which outputs are known that were made before every command wrote job.json.
_KNOWN_BY = (
    ("run", ("wish.json", "plan.yaml", "run.json")),
    ("prediction", (JOB_NAME,)),
    ("check", ("audit.html", "rejected.csv")),
    ("comparison", ("comparison.json",)),
    ("report", ("metrics.json", "predictions.csv")),
)
_NAMES = {
    "run": "a run",
    "prediction": "a prediction",
    "part": "a part of a prediction",
    "check": "a check",
    "comparison": "a comparison",
    "report": "a report",
    "ensemble": "an ensemble",
    "export": "an exported model",
    "readers": "a comparison of readers",
    "similar": "a search for similar images",
    "study": "a study",
    "kit": "a kit",
}


@dataclass(frozen=True)
class Job:
    """What a command is about to make.

    Attributes:
        kind: ``run``, ``ensemble``, ``export``, ``prediction``, ``part``, ``report``,
            ``comparison``, ``check`` or ``kit``.
        asked: what the result depends on, as plain values; another value is another
            job and is refused. Where files were, or how many processes read them, is
            not among it.
        replaces: whether a complete output of this kind is made anew.
        begun_by: file from whose presence on the job is bound to what was asked; before
            it is there, a corrected command may take the place. Empty: from the start.
    """

    kind: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    replaces: bool = False
    begun_by: str = ""


@contextmanager
def open_output(directory: Path, job: Job) -> Iterator[bool]:
    """Hold a directory for this job; yields whether it is complete already.

    A complete output is left alone unless the job replaces it. If the block raises
    an error that the user must act on before it wrote anything, the place is free
    again.

    Raises:
        OutputError: the directory holds something else.
        RunError: it holds a job of this kind that was asked for otherwise.
        LockedError: another process holds it.
    """
    with claim(directory):
        before = _job_in(directory)
        if before is None:
            others = _others(directory)
            if others:
                msg = (
                    f"{directory}: holds files that resight did not write (first: {others[0]}). "
                    "Choose another --out."
                )
                raise OutputError(msg)
        elif before["kind"] != job.kind:
            msg = (
                f"{directory}: is {_NAMES.get(before['kind'], 'another result')}. Choose another "
                f"--out for {_NAMES[job.kind]}."
            )
            raise OutputError(msg)
        else:
            _refuse_other(directory, job, before)
        if is_complete(directory):
            if not job.replaces:
                yield True
                return
            unseal(directory)
        write_json(directory / JOB_NAME, {"kind": job.kind, **job.asked})
        try:
            yield False
        except ResightError:
            if not _others(directory):
                with suppress(OSError):
                    (directory / JOB_NAME).unlink(missing_ok=True)
            raise


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two jobs differ, in words, for those who asked.

    >>> differences({"epochs": 2, "seed": 0}, {"epochs": 3, "seed": 0})
    ['epochs was 2, is 3']
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [_difference(name, before.get(name), now.get(name)) for name in sorted(names)]


def _difference(name: str, before: Any, now: Any) -> str:
    """One difference; of a table of many entries, the entries that differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        every = before.keys() | now.keys()
        changed = sorted(k for k in every if before.get(k) != now.get(k))
        how = {True: "is new", False: "changed"}[changed[0] not in before]
        how = "is gone" if changed[0] not in now else how
        return f"{name}: {changed[0]} {how} ({len(changed):,} of {len(every):,} differ)"
    if isinstance(before, str | int | float | None) and isinstance(now, str | int | float | None):
        return f"{name} was {before!r}, is {now!r}"
    return name


def _refuse_other(directory: Path, job: Job, before: Mapping[str, Any]) -> None:
    """Refuse to go on with a job that was asked for otherwise."""
    asked = {name: value for name, value in before.items() if name not in {"kind", "schema"}}
    is_free = bool(job.begun_by) and not (directory / job.begun_by).is_file()
    if not job.asked or asked == job.asked or (is_free and not is_complete(directory)):
        return
    changed = differences(asked, job.asked)
    msg = (
        f"{directory}: holds {_NAMES[job.kind]} that was asked for otherwise "
        f"({'; '.join(changed[:3])}). Choose another --out, or remove that directory."
    )
    raise RunError(msg)


def _job_in(directory: Path) -> dict[str, Any] | None:
    """What the directory holds, or holds the beginning of; None if it is not ours.

    Raises:
        OutputError: it is ours and damaged.
    """
    file = directory / JOB_NAME
    if file.is_file():
        try:
            found = read_json(file)
        except ParsingError as error:
            msg = f"{file}: {error}. Remove {directory}, or choose another --out."
            raise OutputError(msg) from error
        return {**found, "kind": str(found.get("kind", "prediction"))}
    names = set(_others(directory))
    kinds = [kind for kind, known in _KNOWN_BY if names & set(known)]
    return {"kind": kinds[0]} if kinds else None


def _others(directory: Path) -> list[str]:
    """Names of what lies there beside what this module writes."""
    return sorted(
        entry.name
        for entry in directory.iterdir()
        if entry.name not in {LOCK_NAME, JOB_NAME, MANIFEST_NAME}
    )

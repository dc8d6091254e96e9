"""One prediction on many machines: each scores a part, ``resight merge`` joins them.

A part is a run of whole blocks of the sorted inputs, so the parts' blocks are those
that one machine would have scored, and what is joined has the same bytes. What looks
at several inputs at once (decisions by patient or field, exports, the page) is made
when they are all there.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.base.jobs import JOB_NAME, Job, differences, open_output
from core.base.machine import readers
from core.base.outputs import copy_file, is_complete, seal, write_json
from core.base.parsing import ParsingError, read_json
from core.base.progress import log
from core.base.words import quantity
from core.data.input_files import require_apart
from core.errors import ConfigError, RunError
from core.evaluation.doubt import DoubtRule
from core.prediction.journal import JOURNAL, blocks_of, read_journal, stream_through, write_journal
from core.prediction.scorer import Scorer
from core.report.predictions_page import FOLDER, Thumbnails
from core.verbs.predict import begin, complete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.verbs.predict import Begun

__all__ = ["merge", "part_of", "predict_part", "share_of"]

PART = "part.json"
NO_PART = "{}: is not a part of a prediction. Name the --out of  resight predict --part."


def part_of(text: str) -> tuple[int, int]:
    """``2/8`` -> (2, 8): which part, of how many.

    Raises:
        ConfigError: it is none.

    >>> part_of("2/8")
    (2, 8)
    """
    part, slash, parts = text.partition("/")
    if slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts):
        return int(part), int(parts)
    msg = f"--part {text}: is no part. Write i/n, from 1/n to n/n: --part 1/8 is the first of 8."
    raise ConfigError(msg)


def share_of(n_blocks: int, part: tuple[int, int]) -> tuple[int, int]:
    """Blocks of a part, from and up to; together the parts are all blocks, each once.

    >>> [share_of(10, (i, 3)) for i in (1, 2, 3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    i, n = part
    return (i - 1) * n_blocks // n, i * n_blocks // n


def predict_part(
    begun: Begun,
    out: Path,
    part: tuple[int, int],
    *,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Score one part of the inputs; a killed part goes on where it stopped.

    Args:
        begun: run and all inputs, of which this part is one; alike for every part.
        out: directory of this part.
        part: which, from 1, and of how many.
        device: Lightning's accelerator name.
        workers: threads that decode; default one per core.

    Returns:
        ``part``, ``of``, ``n_inputs``, ``n_failed`` of the part, ``n_all`` and ``out``.

    Raises:
        ResightError: the run or the inputs must change.
    """
    job = Job("part", {**begun.asked, "part": list(part)}, begun_by=JOURNAL)
    with open_output(out, job) as is_made:
        if is_made:
            return {**read_json(out / PART)["found"], "out": str(out)}
        scorer = Scorer(
            begun.run,
            options=begun.options,
            device=device,
            workers=workers or readers(len(begun.rows)),
        )
        scorer.keep = Thumbnails(out, begun.rows).keep
        share = share_of(blocks_of(len(begun.rows), scorer.block), part)
        table = stream_through(
            out / JOURNAL,
            begun.rows,
            scorer.texts(begun.rows),
            block=scorer.block,
            extent=begun.found.extent,
            share=share,
        )
        found = {
            "part": part[0],
            "of": part[1],
            "n_inputs": len(table),
            "n_failed": int((table["status"] == "failed").sum()) if len(table) else 0,
            "n_all": len(begun.rows),
        }
        content = {"schema": 1, "share": share, "found": found, "again": begun.again}
        write_json(out / PART, content)
        seal(out)
    return {**found, "out": str(out)}


def merge(
    parts: Sequence[Path],
    out: Path,
    *,
    run_path: Path | None = None,
    inputs: Sequence[Path] = (),
    device: str = "auto",
) -> dict[str, Any]:
    """Join the parts of a prediction: the same files as if one machine had made it.

    Args:
        parts: directories of all parts, in any order.
        out: directory of the outputs.
        run_path: where the run is now; default where the parts found it.
        inputs: where the inputs are now; default where the parts found them.
        device: Lightning's accelerator name, for exports that ask the network.

    Returns:
        as ``predict``.

    Raises:
        RunError: a part is missing, unfinished, there twice, or of another prediction.
    """
    found = _parts_in(parts)
    first = next(iter(found.values()))
    again = first["again"]
    asked = first["asked"]
    run_path = run_path or Path(again["run"])
    inputs = list(inputs) or [Path(path) for path in again["inputs"]]
    require_apart(out, parts)
    if again["options"]:
        log.warning(
            "the parts were predicted with %s, and so are the files made now",
            ", ".join(f"--{name} {value}" for name, value in sorted(again["options"].items())),
        )
    begun = begin(
        run_path,
        inputs,
        out,
        allow_outside=bool(again["allow_outside"]),
        options=again["options"],
        doubt=DoubtRule(**asked["doubt"]),
    )
    if begun.asked != asked:
        changed = "; ".join(differences(asked, begun.asked)[:3])
        msg = (
            f"{first['place']}: the run or the inputs are no longer those that were scored "
            f"({changed}). Predict the parts anew, each into a new --out."
        )
        raise RunError(msg)

    def fill(thumbnails: Thumbnails) -> None:
        """Put the blocks and the pictures of all parts in their places."""
        blocks = []
        for number, part in found.items():
            # Of the inputs, not of what the part says: together all blocks are there, each once.
            share = range(*share_of(blocks_of(len(begun.rows), Scorer.block), (number, len(found))))
            held = read_journal(part["place"] / JOURNAL, share, cut=False)
            if set(held) != set(share):
                msg = (
                    f"{part['place']}: part {number} holds {quantity(len(held), 'block')} of "
                    f"inputs where {len(share):,} were expected: its journal is damaged. Remove "
                    "that folder, and repeat the command that made it."
                )
                raise RunError(msg)
            blocks += sorted(held.items())
        write_journal(out / JOURNAL, blocks)
        for part in found.values():
            for picture in sorted((part["place"] / FOLDER).glob("*.jpg")):
                thumbnails.folder.mkdir(exist_ok=True)
                copy_file(picture, thumbnails.folder / picture.name)

    return complete(begun, out, device=device, fill=fill)


def _parts_in(places: Sequence[Path]) -> dict[int, dict[str, Any]]:
    """Number -> what each part says of itself, all of them, in order.

    Raises:
        RunError: one is missing, unfinished, there twice, or of another prediction.
    """
    found: dict[int, dict[str, Any]] = {}
    for place in places:
        content = _read_part(place)
        number = int(content["found"]["part"])
        if number in found:
            msg = (
                f"{place}: is part {number}, and so is {found[number]['place']}. Name each part "
                "once; its inputs would be counted twice."
            )
            raise RunError(msg)
        found[number] = content
    first = next(iter(found.values()))
    for content in found.values():
        changed = differences(first["asked"], content["asked"])
        if content["found"]["of"] != first["found"]["of"]:
            changed = [f"one of {first['found']['of']}, one of {content['found']['of']} parts"]
        if changed:
            msg = (
                f"{content['place']}: is a part of another prediction than {first['place']} "
                f"({'; '.join(changed[:3])}). Name parts of one prediction."
            )
            raise RunError(msg)
    n = int(first["found"]["of"])
    missing = [number for number in range(1, n + 1) if number not in found]
    if missing:
        inputs = shlex.join([first["again"]["run"], *first["again"]["inputs"]])
        msg = (
            f"part {', '.join(map(str, missing[:5]))}{' ...' if len(missing) > 5 else ''} of {n} "
            f"is missing. Make it with  resight predict {inputs} --part {missing[0]}/{n} "
            f"--out PLACE  and the options of the others, then merge again."
        )
        raise RunError(msg)
    return dict(sorted(found.items()))


def _read_part(place: Path) -> dict[str, Any]:
    """What a part says of itself, its place, and what its result depends on.

    Raises:
        RunError: it is none, or not finished.
    """
    job = _json_in(place, JOB_NAME)
    if job.pop("kind", "") != "part":
        raise RunError(NO_PART.format(place))
    if not is_complete(place):
        msg = f"{place}: is not finished. Repeat its command; it goes on where it stopped."
        raise RunError(msg)
    content = _json_in(place, PART)
    found = content.get("found")
    if not isinstance(found, dict) or [found.get("part"), found.get("of")] != job.pop("part", None):
        msg = f"{place}: names another part than its job. Predict it anew."
        raise RunError(msg)
    asked = {name: value for name, value in job.items() if name != "schema"}
    return {**content, "place": place, "asked": asked}


def _json_in(place: Path, name: str) -> dict[str, Any]:
    """A file of a part.

    Raises:
        RunError: it cannot be read, so the place is no part.
    """
    try:
        return read_json(place / name)
    except ParsingError as error:
        raise RunError(NO_PART.format(place)) from error

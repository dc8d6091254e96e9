"""``resight predict RUN INPUTS... --out DIR``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from core import verbs
from core.base.words import quantity
from core.cli import shared
from core.cli.complete import runs
from core.cli.own_options import own_options

__all__ = ["predict", "tell"]


def predict(
    context: typer.Context,
    run: Path = typer.Argument(help="A complete run.", autocompletion=runs),
    inputs: list[str] = typer.Argument(
        help="Files, folders, globs or tables; s3://, gs://, az:// or https:// with obstore."
    ),
    out: Path = typer.Option(
        ..., "--out", "-o", help="Directory of the outputs; resumed if incomplete."
    ),
    device: Literal["auto", "cpu", "gpu", "mps"] = typer.Option("auto", help="Where to compute."),
    workers: int = typer.Option(None, min=1, help="Threads that decode; default one per core."),
    allow_outside: bool = shared.ALLOW_OUTSIDE,
    abstain: bool = typer.Option(
        False, "--abstain", help="Refer what is in doubt (unlike the training, poor, incomplete)."
    ),
    accept_doubtful: bool = typer.Option(
        False,
        "--accept-doubtful",
        help="Decide, and write letters and prescriptions, in spite of doubt.",
    ),
    similar: int = typer.Option(
        0,
        min=0,
        max=8,
        help="Show so many training images beside each input on the page, the most alike first.",
    ),
    part: str = typer.Option(
        None, metavar="i/n", help="Score one part of n only; `resight merge` joins them."
    ),
    ray: str = typer.Option(
        "",
        metavar="ADDRESS",
        help="Score on a Ray cluster: auto or HOST:PORT; `local` starts one on this machine.",
    ),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Score new images: one row per input, a page to look them through, the app's exports.

    Example: resight predict runs/leaves new_photos --out predictions
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        mistakes = shared.Mistakes()
        mistakes.check(lambda: shared.known_run(run))
        paths = mistakes.check(lambda: shared.existing(inputs)) or []
        mistakes.tell()
        if ray:
            verbs.predict.require_ray(ray, with_part=part or "")
        which = None if part is None else verbs.parts.part_of(part)
        begun = verbs.predict.begin(
            run,
            paths,
            out,
            allow_outside=allow_outside,
            options=own_options(context),
            doubt=verbs.predict.DoubtRule(abstain=abstain, accept=accept_doubtful),
            similar=0 if which else similar,
        )
        if which:
            found = verbs.parts.predict_part(begun, out, which, device=device, workers=workers)
            _say_part(found, as_json=as_json)
        else:
            result = verbs.predict.complete(begun, out, device=device, workers=workers, ray=ray)
            tell(result, out, quiet=quiet, as_json=as_json)


def tell(result: Mapping[str, Any], out: Path, *, quiet: bool, as_json: bool) -> None:
    """Say what a prediction found.

    Raises:
        typer.Exit: for the reasons that ``core.cli.shared.EXIT_CODES`` names.
    """
    if as_json:
        shared.show_json(result)
    else:
        if result["not_a_medical_device"]:
            shared.say(result["not_a_medical_device"])
        shared.say(
            f"{result['n_inputs']:,} inputs: {result['n_ok']:,} scored, "
            f"{result['n_failed']:,} failed, "
            f"{result['n_skipped']:,} skipped"
        )
        for reason, count in list(result["reasons"].items())[:5]:
            shared.say(f"  {count:,} x {reason}")
        if result["predicted"]:
            shared.say(
                shared.table(list(result["predicted"].items()), ("predicted class", "images"))
            )
        if result["decisions"] != result["predicted"]:
            shared.say(shared.table(list(result["decisions"].items()), ("decision", "images")))
        for note in [] if quiet else result["notes"]:
            shared.say(f"note: {note}")
        for line in _what_to_open(out, result["files"]):
            shared.say(line)
    # What is left out of the files, or should not be relied on, is said to whoever asks for less.
    for warning in result.get("warnings") or [] if quiet or as_json else []:
        shared.say(f"warning: {warning}", to_stderr=True)
    is_partial = result["n_failed"] or not result["n_ok"] or result.get("failed_exports")
    if is_partial or result["nothing_decided"]:
        raise typer.Exit(shared.SOME_FAILED)


def _say_part(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Say what one part holds, and how the parts are joined."""
    if as_json:
        shared.show_json(found)
        return
    failed = f", {found['n_failed']:,} failed" if found["n_failed"] else ""
    shared.say(
        f"part {found['part']} of {found['of']}: {found['n_inputs']:,} of "
        f"{found['n_all']:,} inputs{failed}"
    )
    shared.say("when all parts are there: resight merge PART PART ... --out PREDICTIONS")


def _what_to_open(out: Path, files: Sequence[str]) -> list[str]:
    """What to look at first: a map where there is one, then the page, then the table."""
    maps = [f"open {out / name}  (the map)" for name in files if name.endswith("map.html")]
    page = f"open {out / 'predictions.html'}  (every input, to look through and correct)"
    rest = f"table {out / 'predictions.csv'}"
    more = len(files)
    return [*maps[:1], page, rest + (f"; {quantity(more, 'more file')} in {out}" if more else "")]

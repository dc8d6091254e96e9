"""What every command does alike: errors to exit codes, JSON or words, the app's own options."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer

from core.app import app_names, find_app
from core.base.extras import advice_for
from core.base.words import plural
from core.cli.complete import cards
from core.data.object_stores import fetch, is_remote
from core.errors import ConfigError, ResightError

__all__ = [
    "COLUMNS",
    "EXIT_CODES",
    "JSON",
    "QUIET",
    "Mistakes",
    "existing",
    "guarded",
    "known_app",
    "known_run",
    "names_columns",
    "pairs",
    "say",
    "say_result",
    "settings_of",
    "show_json",
    "table",
]

T = TypeVar("T")

SOME_FAILED = 3
EXIT_CODES = (
    "0 done; 2 the input or the command must change; 3 done, but not whole: some inputs failed, "
    "nothing could be scored, an export could not be made, or nothing was decided (every decision "
    "is open or withheld); 4 another process holds the output; "
    "130 stopped, can be resumed; 1 a fault of ours"
)
STOPPED = 130
# Options that are the same in every command that reads labelled data.
TASK = typer.Option(None, "--task", help="What to predict: a task of the app, or a kind.")
LABEL = typer.Option(None, "--label", help="Column of the table that holds the label.")
GROUP = typer.Option(
    None,
    "--group",
    help="What may never straddle a split: a column, image_id, parent, 'name:part\\d+' (REGEX).",
)
CARD = typer.Option(
    None,
    "--card",
    help="Name of a data card, a card file, or none; see `resight cards`.",
    autocompletion=cards,
)
ALLOW_OUTSIDE = typer.Option(
    False, "--allow-outside", help="Let a table name files outside of its folder."
)
PDF = typer.Option(False, "--pdf", help="Print the page to report.pdf as well.")
# What names the parts of a table, by the name that an app's options have.
COLUMNS = {
    "path-column": "Column of the table that names the image files.",
    "label-column": "Column of the table or polygons with the class; folder or parent for folders.",
    "group-column": "Column of what may never straddle a split.",
    "split-column": "Column that says train, val or test; none draws a split.",
    "id-column": "Column that names images by an id of file name or header.",
    "label-map": "RAW=CLASS, by commas, or a table of both; RAW= leaves out.",
    "layer": "Layer of a GeoPackage with the polygons.",
}
# Options that every command has.
JSON = typer.Option(False, "--json", help="Print the result for programs.")
QUIET = typer.Option(
    False,
    "--quiet",
    "-q",
    help="Print the result alone: no progress, no notes; warnings still go to standard error.",
)


@contextmanager
def guarded(*, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Turn an error that the user can act on into its message and exit code.

    Anything else is a fault of ours and keeps its traceback (exit code 1).
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStderr()])
    # A warning is about what is written, and is wanted by whoever wants nothing else.
    logging.getLogger("resight").setLevel(logging.WARNING if quiet or as_json else logging.INFO)
    try:
        try:
            yield
        except ModuleNotFoundError as error:
            advice = advice_for(error)
            if advice is None:
                raise
            raise ConfigError(advice) from error
    except ResightError as error:
        if as_json:
            show_json({"error": str(error), "kind": type(error).__name__})
        else:
            # Stopping is what the user asked for, and no error.
            is_stop = error.exit_code == STOPPED
            say(str(error) if is_stop else f"error: {error}", to_stderr=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        say("Stopped. The same command goes on from here.", to_stderr=True)
        raise typer.Exit(STOPPED) from None


class Mistakes:
    """What is wrong with a command, told at once and before anything slow is loaded."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def check(self, ask: Callable[[], T]) -> T | None:
        """What ``ask`` gives; where it raises, the mistake is kept and None given."""
        try:
            return ask()
        except ResightError as error:
            self._found.append(str(error))
            return None

    def tell(self) -> None:
        """Raise if there was any mistake.

        Raises:
            ConfigError: holds one line for each mistake.
        """
        if self._found:
            raise ConfigError("\n".join(self._found))


def known_app(name: str | None) -> str | None:
    """The name of an installed app, without loading it.

    Raises:
        AppError: no installed app is called so.
    """
    if name is None:
        return None
    if name not in app_names():
        find_app(name)
    return name


def known_run(path: Path) -> Path:
    """The folder of a run, by the file that every run has.

    Raises:
        ConfigError: there is no such folder, or it holds no run.
    """
    if not path.exists():
        msg = f"{path}: there is no such run. Check the path."
        raise ConfigError(msg)
    if not (path / "run.json").is_file():
        msg = (
            f"{path}: holds no run.json, so it is no complete run. `resight train` makes one; a "
            "training that was stopped goes on with the same command."
        )
        raise ConfigError(msg)
    return path


class _ToStderr(logging.Handler):
    """Words of a running command, on whatever standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, without the traceback that a library may have added."""
        say(record.getMessage(), to_stderr=True)


def say(text: str = "", *, to_stderr: bool = False) -> None:
    """Print one line of words; control characters of file names are made visible."""
    # No-break spaces, as in 53 %, are not printable to Python.
    safe = "".join(c if c.isprintable() or c in "\n\t\xa0" else repr(c)[1:-1] for c in text)
    typer.echo(safe, err=to_stderr)


def show_json(content: Any) -> None:
    """Print a result for programs."""
    typer.echo(json.dumps(content, indent=1, default=str, ensure_ascii=False))


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """Rows as aligned text that reads the same in a terminal, a log and a pipe."""
    cells = [
        [str(cell) for cell in row]
        for row in ([list(header)] if header else []) + [list(r) for r in rows]
    ]
    if not cells:
        return ""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def settings_of(pairs: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from ``--set NAME=VALUE`` and from options of their own, where they were given.

    Raises:
        ConfigError: a pair has no ``=``.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            msg = f"--set {pair}: has no '='. Write --set NAME=VALUE, such as --set lr_head=0.001."
            raise ConfigError(msg)
        settings[name.strip()] = _value(value.strip())
    settings.update({name: value for name, value in given.items() if value is not None})
    if isinstance(settings.get("size_px"), str):
        settings["size_px"] = size(settings["size_px"])
    return settings


def pairs(given: Sequence[str], option: str, example: str) -> dict[str, str]:
    """NAME=VALUE pairs of an option that may be repeated.

    Raises:
        ConfigError: one has no ``=``.

    >>> pairs(["eye=max"], "--rule", "eye=max")
    {'eye': 'max'}
    """
    found = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (equals and name.strip() and value.strip()):
            msg = f"{option} {pair}: is no NAME=VALUE pair. Write {option} {example}."
            raise ConfigError(msg)
        found[name.strip()] = value.strip()
    return found


def size(text: str) -> tuple[int, int]:
    """``224`` or ``512x256`` (height x width) as (H, W).

    Raises:
        ConfigError: it is neither.

    >>> size("224"), size("512x256")
    ((224, 224), (512, 256))
    """
    parts = text.lower().replace(",", "x").strip("[]() ").split("x")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2:
        msg = (
            f"--size {text}: is not a size. Write HEIGHTxWIDTH in pixels, such as 512x256, or "
            f"one number."
        )
        raise ConfigError(msg)
    return numbers[0], numbers[1]


def headline(metrics: Mapping[str, Any]) -> str:
    """The first metric in words, with its interval and what it was computed on."""
    about = metrics["about"]
    rows = [
        row
        for row in metrics["metrics"]
        if row["name"] == about.get("headline") and not row.get("of") and not row.get("subgroup")
    ]
    if not rows:
        return "no headline metric" if about.get("n_images") else "nothing was evaluated"
    row = next((r for r in rows if r["unit"] == about.get("unit")), rows[0])
    if row["value"] is None:
        return f"{row['title']}: not estimable ({row['reason']})"
    interval = (
        f" [{row['low']:.3f}, {row['high']:.3f}]"
        if row.get("low") is not None
        else " (no interval)"
    )
    group = about.get("group") or "group"
    # Units that are the groups themselves are counted once, and unknown groups not at all.
    is_known = group != row["unit"] and about.get("grouped", True)
    of = "" if not is_known else f" of {row['n_groups']:,} {plural(group, row['n_groups'])}"
    return (
        f"{row['title']} {row['value']:.3f}{interval}, {row['split']}: {row['n']:,} "
        f"{plural(row['unit'], row['n'])}{of}"
    )


def say_result(metrics: Mapping[str, Any], out: Path, *more: str, use: str = "") -> None:
    """The headline, whether it beats chance, what most limits it, and what to open next."""
    say(headline(metrics))
    for entry in metrics.get("verdicts") or []:
        say(f"better {QUESTIONS[entry['question']]}: {entry['answer']}")
    for line in more:
        say(line)
    cautions = list(metrics.get("cautions", []))
    if cautions:
        rest = f" ({len(cautions) - 1} more in the report)" if len(cautions) > 1 else ""
        say(f"note: {cautions[0]}{rest}")
    say(f"open {out / 'report.html'}")
    if use:
        say(f"use  resight predict {shlex.quote(str(use))} IMAGES --out PREDICTIONS")


# What a verdict of metrics.json is about.
QUESTIONS = {
    "chance": "than chance",
    "ranking": "than chance at ranking positive cases",
    "probe": "than the probe",
    "shortcuts": "than shortcut baselines",
    "own test": "here than on its own test",
}


def existing(paths: Sequence[str]) -> list[Path]:
    """Paths of inputs: globs that the shell left alone expanded, objects of a store fetched.

    Raises:
        ConfigError: a path or glob matches nothing, or a store cannot be read.
    """
    import glob  # noqa: PLC0415  (only where inputs are named)

    found: list[Path] = []
    for text in paths:
        if is_remote(text):
            found.append(fetch(text))
            continue
        if Path(text).exists():
            found.append(Path(text).absolute())
            continue
        matches = sorted(glob.glob(text, recursive=True)) if any(c in text for c in "*?[") else []  # noqa: PTH207
        if not matches:
            msg = f"{text}: there is no such file or folder. Check the path."
            raise ConfigError(msg)
        found.extend(Path(match).absolute() for match in matches)
    return found


def names_columns(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each of ``COLUMNS``; those given come as one dictionary.

    They stand in the help where the parameter ``columns`` stands in the signature.
    """

    def run(**given: Any) -> None:
        named = {name: given.pop(name.replace("-", "_")) for name in COLUMNS}
        command(columns={k: v for k, v in named.items() if v is not None}, **given)

    signature = inspect.signature(command, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name != "columns":
            parameters.append(parameter)
            continue
        for name, words in COLUMNS.items():
            option = typer.Option(None, f"--{name}", help=words)
            parameters.append(
                parameter.replace(name=name.replace("-", "_"), default=option, annotation=str)
            )
    functools.update_wrapper(run, command)
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _value(text: str) -> Any:
    """A value as YAML reads it, so that ``true``, ``3`` and ``[1, 2]`` mean what they look like."""
    import yaml  # noqa: PLC0415

    return yaml.safe_load(text)

"""What every command does alike: errors to exit codes, JSON or words, the app's own options."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core.base.extras import advice_for
from core.base.words import plural
from core.errors import ConfigError, ResightError

if TYPE_CHECKING:
    from core.app import App

__all__ = ["app_options", "guarded", "say", "say_result", "settings_of", "show_json", "table"]

SOME_FAILED = 3
STOPPED = 130
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


@contextmanager
def guarded(*, quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Turn an error that the user can act on into its message and exit code.

    Anything else is a fault of ours and keeps its traceback (exit code 1).
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToStderr()])
    logging.getLogger("resight").setLevel(logging.ERROR if quiet or as_json else logging.INFO)
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


class _ToStderr(logging.Handler):
    """Words of a running command, on whatever standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        say(self.format(record), to_stderr=True)


def say(text: str = "", *, to_stderr: bool = False) -> None:
    """Print one line of words; control characters of file names are made visible."""
    safe = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
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


def app_options(app: App, verb: str, extra: Sequence[str]) -> dict[str, Any]:
    """The app's own options that were given, from what the command line did not know.

    ``--no-NAME`` turns a flag off that a run has stored.

    Raises:
        ConfigError: an option is unknown, lacks its value, or has a value of the wrong type.
    """
    from core.base.options import options_of  # noqa: PLC0415  (help must answer at once)

    known = options_of(app, verb)
    found: dict[str, Any] = {}
    left = list(extra)
    while left:
        word = left.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        off = name.removeprefix("no-")
        if word.startswith("--no-") and off in known and known[off].type is bool:
            found[off] = False
            continue
        if not word.startswith("--") or name not in known:
            guess = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean --{guess[0]}?" if guess else ""
            own = f" {app.name} adds: {', '.join(f'--{n}' for n in known)}." if known else ""
            msg = (
                f"{word}: is not an option of `resight {verb}` for {app.name}.{hint}{own} See "
                f"`resight {verb} --help`."
            )
            raise ConfigError(msg)
        option = known[name]
        if option.type is bool:
            found[name] = True
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                msg = f"--{name}: needs a value. {option.help}"
                raise ConfigError(msg)
            value = left.pop(0)
        try:
            found[name] = option.type(value)
        except ValueError as error:
            msg = f"--{name} {value}: is not {option.type.__name__}. {option.help}"
            raise ConfigError(msg) from error
    return found


def headline(metrics: Mapping[str, Any]) -> str:
    """The first metric in words, with its interval and what it was computed on."""
    about = metrics["about"]
    rows = [
        row
        for row in metrics["metrics"]
        if row["name"] == about.get("headline") and not row.get("of") and not row.get("subgroup")
    ]
    if not rows:
        return "no headline metric"
    row = rows[0]
    if row["value"] is None:
        return f"{row['title']}: not estimable ({row['reason']})"
    interval = (
        f" [{row['low']:.3f}, {row['high']:.3f}]"
        if row.get("low") is not None
        else " (no interval)"
    )
    return (
        f"{row['title']} {row['value']:.3f}{interval}, {row['split']}: {row['n']:,} "
        f"{plural(row['unit'], row['n'])} "
        f"of {row['n_groups']:,} {plural(about.get('group') or 'group', row['n_groups'])}"
    )


def print_rows(metrics: Mapping[str, Any], names: Sequence[str] = ()) -> str:
    """The overall metrics as a table."""
    rows = []
    for row in metrics["metrics"]:
        if row.get("of") or row.get("subgroup"):
            continue
        if names and row["name"] not in names:
            continue
        value = "not estimable" if row["value"] is None else f"{row['value']:.4f}"
        low, high = row.get("low"), row.get("high")
        between = f"[{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
        rows.append((row["title"], value, between, row["n"], row["unit"]))
    return table(rows, ("metric", "value", "95 % interval", "n", "unit"))


def say_result(metrics: Mapping[str, Any], out: Path, *more: str) -> None:
    """Print the headline, lines that belong to it, all metrics, what limits them, and the page."""
    say(headline(metrics))
    for line in more:
        say(line)
    say()
    say(print_rows(metrics))
    for caution in metrics.get("cautions", []):
        say(f"note: {caution}")
    say()
    say(f"open {out / 'report.html'}")


def existing(paths: Sequence[str]) -> list[Path]:
    """Paths of inputs, with globs that the shell left alone expanded.

    Raises:
        ConfigError: a path or glob matches nothing.
    """
    import glob  # noqa: PLC0415  (only where inputs are named)

    found: list[Path] = []
    for text in paths:
        if Path(text).exists():
            found.append(Path(text).absolute())
            continue
        matches = sorted(glob.glob(text, recursive=True)) if any(c in text for c in "*?[") else []  # noqa: PTH207
        if not matches:
            msg = f"{text}: there is no such file or folder. Check the path."
            raise ConfigError(msg)
        found.extend(Path(match).absolute() for match in matches)
    return found


def data_options(options: dict[str, Any], given: Mapping[str, str | None]) -> dict[str, Any]:
    """An app's options with what the user says of any data: which column is what, label map."""
    return {**options, **{name: value for name, value in given.items() if value is not None}}


Command = Callable[..., None]


def _value(text: str) -> Any:
    """A value as YAML reads it, so that ``true``, ``3`` and ``[1, 2]`` mean what they look like."""
    import yaml  # noqa: PLC0415

    return yaml.safe_load(text)

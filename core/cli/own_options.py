"""The app's own options as options of a command, once the app or the run is named.

``resight train crop_disease --help`` shows what the app adds, with its choices, and a typo
gets a suggestion like that of any other option. An app is loaded only where help or an
option that the command does not know asks for it, so that a wrong path is told at once.
"""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
import typer.core
import typer.main

from core.app import app_names, find_app
from core.base.options import options_of
from core.base.parsing import read_json
from core.errors import ResightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.app import App, Option

__all__ = ["AppCommand", "Command", "own_options"]

_PARAMETERS, _GIVEN = "resight.parameters", "resight.given"
# Commands that take the options of another.
_VERBS = {"new": "check", "compare": "evaluate"}


class Command(typer.core.TyperCommand):
    """A command that suggests the nearest value where one of a fixed set is misspelt."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the line; of a value that is none of the choices, say which it is close to."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            # "Value error, 'fst' is not one of 'probe', 'fast'."
            error.message = error.message.removeprefix("Value error, ")
            given, found, choices = error.message.partition(" is not one of ")
            names = re.findall("'([^']*)'", choices) if found else []
            near = get_close_matches(given.strip("'").lower(), names, n=1)
            if near:
                error.message = f"{error.message.rstrip('.')}. Did you mean {near[0]}?"
            raise


class AppCommand(Command):
    """A command to which the app named on its line adds options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Find the app in what was typed, then read all options."""
        known = {word for parameter in self.params for word in parameter.opts}
        asks = [word.partition("=")[0] for word in args if word.startswith("-")]
        if any(word not in known for word in asks):
            verb = _VERBS.get(str(ctx.info_name), str(ctx.info_name))
            ctx.meta[_PARAMETERS] = _parameters(_app_named(args), verb, known)
            self._refuse_together(ctx, asks, args)
        return super().parse_args(ctx, args)

    def _refuse_together(self, ctx: Any, asks: Sequence[str], args: Sequence[str]) -> None:
        """Tell of all unknown options at once, and of a run that is not there.

        Of a single option the parser tells itself. Where no run or app is found, it is not
        known which options of its own it has.
        """
        parameters = self.get_params(ctx)
        options = [o for p in parameters for o in (*p.opts, *p.secondary_opts)]
        unknown = [word for word in asks if word[:2] == "--" != word and word not in options]
        absent = _absent_run(str(ctx.info_name), args) if unknown else ""
        if len(unknown) > 1 or absent:
            suggestions = []
            for word in dict.fromkeys(unknown):
                near = get_close_matches(word, options, n=1)
                suggestions.append(f"{word} (did you mean {near[0]}?)" if near else word)
            s = "s" if len(suggestions) > 1 else ""
            ctx.fail(f"{absent}No such option{s}: {', '.join(suggestions)}")

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's parameters, and those of the app."""
        parameters = super().get_params(ctx)
        return [*parameters[:-1], *ctx.meta.get(_PARAMETERS, {}).values(), *parameters[-1:]]

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of options, those of the app too: what is typed so far names it, if any does."""
        if incomplete.startswith("-") and _PARAMETERS not in ctx.meta:
            known = {word for parameter in self.params for word in parameter.opts}
            typed = [str(value) for value in ctx.params.values() if isinstance(value, str | Path)]
            verb = _VERBS.get(str(ctx.info_name), str(ctx.info_name))
            ctx.meta[_PARAMETERS] = _parameters(_app_named([*typed, *ctx.args]), verb, known)
        return list(super().shell_complete(ctx, incomplete))

    def invoke(self, ctx: Any) -> Any:
        """Put the app's values aside, where ``own_options`` finds them."""
        found = {}
        for name, parameter in ctx.meta.get(_PARAMETERS, {}).items():
            value = ctx.params.pop(parameter.name, None)
            if value is not None:
                found[name] = value
        ctx.meta[_GIVEN] = found
        return super().invoke(ctx)


def own_options(context: typer.Context) -> dict[str, Any]:
    """The app's own options that were given, by name; ``False`` turns a stored flag off."""
    return dict(context.meta.get(_GIVEN, {}))


def _app_named(args: Sequence[str]) -> App | None:
    """The app of the first word that names one, or a run of one."""
    names = app_names()
    for word in args:
        name = word if word in names else _app_of_run(Path(word))
        if name in names:
            try:
                return find_app(name)
            except ResightError:
                return None
    return None


def _absent_run(command: str, args: Sequence[str]) -> str:
    """A sentence where the first word names an app or a run that is not there; else empty."""
    first = args[0] if args and not args[0].startswith("-") else ""
    if not first or first in app_names() or Path(first).exists():
        return ""
    is_app = command in {"check", "train", "new"}
    message = f"No installed app is called {first}" if is_app else f"{first}: there is no such run"
    return f"{message}, so options of its own are not known. "


def _app_of_run(path: Path) -> str:
    """The app that a folder or a plan names; empty if it names none."""
    try:
        if path.suffix in {".yaml", ".yml"}:
            from core.base.settings import read_plan  # noqa: PLC0415  (pydantic)

            return str(read_plan(path)[0].app)
        return str(read_json(path / "run.json")["app"])
    except (OSError, ValueError, KeyError, TypeError, ResightError):
        return ""


def _parameters(app: App | None, verb: str, known: set[str]) -> dict[str, Any]:
    """Parameters of the app's options for a command, by the option's name."""
    if app is None:
        return {}
    wanted = {n: o for n, o in options_of(app, verb).items() if f"--{n}" not in known}
    if not wanted:
        return {}
    parameters = [_parameter(option, f"Options of {app.name}") for option in wanted.values()]

    def stand_in(**_given: object) -> None:
        """Never called: Typer reads the options off its signature."""

    stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    stand_in.__annotations__ = {p.name: p.annotation for p in parameters}
    cli = typer.Typer(add_completion=False)
    cli.command()(stand_in)
    made = {p.name: p for p in typer.main.get_command(cli).params}
    return {name: made[_python_name(name)] for name in wanted}


def _parameter(option: Option, panel: str) -> inspect.Parameter:
    """One option as a parameter of a function."""
    flags = f"--{option.name}"
    kind: Any = option.type
    if option.type is bool:
        flags += f"/--no-{option.name}"
    if option.choices:
        kind = Literal.__getitem__(option.choices)
    words = tuple(map(str, option.choices or ()))

    def fitting(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    default = typer.Option(
        None, flags, help=option.help, rich_help_panel=panel, autocompletion=fitting
    )
    name = _python_name(option.name)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _python_name(name: str) -> str:
    """The name that Typer gives the value: of its own, so that no option of core is hidden."""
    return f"own_{name.replace('-', '_')}"

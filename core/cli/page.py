"""``resight page``: the page of commands, made from the commands themselves.

Kept in ``docs/cli.md``; a test compares that file with what the commands say.
"""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, get_args, get_type_hints

import typer
import typer.main

from core.cli.shared import EXIT_CODES

__all__ = ["page", "page_of"]

HEAD = """# Commands

Made from the commands themselves by `resight page > docs/cli.md`; a test keeps it true. The same
words mean the same everywhere, and the same command again goes on where it stopped. An app may add
options of its own to `check`, `train`, `evaluate` and `predict`: its README lists them.

"""


def page(context: typer.Context) -> None:
    """Print the page of commands."""
    typer.echo(page_of(context.find_root().command), nl=False)


def page_of(root: Any) -> str:
    """Markdown: one section per command, one row per argument and option."""
    codes = "\n".join(textwrap.wrap(f"Exit codes: {EXIT_CODES}.", 96))
    parts = [f"{HEAD}{codes}\n"]
    for name, command in _commands(root, ""):
        rows = []
        hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
        for parameter in command.params:
            if parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            words = ", ".join(f"`{word}`" for word in parameter.opts) if is_option else ""
            shown = words or f"`{parameter.name.upper()}`"
            default = parameter.default if is_option else None
            message = f" (default: {default})" if default not in (None, False, [], ()) else ""
            needed = " Required." if parameter.required else ""
            choices = get_args(hints.get(parameter.name)) if is_option else ()
            choices = choices if all(isinstance(value, str) for value in choices) else ()
            message = (f" One of {', '.join(map(str, choices))}." if choices else "") + message
            rows.append(f"| {shown} | {parameter.help}{message}{needed} |")
        table = "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""
        parts.append(f"## resight {name}\n\n{command.help}\n" + (f"\n{table}\n" if table else ""))
    return "\n".join(parts)


def _commands(group: Any, prefix: str) -> list[tuple[str, Any]]:
    """Every command that is not hidden with its full name; those of a group follow it."""
    found = []
    for name, command in sorted(group.commands.items()):
        if not command.hidden:
            found.append((f"{prefix}{name}", command))
            if hasattr(command, "commands"):
                found += _commands(command, f"{prefix}{name} ")
    return found

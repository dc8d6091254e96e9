"""The page of commands, made from the commands themselves.

    python -m core.cli.page > docs/cli.md

A test compares that file with what the commands say now.
"""

from __future__ import annotations

import sys

import typer.main

from core.cli.main import app

__all__ = ["page"]

HEAD = """# Commands

Made from the commands themselves by `python -m core.cli.page > docs/cli.md`; a test keeps it true.
The same words mean the same everywhere, and the same command again goes on where it stopped. An
app may add options of its own to `check`, `train`, `evaluate` and `predict`: its README lists them.

Exit codes: 0 done; 2 the input or the command must change; 3 done, but some inputs failed; 4
another process holds the output; 130 stopped, can be resumed; 1 a fault of ours.
"""


def page() -> str:
    """Markdown: one section per command, one row per argument and option."""
    root = typer.main.get_command(app)
    parts = [HEAD]
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]
        parts.append(f"## resight {name}\n\n{command.help}\n")
        rows = []
        for parameter in command.params:
            if parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            words = ", ".join(f"`{word}`" for word in parameter.opts) if is_option else ""
            shown = words or f"`{parameter.name.upper()}`"
            default = parameter.default if is_option else None
            told = f" (default: {default})" if default not in (None, False, [], ()) else ""
            needed = " Required." if parameter.required else ""
            rows.append(f"| {shown} | {parameter.help}{told}{needed} |")
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())

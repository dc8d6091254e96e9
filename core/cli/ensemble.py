"""``resight ensemble RUN RUN ... --out RUN``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from core import verbs
from core.cli.shared import JSON, QUIET, guarded, say, say_result, show_json, table

__all__ = ["ensemble"]


def ensemble(
    runs: list[Path] = typer.Argument(help="Two or more runs of one task, split alike."),
    out: Path = typer.Option(..., "--out", "-o", help="The new run."),
    greedy: bool = typer.Option(
        False, "--greedy", help="Keep only runs that lower the log-loss on validation rows."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Join runs into one that averages their scores, calibrated and judged anew.

    Example: resight ensemble runs/a runs/b --out runs/both
    """
    with guarded(quiet=quiet, as_json=as_json):
        result = verbs.ensemble.ensemble(runs, out, greedy=greedy)
        if as_json:
            show_json(result)
            return
        rows = [
            (
                row["run"],
                row["backbone"],
                _interval(row),
                f"{row['log_loss']:.4f}",
                "yes" if row["kept"] else "no",
                _interval(row["gain"], "difference") if "gain" in row else "",
            )
            for row in result["members"]
        ]
        title = result["members"][-1]["title"]
        heads = ("run", "backbone", title, "log-loss (validation)", "averaged", "average less it")
        say(table(rows, heads))
        gain = result["gain"]
        if gain["difference"] is None:
            say(f"the gain cannot be tested: {gain['verdict']}")
        else:
            message = "a real gain" if gain["is_real"] else "no gain that these cases can show"
            say(
                f"average less {gain['run']}, the best run on validation: "
                f"{_interval(gain, 'difference')}, {gain['n']:,} cases, paired: {message}"
            )
            not_over = [
                row["run"]
                for row in result["members"]
                if "gain" in row and row["run"] != gain["run"] and not row["gain"]["is_real"]
            ]
            if gain["is_real"] and not_over:
                say(f"not shown to be better than {', '.join(not_over)}")
        say()
        say_result(result["metrics"], out, use=str(out))


def _interval(row: Mapping[str, Any], name: str = "value") -> str:
    """A number with its interval."""
    if row[name] is None:
        return "not averaged" if name == "value" else "not known"
    if row["low"] is None:
        return f"{row[name]:.3f} (no interval)"
    return f"{row[name]:.3f} [{row['low']:.3f}, {row['high']:.3f}]"

"""``resight size``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import typer

from core.cli.shared import JSON, QUIET, guarded, say, show_json

__all__ = ["size"]


def size(
    number: Literal["sensitivity", "specificity", "accuracy", "auroc"] = typer.Argument(
        help="What the study is to tell."
    ),
    expected: float = typer.Argument(help="The value that is expected, as 0.9."),
    width: float = typer.Option(
        None, help="Half of the width that its interval may have, as 0.05."
    ),
    against: float = typer.Option(
        None,
        help="A value to show a difference from: of another model on the same cases, or 0.5 for "
        "an AUROC better than chance.",
    ),
    prevalence: float = typer.Option(0.5, help="Share of positive cases."),
    power: float = typer.Option(0.8, help="Wanted chance of showing the difference."),
    level: float = typer.Option(0.95, help="Confidence level; alpha is what it lacks."),
    per_group: float = typer.Option(1.0, help="Cases of a patient, leaf or field."),
    icc: float = typer.Option(
        0.5, help="How alike the cases of a group are: intraclass correlation, 0 to 1."
    ),
    discordant: float = typer.Option(
        None,
        help="Share of cases that only one of two models gets right; without it, that of models "
        "whose errors are independent.",
    ),
    correlation: float = typer.Option(0.5, help="Of two AUROCs on the same cases, 0 to below 1."),
    group: str = typer.Option("group", help="What a group is called."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Cases that a study needs, for an interval of a width or to show a difference.

    Of an AUROC: where scores spread alike in both classes, as normal ones do.

    Example: resight size sensitivity 0.9 --width 0.05 --prevalence 0.1
    """
    with guarded(quiet=quiet, as_json=as_json):
        from core.statistics import study_size  # noqa: PLC0415  (imports scipy)

        aim = study_size.Aim(
            kind=number,
            expected=expected,
            half_width=width,
            against=against,
            power=power,
            level=level,
            discordant=discordant,
            correlation=correlation,
        )
        found = study_size.plan(
            aim, prevalence=prevalence, per_group=per_group, icc=icc, word=group
        )
        if as_json:
            show_json(asdict(found))
            return
        say(found.words)

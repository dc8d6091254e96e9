"""``resight evaluate RUN [DATA] --out DIR``, or ``--predictions FILE`` in place of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import typer

from core import verbs
from core.base.words import plural
from core.cli import shared
from core.cli.complete import apps, runs
from core.cli.own_options import own_options
from core.errors import ConfigError

__all__ = ["evaluate"]


@shared.names_columns
def evaluate(
    context: typer.Context,
    *,
    run: Path = typer.Argument(None, help="A complete run.", autocompletion=runs),
    data: str = typer.Argument(None, help="A new labelled folder; without it, the held-out split."),
    out: Path = typer.Option(
        None,
        "--out",
        "-o",
        help="Directory of the report; with --predictions by default NAME-report, here.",
    ),
    predictions: Path = typer.Option(
        None,
        help="In place of a run: a table made elsewhere with id, group, label and score_<class>.",
    ),
    label: str = shared.LABEL,
    group: str = typer.Option(None, help="Column that identifies the group."),
    card: str = shared.CARD,
    design: Literal["cohort", "case-control"] = typer.Option(
        None,
        help="cohort: how many cases of each class there are is chance. case-control: it was "
        "fixed, so intervals hold within classes. Without it, what the data card or the app says.",
    ),
    prevalence: float = typer.Option(
        None, help="Of the positive classes where the model will be used."
    ),
    target: list[str] = typer.Option(
        [],
        help="An operating point to look at, such as sensitivity=0.95. Needs --exploratory, or "
        "validation rows in --predictions. May be repeated.",
    ),
    exploratory: bool = typer.Option(
        False, "--exploratory", help="Choose --target on the judged cases; the page is marked."
    ),
    pdf: bool = shared.PDF,
    allow_outside: bool = shared.ALLOW_OUTSIDE,
    columns: dict[str, str],
    app: str = typer.Option(
        None,
        help="With --predictions: an app whose metrics, units and words are used.",
        autocompletion=apps,
    ),
    task: str = typer.Option(
        None, help="With --predictions: binary, multiclass, ordinal or multilabel."
    ),
    positive: str = typer.Option(
        None, help="With --predictions: classes that count as positive, A,B."
    ),
    unit: list[str] = typer.Option(
        [], help="With --predictions: NAME=COLUMN[+COLUMN], as patient=patient_id."
    ),
    rule: list[str] = typer.Option(
        [], help="With --predictions: UNIT=mean, UNIT=max or UNIT=noisy_or."
    ),
    subgroup: list[str] = typer.Option(
        [], help="With --predictions: a column to break results down by."
    ),
    split: str = typer.Option(None, help="With --predictions: the rows to judge."),
    scores: Literal["auto", "logits"] = typer.Option(
        "auto",
        help="With --predictions: logits are brought to probabilities by softmax or sigmoid. auto: "
        "columns logit_<class> are logits; scores outside of [0, 1] only rank.",
    ),
    threshold: float = typer.Option(None, help="With --predictions: one that was set beforehand."),
    seed: int = typer.Option(0, help="With --predictions: of the bootstrap."),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Report on the held-out split of a run, on a new labelled folder, or on a table.

    Example: resight evaluate runs/leaves other_farm --out other_farm-report
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        mistakes = shared.Mistakes()
        mistakes.check(lambda: shared.known_app(app))
        if run is not None:
            mistakes.check(lambda: shared.known_run(run))
        named = [str(word) for word in (data, predictions) if word is not None]
        mistakes.check(lambda: shared.existing(named))
        mistakes.tell()
        named_group = columns.pop("group-column", None)
        common: dict[str, Any] = {
            "label": label or columns.get("label-column"),
            "group": group or named_group,
            "prevalence": prevalence,
            "design": design,
            "targets": target,
            "exploratory": exploratory,
            "pdf": pdf,
        }
        only_table: dict[str, Any] = {
            "app_name": app,
            "kind": task,
            "positive": [name.strip() for name in positive.split(",")] if positive else (),
            "units": shared.pairs(unit, "--unit", "patient=patient_id"),
            "rules": shared.pairs(rule, "--rule", "patient=max"),
            "subgroups": subgroup,
            "split": split,
            "threshold": threshold,
            "scores": "" if scores == "auto" else scores,
        }
        if out is None and predictions is not None:
            out = Path(f"{predictions.stem}-report")
        if out is None:
            msg = "--out is missing. Name the directory of the report: --out DIR."
            raise ConfigError(msg)
        if predictions is not None:
            columns["scores"] = only_table.pop("scores")
            settings = {**common, **only_table, "columns": columns}
            result = _of_table(predictions, run, out, settings, seed)
        else:
            _refuse(run, only_table)
            extra = {**own_options(context), **columns}
            common |= {"card": card, "allow_outside": allow_outside, "options": extra}
            result = _of_run(run, data, out, common)
        if as_json:
            shared.show_json(result)
        else:
            own = (result["metrics"].get("external") or {}).get("numbers") or []
            more = [beside_own_test(row) for row in own[:1]]
            if n_failed := result["n_failed"]:
                more.append(f"{n_failed:,} {plural('image', n_failed)} failed; the report says why")
            shared.say_result(result["metrics"], out, *more)
        if result["n_failed"]:
            raise typer.Exit(shared.SOME_FAILED)


def beside_own_test(row: Mapping[str, Any]) -> str:
    """The headline here and on the run's own test, in a line."""
    if row["difference"] is None:
        return f"beside the run's own test: not compared ({row['reason']})"
    between = "" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    return (
        f"beside the run's own test: {row['before']:.3f} there, {row['now']:.3f} here, "
        f"{row['difference']:+.3f}{between}: {row['verdict']}"
    )


def _of_run(run: Path, data: str | None, out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a run."""
    where = shared.existing([data])[0] if data else None
    return verbs.evaluate.evaluate(run, where, out, **settings)


def _of_table(
    file: Path, run: Path | None, out: Path, settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Judge a table made elsewhere."""
    if run is not None:
        msg = f"{run}: a run and --predictions were both given. Pass one of them."
        raise ConfigError(msg)
    return verbs.from_table.evaluate_table(
        shared.existing([str(file)])[0], out, seed=seed, **settings
    )


def _refuse(run: Path | None, only_table: Mapping[str, Any]) -> None:
    """Say what is missing, or which options have no meaning for a run."""
    if run is None:
        msg = "Neither a run nor --predictions was given. Pass RUN, or --predictions FILE."
        raise ConfigError(msg)
    given = [name for name, value in only_table.items() if value]
    if given:
        option = {"app_name": "app", "kind": "task", "scores": "scores"}
        name = option.get(given[0], given[0].removesuffix("s"))
        msg = (
            f"--{name}: is for --predictions only; a run has its own, set at training "
            "(thresholds: `resight threshold`). Leave it out."
        )
        raise ConfigError(msg)

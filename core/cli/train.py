"""``resight train APP DATA --out RUN``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from core import verbs
from core.cli import shared
from core.cli.complete import apps, plans
from core.cli.own_options import own_options

if TYPE_CHECKING:
    from core.base.settings import Plan
    from core.training.fingerprint import Fingerprint

__all__ = ["train"]


@shared.names_columns
def train(
    context: typer.Context,
    *,
    app: str = typer.Argument(
        None, help="Name of the app; see `resight apps`.", autocompletion=apps
    ),
    data: str = typer.Argument(None, help="Folder or table of labelled images."),
    out: Path = typer.Option(..., "--out", "-o", help="The run directory; resumed if incomplete."),
    task: str = shared.TASK,
    label: str = shared.LABEL,
    group: str = shared.GROUP,
    card: str = shared.CARD,
    allow_outside: bool = shared.ALLOW_OUTSIDE,
    columns: dict[str, str],
    corrections: Path = typer.Option(
        None, help="Labels corrected by a person: predictions.html saves a table."
    ),
    plan: Path = typer.Option(
        None, help="Run the plan.yaml of an earlier run again.", autocompletion=plans
    ),
    preset: Literal["probe", "fast", "default", "best"] = typer.Option(
        None, help="How much is tried: minutes, an hour, as planned, all."
    ),
    backbone: str = typer.Option(None, help="Any residual network by its timm name."),
    weights: str = typer.Option(
        None, help="hub (timm's own, cached), none, or a .safetensors file."
    ),
    size: str = typer.Option(None, help="Training size, HEIGHTxWIDTH in pixels."),
    head: Literal["auto", "multiclass", "ordinal", "regression"] = typer.Option(
        None, help="What the last layer predicts."
    ),
    epochs: int = typer.Option(None, help="Passes over the training images."),
    minutes: float = typer.Option(None, help="Time that all may take; as many epochs as fit."),
    batch: int = typer.Option(None, help="Images per optimiser step."),
    folds: int = typer.Option(None, help="Cross-validate with this many grouped folds."),
    seed: int = typer.Option(None, help="Of every random choice."),
    workers: int = typer.Option(None, help="Processes that load images."),
    device: Literal["auto", "cpu", "gpu", "mps"] = typer.Option(None, help="Where to compute."),
    devices: str = typer.Option(None, help="How many devices, as Lightning takes it."),
    strategy: str = typer.Option(None, help="Of several devices, as Lightning takes it."),
    num_nodes: int = typer.Option(None, help="Machines that train together."),
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = typer.Option(
        None, help="Of the arithmetic."
    ),
    mlflow: str = typer.Option(
        None,
        help="Address of an MLflow server that learning curves also go to; needs mlflow-skinny.",
    ),
    rule: list[str] = typer.Option(
        [],
        help="How image scores are aggregated to a unit: UNIT=mean, max, noisy_or or attention. "
        "May be repeated.",
    ),
    settings: list[str] = typer.Option(
        [], "--set", help="Any other setting: NAME=VALUE. May be repeated."
    ),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Check, plan, fine-tune, calibrate, and evaluate what was held out.

    Example: resight train crop_disease leaves --out runs/leaves --preset fast
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        mistakes = shared.Mistakes()
        mistakes.check(lambda: shared.known_app(app))
        places = mistakes.check(lambda: shared.existing([data] if data else [])) or []
        given = [str(file) for file in (plan, corrections) if file is not None]
        mistakes.check(lambda: shared.existing(given))
        if weights and weights not in {"hub", "none"}:
            mistakes.check(lambda: shared.existing([weights]))
        units = mistakes.check(lambda: shared.pairs(rule, "--rule", "eye=max")) or {}
        flags = mistakes.check(lambda: _flags(context.params, settings)) or {}
        mistakes.tell()
        named_group = columns.pop("group-column", None)
        result = verbs.train.train(
            app,
            places[0] if places else None,
            out,
            flags=flags,
            task=task,
            label=label or columns.get("label-column"),
            group=group or named_group,
            card=card,
            allow_outside=allow_outside,
            options={**own_options(context), **columns},
            rules=units,
            corrections=corrections,
            plan_file=plan,
            on_plan=(lambda _plan, _found: None) if as_json or quiet else _show_plan,
        )
        if not result:
            return  # in a process that only trained along
        if as_json:
            shared.show_json(result)
        else:
            _show_result(result, out)
        if result["n_failed"]:
            raise typer.Exit(shared.SOME_FAILED)


# Options of the command that are settings of the training, and what these are called there.
_SETTINGS = (
    *("preset", "backbone", "weights", "head", "epochs", "minutes", "batch", "folds", "seed"),
    *("workers", "device", "devices", "strategy", "num_nodes", "precision", "mlflow"),
)


def _flags(given: Mapping[str, Any], settings: list[str]) -> dict[str, Any]:
    """Settings from their own options and from ``--set``, checked."""
    from core.base.settings import check_settings  # noqa: PLC0415  (pydantic)

    own = {name: given[name] for name in _SETTINGS}
    flags = shared.settings_of(settings, {**own, "size_px": given["size"]})
    check_settings(flags, "command line")
    return flags


def _show_plan(plan: Plan, found: Fingerprint) -> None:
    """Print what was found and what will be done, before it is done."""
    shared.say(found.class_rule)
    for sentence in (
        found.group_rule or "No group is known: leakage cannot be checked.",
        found.split_rule,
        *found.notes,
    ):
        if sentence:
            shared.say(f"data: {sentence}")
    for check in found.audit.get("checks", []):
        if check["verdict"] == "warning":
            shared.say(f"check: {check['title']}: {check['words']}")
    shared.say()
    rows = [row for row in plan.rows() if row[2] not in {"default", "core default"}]
    shared.say(shared.table(rows, ("setting", "value", "because")))
    shared.say()


def _show_result(result: Mapping[str, Any], out: Path) -> None:
    """Print what was reached, and what to do next."""
    shared.say_result(result["metrics"], out, use=str(out))
    if result["n_failed"]:
        shared.say(f"note: {result['n_failed']:,} images failed; predictions.csv says why.")

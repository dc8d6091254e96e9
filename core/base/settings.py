"""The settings of a training: what they are, where each value came from, how they are kept.

A setting is resolved in one order, later wins:

    default < app default < rule for these data < preset < plan.yaml < flag

A value of ``None`` means "let the rule decide". The resolved settings are
written to ``plan.yaml``, one line each with the source of its value as a
comment, and that file is all that ``resight train --plan`` needs.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.base.parsing import parse_yaml
from core.base.regular_files import read_regular
from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PRESETS", "Plan", "Question", "TrainConfig", "read_plan", "write_plan"]


Side = Annotated[int, Field(ge=16, le=8192)]


class TrainConfig(BaseModel):
    """Every number a training depends on."""

    # Compiled when it is first used: a prediction reads no settings.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    preset: Literal["probe", "fast", "default", "best"] = Field(
        "default", description="probe: frozen features only; fast; default; best: slow and thorough"
    )
    backbone: str = Field("resnet50", description="any residual network by its timm name")
    weights: str = Field(
        "hub", description="hub (timm's own, cached), none, or a .safetensors file"
    )
    size_px: tuple[Side, Side] | None = Field(None, description="training size, height and width")
    head: Literal["auto", "multiclass", "ordinal", "regression"] = Field(
        "auto",
        description="auto: of the task's own kind; multiclass: plain classes; regression: one "
        "number, with cuts fitted on validation",
    )
    decide: Literal["median", "frequencies", "validation"] = Field(
        "median",
        description="grade of an ordinal task: the median, as often as the labels have it, or "
        "which of the two has the better headline on validation",
    )
    side_px: int | None = Field(
        None, ge=32, description="square root of the training size's pixels, where no size is given"
    )
    pool: Literal["last", "last_two", "last_two_max", "first_two"] | None = Field(
        None, description="stages whose average (and maximum) feeds the head"
    )
    epochs: int | None = Field(None, ge=0, le=10_000, description="passes over the training images")
    minutes: float | None = Field(
        None, gt=0, description="time that all may take; as many epochs as fit"
    )
    batch: int | None = Field(None, ge=1, le=4096, description="images per optimiser step")
    # The head starts from the probe's solution and sees thousands of features at once: with
    # AdamW's equal steps 5e-4 undid that solution within 30 steps on 1,180 leaf photos.
    lr_head: float = Field(5e-5, gt=0, description="peak learning rate of the head")
    lr_backbone: float = Field(8e-5, gt=0, description="peak learning rate of the last stage")
    stage_decay: float = Field(
        0.5, gt=0, le=1, description="learning rate of a stage over that of the next"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW; none on norms and biases")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of steps with rising learning rate")
    final_lr: float = Field(0.01, ge=0, le=1, description="last learning rate over the peak")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema: bool = Field(True, description="average the weights over the last tenth of the steps")
    freeze_stages: int | None = Field(
        None, ge=0, le=5, description="first stages kept as they are; 1 is the stem"
    )
    batchnorm: Literal["frozen", "train", "recalibrate"] | None = Field(
        None, description="statistics of normalisation layers"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="before the head")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    soft_positive: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="of a binary task, how far the label of a positive image is below 1: a breast "
        "with cancer need not show it in every view",
    )
    mixup: float = Field(0.0, ge=0, le=1, description="alpha; 0 is off")
    augment: bool = Field(True, description="random changes of the app during training")
    symmetry: Literal["none", "left_right", "both", "any"] | None = Field(
        None, description="which mirror images and turns of a picture are pictures of its class"
    )
    flips: Literal["none", "left_right", "both"] = Field(
        "none",
        description="views whose scores are averaged: the picture, and mirrored by its sides; "
        "scoring takes as many times as long",
    )
    small_share: float = Field(
        0.0, ge=0, lt=1, description="share of epochs trained at the smaller size first"
    )
    small_scale: float = Field(0.7, gt=0.2, le=1, description="that smaller size over size_px")
    imbalance: Literal["none", "sqrt", "each_batch"] = Field(
        "none",
        description="sqrt: draw rare classes more often, then correct the scores; each_batch: at "
        "least one positive image in every batch",
    )
    patience: float = Field(
        0.35, gt=0, le=1, description="stop after this share of epochs without gain"
    )
    val: float = Field(0.15, gt=0, lt=0.5, description="share of groups for choosing and tuning")
    test: float = Field(0.2, gt=0, lt=0.5, description="share of groups held out to the end")
    folds: int = Field(1, ge=1, le=20, description="cross-validation folds; 1 is a single split")
    seed: int = Field(0, ge=0, lt=2**31)
    workers: int | None = Field(None, ge=0, le=64, description="processes that load images")
    device: str = Field("auto", description="Lightning's accelerator: auto, cpu, gpu, mps")
    devices: str = Field("auto", description="Lightning's devices")
    strategy: str = Field("auto", description="Lightning's strategy")
    num_nodes: int = Field(1, ge=1)
    precision: str | None = Field(None, description="Lightning's precision")
    checkpoint_minutes: float = Field(5.0, ge=0, description="time between resume points")
    mlflow: str | None = Field(
        None, description="address of an MLflow server that learning curves also go to"
    )


# What a preset changes; everything else is left to the rules.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "probe": {"epochs": 0},
    "fast": {"small_share": 0.7},
    "default": {},
    "best": {"folds": 5},
}


class Question(BaseModel):
    """What was asked of which data: the part of a plan that is not a number of the training."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    app: str
    data: str
    task: str | None = None
    label: str | None = None
    group: str | None = None
    card: str | None = None
    allow_outside: bool = False
    corrections: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    rules: dict[str, str] = Field(default_factory=dict)


class Plan(BaseModel):
    """A question, the settings that answer it, and why each has its value."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    question: Question
    config: TrainConfig
    reasons: dict[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """(setting, value, reason) of every setting, in the order of ``TrainConfig``."""
        values = self.config.model_dump()
        return [
            (name, _plain(value), self.reasons.get(name, "default"))
            for name, value in values.items()
        ]


def check_settings(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Values of settings in their right types.

    Args:
        settings: name -> value; text as typed on a command line is converted.
        source: where they stand, for the error.

    Raises:
        ConfigError: unknown names or values out of range, all of them at once.
    """
    try:
        config = TrainConfig.model_validate(dict(settings))
    except ValidationError as error:
        problems = " ".join(_problem(item) for item in error.errors())
        known = ", ".join(TrainConfig.model_fields)
        listed = any(item["type"] == "extra_forbidden" for item in error.errors())
        msg = f"{source}: {problems}" + (f" The settings are: {known}." if listed else "")
        raise ConfigError(msg) from error
    return {name: getattr(config, name) for name in config.model_fields_set}


def _problem(item: Mapping[str, Any]) -> str:
    """What is wrong with one setting, in a sentence."""
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        guess = difflib.get_close_matches(name, TrainConfig.model_fields, n=1)
        return f"there is no setting {name!r}." + (f" Did you mean {guess[0]}?" if guess else "")
    words = str(item["msg"])
    return f"{name} is {item['input']!r}; {words[0].lower()}{words[1:]}."


def write_plan(plan: Plan) -> str:
    """The text of ``plan.yaml``: one line per setting, the reason as a comment."""
    lines = [
        "# What was asked, and every setting with the rule or flag that set it.",
        "# Run it again: resight train --plan plan.yaml --out ANOTHER_RUN",
        "question:",
    ]
    for name, value in plan.question.model_dump().items():
        lines.append(f"  {name}: {_yaml(value)}")
    lines.append("settings:")
    width = max(
        len(f"  {name}: {_yaml(value)}") for name, value in plan.config.model_dump().items()
    )
    width = min(width, 48)
    for name, value in plan.config.model_dump().items():
        text = f"  {name}: {_yaml(value)}"
        lines.append(f"{text:<{width}}  # {plan.reasons.get(name, 'default')}")
    return "\n".join(lines) + "\n"


def read_plan(path: Path) -> tuple[Question, dict[str, Any]]:
    """The question and the settings of a plan file.

    Raises:
        ConfigError: the file is absent, not a plan, or holds unknown settings.
    """
    try:
        content = parse_yaml(read_regular(path).decode("utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}). Pass the plan.yaml of a run to --plan."
        raise ConfigError(msg) from error
    except ValueError as error:
        msg = f"{path}: {error}. Pass the plan.yaml of a run to --plan."
        raise ConfigError(msg) from error
    if not isinstance(content, dict) or not {"question", "settings"} <= set(map(str, content)):
        msg = f"{path}: has no 'question' and 'settings'. Pass the plan.yaml of a run to --plan."
        raise ConfigError(msg)
    try:
        question = Question.model_validate(content["question"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["question", *map(str, first["loc"])])
        msg = f"{path}: {where}: {first['msg'].lower()}. Correct that line."
        raise ConfigError(msg) from error
    settings = content["settings"] or {}
    if not isinstance(settings, dict):
        msg = f"{path}: 'settings' is no table of names and values. Correct it."
        raise ConfigError(msg)
    return question, check_settings({str(k): v for k, v in settings.items()}, str(path))


def _plain(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, tuple):
        return " x ".join(str(part) for part in value)
    return "rule" if value is None else str(value)


def _yaml(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, tuple):
        value = list(value)
    import yaml  # noqa: PLC0415  (a prediction writes no plan)

    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def read_plan_rows(path: Path) -> Any:
    """Setting, value and reason of every line of a plan file, as a frame; None if it is absent."""
    import pandas as pd  # noqa: PLC0415  (the command line reads this module before it needs tables)

    if not path.is_file():
        return None
    rows, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("settings:"):
            inside = True
        elif inside and ": " in line:
            body, _, reason = line.partition("  # ")
            name, _, value = body.strip().partition(": ")
            rows.append((name, value.strip(), reason.strip()))
    return pd.DataFrame(rows, columns=["setting", "value", "reason"])

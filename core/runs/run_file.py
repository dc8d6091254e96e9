"""What ``run.json`` may hold: checked whole before anything of it is used.

A run may come from a stranger. Its weights run no code (safetensors), and
``run.json`` decides only about what is named here: no value is a path, an
address, or an option that belongs to the person at the keyboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.app import Rule, TaskKind, Truth  # noqa: TC001  (pydantic looks at them)
from core.base.parsing import ParsingError, parse_json
from core.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SCHEMA", "RunFile", "parse_run"]

# Grows by one whenever an older resight could not read a new run.
SCHEMA = 1
LARGEST = 64 * 2**20

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=16, le=8192)]
# A name without a separator, a drive or a leading dot: it lies in the run or nowhere.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(safetensors|onnx)$")]
# A timm name; one with a colon or a slash would be fetched from a network.
Architecture = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}(\.[a-z0-9_]{1,64})?$")]
Text = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(min_length=1, max_length=1_000)]
Scalar = bool | int | Finite | Text | None


class _Part(BaseModel):
    """Further keys are allowed, for the pages; nothing is computed from them."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class NetworkPart(_Part):
    """What ``core.model.checkpoint.build_network`` needs."""

    backbone: Architecture
    channels: int = Field(ge=1, le=64)
    dtype: Literal["uint8", "uint16", "float32"]
    pool: Literal["last", "last_two", "last_two_max", "first_two"]
    link: Literal["softmax", "cumulative", "sigmoid", "regression"]
    mean: list[Finite]
    std: list[Positive]
    dropout: float = Field(0.0, ge=0, lt=1)
    norms: Literal["frozen", "train"] = "frozen"
    frozen_stages: int = Field(0, ge=0, le=5)
    flips: Literal["none", "left_right", "both"] = "none"
    attention: Text = ""

    @model_validator(mode="after")
    def _one_per_channel(self) -> Self:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            msg = f"mean and std must have {self.channels} values, one for each channel"
            raise ValueError(msg)
        return self


class PreparationPart(_Part):
    """The pixels a member was trained on."""

    app: Name
    size_px: Annotated[list[Side], Field(min_length=2, max_length=2)]
    channels: int = Field(ge=1, le=64)
    dtype: Literal["uint8", "uint16", "float32"]
    probe: Annotated[list[Finite], Field(min_length=1, max_length=10_000)]
    options: dict[Name, Scalar] = {}
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class MemberPart(_Part):
    """One network."""

    weights: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    network: NetworkPart
    preparation: PreparationPart
    temperature: Positive = 1.0
    weight: Share = 1.0


class TaskPart(_Part):
    """The question and its classes, see ``core.app.Task``."""

    name: Name
    kind: TaskKind
    classes: Annotated[list[Name], Field(min_length=1, max_length=10_000)]
    positive: list[Name]
    label: Name
    titles: dict[Name, Text] = {}
    label_separator: Annotated[str, Field(min_length=1, max_length=10)] = "|"
    headline: Text = ""
    truths: dict[Name, Truth] = {}
    positive_title: Text = ""
    cuts: list[Finite] = []
    fold_cuts: dict[Name, list[Finite]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            msg = "a class stands there twice"
            raise ValueError(msg)
        if not set(self.positive) <= set(self.classes):
            msg = "a positive class is none of the classes"
            raise ValueError(msg)
        if self.kind == "binary" and len(self.classes) != 2:
            msg = "a binary task has two classes"
            raise ValueError(msg)
        if self.kind != "multilabel" and len(self.classes) < 2:
            msg = "at least two classes are needed"
            raise ValueError(msg)
        if any(
            cuts and (len(cuts) != len(self.classes) - 1 or cuts != sorted(cuts))
            for cuts in (self.cuts, *self.fold_cuts.values())
        ):
            msg = "cuts must rise, one fewer than there are classes"
            raise ValueError(msg)
        return self


class UnitPart(_Part):
    """A step from images to what is decided about."""

    name: Name
    columns: Annotated[list[Name], Field(min_length=1, max_length=20)]
    rule: Rule


class PointPart(_Part):
    """An operating point."""

    name: Name
    unit: Name = "image"
    threshold: Finite | None


class PointInForce(PointPart):
    """The operating point that decides."""

    unit: Name
    split: Text
    threshold: Finite


class TermPart(_Part):
    """Terms of a data card."""

    card: Text
    title: Text
    licence: Text
    licence_unchecked: bool = False
    weights_release: Literal["allowed", "unclear", "forbidden"]
    weights_release_source: Text = ""
    weights_release_unchecked: bool = False
    conditions: list[Text] = []
    homepage: Text | None = None
    citation: Text


class StartPart(_Part):
    """What a network started from, see ``core.model.backbone.LoadedWeights``."""

    source: Text
    licence: Text | None = ""
    note: Text = ""


class ExportPart(_Part):
    """How the networks of an exported run are computed."""

    engine: Literal["ort", "openvino"]
    precision: Literal["fp32", "bf16"]


class RunFile(_Part):
    """All of ``run.json``."""

    schema_: int = Field(alias="schema", ge=1)
    app: Name
    title: Text = ""
    intended_use: Text
    task: TaskPart
    group: Text
    group_rule: Text = ""
    split_rule: Text = ""
    cards: list[Text] = []
    terms: list[TermPart] = []
    start: StartPart | None = None
    licences: dict[Name, Text | None] = {}
    options: dict[Name, Scalar] = {}
    facts: dict[Name, Any] = {}
    members: Annotated[list[MemberPart], Field(min_length=1, max_length=200)]
    temperature: Positive
    operating_point: PointInForce | None = None
    operating_points: Annotated[list[PointPart], Field(max_length=1000)] = []
    unfamiliar_above: Share
    units: Annotated[list[UnitPart], Field(max_length=20)]
    seed: int = Field(ge=0, lt=2**31)
    versions: dict[Name, Text] = {}
    model_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    ensemble_of: list[Text] = []
    export: ExportPart | None = None

    @model_validator(mode="after")
    def _lengths_are_lengths(self) -> Self:
        for name, value in self.facts.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if name.endswith(("_px", "_m")) and not (is_number and 0 < float(value) < 1e6):
                msg = f"facts: {name} is no length"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _members_agree(self) -> Self:
        first = self.members[0]
        for member in self.members:
            if member.preparation.app != self.app:
                msg = f"a member was prepared by {member.preparation.app}, not by {self.app}"
                raise ValueError(msg)
            if member.network.link != first.network.link:
                msg = "members differ in how their outputs become scores"
                raise ValueError(msg)
            if (member.network.channels, member.network.dtype) != (
                member.preparation.channels,
                member.preparation.dtype,
            ):
                msg = "a network and its preparation differ in channels or values"
                raise ValueError(msg)
        if not sum(member.weight for member in self.members) > 0:
            msg = "no member has a weight"
            raise ValueError(msg)
        return self


def parse_run(data: bytes, file: Path) -> dict[str, Any]:
    """The content of ``run.json``, every part of it checked.

    Args:
        data: the file's bytes.
        file: for the error.

    Raises:
        RunError: it is damaged, of a newer resight, or holds what no run may hold; all
            problems at once.
    """
    again = "Copy the run again from where it was trained."
    if len(data) > LARGEST:
        msg = f"{file}: is {len(data):,} bytes, and at most {LARGEST:,} are read. {again}"
        raise RunError(msg)
    try:
        content = parse_json(data)
    except ParsingError as error:
        msg = f"{file}: {error}. {again}"
        raise RunError(msg) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        versions = content.get("versions")
        by = versions.get("resight", "?") if isinstance(versions, dict) else "?"
        msg = (
            f"{file.parent}: was written by resight {by}, which is newer than this one. Update "
            "resight."
        )
        raise RunError(msg)
    try:
        RunFile.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg'].lower()}"
            for item in error.errors()
        ]
        more = f" and {len(problems) - 4:,} more" if len(problems) > 4 else ""
        msg = f"{file}: is no run of resight ({'; '.join(problems[:4])}{more}). {again}"
        raise RunError(msg) from error
    return dict(content)

"""The run directory: its files, when it is complete, and how it is read.

    run.json           * app, task, preparation, networks, thresholds, temperature, versions
    model.safetensors  * weights with the normalisation constants as buffers; one file per member
    plan.yaml            the resolved settings; each line says which rule or flag set it
    manifest.parquet     every input with its split
    predictions.parquet, predictions.csv   the held-out splits, scored
    metrics.json, report.html, model_card.md, audit.json, log.csv
    tensorboard/         learning curves of each network: tensorboard --logdir RUN/tensorboard
    checkpoints/         only while the training is incomplete
    MANIFEST.json        sha256 of every file, written last: its presence means complete

Prediction needs the starred files only. This module reads and checks; it never
trains, and it imports no torch: ``core.runs.networks`` loads networks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.app import App, Task, Unit, find_app
from core.base.outputs import pending_file, recorded_files, sha256_file, write_bytes
from core.base.progress import log
from core.errors import RunError
from core.runs.run_file import SCHEMA, parse_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.data.prepared import Preparation

__all__ = [
    "SCHEMA",
    "Member",
    "Run",
    "copy_sealed",
    "load_run",
    "model_id_of",
    "task_from_dict",
    "task_to_dict",
    "units_of_run",
]


@dataclass(frozen=True)
class Member:
    """One trained network of a run; a cross-validated run or an ensemble has several.

    Attributes:
        weights: file name in the run.
        network: what ``core.model.checkpoint.build_network`` needs.
        preparation: the pixels it was trained on.
        temperature: divides its logits before members are averaged; of an ensemble of runs,
            that of its run.
        weight: share it has in the average.
    """

    weights: str
    network: Mapping[str, Any]
    preparation: Preparation
    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class Run:
    """A complete run, as later commands see it.

    Attributes:
        path: the directory.
        content: all of ``run.json``.
        app: the app it was trained with.
        task: with its class order.
        members: the networks.
    """

    path: Path
    content: Mapping[str, Any]
    app: App = field(repr=False)
    task: Task
    members: tuple[Member, ...]

    @property
    def options(self) -> Mapping[str, Any]:
        """The app's own options at training; empty for runs that did not keep them."""
        found: Mapping[str, Any] = self.content.get("options", {})
        return found

    @property
    def model_id(self) -> str:
        """The first 12 hex digits of the sha256 of the weights."""
        return str(self.content["model_id"])

    @property
    def link(self) -> str:
        """How logits become scores."""
        return str(self.members[0].network["link"])

    @property
    def temperature(self) -> float:
        """Divides the logits."""
        return float(self.content["temperature"])

    @property
    def threshold(self) -> float | None:
        """Of the operating point in use; None decides for the highest score."""
        point = self.content.get("operating_point")
        return None if point is None else float(point["threshold"])


def load_run(path: Path) -> Run:
    """Read a run.

    Raises:
        RunError: the directory is not a run, is incomplete, was changed, or is
            of a newer resight; or its app prepares pixels differently now.
        AppError: its app is not installed.
    """
    file = path / "run.json"
    if not path.is_dir():
        msg = f"{path}: there is no such run. Pass the directory given to `resight train --out`."
        raise RunError(msg)
    if not file.is_file():
        unfinished = (path / "plan.yaml").is_file()
        msg = (
            f"{path}: the training here has not ended. Run the same `resight train` command again; "
            "it goes on where it stopped."
            if unfinished
            else f"{path}: is not a run (it holds no run.json). Pass the directory given to "
            "`resight train --out`."
        )
        raise RunError(msg)
    content = parse_run(sealed_bytes(path, "run.json"), file)
    from core.data.prepared import Preparation  # noqa: PLC0415  (imports numpy)

    members = tuple(
        Member(
            entry["weights"],
            entry["network"],
            Preparation.from_dict(entry["preparation"]),
            float(entry.get("temperature", 1.0)),
            float(entry.get("weight", 1.0)),
        )
        for entry in content["members"]
    )
    app = find_app(content["app"])
    _check_files(path, content)
    return Run(path, content, app, task_from_dict(content["task"]), members)


def task_to_dict(task: Task) -> dict[str, Any]:
    """Plain content for JSON."""
    return {
        "name": task.name,
        "kind": task.kind,
        "classes": list(task.classes),
        "positive": list(task.positive),
        "label": task.label,
        "titles": dict(task.titles),
        "label_separator": task.label_separator,
        "truths": dict(task.truths),
        "headline": task.headline,
        "cuts": list(task.cuts),
        "fold_cuts": {name: list(cuts) for name, cuts in task.fold_cuts.items()},
        "positive_title": task.positive_title,
    }


def task_from_dict(content: Mapping[str, Any]) -> Task:
    """The inverse of ``task_to_dict``."""
    return Task(
        name=content["name"],
        kind=content["kind"],
        classes=tuple(content["classes"]),
        positive=tuple(content["positive"]),
        label=content["label"],
        titles=dict(content.get("titles", {})),
        label_separator=content.get("label_separator", "|"),
        truths=dict(content.get("truths") or {}),
        headline=content.get("headline", ""),
        cuts=tuple(float(cut) for cut in content.get("cuts", ())),
        positive_title=content.get("positive_title", ""),
        fold_cuts={
            name: tuple(float(cut) for cut in cuts)
            for name, cuts in (content.get("fold_cuts") or {}).items()
        },
    )


def units_of_run(run: Mapping[str, Any]) -> list[Unit]:
    """The steps of a run, with the rules it was trained with."""
    members = run.get("members") or [{}]
    weighed = members[0].get("network", {}).get("attention", "")
    return [
        Unit(
            name=u["name"],
            columns=tuple(u["columns"]),
            rule=u["rule"],
            learned=u["name"] == weighed,
        )
        for u in run["units"]
    ]


def _check_files(path: Path, content: Mapping[str, Any]) -> None:
    """Compare the weights with what was recorded of them.

    Of a complete run that is its ``MANIFEST.json``. A run copied without it is
    accepted if ``run.json`` itself tells which weights belong to it, and that is said.
    """
    again = "Copy the run again from where it was trained."
    recorded = recorded_files(path)
    if recorded and "run.json" not in recorded:
        msg = f"{path}: MANIFEST.json does not list run.json, so somebody changed it. {again}"
        raise RunError(msg)
    if not recorded and any((path / name).exists() for name in ("words.json", "checkpoints")):
        msg = (
            f"{path}: the training here has not ended. Run the same `resight train` command again; "
            "it goes on where it stopped."
        )
        raise RunError(msg)
    found = []
    for member in content["members"]:
        name = member["weights"]
        if not (path / name).is_file():
            msg = f"{path}: {name} is missing. {again}"
            raise RunError(msg)
        found.append(sha256_file(path / name))
        known = {recorded.get(name), member.get("sha256")} - {None}
        if (recorded and name not in recorded) or known - {found[-1]}:
            msg = f"{path}: {name} is not the file this run was completed with. {again}"
            raise RunError(msg)
    if recorded:
        return
    is_own = not (content.get("ensemble_of") or content.get("export"))
    if is_own and model_id_of(found) != content["model_id"]:
        msg = f"{path}: its weights are not those of run.json. {again}"
        raise RunError(msg)
    log.warning(
        "%s: has no MANIFEST.json, so only its weights were checked, not whether run.json is "
        "as it was written. Copy MANIFEST.json too.",
        path,
    )


def model_id_of(digests: Sequence[str]) -> str:
    """The id of a model: 12 hex digits from the sha256 of its weights, one for each member."""
    if len(digests) == 1:
        return digests[0][:12]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def copy_sealed(path: Path, name: str, target: Path) -> None:
    """Copy a file of a run that is as it was recorded; a link to another file is not.

    Raises:
        RunError: see ``sealed_bytes``.
    """
    if (path / name).is_symlink() and name not in recorded_files(path):
        msg = f"{path}: {name} is a link and no file of this run. Put the file itself there."
        raise RunError(msg)
    write_bytes(target, sealed_bytes(path, name))


def sealed_bytes(path: Path, name: str) -> bytes:
    """The bytes of a file of a run, be they those that a killed command had yet to put there.

    Raises:
        RunError: they are not those that the run was completed with.
    """
    recorded = recorded_files(path).get(name)
    for file in (path / name, pending_file(path, name)):
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            msg = f"{file}: cannot be read ({error.strerror}). Look at its permissions."
            raise RunError(msg) from error
        if recorded is None or hashlib.sha256(data).hexdigest() == recorded:
            return data
    msg = (
        f"{path}: {name} is not the file this run was completed with. Copy the run again from "
        "where it was trained."
    )
    raise RunError(msg)

"""``resight export``: a run as ONNX files that predict without torch, with a certificate.

The folder takes the place of the run wherever images are predicted. It is
sealed only when the exported networks give the scores of the run, within limits,
on the run's own held-out images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save as save_arrays

from core.app import Cases
from core.base.jobs import Job, open_output
from core.base.outputs import is_complete, seal, sha256_file, write_bytes, write_json, write_text
from core.base.progress import track
from core.base.settings import read_plan
from core.data.input_files import require_apart
from core.data.manifest import locate
from core.errors import ConfigError, MetricError, RunError
from core.evaluation.units import decisions_of
from core.model.exporting import OPSET, export_onnx
from core.prediction.certificate import compare_paths, require_within_limits
from core.prediction.engines import open_engine
from core.prediction.exported import familiarity_file, probe_scores, processor
from core.prediction.minimal import minimal_script
from core.prediction.scorer import Scorer
from core.prediction.torch_engine import TorchEngine
from core.runs.networks import load_networks
from core.runs.predictions import final_split
from core.runs.run import Run, copy_sealed, load_run, units_of_run
from core.runs.table_files import read_json, read_table
from core.statistics.scores import encode
from core.verbs.export_formats import require_releasable, write_hub, write_timm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["ExportSettings", "export"]

# Held-out images on which the two paths are compared, at most, evenly spaced.
MOST_IMAGES = 500


@dataclass(frozen=True)
class ExportSettings:
    """How an exported run is to be run.

    Attributes:
        engine: ``ort`` or ``openvino``.
        precision: ``fp32``, or ``bf16`` with OpenVINO.
        data: where the images of the training are now; None takes the place in the plan.
        form: ``onnx``; ``timm``, the backbone alone; ``hf``, ONNX with what the hub shows.
    """

    engine: str = "ort"
    precision: str = "fp32"
    data: Path | None = None
    form: str = "onnx"


def export(run_path: Path, out: Path, settings: ExportSettings | None = None) -> dict[str, Any]:
    """Write a run as ONNX files that give the same scores without torch.

    Args:
        run_path: a complete run.
        out: the folder; left incomplete if the certificate is not passed.
        settings: engine, precision, place of the images.

    Returns:
        the content of ``certificate.json`` and ``out``.

    Raises:
        ConfigError: the packages of the export extra are absent, or the images are not found.
        RunError: the run is incomplete or itself an export; the certificate is not passed.
    """
    settings = settings or ExportSettings()
    require_apart(out, [run_path, *([settings.data] if settings.data else [])])
    run = load_run(run_path)
    if "export" in run.content:
        msg = f"{run_path}: is an exported model already. Pass the run that it was made from."
        raise RunError(msg)
    if not is_complete(run_path):
        msg = f"{run_path}: is not complete. Train it to the end, then export it."
        raise RunError(msg)
    about = {"model_id": run.model_id, "engine": settings.engine, "precision": settings.precision}
    if settings.form == "timm":
        return _export_timm(run, out)
    if settings.form == "hf":
        require_releasable(run)
        about["form"] = "hf"
    rows, n_held_out = held_out_rows(run, settings.data)
    with open_output(out, Job("export", about)) as is_made:
        if is_made:
            return {**read_json(out / "certificate.json"), "out": str(out)}
        networks = load_networks(run)
        names = [
            "model.onnx" if len(networks) == 1 else f"member-{number}.onnx"
            for number in range(len(networks))
        ]
        for name, (member, network, familiarity) in zip(names, networks, strict=True):
            form = member.preparation.form
            export_onnx(
                network,
                out / name,
                size_px=member.preparation.size_px,
                channels=form.channels,
                dtype=form.dtype,
            )
            tensors = {k: np.ascontiguousarray(v) for k, v in familiarity.tensors().items()}
            write_bytes(out / familiarity_file(name), save_arrays(tensors))
        certificate = _certify(run, out, names, settings, rows, n_held_out)
        require_within_limits(certificate["held_out"], precision=settings.precision)
        _write_companions(run, out)
        if settings.form == "hf":
            write_hub(run, networks, out)
        seal(out)
    return {**certificate, "out": str(out)}


def _export_timm(run: Run, out: Path) -> dict[str, Any]:
    """Write the backbones, as features; nothing that has a score could be certified."""
    with open_output(out, Job("export", {"model_id": run.model_id, "form": "timm"})) as is_made:
        if not is_made:
            write_timm(run, load_networks(run), out)
            seal(out)
    return {"form": "timm", "model_id": run.model_id, "out": str(out)}


def held_out_rows(run: Run, data: Path | None) -> tuple[list[dict[str, Any]], int]:
    """Manifest rows of the split that the run's report speaks of, paths absolute.

    Returns:
        the rows to compare on, and how many images were held out.

    Raises:
        ConfigError: their files are not found.
    """
    table = read_table(run.path / "manifest")
    split = final_split(read_table(run.path / "predictions"))
    ok = table[table["status"] == "ok"]
    held = ok if split == "out-of-fold" else ok[ok["split"] == split]
    if data is not None and not data.exists():
        msg = f"{data}: there is no such file or folder. Pass the images of the training to --data."
        raise RunError(msg)
    root = data or _place_of_data(run.path)
    root = root if root.is_dir() else root.parent
    rows = [{str(k): v for k, v in row.items()} for row in held.to_dict("records")]
    for row in rows:
        row["shown"] = row["path"]
        row["path"] = str(locate(root, str(row["path"])))
    found = [row for row in rows if Path(row["path"]).is_file()]
    if not found:
        msg = (
            f"{root}: none of the {len(rows):,} held-out images of this run is there, and an "
            "export is sealed only when it gives their scores. Pass --data with the folder that "
            "the run was trained on."
        )
        raise ConfigError(msg)
    step = max(1, -(-len(found) // MOST_IMAGES))
    return found[::step], len(rows)


def _place_of_data(run_path: Path) -> Path:
    """Where the plan says that the images were."""
    question, _ = read_plan(run_path / "plan.yaml")
    return Path(question.data)


def _certify(
    run: Run,
    out: Path,
    names: Sequence[str],
    settings: ExportSettings,
    rows: Sequence[dict[str, Any]],
    n_held_out: int,
) -> dict[str, Any]:
    """Compare both paths, write ``run.json`` and ``certificate.json`` of the export."""
    engines = [
        open_engine(out / name, engine=settings.engine, precision=settings.precision)
        for name in names
    ]
    reported = engines[0].describe()
    entries = [
        {**entry, "weights": name, "sha256": sha256_file(out / name)}
        for entry, name in zip(run.content["members"], names, strict=True)
    ]
    asked = {"engine": settings.engine, "precision": settings.precision, "opset": OPSET}
    write_json(out / "run.json", {**run.content, "members": entries, "export": asked})
    scorers = Scorer(run, options=run.options, device="cpu"), Scorer(run, options=run.options)
    scorers[1].members = [
        (member, engine, familiarity)
        for (member, _, familiarity), engine in zip(scorers[0].members, engines, strict=True)
    ]
    with track("comparing", len(rows)) as advance:
        found = compare_paths(*scorers, list(rows), advance=advance)
    certificate = {
        "schema": 1,
        "model_id": run.model_id,
        "held_out": {
            **found.facts(
                classes=run.task.classes,
                headline=lambda table: _headline(run, table),
                decide=lambda table: decisions_of(
                    table,
                    task=run.task,
                    units=units_of_run(run.content),
                    threshold=run.threshold,
                ),
            ),
            "n_held_out": n_held_out,
        },
        "engine": reported,
        "asked": asked,
        "processor": processor(),
        "probe_scores": [
            probe_scores(engine, member, link=run.link).round(9).tolist()
            for member, engine, _ in scorers[0].members
            if isinstance(engine, TorchEngine)
        ],
        "sha256": {
            "run.json of the run": sha256_file(run.path / "run.json"),
            **{m.weights: sha256_file(run.path / m.weights) for m in run.members},
            **{name: sha256_file(out / name) for name in names},
        },
        "versions": run.content["versions"],
    }
    write_json(out / "certificate.json", certificate)
    return certificate


def _headline(run: Run, table: pd.DataFrame) -> float | None:
    """The task's first metric, images one by one; None where it is undefined."""
    metrics = run.app.metrics_for(run.task)
    known = table[table["label"].fillna("").astype(str) != ""]
    if not metrics or not len(known):
        return None
    y = encode(list(known["label"].astype(str)), run.task)
    scores = known[[f"score_{name}" for name in run.task.classes]].to_numpy(dtype=float)
    decided = encode(list(known["decision"].astype(str)), run.task)
    try:
        return float(metrics[0].compute(Cases(y, scores, decided, np.ones(len(known)))))
    except MetricError:
        return None


def _write_companions(run: Run, out: Path) -> None:
    """What travels beside the model: terms, environment, a program of forty lines."""
    if (run.path / "model_card.md").is_file():
        copy_sealed(run.path, "model_card.md", out / "model_card.md")
    light = files("core.prediction") / "requirements.txt"
    write_text(out / "requirements.txt", light.read_text(encoding="utf-8"))
    if not run.content.get("facts"):
        # Tiles of a raster are no files; their pixels are read with the raster.
        write_text(out / "predict_minimal.py", minimal_script(run))
    terms = json.dumps(run.content.get("terms") or [], indent=1, ensure_ascii=False)
    write_text(out / "terms.json", terms + "\n")

"""Exported models: a folder that takes the place of a run wherever images are predicted.

    run.json                  that of the run; `members` name ONNX files, `export` says how they run
    model.onnx                pixels in, logits and embedding out; one file per member
    model.familiarity.safetensors   where training images lie, for the out-of-distribution score
    certificate.json          the run and the export compared on the run's own held-out images
    requirements.txt          the small environment that predicts, every package with its hashes
    predict_minimal.py        file -> scores and whether it is unlike the training
    MANIFEST.json             sha256 of every file, written last

Nothing here imports torch, MONAI, timm, Lightning or scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.parsing import parse_json
from core.base.progress import log
from core.data.prepared import full_scale, resize_to, synthetic_pictures
from core.errors import ConfigError, RunError
from core.model.out_of_distribution import Familiarity
from core.prediction.engines import Engine, open_engine
from core.runs.run import sealed_bytes
from core.statistics.scores import scores_from_logits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.data.prepared import Preparation
    from core.runs.run import Member, Run

__all__ = [
    "LIMITS",
    "familiarity_file",
    "open_members",
    "probe_pixels",
    "probe_scores",
    "processor",
]

# Largest difference of a score, by precision: fp32 differs by the order of additions alone.
LIMITS = {"fp32": 1e-4, "bf16": 0.05}


def familiarity_file(weights: str) -> str:
    """Name of the file beside an ONNX file that holds where training images lie."""
    return weights.removesuffix(".onnx") + ".familiarity.safetensors"


def open_members(run: Run, *, device: str = "auto") -> list[tuple[Member, Engine, Familiarity]]:
    """Every network of a run or of an exported one, ready to score.

    Raises:
        ConfigError: the engine is not installed.
        RunError: a file is damaged, or the export does not hold on this processor.
    """
    export = run.content.get("export")
    if export is None:
        # Only here: an exported run is scored where torch is not installed.
        from core.prediction.torch_engine import torch_engines  # noqa: PLC0415

        return list(torch_engines(run, device))
    if device not in {"auto", "cpu"}:
        msg = f"--device {device}: an exported model runs on the processor. Leave --device out."
        raise ConfigError(msg)
    engines = _open_engines(run, export["engine"], export["precision"])
    return [
        (member, engine, _familiarity(run.path, familiarity_file(member.weights)))
        for member, engine in zip(run.members, engines, strict=True)
    ]


def _open_engines(run: Run, engine: str, precision: str) -> list[Engine]:
    """Engines whose scores of the probe pictures are those that were certified."""
    certificate = _certificate(run.path)
    files = [run.path / member.weights for member in run.members]
    engines = [open_engine(file, engine=engine, precision=precision) for file in files]
    if certificate["processor"] == processor() and all(
        one.describe() == certificate["engine"] for one in engines
    ):
        return engines
    # Another processor or another version of the engine: the certificate is repeated here.
    difference = _probe_difference(run, engines, certificate)
    if difference <= LIMITS[precision]:
        return engines
    if precision != "fp32":
        log.warning(
            "On this processor %s differs from the run by up to %.2g of a score on the probe "
            "pictures, more than %.2g. Going on in fp32.",
            precision,
            difference,
            LIMITS[precision],
        )
        return _open_engines(run, engine, "fp32")
    msg = (
        f"{run.path}: on this processor the exported model differs from the run by up to "
        f"{difference:.2g} of a score on the probe pictures; {LIMITS['fp32']:g} is allowed. "
        "Predict with the run itself, or export it here again."
    )
    raise RunError(msg)


def _probe_difference(run: Run, engines: list[Engine], certificate: Mapping[str, Any]) -> float:
    """Largest difference of a score of the probe pictures from those of torch."""
    worst = 0.0
    for member, engine, known in zip(
        run.members, engines, certificate["probe_scores"], strict=True
    ):
        scores = probe_scores(engine, member, link=run.link)
        worst = max(worst, float(np.abs(scores - np.asarray(known)).max()))
    return worst


def probe_pixels(preparation: Preparation) -> NDArray[Any]:
    """(N, C, H, W) stored pixels of synthetic pictures that hold nobody's data."""
    form = preparation.form
    random = np.random.default_rng(0)
    pictures = []
    for picture in synthetic_pictures(form):
        fitted = resize_to(picture, preparation.size_px)
        # Smooth pictures excite few features; noise excites the rest.
        for share in (0.0, 0.3, 0.7):
            noise = random.random(fitted.shape) * full_scale(form.dtype)
            pictures.append(((1 - share) * fitted + share * noise).astype(form.dtype))
    return np.stack([picture.transpose(2, 0, 1) for picture in pictures])


def probe_scores(engine: Engine, member: Member, *, link: str) -> NDArray[np.float64]:
    """(N, K) scores of the probe pictures."""
    logits = engine.run(probe_pixels(member.preparation)).logits
    return scores_from_logits(logits, link=link, temperature=member.temperature)


def processor() -> str:
    """What decides how a processor rounds: its kind, maker and model, as the system tells."""
    import platform  # noqa: PLC0415  (asked once)

    parts = [platform.machine(), platform.processor()]
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123  (no file of ours)
            known = dict(line.partition(":")[::2] for line in stream if ":" in line)
        wanted = ("vendor_id", "cpu family", "model", "model name")
        lines = {key.strip(): value.strip() for key, value in known.items()}
        parts += [lines.get(name, "") for name in wanted]
    except OSError:
        pass
    return " ".join(part for part in parts if part)


def _certificate(path: Path) -> dict[str, Any]:
    """The certificate of an exported run."""
    file = path / "certificate.json"
    try:
        content: dict[str, Any] = parse_json(sealed_bytes(path, file.name))
        content["processor"], content["engine"], content["probe_scores"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f"{file}: is missing or damaged ({error}). Without it nothing says that the exported "
            "model gives the scores of the run. Export the run again."
        )
        raise RunError(msg) from error
    return content


def _familiarity(path: Path, name: str) -> Familiarity:
    """Where training images lie, as the export stored it: it decides what is withheld."""
    from safetensors import SafetensorError  # noqa: PLC0415  (only for exported runs)
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        return Familiarity.from_tensors(load(sealed_bytes(path, name)))
    except (SafetensorError, OSError, KeyError) as error:
        msg = f"{path / name}: cannot be loaded ({error}). Export the run again."
        raise RunError(msg) from error

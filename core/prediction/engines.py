"""Engines that turn stored pixels into logits and embeddings: torch, ONNX Runtime, OpenVINO.

Prediction knows only ``Engine``. The torch engine holds the network of a run;
the others hold the ONNX file of an exported one and import no torch. All are
fed the same prepared pixels, so that they differ by rounding alone; how much is
measured when a run is exported (``core.prediction.certificate``).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.base.machine import scoring_batch
from core.base.machine import threads as idle_threads
from core.errors import ConfigError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Engine",
    "EngineResult",
    "OnnxRuntime",
    "OpenVino",
    "open_engine",
]

ENGINES = ("ort", "openvino")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class EngineResult:
    """What a network says of a batch.

    Attributes:
        logits: (N, L).
        embeddings: (N, D).
        attention: (N, 1 + L), weight before the softmax over a unit and share of the unit's
            logits; None where images of a unit are not weighted.
    """

    logits: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    attention: NDArray[np.float64] | None


class Engine(Protocol):
    """A network that is ready to score."""

    n_logits: int
    has_attention: bool

    def run(self, pixels: NDArray[Any]) -> EngineResult:
        """Score (N, C, H, W) stored pixels."""
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and precision as the engine itself reports them."""
        ...

    def saliency(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """(h, w) in [0, 1], where the network looked on (C, H, W) stored pixels.

        Raises:
            ConfigError: the engine has no gradients.
        """
        ...


def _result(
    pixels: NDArray[Any], score: Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
) -> EngineResult:
    """Outputs of an exported file, in its order, a few images at a time.

    The feature maps of all that are decoded together would take twice the memory, and no less
    time.
    """
    size = scoring_batch("cpu")
    parts = [score(pixels[start : start + size]) for start in range(0, len(pixels), size)]
    outputs = [np.concatenate(found) for found in zip(*parts, strict=True)]
    return EngineResult(
        np.asarray(outputs[0], dtype=np.float64),
        np.asarray(outputs[1], dtype=np.float32),
        np.asarray(outputs[2], dtype=np.float64) if len(outputs) > 2 else None,
    )


class _Exported:
    """What the engines of an exported file have in common."""

    def saliency(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Refuse: an exported file has no gradients."""
        del pixels
        msg = (
            "Heat maps need gradients, which an exported model does not have. Leave the option "
            "out, or predict with the run that was exported, where torch is installed."
        )
        raise ConfigError(msg)


class OnnxRuntime(_Exported):
    """ONNX Runtime on the processor, fp32.

    Since 1.29 its wheels send events to their maker and write a device identifier into the
    user's cache, unless the environment says otherwise before the library is loaded
    (onnxruntime pull request 27379).
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime  # noqa: PLC0415  (optional)
        except ImportError as error:
            msg = (
                "This exported model runs with ONNX Runtime, which is not installed. "
                "pip install onnxruntime"
            )
            raise ConfigError(msg) from error
        # Windows listens to this instead.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads take the processor from the readers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                _path_or_bytes(path), options, providers=["CPUExecutionProvider"]
            )
        # The package raises a class of its own for each fault of a file.
        except Exception as error:
            raise _unreadable(path, error) from error
        self._version = str(onnxruntime.__version__)
        outputs = self._session.get_outputs()
        self._input = self._session.get_inputs()[0].name
        self.n_logits = int(outputs[0].shape[1])
        self.has_attention = len(outputs) > 2

    def run(self, pixels: NDArray[Any]) -> EngineResult:
        """Score (N, C, H, W) stored pixels."""
        return _result(pixels, lambda few: self._session.run(None, {self._input: few}))

    def describe(self) -> dict[str, str]:
        """Name, version and precision."""
        return {"engine": "ort", "version": self._version, "precision": "fp32"}


class OpenVino(_Exported):
    """OpenVINO on the processor, at a precision that is always set and never the engine's choice.

    Left alone it takes bfloat16 where the processor has it, so that one file would give other
    scores on another machine (openvino issue 27795).
    """

    def __init__(self, path: Path, *, precision: str, threads: int) -> None:
        # The package writes to the user's home and starts a process that sends statistics when
        # it is imported, unless its telemetry package is absent.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            import openvino  # noqa: PLC0415  (optional)
        except ImportError as error:
            msg = (
                "This exported model runs with OpenVINO, which is not installed. "
                "pip install openvino, or export it again with --engine ort."
            )
            raise ConfigError(msg) from error
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._compiled = core.compile_model(
                core.read_model(BytesIO(path.read_bytes())), "CPU", settings
            )
        except Exception as error:
            raise _unreadable(path, error) from error
        self._request = self._compiled.create_infer_request()
        self._version = str(openvino.__version__)
        self.n_logits = int(self._compiled.output(0).partial_shape[1].get_length())
        self.has_attention = len(self._compiled.outputs) > 2

    def run(self, pixels: NDArray[Any]) -> EngineResult:
        """Score (N, C, H, W) stored pixels."""
        ports = self._compiled.outputs

        def score(few: NDArray[Any]) -> list[NDArray[Any]]:
            found = self._request.infer([few], share_inputs=True)
            return [np.array(found[port]) for port in ports]

        return _result(pixels, score)

    def describe(self) -> dict[str, str]:
        """Name, version, and the precision that the engine says it computes with."""
        message = str(self._compiled.get_property("INFERENCE_PRECISION_HINT"))
        names = {"f32": "fp32", "float32": "fp32", "bf16": "bf16", "bfloat16": "bf16"}
        kind = message.strip("<>").split("'")[1] if "'" in message else message
        return {
            "engine": "openvino",
            "version": self._version,
            "precision": names.get(kind, kind),
        }


def open_engine(path: Path, *, engine: str, precision: str, threads: int | None = None) -> Engine:
    """An exported file, ready to score.

    Args:
        path: the ONNX file.
        engine: ``ort`` or ``openvino``.
        precision: ``fp32``, or ``bf16`` with OpenVINO.
        threads: default one per core that this process may use and nobody else does.

    Raises:
        ConfigError: the engine is not installed, or does not have this precision.
        RunError: the file cannot be read.
    """
    if engine not in ENGINES:
        msg = f"engine {engine}: is not known. Choose one of {', '.join(ENGINES)}."
        raise ConfigError(msg)
    if precision not in PRECISIONS or (engine == "ort" and precision != "fp32"):
        msg = (
            f"precision {precision}: ONNX Runtime computes in fp32 on a processor. "
            "Pass --precision fp32, or --engine openvino for bf16."
        )
        raise ConfigError(msg)
    n = threads or idle_threads()
    if engine == "ort":
        return OnnxRuntime(path, threads=n)
    return OpenVino(path, precision=precision, threads=n)


def _path_or_bytes(path: Path) -> str | bytes:
    """The path of a file, or its content where a folder above it is not UTF-8.

    The package asks UTF-8 of a path; a content is held twice while it is loaded.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return path.read_bytes()
    return text


def _unreadable(path: Path, error: Exception) -> RunError:
    """The error of a file that an engine does not take."""
    reason = " ".join(str(error).split())[:200]
    return RunError(f"{path}: cannot be loaded ({reason}). Export the run again.")

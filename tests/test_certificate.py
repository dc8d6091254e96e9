"""What an export must share with its run: scores of images, and what is made of several."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy.special import softmax

from core.app import Task, Unit
from core.data.prepared import Form, Preparation
from core.errors import ConfigError, RunError
from core.evaluation.units import decisions_of
from core.model.out_of_distribution import Familiarity
from core.prediction import exported
from core.prediction.certificate import Comparison, require_within_limits
from core.prediction.engines import EngineResult
from core.prediction.exported import familiarity_file, open_members, probe_pixels, processor
from core.runs.run import Member

TASK = Task(name="cancer", kind="binary", classes=("no", "yes"), positive=("yes",))
BREAST = Unit(name="breast", columns=("exam", "side"), rule="attention", learned=True)


def predictions(*, weight: float = 0.0, score: float = 0.7) -> pd.DataFrame:
    """Two views of two breasts; the second view of each counts by ``weight``."""
    n = 4
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "status": "ok",
            "exam": "e",
            "side": ["L", "L", "R", "R"],
            "score_no": 1 - score,
            "score_yes": score,
            "decision": "yes",
            "predicted": "yes",
            "unfamiliar": False,
            "attention": [0.0, weight] * 2,
            "attention_logit_0": 0.0,
            "attention_logit_1": [1.0, -2.0] * 2,
        }
    )


def facts(run: pd.DataFrame, export: pd.DataFrame) -> dict[str, Any]:
    return Comparison(run, export, 0.0).facts(
        classes=TASK.classes,
        headline=lambda _: None,
        decide=lambda table: decisions_of(table, task=TASK, units=[BREAST], threshold=None),
    )


def test_equal_tables_pass_with_their_units_counted() -> None:
    found = facts(predictions(), predictions())
    assert found["units"] == {"breast": {"n": 2, "largest_difference": 0.0, "changed_decisions": 0}}
    require_within_limits(found, precision="fp32")


def test_weights_of_images_that_differ_are_found_though_no_score_of_an_image_does() -> None:
    found = facts(predictions(), predictions(weight=2.0))
    assert found["largest_difference"] == 0.0
    assert found["changed_decisions"] == 0
    # By hand: logits (1 - 2) / 2 = -0.5 against (1 - 2 e^2) / (1 + e^2), both through a sigmoid.
    weighted = (1 - 2 * np.e**2) / (1 + np.e**2)
    gap = abs(1 / (1 + np.exp(0.5)) - 1 / (1 + np.exp(-weighted)))
    assert found["units"]["breast"]["largest_difference"] == pytest.approx(gap)
    with pytest.raises(RunError, match=r"a score of a breast differs by 0\.\d+ \(0.0001 allowed"):
        require_within_limits(found, precision="fp32")


def test_less_precision_may_change_scores_and_few_decisions() -> None:
    found = facts(predictions(score=0.7), predictions(score=0.6))
    require_within_limits(found, precision="bf16")
    with pytest.raises(RunError, match=r"a score differs by 0\.1 "):
        require_within_limits(found, precision="fp32")
    of_unit = {**found, "units": {"breast": {**found["units"]["breast"], "changed_decisions": 1}}}
    with pytest.raises(RunError, match="1 of 2 decisions by breast change"):
        require_within_limits(of_unit, precision="bf16")


# --- whether an export holds on this processor -------------------------------------------------

PREPARATION = Preparation("images", (24, 32), Form(3, "uint8"), (), "")
KNOWN = Familiarity(
    np.arange(3, dtype=np.float32), np.eye(3, 2, dtype=np.float32), np.ones(2, np.float32), 2.0, 0.5
)


class Means:
    """An engine whose logits are the means of the channels, shifted where it is told."""

    n_logits = 3
    has_attention = False

    def __init__(self, precision: str, shift: float = 0.0) -> None:
        self.precision = precision
        self.shift = shift

    def run(self, pixels: Any) -> EngineResult:
        assert pixels.shape[1:] == (3, 24, 32)
        assert pixels.dtype == np.uint8
        logits = pixels.mean(axis=(2, 3)) / 64
        logits[:, 0] += self.shift
        return EngineResult(logits, np.zeros((len(pixels), 3), np.float32), None)

    def describe(self) -> dict[str, str]:
        return {"name": "means", "precision": self.precision}


class Exports:
    """An exported run of two networks on the disk, and the engines that open it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder
        self.shifts = {"fp32": (0.0, 0.0), "bf16": (0.0, 0.0)}
        self.opened: list[tuple[str, str, str]] = []
        self.members = tuple(
            Member(f"model_{k}.onnx", {}, PREPARATION, temperature=1.0 + k) for k in range(2)
        )
        pixels = probe_pixels(PREPARATION)
        logits = pixels.mean(axis=(2, 3)) / 64
        self.certificate: dict[str, Any] = {
            "processor": processor(),
            "engine": {"name": "means", "precision": "fp32"},
            # Softmax of the logits over the temperature.
            "probe_scores": [softmax(logits / (1.0 + k), axis=1).tolist() for k in range(2)],
        }
        for member in self.members:
            save_file(KNOWN.tensors(), folder / familiarity_file(member.weights))
        monkeypatch.setattr(exported, "open_engine", self.open)

    def open(self, path: Path, *, engine: str, precision: str) -> Means:
        assert path.parent == self.path
        self.opened.append((path.name, engine, precision))
        return Means(precision, self.shifts[precision][int(path.stem[-1])])

    def members_at(self, precision: str, device: str = "auto") -> list[Any]:
        (self.path / "certificate.json").write_text(json.dumps(self.certificate))
        self.opened.clear()
        content = {"export": {"engine": "means", "precision": precision}}
        run = SimpleNamespace(path=self.path, content=content, members=self.members, link="softmax")
        return open_members(run, device=device)  # type: ignore[arg-type]


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exports:
    return Exports(tmp_path, monkeypatch)


def test_every_member_comes_with_its_engine_and_where_its_training_lay(exports: Exports) -> None:
    for device in ("auto", "cpu"):
        found = exports.members_at("fp32", device)
        assert [member.weights for member, *_ in found] == ["model_0.onnx", "model_1.onnx"]
        assert exports.opened == [(f"model_{k}.onnx", "means", "fp32") for k in range(2)]
        for _, engine, known in found:
            assert engine.precision == "fp32"
            for name, tensor in KNOWN.tensors().items():
                np.testing.assert_array_equal(known.tensors()[name], tensor)
    with pytest.raises(ConfigError, match="--device cuda: an exported model runs on the processor"):
        exports.members_at("fp32", "cuda")


def test_where_it_was_certified_nothing_is_scored_again(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("the probe pictures were scored")

    monkeypatch.setattr(exported, "probe_pixels", never)
    exports.certificate["probe_scores"] = []
    assert len(exports.members_at("fp32")) == 2


@pytest.mark.parametrize("what", ["processor", "engine"])
@pytest.mark.parametrize("member", [0, 1])
def test_elsewhere_every_member_must_give_the_scores_of_the_run(
    exports: Exports, what: str, member: int
) -> None:
    exports.certificate[what] = "another"
    assert len(exports.members_at("fp32")) == 2
    # A logit of 0.01 more changes a score by 0.25 of it at most.
    exports.shifts["fp32"] = (0.01, 0.0) if member == 0 else (0.0, -0.01)
    with pytest.raises(RunError, match=r"differs from the run by up to 0\.00\d+ of a score"):
        exports.members_at("fp32")
    exports.shifts["fp32"] = (1e-4, 1e-4)
    assert len(exports.members_at("fp32")) == 2


def test_less_precision_goes_back_to_fp32_where_it_is_far_off(
    exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    exports.certificate["engine"] = {"name": "means", "precision": "bf16"}
    exports.certificate["processor"] = "another"
    exports.shifts["bf16"] = (0.0, 0.1)
    assert [engine.precision for _, engine, _ in exports.members_at("bf16")] == ["bf16"] * 2
    assert caplog.text == ""
    exports.shifts["bf16"] = (0.0, 1.0)
    assert [engine.precision for _, engine, _ in exports.members_at("bf16")] == ["fp32"] * 2
    assert [precision for *_, precision in exports.opened] == ["bf16", "bf16", "fp32", "fp32"]
    assert "bf16 differs from the run by up to 0." in caplog.text
    assert "more than 0.05. Going on in fp32." in caplog.text
    exports.shifts["fp32"] = (0.0, 1.0)
    with pytest.raises(RunError, match=r"0.0001 is allowed.*export it here again"):
        exports.members_at("bf16")


def test_a_certificate_or_a_familiarity_that_is_damaged_is_named(exports: Exports) -> None:
    whole = dict(exports.certificate)
    for absent in whole:
        exports.certificate = {key: value for key, value in whole.items() if key != absent}
        with pytest.raises(RunError, match=rf"certificate.json: is missing or damaged.*{absent}"):
            exports.members_at("fp32")
    exports.certificate = []  # type: ignore[assignment]
    with pytest.raises(RunError, match=r"certificate.json: is missing or damaged"):
        exports.members_at("fp32")
    exports.certificate = whole
    file = exports.path / "model_1.familiarity.safetensors"
    save_file({"mean": KNOWN.mean}, file)
    with pytest.raises(RunError, match=r"model_1.familiarity.safetensors: cannot be loaded"):
        exports.members_at("fp32")
    file.write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"model_1.familiarity.safetensors: cannot be loaded"):
        exports.members_at("fp32")


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_the_probe_pictures_are_smooth_and_noisy_and_the_same_every_time(
    dtype: str, full: float
) -> None:
    preparation = Preparation("images", (24, 32), Form(2, dtype), (), "")
    found = probe_pixels(preparation)
    # Three pictures, each as it is, with 0.3 and with 0.7 of noise.
    assert found.shape == (9, 2, 24, 32)
    assert found.dtype.name == dtype
    np.testing.assert_array_equal(found, probe_pixels(preparation))
    share = found.astype(np.float64) / full
    # The first is a ramp from black to white.
    assert share[0, 0, 0, 0] < 0.05
    assert share[0, 0, -1, -1] > 0.95
    for smooth, some, much in (share[k : k + 3] for k in (0, 3, 6)):
        for noisy, amount in ((some, 0.3), (much, 0.7)):
            noise = (noisy - (1 - amount) * smooth) / amount
            # Uniform in [0, 1], to within the rounding of pixels: mean 1/2, variance 1/12.
            assert noise.min() > -0.02
            assert noise.max() < 1.02
            assert noise.mean() == pytest.approx(0.5, abs=0.03)
            assert noise.var() == pytest.approx(1 / 12, abs=0.01)


def test_a_processor_is_told_by_its_model() -> None:
    import platform  # noqa: PLC0415

    told = processor()
    assert told.startswith(platform.machine())
    assert told == processor()
    file = Path("/proc/cpuinfo")
    if file.exists():
        lines = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        known = {key.strip(): value.strip() for key, value in lines.items()}
        for name in ("vendor_id", "cpu family", "model", "model name"):
            assert known.get(name, "") in told

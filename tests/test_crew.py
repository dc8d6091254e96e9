"""Two processes fit what one does, agree on where to stop, and are missed when they die."""

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from core.app import find_app
from core.base.settings import TrainConfig
from core.data.prepared import Form, Preparation, Prepared
from core.errors import ConfigError
from core.model.backbone import create_backbone
from core.model.checkpoint import build_network
from core.model.classifier import Classifier
from core.model.fitting import Fitted
from core.model.network import Network
from core.model.stopping import StoppedError
from core.training.crew import Crew, LostError
from core.training.fine_tuning import Data, FineTuning, Training
from core.training.machine_check import check_machine
from tests.networks import DESCRIPTION

N, VAL = 52, 20
CONFIG: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 2,
    "batch": 8,
    "device": "cpu",
    "devices": "2",
    "lr_head": 1e-3,
    "lr_backbone": 1e-3,
    "precision": "32-true",
    "batchnorm": "frozen",
    "checkpoint_minutes": 60.0,
    "patience": 1.0,
}


def job_in(folder: Path, **changed: Any) -> FineTuning:
    """A small fine-tuning: bright above or below."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (N, 40, 40, 3), dtype=np.uint8)
    y = np.arange(N) % 2
    pixels[y == 1, :20] //= 3
    table = pd.DataFrame({"image_id": [f"i{k}" for k in range(N)], "reason": ""})
    store = Prepared(table, (40, 40, 3), [pixels], np.stack([np.zeros(N, int), np.arange(N)], 1))
    app = find_app("crop_disease")
    training = Training(
        app=app,
        task=app.tasks[0].with_classes(["healthy", "rust"]),
        config=TrainConfig(**{**CONFIG, **changed}),
        data=Data(store, y, np.arange(N).astype(object)),
        preparation=Preparation(app.name, (32, 32), Form(3, "uint8"), (), ""),
    )
    return FineTuning(
        training,
        description=DESCRIPTION,
        rows={"train": np.arange(VAL, N), "val": np.arange(VAL)},
        work=folder,
        start=1e9,
        seconds=1e9,
    )


def network_of(job: FineTuning) -> Network:
    torch.manual_seed(0)
    backbone, _ = create_backbone("test_resnet", weights="none", in_channels=3)
    return build_network(job.description, n_classes=2, backbone=backbone)


@dataclass
class Ran:
    """What was fitted by one process and by two."""

    alone: Fitted
    together: Fitted
    resumed: Fitted
    stopped: StoppedError
    judged: list[int] = field(default_factory=list)
    resume_points: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(size=2) as crew:
        yield crew


@pytest.fixture(scope="module")
def ran(crew: Crew, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("crew")
    alone = job_in(root / "alone", devices="1")
    together, halted = (job_in(root / name) for name in ("together", "halted"))
    first = alone.run(network_of(alone))
    judged = []
    with pytest.MonkeyPatch.context() as patch:
        ended = Classifier.on_validation_epoch_end

        def counted(self: Classifier) -> None:
            plain = self.score
            self.score = lambda z, y: judged.append(len(y)) or plain(z, y)  # type: ignore[misc]
            ended(self)
            self.score = plain

        patch.setattr(Classifier, "on_validation_epoch_end", counted)
        second = crew.fit(together, network_of(together))
        patch.undo()
        begun = Classifier.on_train_batch_start

        def asked(self: Classifier, batch: Any, batch_idx: int) -> None:
            if self.global_step == 5:
                # As a queue tells one of the processes; the other must stop as well.
                os.kill(os.getpid(), signal.SIGUSR1)
            begun(self, batch, batch_idx)

        patch.setattr(Classifier, "on_train_batch_start", asked)
        with pytest.raises(StoppedError) as stopped:
            crew.fit(halted, network_of(halted))
    points = sorted(path.name for path in halted.work.glob("step-*"))
    third = crew.fit(halted, network_of(halted))
    return Ran(first, second, third, stopped.value, judged, points)


def digest(fitted: Fitted) -> str:
    assert fitted.best is not None
    return hashlib.sha256(fitted.best.read_bytes()).hexdigest()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX"),
]


def test_two_processes_fit_what_one_does(ran: Ran) -> None:
    # The same batches, each halved: what differs is the order of a sum.
    columns = ["epoch", "step", "train_loss", "val_log_loss", "val_score"]
    np.testing.assert_allclose(
        ran.together.log[columns].to_numpy(float), ran.alone.log[columns].to_numpy(float), rtol=1e-4
    )
    assert ran.alone.best is not None
    assert ran.together.best is not None
    one, two = load_file(ran.alone.best), load_file(ran.together.best)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


def test_each_validation_image_counts_once(ran: Ran) -> None:
    # 20 images in batches of 16: one of the processes judges 16, the other 4.
    assert ran.judged == [VAL, VAL]


def test_a_signal_to_one_process_stops_all_and_the_rest_gives_the_same_bits(ran: Ran) -> None:
    assert str(ran.stopped).endswith("goes on from step 6.")
    assert ran.resume_points[-1] == "step-00000006.ckpt"
    assert digest(ran.resumed) == digest(ran.together)


def test_a_batch_that_cannot_be_shared_is_refused(ran: Ran, crew: Crew, tmp_path: Path) -> None:
    job = job_in(tmp_path, batch=1)
    with pytest.raises(ConfigError, match="2 processes cannot share a batch of 1"):
        job.run(network_of(job))


def test_a_process_that_dies_ends_the_training_with_what_to_do(
    ran: Ran, crew: Crew, tmp_path: Path
) -> None:
    crew._started[0].kill()
    job = job_in(tmp_path)
    with pytest.raises(LostError, match=r"has ended .exit code -9.*goes on from the last"):
        crew.fit(job, network_of(job))


def test_no_process_outlives_the_first() -> None:
    first = Crew(size=2)
    first._listen()
    other = first._start(1)
    # As when it is killed: what the other waits at is closed.
    first._store = None
    assert other.wait(timeout=300) == 1


def test_only_what_can_be_resumed_is_a_strategy() -> None:
    with pytest.raises(ConfigError, match=r"--strategy fsdp: .* Choose auto or ddp"):
        check_machine(TrainConfig(device="cpu", strategy="fsdp"))
    assert check_machine(TrainConfig(device="cpu", devices="3", strategy="ddp")) == 3
    assert check_machine(TrainConfig(device="cpu")) == 1


def test_machines_that_nobody_named_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Start the command with srun or torchrun"):
        Crew.of(TrainConfig(num_nodes=2))
    told = {"TORCHELASTIC_RUN_ID": "a", "RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "host"}
    for name, value in {**told, "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    found = Crew.of(TrainConfig(num_nodes=2, devices="2"))
    assert (found.rank, found.size, found.address, found.port) == (3, 4, "host", 29501)
    with pytest.raises(ConfigError, match="ask for 2 processes, and 4 were started"):
        found.require(2)
    # One device takes no notice of what a queue started.
    assert Crew.of(TrainConfig()).size == 1

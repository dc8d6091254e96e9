import json
import os
import pickle
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from core.model.classifier import learning_rate
from core.model.resume_points import AtomicCheckpointIO, latest_resume_point

# Small trainings, each in a process of its own so that it can be killed. All are forks of one
# that has done the imports, which cost far more than the trainings.
PROGRAM = textwrap.dedent(
    """
    import sys
    import numpy as np
    import albumentations as A
    from core.data.loader import StepSampler, TrainImages, eval_batches, train_loader
    from core.data.prepared import Prepared

    class App:
        @staticmethod
        def augment(size):
            return A.Compose([A.Resize(*size), A.HorizontalFlip(), A.RandomBrightnessContrast(p=1)])

    # A process that loads images imports this file as well, and only what stands above.
    if __name__ == "__main__":
        import gc, hashlib, json, os, signal, traceback
        from pathlib import Path
        import pandas as pd, torch
        from torch.optim.optimizer import register_optimizer_step_post_hook
        from torch.utils.data import DataLoader, Dataset
        from core.base.settings import TrainConfig
        from core.model.backbone import create_backbone
        from core.model.checkpoint import build_network
        from core.model.classifier import Classifier
        from core.model.fitting import Fitting, fit
        from core.model.stopping import StoppedError
        from core.training.recipe import parameter_groups

        class Val(Dataset):
            def __len__(self): return 1
            def __getitem__(self, i):
                block = eval_batches(store, np.arange(8), size_px=(side, side), batch=8)
                return {"pixels": next(iter(block))[1], "y": torch.from_numpy(y[:8])}

        rng, n = np.random.default_rng(0), 32
        pixels = rng.integers(0, 255, (n, 40, 40, 3), dtype=np.uint8)
        y = np.arange(n) % 2
        pixels[y == 1, :20] //= 3
        table = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "reason": ""})
        where = np.stack([np.zeros(n, int), np.arange(n)], 1)
        store = Prepared(table, (40, 40, 3), [pixels], where)

        def training(folder, at, how, workers, seconds):
            config = TrainConfig(
                backbone="test_resnet", weights="none", epochs=2, batch=8, device="cpu",
                lr_head=1e-3, lr_backbone=1e-3, dropout=0.2, precision=asked["precision"],
                batchnorm="frozen" if asked["frozen"] else "train",
                # What is not killed writes only after its epochs, for a test's time is dear.
                checkpoint_minutes=0.0 if at >= 0 else 60.0, patience=1.0, clip=0.05)
            torch.manual_seed(0)
            backbone, weights = create_backbone("test_resnet", weights="none", in_channels=3)
            network = build_network(
                {"channels": 3, "dtype": "uint8", "pool": "last_two", "link": "softmax",
                 "mean": weights.mean, "std": weights.std, "dropout": 0.2,
                 "norms": config.batchnorm, "frozen_stages": asked["frozen"]},
                n_classes=2, backbone=backbone)
            if at >= 0:
                plain = Classifier.on_train_batch_start
                def deadly(self, batch, batch_idx):
                    if self.global_step == at:
                        os.kill(os.getpid(), how)
                    plain(self, batch, batch_idx)
                Classifier.on_train_batch_start = deadly
            did = {"norms": []}
            def look(optimizer, args, kwargs):
                grads = [p.grad for g in optimizer.param_groups for p in g["params"]]
                norms = [g.float().norm() for g in grads if g is not None]
                did["norms"].append(float(torch.stack(norms).norm()))
                did["fused"] = bool(optimizer.param_groups[0]["fused"])
            def started(self):
                conv = next(m for m in self.network.modules() if isinstance(m, torch.nn.Conv2d))
                did["precision"] = self.trainer.precision
                conv.register_forward_hook(
                    lambda layer, _, out: did.update(
                        computed=str(out.dtype), weights=str(layer.weight.dtype),
                        channels_last=out.is_contiguous(memory_format=torch.channels_last)))
            Classifier.on_train_start = started
            register_optimizer_step_post_hook(look)
            images = TrainImages(store, y, app=App, augment=True, seed=0)
            def size_of(epoch):
                return (32, 32) if asked["small_first"] and epoch < 1 else (side, side)
            def loader(step):
                sampler = StepSampler(np.arange(n), batch=8, seed=0, weights=None,
                                      size_of=size_of, step=step)
                return train_loader(images, sampler, workers=workers, pin=False)
            done = fit(network, config, Fitting(
                groups=parameter_groups(network, config), train=loader,
                val=DataLoader(Val(), batch_size=None), steps_per_epoch=4, folder=folder,
                start_log_loss=1e9, score=None, seconds=seconds))
            (root / f"did-{folder.name}.json").write_text(json.dumps(did))
            digest = hashlib.sha256(done.best.read_bytes()).hexdigest()
            return f"{digest} {len(done.log)} {done.stopped}".rstrip()

        def forked(name, folder, at=-1, how=signal.SIGKILL, workers=0, seconds=1e9):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    (root / name).write_text(training(root / folder, at, how, workers, seconds))
                    code = 0
                except StoppedError as stopped:
                    (root / name).write_text(str(stopped))
                    code = stopped.exit_code
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code == (0 if at < 0 else -9 if how == signal.SIGKILL else 130), code

        # Left alone by the collector, what was imported is shared by all forks.
        gc.collect()
        gc.freeze()
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        for title, asked in json.loads(sys.argv[2]).items():
            root, side = Path(sys.argv[1]) / title, asked["side"]
            root.mkdir()
            if allowed:
                os.sched_setaffinity(0, {min(allowed)} if asked["one_core"] else allowed)
            # What is resumed loads in its own process: the same bits with any number of workers.
            forked("whole", "a", workers=asked["workers"])
            for step in asked["killed"]:
                forked("none", f"killed-{step}", step)
                points = sorted(p.name for p in (root / f"killed-{step}").glob("step-*.ckpt"))
                (root / f"points-{step}").write_text(" ".join(points))
                forked(f"resumed-{step}", f"killed-{step}")
            if len(asked["killed"]) == 1:
                continue
            # Less than nothing, since a tiny epoch may take 0.0 s.
            forked("short", "b", seconds=-1.0)
            for how in (signal.SIGINT, signal.SIGTERM):
                forked(f"said-{how.name}", how.name, 5, how)
                forked(f"resumed-{how.name}", how.name)
    """
)


# Each value that a rule of `core.base.machine` can return for a processor is trained with,
# whatever the rule returns on this one: torch emulates bfloat16 where there are no instructions.
PLAIN: dict[str, Any] = {
    "precision": "32-true",
    "frozen": 0,
    "side": 32,
    "small_first": False,
    "workers": 0,
    "one_core": False,
    "killed": [4, 6],
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "bfloat16 on one core": {"precision": "bf16-mixed", "one_core": True, "killed": [6]},
    "frozen stages, small first": {"frozen": 3, "side": 48, "small_first": True, "killed": [6]},
    "as on an accelerator": {"precision": "bf16-mixed", "side": 48, "workers": 2, "killed": [6]},
}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trainings")
    (root / "training.py").write_text(PROGRAM)
    asked = json.dumps({name: {**PLAIN, **variant} for name, variant in VARIANTS.items()})
    done = subprocess.run(
        [sys.executable, str(root / "training.py"), str(root), asked],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def trainings(every: Path) -> Path:
    return every / "plain"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")
@pytest.mark.parametrize("name", VARIANTS)
def test_every_choice_of_a_machine_trains_and_resumes_to_the_same_bits(
    every: Path, name: str
) -> None:
    assert (every / name / "resumed-6").read_text() == (every / name / "whole").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")
@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_computes_as_it_was_planned(every: Path, name: str) -> None:
    did = json.loads((every / name / "did-a.json").read_text())
    precision = {**PLAIN, **VARIANTS[name]}["precision"]
    assert did["precision"] == precision
    assert did["weights"] == "torch.float32"
    assert (
        did["computed"] == {"32-true": "torch.float32", "bf16-mixed": "torch.bfloat16"}[precision]
    )
    assert did["channels_last"]
    assert did["fused"]
    # Two epochs of four steps, each with a gradient that was longer than the limit.
    assert did["norms"] == pytest.approx([0.05] * 8, rel=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")
@pytest.mark.parametrize(
    ("step", "points"),
    [
        pytest.param(4, "step-00000003.ckpt step-00000004.ckpt", id="at an epoch boundary"),
        pytest.param(6, "step-00000005.ckpt step-00000006.ckpt", id="inside an epoch"),
    ],
)
def test_killed_training_ends_with_the_same_bits(trainings: Path, step: int, points: str) -> None:
    assert (trainings / f"points-{step}").read_text() == points
    assert (trainings / f"resumed-{step}").read_text() == (trainings / "whole").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and fork are POSIX")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_stopped_training_says_so_and_ends_with_the_same_bits(trainings: Path, how: str) -> None:
    # Asked at the start of the sixth step, which is still done.
    said = (trainings / f"said-{how}").read_text()
    assert said == "Stopped, the run is kept. The same command goes on from step 6."
    assert (trainings / f"resumed-{how}").read_text() == (trainings / "whole").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
def test_epoch_that_does_not_fit_into_the_time_is_not_begun(trainings: Path) -> None:
    said = (trainings / "short").read_text().split(" ", 2)
    assert said[1:] == [
        "1",
        "stopped after epoch 1 of 2: the next would not have fitted into the time given",
    ]
    assert (trainings / "whole").read_text().split()[1:] == ["2"]


def test_torn_resume_point_is_passed_over(tmp_path: Path) -> None:
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"step": torch.tensor(1)}, tmp_path / "step-00000001.ckpt")
    writer.save_checkpoint({"step": torch.tensor(2)}, tmp_path / "step-00000002.ckpt")
    newest = tmp_path / "step-00000002.ckpt"
    newest.write_bytes(newest.read_bytes()[:100])
    assert latest_resume_point(tmp_path) == tmp_path / "step-00000001.ckpt"


def test_two_resume_points_are_kept(tmp_path: Path) -> None:
    writer = AtomicCheckpointIO()
    for step in range(4):
        writer.save_checkpoint({"step": step}, tmp_path / f"step-{step:08d}.ckpt")
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["step-00000002.ckpt", "step-00000003.ckpt"]


def test_resume_point_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    torch.save({"x": Evil()}, tmp_path / "step-00000001.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "step-00000001.ckpt")
    assert latest_resume_point(tmp_path) is None
    assert not (tmp_path / "canary").exists()


def test_learning_rate_rises_then_falls_to_its_floor() -> None:
    rates = [learning_rate(s, total=100, warmup=0.1, final=0.01) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.01)

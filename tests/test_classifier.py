import signal
import threading

import pytest
import torch

from core.base.settings import TrainConfig
from core.model.backbone import create_backbone
from core.model.checkpoint import build_network
from core.model.classifier import Classifier, DivergedError
from core.model.stopping import StoppedError, StopSign
from core.training.recipe import parameter_groups


def classifier(**settings: object) -> Classifier:
    torch.manual_seed(0)
    backbone, weights = create_backbone("test_resnet", weights="none", in_channels=3)
    network = build_network(
        {
            "channels": 3,
            "dtype": "float32",
            "pool": "last",
            "link": "softmax",
            "mean": weights.mean,
            "std": weights.std,
        },
        n_classes=2,
        backbone=backbone,
    )
    config = TrainConfig.model_validate({"weights": "none", **settings})
    groups = parameter_groups(network, config)
    return Classifier(network, config, groups=groups, total_steps=10)


def test_loss_that_is_no_number_ends_the_training_at_that_step() -> None:
    pixels = torch.zeros(2, 3, 32, 32)
    pixels[1, 0, 5, 5] = float("nan")
    with pytest.raises(DivergedError, match=r"became nan at step 1.*Lower --set lr_backbone"):
        classifier().training_step({"pixels": pixels, "y": torch.tensor([0, 1])}, 0)


def test_averaged_network_is_judged_unless_it_is_switched_off() -> None:
    averaging, plain = classifier(), classifier(ema=False)
    assert averaging.judged is averaging.averaged
    assert not any(p.requires_grad for p in averaging.judged.parameters())
    assert plain.judged is plain.network


def test_stop_is_asked_politely_once_and_meant_the_second_time() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSign() as sign:
        signal.raise_signal(signal.SIGINT)
        assert sign.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert StoppedError(7).exit_code == 130
    assert "goes on from step 7" in str(StoppedError(7))


def test_background_job_stays_deaf_to_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSign() as sign:
            signal.raise_signal(signal.SIGINT)
            assert not sign.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter() -> None:
        with StopSign():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}])
def test_priors_of_drawing_are_taken_back_in_the_loss_and_nowhere_else(
    settings: dict[str, float],
) -> None:
    shift = torch.tensor([1.5, -0.5])
    plain, shifted = classifier(ema=False, **settings), classifier(ema=False, **settings)
    shifted.prior_shift = shift
    pixels, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 1, 0])
    losses = []
    for module in (plain, shifted):
        module.eval()
        module.log = lambda *_a, **_k: None  # type: ignore[method-assign]
        torch.manual_seed(3)
        losses.append(float(module.training_step({"pixels": pixels, "y": y}, 0).detach()))
    logits = plain.network(pixels).detach()
    assert torch.equal(logits, shifted.network(pixels).detach())
    if not settings:
        # Written out: minus the log of the share of the true class among shifted logits.
        moved = (logits + shift).exp()
        wanted = -(moved[torch.arange(4), y] / moved.sum(dim=1)).log().mean()
        assert losses[1] == pytest.approx(float(wanted), abs=1e-5)
    assert abs(losses[0] - losses[1]) > 0.05

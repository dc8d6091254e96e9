"""Train one network on given rows: probe, fine-tuning, the better of the two, its scores.

A run has one member; a cross-validated run has one per fold. The rows a member
is judged on are never seen here except to be scored at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from core.base.machine import pick_device
from core.base.outputs import atomic_file
from core.base.progress import log, track
from core.data.loader import eval_batches
from core.model.backbone import LoadedWeights, create_backbone
from core.model.checkpoint import build_network, load_weights, save_network
from core.model.fitting import Fitted
from core.model.heads import Head, Probe, fit_cuts, fit_probe, loss_of, recut
from core.model.inference import run_batches
from core.model.out_of_distribution import Familiarity, fit_familiarity
from core.statistics.calibration import fit_temperature
from core.statistics.scores import link_of
from core.training.attention_fitting import UnitImages, fit_pool
from core.training.fine_tuning import EVAL_BATCH, Data, FineTuning, Training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from core.model.network import Network
    from core.training.crew import Crew

__all__ = ["Trained", "epochs_within", "train_member"]

# Seconds of a core kept for calibration, evaluation and the report, which follow the last network.
REPORT_S = 20.0
# The backbone and head that a training starts from.
START = "start.safetensors"


@dataclass(frozen=True)
class Trained:
    """One trained network and what it says of the rows it was not trained on.

    Attributes:
        network: the kept one, in evaluation mode.
        description: what ``build_network`` needs, for ``run.json``.
        weights: what it started from.
        familiarity: of its embeddings.
        unfamiliar_above: the 99th percentile of validation distances.
        kept: ``fine-tuned`` or ``probe``.
        best_epoch: 1-based, 0 for the probe.
        probe: penalty, log-losses and held-out logits of the probe, for comparison.
        probe_logits: (N, L) of the probe; NaN for rows not asked for.
        logits: (N, L) of the kept network; NaN for training rows.
        distance: (N,) embedding distance; NaN for training rows.
        log: one row per epoch.
        stopped: when and why fine-tuning ended early; empty if it ran through.
        attended: (N, 1 + L) attention and logits of each image for its unit; NaN for
            training rows; None where no weights were learned.
        attention: how they were learned, for ``run.json``; empty if they were not.
    """

    network: Network
    description: dict[str, Any]
    weights: LoadedWeights
    familiarity: Familiarity
    unfamiliar_above: float
    kept: str
    best_epoch: int
    probe: dict[str, Any]
    probe_logits: NDArray[np.float64]
    logits: NDArray[np.float64]
    distance: NDArray[np.float64]
    log: pd.DataFrame
    stopped: str
    attended: NDArray[np.float64] | None
    attention: dict[str, Any]


def train_member(
    training: Training,
    *,
    rows: Mapping[str, NDArray[np.int_]],
    work: Path,
    crew: Crew,
    left: int = 1,
) -> Trained:
    """Train on ``rows["train"]``, choose on ``rows["val"]``, score ``val`` and ``held``.

    Args:
        training: what all networks of the run share.
        rows: train, val, held: row numbers without failures.
        work: folder of resume points; may hold those of a killed training.
        crew: the processes that fine-tune together.
        left: networks still to be trained, this one included; they share the time.
    """
    began = _Clock()
    work.mkdir(parents=True, exist_ok=True)
    config, data, size_px = training.config, training.data, training.preparation.size_px
    network, description, weights = _new_network(training)
    link = network.head.link
    if config.batchnorm == "recalibrate":
        _recalibrate(network, data, rows["train"], size_px)
    device = pick_device(config.device)
    scored = np.concatenate([rows["val"], rows["held"]])
    everything = np.concatenate([rows["train"], scored])
    probe, embeddings = _probe(network.to(device), training, rows, everything, work)
    n_train = len(rows["train"])
    with torch.no_grad():
        z = network.eval().classify(torch.from_numpy(embeddings).to(device)).double().cpu().numpy()
    probe_logits = _scatter(len(data.y), everything, z)
    y_val = data.y[rows["val"]]
    start = float(
        loss_of(link, torch.from_numpy(probe_logits[rows["val"]]), torch.from_numpy(y_val))
    )
    log.info("probe on frozen features: validation log-loss %.4f", start)
    fitted = Fitted(None, 0, pd.DataFrame(), "")
    if config.epochs:
        # All images are scored once more at the end, which takes as long as their frozen features.
        seconds = began.seconds_each(training, left) - began.spent()
        job = FineTuning(training, description, rows, work, start, seconds)
        fitted = _fine_tuned(network, job, crew)
    network.to(device).eval()
    if fitted.best is not None:
        batches = eval_batches(data.store, everything, size_px=size_px, batch=EVAL_BATCH)
        with track("scoring", len(everything)) as advance:
            z, embeddings = run_batches(network, batches, advance=advance)
    if link == "regression":
        z = recut(z, _set_cuts(network, z[n_train : n_train + len(y_val)], y_val))
        probe_logits = recut(probe_logits, fit_cuts(probe_logits[rows["val"]], y_val))
    familiarity = fit_familiarity(
        embeddings[:n_train], embeddings[n_train : n_train + len(rows["val"])]
    )
    distance = familiarity.distance(embeddings[n_train:])
    attention, attended = _weigh(network.cpu(), training, rows, everything, embeddings)
    if attended is not None:
        description = {**description, "attention": data.unit}
    return Trained(
        network=network,
        description=description,
        weights=weights,
        familiarity=familiarity,
        unfamiliar_above=float(np.percentile(distance[: len(rows["val"])], 99)),
        kept="probe" if fitted.best is None else "fine-tuned",
        best_epoch=fitted.best_epoch,
        probe={
            "penalty": probe.penalty,
            "cross_validated_log_loss": {f"{c:g}": round(v, 6) for c, v in probe.log_loss.items()},
            "val_log_loss": start,
        },
        probe_logits=_scatter(len(data.y), scored, probe_logits[scored]),
        logits=_scatter(len(data.y), scored, z[n_train:]),
        distance=_scatter(len(data.y), scored, distance[:, None])[:, 0],
        log=fitted.log,
        stopped=fitted.stopped,
        attended=None if attended is None else _scatter(len(data.y), scored, attended[n_train:]),
        attention=attention,
    )


def _fine_tuned(network: Network, job: FineTuning, crew: Crew) -> Fitted:
    """Fine-tune, and put the weights that are kept into the network."""
    if job.training.config.weights == "none":
        # The probe of a random backbone knows features that will not stay; its large
        # weights would only throw the first steps about.
        network.start_from(*_blank(network))
    fitted = crew.fit(job, network)
    if fitted.best is None:
        # No epoch beat the probe: the untouched backbone with the probe's head is kept.
        log.info("fine-tuning did not lower the validation log-loss; the probe is kept")
    load_weights(fitted.best or job.work / START, network)
    return fitted


def _weigh(
    network: Network,
    training: Training,
    rows: Mapping[str, NDArray[np.int_]],
    everything: NDArray[np.int_],
    embeddings: NDArray[np.float32],
) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    """Learn how much an image of a unit counts: what was learned, and (M, 1 + L) of each image."""
    data, seed = training.data, training.config.seed
    if not data.unit:
        return {}, None
    whole = np.zeros((len(data.y), embeddings.shape[1]), dtype=np.float32)
    whole[everything] = embeddings
    images = UnitImages(whole, data.y, data.owner)
    pooled = fit_pool(network, training.task, images, unit=data.unit, rows=rows, seed=seed)
    if pooled is None:
        return {}, None
    network.attention = pooled.pool
    heat = fit_temperature(pooled.val_logits, pooled.val_y, link=network.head.link)
    pooled.pool.temperature.fill_(heat)
    log.info("attention over the images of a %s: %s kept", data.unit, pooled.facts["kept"])
    return pooled.facts, pooled.pool.of_images(embeddings)


def _set_cuts(network: Network, z: NDArray[np.float64], y: NDArray[np.int_]) -> NDArray[np.float64]:
    """Give a regression's head the cuts between grades that suit validation."""
    cuts = fit_cuts(z, y)
    network.head.cuts.copy_(torch.from_numpy(cuts))
    return cuts


class _Clock:
    """Time since now, and how much of a core other programs left of it."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def spent(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._wall

    def seconds_each(self, training: Training, networks: int) -> float:
        """Seconds left for each of so many networks; infinity without a budget."""
        load = max(1.0, self.spent() / max(time.process_time() - self._cpu, 1e-3))
        return (training.until - time.monotonic() - load * REPORT_S) / networks


def epochs_within(training: Training, *, rows: Mapping[str, NDArray[np.int_]], members: int) -> int:
    """How many epochs fit into the time left, measured on a few steps with the real network.

    The frozen features, one validation per epoch, the final scoring and the report are
    counted in.

    Args:
        training: what all networks of the run share, and until when they may take.
        rows: train, val, held.
        members: networks that share the budget.
    """
    clock = _Clock()
    config, data, size_px = training.config, training.data, training.preparation.size_px
    network, _, _ = _new_network(training)
    device = pick_device(config.device)
    network.to(device).train()
    batch = config.batch or 32
    few = rows["train"][: min(batch, len(rows["train"]))]
    y = torch.from_numpy(data.y[few]).to(device)
    _, pixels = next(eval_batches(data.store, few, size_px=size_px, batch=len(few)))
    is_mixed = config.precision in {"bf16-mixed", "16-mixed"}
    seconds = {"step": 0.0, "score": 0.0}
    for _ in range(3):  # the first of each is a warm-up
        start = time.monotonic()
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            logits = network(pixels.to(device)).float()
        torch.autograd.backward(loss_of(network.head.link, logits, y))
        seconds["step"] = (time.monotonic() - start) / len(few)
    for _ in range(2):
        start = time.monotonic()
        run_batches(network, [(few, pixels)])
        seconds["score"] = (time.monotonic() - start) / len(few)
    n_train, n_val = len(rows["train"]), len(rows["val"])
    everything = n_train + n_val + len(rows["held"])
    fixed = 2 * everything * seconds["score"]
    # A tenth on top of the step: loading, augmentation, the optimiser. An epoch at the smaller
    # size takes less by the pixels.
    saved = config.small_share * (1 - config.small_scale**2)
    epoch = 1.1 * n_train * seconds["step"] * (1 - saved) + n_val * seconds["score"]
    left = clock.seconds_each(training, members) - fixed
    return max(0, int(left / epoch))


def _new_network(training: Training) -> tuple[Network, dict[str, Any], LoadedWeights]:
    """A network to be trained, its description for ``run.json``, and what it starts from."""
    task, config, preparation = training.task, training.config, training.preparation
    torch.manual_seed(config.seed)
    backbone, weights = create_backbone(
        config.backbone, weights=config.weights, in_channels=preparation.form.channels
    )
    description = {
        "backbone": config.backbone,
        "channels": preparation.form.channels,
        "dtype": preparation.form.dtype,
        "pool": config.pool,
        "link": link_of(task, config.head),
        "mean": list(weights.mean),
        "std": list(weights.std),
        "dropout": config.dropout,
        "norms": "train" if config.batchnorm == "train" else "frozen",
        "frozen_stages": config.freeze_stages,
        "flips": config.flips,
    }
    network = build_network(description, n_classes=len(task.classes), backbone=backbone)
    return network, description, weights


def _probe(
    network: Network,
    training: Training,
    rows: Mapping[str, NDArray[np.int_]],
    everything: NDArray[np.int_],
    work: Path,
) -> tuple[Probe, NDArray[np.float32]]:
    """Frozen features of every row, and the head fitted on the training rows alone.

    All members of a run begin with the same backbone, so they share its features,
    unless its statistics were taken from a member's own training rows.
    """
    config, data, size_px = training.config, training.data, training.preparation.size_px
    start = work / START
    if start.is_file():
        load_weights(start, network)
    else:
        save_network(start, network)
    cache = (work if config.batchnorm == "recalibrate" else work.parent) / "features.npz"
    features = np.full((len(data.y), network.head.weight.shape[1]), np.nan, np.float32)
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            features = stored["embeddings"]
    missing = everything[np.isnan(features[everything]).all(axis=1)]
    if len(missing):
        batches = eval_batches(data.store, missing, size_px=size_px, batch=EVAL_BATCH)
        with track("frozen features", len(missing)) as advance:
            _, features[missing] = run_batches(network, batches, advance=advance)
        _save_array(cache, features)
    embeddings = features[everything]
    n_train = len(rows["train"])
    probe = fit_probe(
        embeddings[:n_train],
        data.y[rows["train"]],
        data.groups[rows["train"]],
        link=network.head.link,
        n_classes=len(training.task.classes),
        seed=config.seed,
    )
    network.start_from(probe.head, torch.from_numpy(probe.mean), torch.from_numpy(probe.std))
    save_network(start, network)
    return probe, embeddings


def _recalibrate(
    network: Network, data: Data, rows: NDArray[np.int_], size_px: tuple[int, int]
) -> None:
    """Take the normalisation statistics from one pass over the training images."""
    for module in network.backbone.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a cumulative average
            module.train()
    with torch.no_grad():
        for _, pixels in eval_batches(data.store, rows, size_px=size_px, batch=EVAL_BATCH):
            network.embed(pixels)
    network.eval()


def _blank(network: Network) -> tuple[Head, torch.Tensor, torch.Tensor]:
    """A head that knows nothing, and a standardisation that changes nothing."""
    width = network.head.weight.shape[1]
    head = Head(network.head.link, width, network.n_classes)
    return head, torch.zeros(width), torch.ones(width)


def _scatter(n: int, rows: NDArray[np.int_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of some rows in an array of all, NaN elsewhere."""
    out = np.full((n, values.shape[1]), np.nan)
    out[rows] = values
    return out


def _save_array(path: Path, embeddings: NDArray[np.float32]) -> None:
    """Write an array whole or not at all."""
    with atomic_file(path) as stream:
        np.savez(stream, embeddings=embeddings)

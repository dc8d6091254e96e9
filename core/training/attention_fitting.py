"""Fit the attention that aggregates the images of a unit (``core.model.attention_pooling``).

The backbone is the fine-tuned one and stays as it is; only the attention and a head
of its own are fitted, on units of the training groups, and the step with the
lowest log-loss on validation units is kept.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from core.model.attention_pooling import AttentionPool
from core.model.heads import loss_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.app import Task
    from core.model.network import Network

__all__ = ["Pooled", "can_learn", "fit_pool", "label_units"]


STEPS = 150


RATE = 2e-3


# Weight decay; the features are standardised and far more numerous than the units.
DECAY = 0.1


# Steps without a gain on validation after which nothing better is expected.
PATIENCE = 40


# Units with several images, in training and in validation, below which nothing can be learned.
LEAST_UNITS = 8


@dataclass(frozen=True)
class Pooled:
    """A fitted pool.

    Attributes:
        pool: in evaluation mode.
        facts: unit, kept (``attention`` or ``equal weights``), step, n_units, n_several,
            log-losses of validation units before and after; for ``run.json``.
        val_logits: (U, L) of the validation units, to calibrate on.
        val_y: their truth.
    """

    pool: AttentionPool
    facts: dict[str, Any]
    val_logits: NDArray[np.float64]
    val_y: NDArray[np.int_]


def fit_pool(
    network: Network,
    task: Task,
    *,
    unit: str,
    embeddings: NDArray[np.float32],
    y: NDArray[np.int_],
    owner: NDArray[np.object_],
    train: NDArray[np.int_],
    val: NDArray[np.int_],
    seed: int,
) -> Pooled | None:
    """Fit attention on units of training images, keep the step that is best on validation units.

    Args:
        network: the kept one; its head is the start.
        task: with its class order.
        unit: name, for the record.
        embeddings: (N, D) of the kept backbone.
        y: (N,) class indices, or (N, K) zeros and ones.
        owner: (N,) the unit of each image as text; an image without one is its own.
        train: rows of the training split.
        val: rows of the validation split.
        seed: of the attention's first weights.

    Returns:
        None where too few units have several images to learn from.
    """
    parts = {name: _units(owner[rows]) for name, rows in (("train", train), ("val", val))}
    several = {name: int((np.bincount(index) > 1).sum()) for name, (index, _) in parts.items()}
    if not can_learn(owner, train, val):
        return None
    torch.manual_seed(seed)
    pool = AttentionPool(network.head, network.feature_mean, network.feature_std).cpu()
    rows_of = {"train": train, "val": val}
    data = {}
    for name, (index, n_units) in parts.items():
        rows = rows_of[name]
        label = label_units(y[rows], index, n_units, task)
        data[name] = (
            torch.from_numpy(np.ascontiguousarray(embeddings[rows])),
            torch.from_numpy(index),
            n_units,
            torch.from_numpy(label),
        )

    def loss(name: str) -> Tensor:
        x, index, n_units, truth = data[name]
        attention, logits = pool(x)
        return loss_of(pool.head.link, _average(attention, logits, index, n_units), truth)

    with torch.no_grad():
        start = best = float(loss("val"))
    kept, state, step = 0, copy.deepcopy(pool.state_dict()), 0
    optimiser = torch.optim.AdamW(
        [
            {"params": [*pool.look.parameters(), *pool.weigh.parameters()], "lr": RATE},
            # The head is already near its place; with thousands of features it moves far at once.
            {"params": list(pool.head.parameters()), "lr": 0.05 * RATE},
        ],
        weight_decay=DECAY,
    )
    for step in range(1, STEPS + 1):
        optimiser.zero_grad()
        loss("train").backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            now = float(loss("val"))
        if now < best:
            best, kept, state = now, step, copy.deepcopy(pool.state_dict())
        elif step - kept >= PATIENCE:
            break
    pool.load_state_dict(state)
    with torch.no_grad():
        x, of_image, n_val, truth = data["val"]
        attention, logits = pool(x)
        pooled = _average(attention, logits, of_image, n_val).double().numpy()
    facts = {
        "unit": unit,
        "kept": "attention" if kept else "equal weights",
        "step": kept,
        "steps": step,
        "n_units": {name: part[1] for name, part in parts.items()},
        "n_several": several,
        "val_log_loss": {"start": round(start, 6), "kept": round(best, 6)},
    }
    return Pooled(pool.eval(), facts, pooled, truth.numpy())


def can_learn(owner: NDArray[np.object_], train: NDArray[np.int_], val: NDArray[np.int_]) -> bool:
    """Whether enough units of both splits have several images."""
    return all(
        int((np.bincount(_units(owner[rows])[0], minlength=1) > 1).sum()) >= LEAST_UNITS
        for rows in (train, val)
    )


def label_units(
    y: NDArray[np.int_], index: NDArray[np.int_], n_units: int, task: Task
) -> NDArray[np.int_]:
    """The truth of units: the highest of its images, their union, or what most of them are.

    Args:
        y: (N,) class indices, or (N, K) zeros and ones.
        index: (N,) the unit of each image, in 0 .. U-1.
        n_units: U.
        task: its kind decides, as in ``core.evaluation.units``.
    """
    if task.kind == "multilabel":
        union = np.zeros((n_units, y.shape[1]), dtype=y.dtype)
        np.maximum.at(union, index, y)
        return union
    if task.kind in {"binary", "ordinal"}:
        highest = np.zeros(n_units, dtype=y.dtype)
        np.maximum.at(highest, index, y)
        return highest
    counts = np.zeros((n_units, len(task.classes)), dtype=np.int_)
    np.add.at(counts, (index, y), 1)
    return np.asarray(counts.argmax(axis=1))


def _units(owner: NDArray[np.object_]) -> tuple[NDArray[np.int_], int]:
    """The unit of each row as a number, and how many there are."""
    names, index = np.unique(owner.astype(str), return_inverse=True)
    return index.astype(np.int64), len(names)


def _average(attention: Tensor, logits: Tensor, index: Tensor, n_units: int) -> Tensor:
    """(U, L): the logits of each unit's images, weighted by the softmax of their attention."""
    top = torch.full((n_units,), -torch.inf, dtype=attention.dtype)
    top = top.scatter_reduce(0, index, attention.detach(), "amax")
    share = (attention - top[index]).exp()
    total = torch.zeros(n_units, dtype=share.dtype).index_add(0, index, share)
    weighted = logits * (share / total[index])[:, None]
    return torch.zeros(n_units, logits.shape[1], dtype=logits.dtype).index_add(0, index, weighted)

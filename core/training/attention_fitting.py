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
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from core.app import Task
    from core.model.network import Network

__all__ = ["Pooled", "UnitImages", "can_learn", "fit_pool", "label_units"]


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


@dataclass(frozen=True)
class UnitImages:
    """Images of units, in the embedding of the kept backbone.

    Attributes:
        embeddings: (N, D).
        y: (N,) class indices, or (N, K) zeros and ones.
        owner: (N,) the unit of each image as text; an image without one is its own.
    """

    embeddings: NDArray[np.float32]
    y: NDArray[np.int_]
    owner: NDArray[np.object_]


@dataclass(frozen=True)
class _Part:
    """The units of one split: (N, D) images, (N,) the unit of each, their number and truth."""

    x: Tensor
    index: Tensor
    n_units: int
    truth: Tensor

    @classmethod
    def of(cls, images: UnitImages, rows: NDArray[np.int_], task: Task) -> _Part:
        """Those of some rows."""
        index, n_units = _units(images.owner[rows])
        label = label_units(images.y[rows], index, n_units, task)
        x = torch.from_numpy(np.ascontiguousarray(images.embeddings[rows]))
        return cls(x, torch.from_numpy(index), n_units, torch.from_numpy(label))

    @property
    def n_several(self) -> int:
        """Units with several images."""
        return int((self.index.bincount() > 1).sum())

    def logits(self, pool: AttentionPool) -> Tensor:
        """(U, L): those of its units."""
        attention, logits = pool(self.x)
        return _average(attention, logits, self.index, self.n_units)


def fit_pool(
    network: Network,
    task: Task,
    images: UnitImages,
    *,
    unit: str,
    rows: Mapping[str, NDArray[np.int_]],
    seed: int,
) -> Pooled | None:
    """Fit attention on units of training images, keep the step that is best on validation units.

    Args:
        network: the kept one; its head is the start.
        task: with its class order.
        images: of both splits.
        unit: name, for the record.
        rows: train and val: their rows.
        seed: of the attention's first weights.

    Returns:
        None where too few units have several images to learn from.
    """
    if not can_learn(images.owner, rows["train"], rows["val"]):
        return None
    torch.manual_seed(seed)
    pool = AttentionPool(network.head, network.feature_mean, network.feature_std).cpu()
    parts = {name: _Part.of(images, rows[name], task) for name in ("train", "val")}

    def loss(name: str) -> Tensor:
        return loss_of(pool.head.link, parts[name].logits(pool), parts[name].truth)

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
        pooled = parts["val"].logits(pool).double().numpy()
    facts = {
        "unit": unit,
        "kept": "attention" if kept else "equal weights",
        "step": kept,
        "steps": step,
        "n_units": {name: part.n_units for name, part in parts.items()},
        "n_several": {name: part.n_several for name, part in parts.items()},
        "val_log_loss": {"start": round(start, 6), "kept": round(best, 6)},
    }
    return Pooled(pool.eval(), facts, pooled, parts["val"].truth.numpy())


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

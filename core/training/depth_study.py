"""Study of depth and shortcuts: small residual and plain networks on the user's images.

Every network sees the same batches in the same order at the same learning rate, with equally
many images of each class, so that guessing is wrong on 1 - 1 / K of them. What is compared is
the error on the images it is trained on, because degradation is a failure to train and not to
generalise. Beside it stands the norm of the gradient, stage by stage, at the start and on the
way. With BatchNorm a deep plain network's gradient grows towards its first layers at the
start; without normalisation it would vanish.

Sources: He et al. 2016 (arXiv:1512.03385); Balduzzi et al. 2017, "The Shattered Gradients
Problem" (arXiv:1702.08591); Yang et al. 2019, "A Mean Field Theory of Batch Normalization"
(arXiv:1902.08129).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from core.base.progress import track
from core.model.depth_twins import gradient_norms, small_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["DEPTHS", "Course", "Lesson", "name_of", "steps_within", "study"]

# Layers of the networks compared; each has a plain twin.
DEPTHS = (20, 56)
BATCH, RATE, MOST_STEPS, LEAST_STEPS = 32, 0.05, 400, 60
# Parts of a training whose mean error is told.
PARTS = 5


@dataclass(frozen=True)
class Course:
    """One network's training.

    Attributes:
        depth, is_plain, seed: which network.
        wrong: (steps,) share of each batch that was put wrong before the step.
        gradient: for some steps, (step, stage -> norm).
        seconds: processor seconds.
    """

    depth: int
    is_plain: bool
    seed: int
    wrong: NDArray[np.float64]
    gradient: tuple[tuple[int, dict[str, float]], ...]
    seconds: float

    @property
    def name(self) -> str:
        """``ResNet-20`` or ``plain-20``."""
        return name_of(self.depth, is_plain=self.is_plain)

    def parts(self) -> list[float]:
        """Training error in fifths of the training."""
        return [float(part.mean()) for part in np.array_split(self.wrong, PARTS)]


def name_of(depth: int, *, is_plain: bool) -> str:
    """``ResNet-20`` or ``plain-20``."""
    return f"{'plain' if is_plain else 'ResNet'}-{depth}"


@dataclass(frozen=True)
class Lesson:
    """What every network is trained on.

    Attributes:
        pixels: (N, C, H, W), standardised per channel.
        y: (N,) class indices.
        n_classes: K.
    """

    pixels: NDArray[np.float32]
    y: NDArray[np.int_]
    n_classes: int


def study(
    lesson: Lesson, *, steps: int, seeds: int, depths: tuple[int, ...] = DEPTHS
) -> list[Course]:
    """Train every network with every seed.

    Args:
        lesson: what they are trained on.
        steps: optimiser steps of each network.
        seeds: how often, with other weights and another order.
        depths: of the residual networks; each has a plain twin.
    """
    courses = []
    with track("depth study", steps * seeds * len(depths) * 2) as advance:
        for seed in range(seeds):
            for depth in depths:
                for is_plain in (False, True):
                    courses.append(_train(lesson, depth, is_plain, seed, steps))
                    advance(steps)
    return courses


def steps_within(
    minutes: float, lesson: Lesson, *, seeds: int, depths: tuple[int, ...] = DEPTHS
) -> int:
    """How many steps of each network fit into so many minutes, measured on a few."""
    begun = time.monotonic()
    n = 4
    for depth in depths:
        _train(lesson, depth, False, 0, n)
    each = (time.monotonic() - begun) / n
    # The plain twin takes as long; building and warming up are in, so this errs on the safe side.
    return int(max(LEAST_STEPS, min(MOST_STEPS, 60 * minutes / (2 * seeds * each))))


def _train(lesson: Lesson, depth: int, is_plain: bool, seed: int, steps: int) -> Course:
    """Train one network by plain stochastic gradient descent."""
    pixels, y = lesson.pixels, lesson.y
    network = small_network(
        depth, channels=pixels.shape[1], classes=lesson.n_classes, is_plain=is_plain, seed=seed
    ).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, weight_decay=1e-4)
    begun, wrong, gradient = time.process_time(), [], []
    looked = set(np.linspace(0, steps - 1, PARTS + 1).astype(int).tolist())
    for step, rows in enumerate(_batches(y, steps, seed)):
        target = torch.from_numpy(y[rows])
        logits = network(torch.from_numpy(pixels[rows]))
        optimiser.zero_grad()
        functional.cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
        if step in looked:
            gradient.append((step, gradient_norms(network)))
        optimiser.step()
        wrong.append(float((logits.detach().argmax(1) != target).float().mean()))
    spent = time.process_time() - begun
    return Course(depth, is_plain, seed, np.array(wrong), tuple(gradient), spent)


def _batches(y: NDArray[np.int_], steps: int, seed: int) -> Iterator[NDArray[np.int_]]:
    """Batches with equally many of each class, the same for every network of a seed.

    Where one class is most of the images a network that always names it is seldom wrong, and
    whether it learns would not be seen.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(y == value) for value in np.unique(y)]
    waiting: list[list[int]] = [[] for _ in members]
    for step in range(steps):
        batch = []
        for place in range(step * BATCH, (step + 1) * BATCH):
            queue, own = waiting[place % len(members)], members[place % len(members)]
            if not queue:
                queue += rng.permutation(own).tolist()
            batch.append(queue.pop())
        yield np.array(batch)

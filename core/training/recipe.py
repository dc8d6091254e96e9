"""Rules of the recipe: the value of each setting for these data and this machine, and why.

The rules are those of small-data fine-tuning: few updates, averaged weights,
lower learning rates for earlier stages, no mixing of images. Every rule
returns the value with the reason that is printed and stored in ``plan.yaml``.

Sources: Kumar et al. 2022 (arXiv 2202.10054) for starting from the probe;
Kolesnikov et al. 2020 (arXiv 1912.11370) for the number of updates and for
leaving out mixup below 20,000 images; Kanavati and Tsuneki 2021 (arXiv
2102.05543) for frozen normalisation statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.base.machine import loader_workers, precision
from core.base.settings import PRESETS, Plan, Question, TrainConfig
from core.errors import ConfigError
from core.model.backbone import stage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.base.machine import Machine
    from core.model.network import Network

__all__ = ["Facts", "parameter_groups", "resolve"]

# Settings of a network that starts from random weights.
FROM_NOTHING: Mapping[str, Any] = {
    "freeze_stages": 0,
    "batchnorm": "train",
    "lr_backbone": 4e-3,
    "lr_head": 4e-3,
    "stage_decay": 1.0,
    "dropout": 0.0,
    # A network from nothing stands still for many epochs before it begins to learn.
    "patience": 1.0,
}


# Pixels of the longest side below which images are enlarged: a network that halves its input
# five times would be left with one place. On breast ultrasound of 28 x 28 pixels frozen features of
# a ResNet-18 reach an area under the curve of .82 at 32, .87 at 64 and .84 at 128 pixels.
LEAST_SIDE = 64


# Pixels of the longest side up to which a processor tunes all stages, and for all updates.
SMALL_SIDE = 96


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules look at.

    Attributes:
        n_train: training images.
        n_classes: K.
        rarest: images of the rarest class in training.
        size_px: median (H, W) of the source images.
        machine: what training runs on.
        symmetry: what the audit measured, and its sentence; None where the app knows.
    """

    n_train: int
    n_classes: int
    rarest: int
    size_px: tuple[int, int]
    machine: Machine
    symmetry: tuple[str, str] | None = None


def resolve(
    question: Question,
    facts: Facts,
    *,
    app_defaults: Mapping[str, Any],
    plan: Mapping[str, Any],
    flags: Mapping[str, Any],
) -> Plan:
    """Settle every setting.

    Args:
        question: what is asked.
        facts: of the data and the machine.
        app_defaults: settings of the domain.
        plan: settings of a plan file; they were all resolved once before.
        flags: settings given on the command line.

    Raises:
        ConfigError: the settings contradict each other or the data.
    """
    chosen: dict[str, tuple[Any, str]] = {}
    for name, value in app_defaults.items():
        chosen[name] = (value, f"default of {question.app}")
    preset = str(flags.get("preset") or plan.get("preset") or app_defaults.get("preset", "default"))
    asked = {**plan, **flags}
    weights = asked.get("weights", app_defaults.get("weights", "hub"))
    rules = _rules(facts, random_start=weights == "none", known={**app_defaults, **asked})
    for name, value in rules.items():
        if name not in chosen or chosen[name][0] is None:
            chosen[name] = value
    if chosen["batch"][0] > rules["batch"][0]:
        # A domain's batch is meant for data enough; a small set needs its steps.
        chosen["batch"] = rules["batch"]
    if weights == "none":
        # Over the app's defaults, too: a domain finds those on pretrained weights.
        why = "random weights: everything must be learned"
        chosen |= {name: (value, why) for name, value in FROM_NOTHING.items()}
    for name, value in PRESETS[preset].items():
        chosen[name] = (value, f"preset {preset}")
    if preset == "fast" and chosen["epochs"][0]:
        chosen["epochs"] = (max(2, chosen["epochs"][0] // 2), "preset fast: half of the rule's")
    for name, value in plan.items():
        chosen[name] = (value, "plan file")
    for name, value in flags.items():
        chosen[name] = (value, "command line")
    if chosen["size_px"][1] == f"default of {question.app}":
        chosen["size_px"] = _no_larger_than_helps(chosen["size_px"], facts)
    config = TrainConfig.model_validate({name: value for name, (value, _) in chosen.items()})
    _check(config, facts)
    if chosen["epochs"] == rules["epochs"]:
        # Told of the batch that is used, which a domain or the user may have changed.
        chosen["epochs"] = (config.epochs, _updates(facts, config))
    return Plan(
        question=question,
        config=config,
        reasons={name: reason for name, (_, reason) in chosen.items()},
    )


def _rules(
    facts: Facts, *, random_start: bool, known: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Value and reason of every setting that depends on the data or the machine."""
    n = facts.n_train
    batch = 32 if n >= 320 else max(4, min(16, n // 8))
    updates = 400 if n < 500 else 600 if n < 2_000 else 1_500 if n < 5_000 else 3_000
    is_affordable = facts.machine.has_gpu or max(facts.size_px) <= SMALL_SIDE
    if not (is_affordable or random_start):
        updates = round(0.4 * updates)
    # Counted in the rule's own batches: another batch changes the steps, not the images seen.
    epochs = max(4, min(60, round(updates * batch / max(n, 1))))
    rules: dict[str, tuple[Any, str]] = {
        "size_px": _size_rule(facts, known.get("side_px")),
        "pool": ("last_two", "small signs live in the last stage but one as well"),
        "batch": (batch, f"{n:,} training images"),
        "epochs": (epochs, f"{n:,} training images"),
        "dropout": (
            0.2 if n < 500 else 0.1 if n < 5_000 else 0.0,
            f"{n:,} training images",
        ),
        "freeze_stages": _freezing_rule(facts),
        "batchnorm": ("frozen", "pretrained statistics beat those of small batches"),
        "workers": loader_workers(facts.machine),
        "precision": precision(facts.machine),
        "imbalance": (
            ("sqrt", f"the rarest class has {facts.rarest} images, under 1 % of {n:,}")
            if facts.rarest < 0.01 * n
            else ("none", f"the rarest class has {facts.rarest} of {n:,} images")
        ),
    }
    if facts.symmetry is not None:
        rules["symmetry"] = facts.symmetry
    return rules


def _freezing_rule(facts: Facts) -> tuple[int, str]:
    """How many stages stay as they are."""
    if facts.machine.has_gpu:
        return 0, "on an accelerator: all stages are tuned"
    if max(facts.size_px) <= SMALL_SIDE:
        return 0, f"images of at most {SMALL_SIDE} pixels: all stages are tuned at little cost"
    return 3, "on a processor: the first stages hold general edges and cost most of the time"


def _size_rule(facts: Facts, wanted: int | None) -> tuple[tuple[int, int], str]:
    """A size with the images' own shape, in whole strides of the network."""
    height, width = facts.size_px
    side = wanted or (288 if facts.machine.has_gpu else 224)
    aspect = min(3.0, max(1 / 3, width / height))
    if max(facts.size_px) < LEAST_SIDE:
        # As if the images had that size; the reason says that they are enlarged.
        scale = LEAST_SIDE / max(facts.size_px)
        height, width = (max(32, round(length * scale)) for length in facts.size_px)
    rows = min(height, (side * side / aspect) ** 0.5)
    size = (
        _strides(rows, limit=height),
        _strides(rows * aspect, limit=width),
    )
    where = "an accelerator" if facts.machine.has_gpu else "a processor"
    why = f"{side} squared pixels ({'side_px' if wanted else where})"
    median = f"median image {facts.size_px[0]} x {facts.size_px[1]}"
    if max(facts.size_px) < LEAST_SIDE:
        return size, f"{median}: enlarged to {size[0]} x {size[1]}, more would add no detail"
    if min(size) >= 32 and size[0] * size[1] < 0.8 * side * side:
        return size, f"{median}, not enlarged to {why}"
    return size, f"{median}, about {why}"


def _no_larger_than_helps(
    chosen: tuple[tuple[int, int], str], facts: Facts
) -> tuple[tuple[int, int], str]:
    """A size that follows the images where these are small, and the reason.

    Images smaller than ``LEAST_SIDE`` are enlarged to it and no further: enlarging adds
    no detail and costs time by its square.
    """
    size, _ = chosen
    longest = max(facts.size_px)
    if longest >= max(size):
        return chosen
    target = max(LEAST_SIDE, 32 * (longest // 32))
    scale = target / max(size)
    if scale >= 1:
        return chosen
    rows, columns = (max(32, 32 * round(side * scale / 32)) for side in size)
    height, width = facts.size_px
    enlarged = "enlarged to" if longest < LEAST_SIDE else "taken at"
    why = f"median image {height} x {width}: {enlarged} {rows} x {columns}"
    return (rows, columns), f"{why}, more would add no detail"


def _updates(facts: Facts, config: TrainConfig) -> str:
    """How many steps the epochs are, in the batch that is used."""
    steps = (config.epochs or 0) * max(1, facts.n_train // (config.batch or 1))
    return f"{steps:,} updates of {config.batch} for {facts.n_train:,} training images"


def _strides(side: float, *, limit: int) -> int:
    """The nearest whole number of strides that does not enlarge the image."""
    return max(32, 32 * min(round(side / 32), limit // 32))


def _check(config: TrainConfig, facts: Facts) -> None:
    """Refuse what cannot work."""
    if config.size_px is not None and min(config.size_px) < 32:
        msg = (
            f"size_px {config.size_px}: a residual network halves its input five times, so "
            f"each side must be at least 32."
        )
        raise ConfigError(msg)
    if config.soft_positive and (facts.n_classes != 2 or config.label_smoothing):
        msg = (
            "soft_positive softens the positive class of a binary task, and not beside "
            f"label_smoothing; here are {facts.n_classes} classes and a label_smoothing of "
            f"{config.label_smoothing:g}. Leave one of them out."
        )
        raise ConfigError(msg)
    if config.batch is not None and config.batch > facts.n_train:
        msg = (
            f"batch {config.batch} is larger than the {facts.n_train} training images. Pass "
            f"--batch {max(1, facts.n_train // 4)} or less."
        )
        raise ConfigError(msg)


def parameter_groups(network: Network, config: TrainConfig) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: one learning rate per stage, no decay on norms and biases."""
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, parameter in network.backbone.named_parameters():
        if parameter.requires_grad:
            stage = stage_of(network.backbone, name)
            rate = config.lr_backbone * config.stage_decay ** max(0, 4 - stage)
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    for parameter in network.head.parameters():
        groups.setdefault((config.lr_head, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": params, "lr": rate, "weight_decay": config.weight_decay if decays else 0.0}
        for (rate, decays), params in sorted(groups.items(), key=lambda item: item[0])
    ]

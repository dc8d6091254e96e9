"""The page of a depth study: training error and gradients of residual and plain networks.

From the courses of trainings and a table of probed networks to figures and plain words. This
module trains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.words import percent, quantity
from core.blocks import Figure, Table, Text
from core.report.drawing import (
    HALF,
    WHOLE,
    as_percent,
    canvas_of,
    finish,
    legend_below,
    look_of,
    styled,
    table_of,
)
from core.report.html import render_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.blocks import Block

__all__ = ["depth_html", "error_table", "gradient_table", "short_answer"]

# A network whose error is not lower than guessing by this share has not learned to be compared.
LEARNED = 0.1
SOURCES = (
    "He, Zhang, Ren and Sun 2016, Deep Residual Learning for Image Recognition (arXiv 1512.03385): "
    "deeper plain networks have the higher training error. Veit, Wilber and Belongie 2016, "
    "Residual Networks Behave Like Ensembles of Relatively Shallow Networks (arXiv 1605.06431): "
    "the gradient travels by short paths. Balduzzi et al. 2017, The Shattered Gradients Problem "
    "(arXiv 1702.08591): in plain networks gradients lose their structure with depth. Yang et al. "
    "2019, A Mean Field Theory of Batch Normalization (arXiv 1902.08129): with BatchNorm the "
    "gradient of a plain network explodes towards its first layers at the start."
)


def depth_html(content: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: of ``depth.json``: ``courses``, ``probed``, ``n``, ``size_px``, ``steps``,
            ``seeds``, ``chance``, ``seconds``, ``left_out``.
    """
    courses = content["courses"]
    rows, columns = content["size_px"]
    lead = (
        f"{content['n']:,} images at {rows} x {columns} pixels, "
        f"{content['steps']} steps of {content['batch']} images, equally many of each class, "
        f"{quantity(content['seeds'], 'seed')}. "
        "Training error, not accuracy: whether a network can be trained at all is asked here, not "
        f"how good it is. Computed in {content['seconds'] / 60:.1f} minutes of processor time."
    )
    first: list[Block] = [
        Text(short_answer(courses, content["chance"], content["probed"]), tone="verdict"),
        _error_figure(courses, content["chance"]),
        Table(
            frame=error_table(courses),
            title="Training error in fifths of the training",
            note="Mean of the seeds; of the last fifth, least and most of them.",
            numeric=tuple(f"Part {i}" for i in range(1, 6)),
        ),
    ]
    gradient: list[Block] = [
        Text(_gradient_words(courses)),
        _gradient_figure(courses),
        Table(
            frame=gradient_table(courses),
            title="Norm of the gradient, median of the seeds",
            note="At the first step, and the median of the later steps looked at.",
            numeric=("Start: stem", "stage 1", "stage 2", "stage 3", "Later: stem"),
        ),
    ]
    sections: list[tuple[str, Sequence[Block]]] = [
        ("Do shortcuts make depth trainable?", first),
        ("The gradient on its way back", gradient),
        ("Does depth pay at full size?", _full_size(content)),
        (
            "What this shows, and what not",
            [
                Text(
                    "Small networks on small pictures, one learning rate for all. A deeper network "
                    "needs more steps, so networks are compared at equal depth and steps: residual "
                    "against plain. A plain network may catch up when trained much longer or "
                    "started with more care."
                ),
                Text(SOURCES, tone="note"),
            ],
        ),
    ]
    return render_page("Does depth help on these images?", lead=lead, sections=sections)


def _by_name(courses: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Courses of each network, in the order they were trained."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for course in courses:
        found.setdefault(course["name"], []).append(course)
    return found


def _last(courses: Sequence[Mapping[str, Any]]) -> list[float]:
    """Training error of the last fifth, of each seed."""
    return [course["parts"][-1] for course in courses]


def short_answer(
    courses: Sequence[Mapping[str, Any]], chance: float, probed: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The result in a few sentences, from the numbers alone.

    Args:
        courses: of every network and seed.
        chance: error of guessing.
        probed: networks of full size, shallow first.
    """
    named = _by_name(courses)
    depths = sorted({course["depth"] for course in courses})
    sentences = []
    for depth in depths:
        residual, plain = _last(named[f"ResNet-{depth}"]), _last(named[f"plain-{depth}"])
        sentences.append(
            f"With {depth} layers the residual network ends at {percent(float(np.mean(residual)))} "
            f"training error and its plain twin at {percent(float(np.mean(plain)))}, "
            f"{_in_seeds(plain, residual)}."
        )
    shallow, deep = (_last(named[f"plain-{depth}"]) for depth in (depths[0], depths[-1]))
    sentences.append(
        f"With {depths[-1]} layers the plain network ends {_in_seeds(deep, shallow)} than with "
        f"{depths[0]}. Guessing is wrong on {percent(chance)}."
    )
    stuck = [n for n in named if float(np.mean(_last(named[n]))) > (1 - LEARNED) * chance]
    if len(stuck) == len(named):
        sentences.append(
            "No network learned much more than guessing, so this does not tell them apart: give "
            "them more steps (--minutes, --steps)."
        )
    elif stuck:
        sentences.append(f"Hardly better than guessing: {', '.join(stuck)}.")
    if len(probed) > 1:
        first, last = probed[0], probed[-1]
        times = last["seconds_per_image"] / first["seconds_per_image"]
        sentences.append(
            f"At full size, pretrained and probed, {last['name']} is right on "
            f"{percent(last['accuracy'])} of the images and {first['name']} on "
            f"{percent(first['accuracy'])}, at {times:.1f} times the time."
        )
    return " ".join(sentences)


def _in_seeds(these: Sequence[float], those: Sequence[float]) -> str:
    """In how many seeds one error is higher than the other."""
    higher = sum(a > b for a, b in zip(these, those, strict=True))
    if higher == len(these):
        return "higher in every seed" if higher > 1 else "higher in the one seed that was run"
    return f"higher in {higher} of {quantity(len(these), 'seed')}"


def error_table(courses: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Training error of each network in fifths of its training."""
    rows = []
    for name, mine in _by_name(courses).items():
        parts = np.array([course["parts"] for course in mine])
        row = {"Network": name}
        row |= {f"Part {i + 1}": percent(value) for i, value in enumerate(parts.mean(axis=0))}
        ends = f"{percent(parts[:, -1].min())} to {percent(parts[:, -1].max())}"
        rows.append({**row, "Last part, seeds": ends, "Seeds": str(len(mine))})
    return table_of(rows)


def _norms(courses: Sequence[Mapping[str, Any]], *, start: bool) -> dict[str, float]:
    """Stage -> median norm over seeds, at the first step or later."""
    first = min(step for course in courses for step, _ in course["gradient"])
    found: dict[str, list[float]] = {}
    for course in courses:
        for step, norms in course["gradient"]:
            if (step == first) == start:
                for stage, norm in norms.items():
                    found.setdefault(stage, []).append(norm)
    return {stage: float(np.median(norms)) for stage, norms in found.items()}


def gradient_table(courses: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Gradient norms of each network at the start and later."""
    rows = []
    for name, mine in _by_name(courses).items():
        start, later = _norms(mine, start=True), _norms(mine, start=False)
        row = {"Network": name, "Start: stem": _shown(start["stem"])}
        row |= {stage: _shown(start[stage]) for stage in ("stage 1", "stage 2", "stage 3")}
        rows.append({**row, "Later: stem": _shown(later["stem"])})
    return table_of(rows)


def _shown(norm: float) -> str:
    """A norm to three figures."""
    return f"{norm:,.0f}" if norm >= 100 else f"{norm:.3g}"


def _gradient_words(courses: Sequence[Mapping[str, Any]]) -> str:
    """How much the gradient grows from the last stage to the stem of the deepest networks."""
    named, deepest = _by_name(courses), max(course["depth"] for course in courses)
    growth = {}
    for kind in ("ResNet", "plain"):
        norms = _norms(named[f"{kind}-{deepest}"], start=True)
        growth[kind] = norms["stem"] / max(norms["stage 3"], 1e-12)
    return (
        f"At the start the gradient of the plain network of {deepest} layers is "
        f"{growth['plain']:,.0f} times as large in the stem as in stage 3, that of the residual "
        f"one {growth['ResNet']:,.1f} times. Both have BatchNorm, with which a deep plain "
        "network's gradient explodes towards the first layers at the start; it does not vanish, "
        "as the textbook says of networks without normalisation."
    )


@styled
def _error_figure(courses: Sequence[Mapping[str, Any]], chance: float) -> Figure:
    """Training error over the steps, one curve per network, a band over the seeds."""
    named = _by_name(courses)
    canvas, axes = canvas_of(WHOLE, HALF)
    data = []
    for i, (name, mine) in enumerate(named.items()):
        parts = np.array([course["curve"] for course in mine])
        x = np.array(mine[0]["curve_steps"])
        look = look_of(i)
        axes.fill_between(x, parts.min(axis=0), parts.max(axis=0), color=look["color"], alpha=0.14)
        axes.plot(x, parts.mean(axis=0), label=name, **look)
        data += [(name, int(s), float(v)) for s, v in zip(x, parts.mean(axis=0), strict=True)]
    axes.axhline(chance, color="#55585c", linewidth=0.8, label="guessing")
    axes.set(xlabel="steps", ylabel="training error", ylim=(0, 1))
    axes.yaxis.set_major_formatter(as_percent)
    axes.grid()
    legend_below(canvas, columns=3)
    note = "Mean of the seeds; the band runs from the least to the most of them."
    frame = table_of(data, ("network", "step", "training error"))
    return finish(canvas, "Training error", note, frame)


@styled
def _gradient_figure(courses: Sequence[Mapping[str, Any]]) -> Figure:
    """Gradient norm by stage, at the start (full) and later (open), on a logarithmic scale."""
    canvas, axes = canvas_of(WHOLE, HALF)
    data = []
    stages: list[str] = []
    for i, (name, mine) in enumerate(_by_name(courses).items()):
        start, later = _norms(mine, start=True), _norms(mine, start=False)
        stages = list(start)
        look = look_of(i)
        axes.plot(range(len(stages)), list(start.values()), "o-", label=name, **_plain(look))
        axes.plot(range(len(stages)), list(later.values()), "o:", alpha=0.6, color=look["color"])
        data += [(name, s, start[s], later[s]) for s in stages]
    axes.set_yscale("log")
    # matplotlib writes powers of ten in a markup of its own.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(stages)), stages)
    axes.set(ylabel="norm of the gradient")
    axes.grid()
    legend_below(canvas, columns=2)
    note = "Full lines: first step. Dotted: median of later steps."
    frame = table_of(data, ("network", "stage", "first step", "later"))
    return finish(canvas, "Norm of the gradient by stage", note, frame)


def _plain(look: Mapping[str, Any]) -> dict[str, Any]:
    """A look without its dash, where a format string has one."""
    return {name: value for name, value in look.items() if name != "linestyle"}


def _full_size(content: Mapping[str, Any]) -> list[Block]:
    """The table of networks of full size, probed, and what it says."""
    probed, left_out = content["probed"], content["left_out"]
    blocks: list[Block] = []
    if probed:
        rows = [
            {
                "Network": entry["name"],
                "Accuracy of a probe": f"{percent(entry['accuracy'])} "
                f"({percent(entry['low'])} to {percent(entry['high'])})",
                "Against the one before": entry["difference"],
                "ms per image": f"{1000 * entry['seconds_per_image']:.0f}",
                "Million parameters": f"{entry['params_m']:.1f}",
                "Weights": entry["weights"],
            }
            for entry in probed
        ]
        n, side = probed[0]["n"], probed[0]["size_px"]
        blocks.append(
            Table(
                frame=table_of(rows),
                title="Pretrained networks, frozen, with a linear classifier",
                note=f"{n:,} images at {side[0]} x {side[1]} pixels, classified by folds of whole "
                "groups; 95 % intervals over groups. Pretraining differs between files of weights, "
                "so a difference is one of network and weights together.",
                numeric=("ms per image", "Million parameters"),
            )
        )
    if left_out:
        blocks.append(
            Text(
                f"Left out, because their weights are not on this machine: {', '.join(left_out)}. "
                "Connect once so that timm can fetch them, or pass --weights-folder with NAME."
                "safetensors files.",
                tone="note",
            )
        )
    return blocks

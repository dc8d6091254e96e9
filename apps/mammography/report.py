"""What a report on mammograms holds beyond the numbers every task has.

The audit table of a screening programme beside published benchmarks, what
recall rates would find, which views the exams had and where the sides come from.

The benchmarks are those of the Breast Cancer Surveillance Consortium for
1,682,504 digital screening exams of 2007 to 2013: Lehman et al. 2017, "National
Performance Benchmarks for Modern Screening Digital Mammography",
doi:10.1148/radiol.2016161174.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.blocks import Table, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from core.app import ReportContext
    from core.blocks import Block
    from core.statistics.operating_points import Rate

__all__ = [
    "BENCHMARKS",
    "screening_audit",
    "views_and_sides",
    "what_may_be_claimed",
    "what_recall_finds",
]

# Share of exams, or of the cases named; see the module's source. The first is
# the abnormal interpretation rate, the last per 1,000 exams.
BENCHMARKS = {
    "recall rate": 0.116,
    "sensitivity": 0.869,
    "specificity": 0.889,
    "PPV1": 0.044,
    "cancers found per 1,000": 5.1,
}
# Share of screening exams with cancer at these benchmarks: 5.1 per 1,000 found, of 86.9 %.
SCREENING_PREVALENCE = 0.0051 / 0.869
# Recall rates a programme may fix; 11.6 % is the benchmark's.
RECALL_RATES = (0.03, 0.05, 0.10, 0.116)
# Cancers below which a rate says little.
FEW = 30
_SOURCE = (
    "Benchmark: Breast Cancer Surveillance Consortium, 1,682,504 digital screening exams "
    "(doi:10.1148/radiol.2016161174), radiologists with earlier films and a year of follow-up; "
    "a line to compare with, not a target for other data."
)


# What a guess reaches, by name of the headline.
_CHANCE = {"auroc": 0.5, "quadratic_kappa": 0.0}


def what_may_be_claimed(context: ReportContext) -> Sequence[Block]:
    """What the interval of the headline allows one to say, and what not, in one paragraph."""
    about = context.evaluation.get("about") or {}
    name, unit = str(about.get("headline") or ""), str(about.get("unit") or "")
    rows = [
        row
        for row in context.evaluation.get("metrics") or []
        if row["name"] == name and row["unit"] == unit and not row["of"] and not row["subgroup"]
    ]
    if not rows or name not in _CHANCE:
        return []
    row, chance = rows[0], _CHANCE[name]
    low, high, title = row.get("low"), row.get("high"), str(row["title"])
    if low is None or high is None:
        text = f"No interval of {title} can be given: {row.get('reason')}. Nothing may be claimed."
        return [Text(text, "warning")]
    span = f"The 95 % interval of {title} by {unit}, {low:.2f} to {high:.2f}"
    test = f"{int(row['n']):,} {unit}s of {int(row['n_groups']):,} patients"
    if low <= chance <= high:
        return [
            Text(
                f"{span}, holds {chance:g}, which is chance. On {test} it is not shown that this "
                f"model does better than guessing; nor is it shown that it cannot, for up to "
                f"{high:.2f} would agree with what was seen. No more may be claimed of it, and it "
                "orders nothing.",
                "warning",
            )
        ]
    if high < chance:
        text = f"{span}, lies below chance ({chance:g}): look for swapped labels."
        return [Text(text, "warning")]
    return [
        Text(
            f"{span}, lies above chance ({chance:g}): on images like these {test} the model does "
            f"better than guessing, and no claim above {low:.2f} is safe. It says nothing about "
            "other machines, other readers or other women, and nothing about benefit."
        )
    ]


def screening_audit(context: ReportContext) -> Sequence[Block]:
    """Recall rate, cancers found, PPV1, misses: the audit of a screening programme."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    from core.statistics.operating_points import two_by_two  # noqa: PLC0415

    level, rows = _cases(context)
    if rows is None or context.task.name != "cancer":
        return []
    y = (rows["label"] == "yes").to_numpy()
    called = (rows["decision"] == "yes").to_numpy()
    if not y.any() or y.all():
        return []
    found = two_by_two(y, called, groups=rows["group"].astype(str).to_numpy(), word="patient")
    n, share = len(rows), float(y.mean())
    lines = [
        _line("recall rate", found.recall_rate),
        _line("sensitivity", found.sensitivity),
        _line("specificity", found.specificity),
        _line("PPV1", found.ppv),
        _per_thousand("cancers found per 1,000", found.tp, n),
        _per_thousand("cancers missed per 1,000", found.fn, n),
    ]
    blocks: list[Block] = [
        Table(
            frame=pd.DataFrame(lines),
            title=f"Screening audit, by {level}",
            note=f"At the run's decision; {int(y.sum()):,} of {n:,} {level}s have cancer "
            f"({100 * share:.1f} %). Recall rate, PPV1 and numbers per 1,000 depend on that share. "
            + _SOURCE,
            numeric=("value", "95 % interval", "benchmark"),
        )
    ]
    if int(y.sum()) < FEW:
        text = f"Only {int(y.sum())} {level}s have cancer: these rates may be far off."
        blocks.append(Text(text, "warning"))
    sensitivity, specificity = found.sensitivity.value, found.specificity.value
    prevalence = float(context.evaluation.get("prevalence") or SCREENING_PREVALENCE)
    if sensitivity is not None and specificity is not None:
        # Bayes: of those recalled there, the share with cancer.
        cancers, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        recalled = cancers + alarms
        ppv = _percent(cancers / recalled if recalled else None)
        blocks.append(
            Text(
                f"Where {1000 * prevalence:.1f} of 1,000 have cancer, the same sensitivity and "
                f"specificity would recall {1000 * recalled:.0f} of 1,000, and {ppv} of those "
                "recalled would have cancer. This holds only if cancers and normals there are "
                "like those tested here."
            )
        )
    return blocks


def what_recall_finds(context: ReportContext) -> Sequence[Block]:
    """What share of the cancers is found when a fixed share is recalled, with the ROC curve."""
    import pandas as pd  # noqa: PLC0415  (see above)

    from core.report.plots import Line, curves  # noqa: PLC0415  (imports matplotlib)
    from core.statistics.discrimination import roc_points  # noqa: PLC0415
    from core.statistics.operating_points import choose_threshold, two_by_two  # noqa: PLC0415

    level, rows = _cases(context)
    if rows is None or context.task.kind != "binary" or len(context.task.classes) != 2:
        return []
    positive = context.task.classes[1]
    y = (rows["label"] == positive).to_numpy().astype(int)
    score = rows[f"score_{positive}"].to_numpy(dtype=np.float64)
    if not y.any() or y.all():
        return []
    owner = rows["group"].astype(str).to_numpy()
    lines = []
    for rate in RECALL_RATES:
        point = choose_threshold(y, score, target=f"recall-rate={rate}")
        found = two_by_two(y, score >= point.threshold, groups=owner, word="patient")
        lines.append(
            {
                "recalled at most": f"{100 * rate:g} %",
                "recalled": _percent(found.recall_rate.value),
                "sensitivity": _percent(found.sensitivity.value),
                "95 % interval": _between(found.sensitivity),
                "found": f"{found.tp:,} of {found.tp + found.fn:,}",
            }
        )
    curve = roc_points(y, score)
    points, lines_of = [], [Line(name="this model", x=curve.x.tolist(), y=curve.y.tolist())]
    if context.task.name == "cancer":
        alarms, hits = 1 - BENCHMARKS["specificity"], BENCHMARKS["sensitivity"]
        points = [("BCSC benchmark", alarms, hits)]
        lines_of += [
            Line(name="BCSC sensitivity 86.9 %", x=[0.0, 1.0], y=[hits, hits]),
            Line(name="BCSC specificity 88.9 %", x=[alarms, alarms], y=[0.0, 1.0]),
        ]
    return [
        Table(
            frame=pd.DataFrame(lines),
            title=f"What a recall rate finds, by {level}",
            note="Exploratory: each threshold is chosen on the very cases it is counted on. "
            "Thresholds for use are chosen on validation data and stored in the run.",
            numeric=("recalled", "sensitivity", "95 % interval", "found"),
        ),
        curves(
            lines_of,
            title=f"ROC, by {level}",
            x="1 - specificity",
            y="sensitivity",
            note=_SOURCE if points else "",
            points=points,
            diagonal=True,
        ),
    ]


def views_and_sides(context: ReportContext) -> Sequence[Block]:
    """Which views the exams had, where sides come from, and what was flagged."""
    import pandas as pd  # noqa: PLC0415  (see above)

    rows = context.predictions
    if "exam" not in rows or "view" not in rows or not len(rows):
        return []
    blocks: list[Block] = []
    side = rows["laterality"].fillna("") if "laterality" in rows else ""
    named = (
        pd.Series(side, index=rows.index).astype(str) + " " + rows["view"].fillna("")
    ).str.strip()
    counts = named.replace("", "unknown").value_counts()
    blocks.append(
        Table(
            frame=pd.DataFrame({"view": counts.index, "images": [f"{n:,}" for n in counts]}),
            title="Views",
            numeric=("images",),
        )
    )
    if "missing_views" in rows:
        exams = rows.drop_duplicates("exam")
        lacking = exams[exams["missing_views"].fillna("") != ""]
        blocks.append(
            Text(
                f"{len(lacking):,} of {len(exams):,} exams lack at least one of the four screening "
                "views (L CC, L MLO, R CC, R MLO). Their scores come from the views there are; the "
                "column missing_views names the others."
            )
        )
    flagged = int((rows["quality"].fillna("") != "").sum()) if "quality" in rows else 0
    if flagged:
        text = f"{flagged:,} of {len(rows):,} images are flagged; the column quality says why."
        blocks.append(Text(text, "note"))
    return blocks


def _cases(context: ReportContext) -> tuple[str, pd.DataFrame | None]:
    """The highest level with labelled, scored decisions: exam, breast or image."""
    for level in ("exam", "breast", "image"):
        rows = context.decisions.get(level)
        if rows is None and level == "image":
            rows = context.predictions[context.predictions["status"] == "ok"]
        if rows is None or "label" not in rows or "decision" not in rows:
            continue
        judged = rows[(rows["label"].fillna("") != "") & rows["decision"].notna()]
        if len(judged) and "group" in judged:
            return level, judged
    return "image", None


def _line(name: str, rate: Rate) -> dict[str, Any]:
    """One proportion of the audit beside its benchmark."""
    benchmark = BENCHMARKS.get(name)
    return {
        "measure": name,
        "value": _percent(rate.value),
        "95 % interval": _between(rate),
        "cases": f"{rate.x:,} of {rate.n:,}",
        "benchmark": "" if benchmark is None else _percent(benchmark),
    }


def _per_thousand(name: str, x: int, n: int) -> dict[str, Any]:
    """One number per 1,000 of the audit beside its benchmark."""
    benchmark = BENCHMARKS.get(name)
    return {
        "measure": name,
        "value": f"{1000 * x / n:.1f}",
        "95 % interval": "",
        "cases": f"{x:,} of {n:,}",
        "benchmark": "" if benchmark is None else f"{benchmark:.1f}",
    }


def _percent(value: float | None) -> str:
    """A share in percent; a dash where it is undefined."""
    return "-" if value is None else f"{100 * value:.1f} %"


def _between(rate: Rate) -> str:
    """The interval of a rate; empty where there is none."""
    if rate.low is None or rate.high is None:
        return ""
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"

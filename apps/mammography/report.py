"""What a report on mammograms holds beyond the numbers every task has.

The audit table of a screening programme beside published benchmarks, what
recall rates would find, which views the exams had and where the sides come from.

The benchmarks are those of the Breast Cancer Surveillance Consortium for
1,682,504 digital screening exams of 2007 to 2013: Lehman et al. 2017, "National
Performance Benchmarks for Modern Screening Digital Mammography",
doi:10.1148/radiol.2016161174.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from core.blocks import Table, Text
from core.evaluation.stored_thresholds import at_prevalence
from core.report.numbers import NBSP, UNDEFINED, estimate, interval, number, quantity
from core.report.plots import Line, curves
from core.statistics.discrimination import roc_points
from core.statistics.operating_points import choose_threshold, proportion, two_by_two

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import ReportContext
    from core.blocks import Block
    from core.statistics.operating_points import Rate

__all__ = [
    "BENCHMARKS",
    "screening_audit",
    "views_and_sides",
    "what_recall_finds",
]

# Share of exams, or of the cases named; see the module's source. The first is
# the abnormal interpretation rate, the last per 1,000 exams.
BENCHMARKS = {
    "recall rate": 0.116,
    "sensitivity": 0.869,
    "specificity": 0.889,
    "PPV1": 0.044,
    "PPV2": 0.256,
    "PPV3": 0.286,
    "cancers found per 1,000": 5.1,
}
# Of the exams called, those that went further, by a column of the data with 1 or yes (ACR BI-RADS,
# 5th edition): a biopsy was recommended, a biopsy was done.
AFTER_RECALL = {"PPV2": "biopsy_recommended", "PPV3": "biopsy"}
YES = ("1", "1.0", "yes", "true")
_ENDS = (("value", ""), ("low", "_low"), ("high", "_high"))
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


def _decided(context: ReportContext) -> str:
    """How an exam came to be called, which need not be one of the operating points."""
    if (context.evaluation.get("about") or {}).get("threshold") is None:
        return "Called where cancer has the higher score, for no operating point is in use"
    return "Called at the operating point in use"


def screening_audit(context: ReportContext) -> Sequence[Block]:
    """Recall rate, cancers found, PPV1, misses: the audit of a screening programme."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

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
        *_after_recall(context, level, rows, y & called, called),
        _per_thousand("cancers found per 1,000", y & called, rows),
        _per_thousand("cancers missed per 1,000", y & ~called, rows),
    ]
    blocks: list[Block] = [
        Table(
            frame=pd.DataFrame(lines),
            title=f"By {level}",
            note=f"{_decided(context)}; {int(y.sum()):,} of {quantity(n, level)} have cancer "
            f"({_percent(share)}). Recall rate, predictive values and numbers per 1,000 "
            "depend on that share. " + _SOURCE,
            numeric=("Value", "95 % interval", "Cases", "Benchmark"),
        )
    ]
    if int(y.sum()) < FEW:
        text = f"Only {quantity(int(y.sum()), level)} with cancer: these rates may be far off."
        blocks.append(Text(text, "warning"))
    prevalence = float(context.evaluation.get("prevalence") or SCREENING_PREVALENCE)
    rates = {"sensitivity": asdict(found.sensitivity), "specificity": asdict(found.specificity)}
    expected = at_prevalence(rates, prevalence, 0.95)
    if "per_1000" in expected:
        ends = {key: expected[f"ppv{end}"] for key, end in _ENDS}
        recalled = "nobody"
        if expected["ppv"] is not None:
            recalled = f"{expected['per_1000']['called']:.0f} of 1,000, and "
            recalled += f"{estimate({**ends, 'percent': True})} of those recalled would have cancer"
        blocks.append(
            Text(
                f"Where {1000 * prevalence:.1f} of 1,000 have cancer, the same sensitivity and "
                f"specificity would recall {recalled}. "
                "This holds only if cancers and normals there are like those tested here."
            )
        )
    return blocks


def _after_recall(
    context: ReportContext,
    level: str,
    rows: pd.DataFrame,
    hit: NDArray[np.bool_],
    called: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """PPV2 and PPV3, where the data say of which exams a biopsy was recommended, or done."""
    table, key = context.manifest, {"exam": "exam", "image": "image_id"}.get(level, "")
    if key not in table:
        return []
    own = rows["unit_id" if "unit_id" in rows else "image_id"].astype(str)
    lines = []
    for name, column in AFTER_RECALL.items():
        if column in table:
            went = table[column].astype(str).str.strip().str.lower().isin(YES)
            among = called & own.isin(set(table.loc[went, key].astype(str))).to_numpy()
            owner = rows["group"].astype(str).to_numpy()[among]
            lines.append(_line(name, proportion(hit[among], owner, word="patient")))
    return lines


def _recall_words(share: float, prevalence: float | None) -> str:
    """Whose recall rate it is."""
    if prevalence:
        return f"Recalled at most: of women with a prevalence of {_percent(prevalence)}."
    return (
        f"Recalled at most: of these cases, {_percent(share)} of which have cancer. Where cancer "
        "is rarer the same threshold recalls fewer; --prevalence takes that into account."
    )


def what_recall_finds(context: ReportContext) -> Sequence[Block]:
    """What share of the cancers is found when a fixed share is recalled, with the ROC curve."""
    import pandas as pd  # noqa: PLC0415  (see above)

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
        point = choose_threshold(
            y, score, target=f"recall-rate={rate}", prevalence=context.evaluation.get("prevalence")
        )
        found = two_by_two(y, score >= point.threshold, groups=owner, word="patient")
        lines.append(
            {
                "Recalled at most": f"{100 * rate:g}{NBSP}%",
                "Recalled": _percent(found.recall_rate.value),
                "Sensitivity": _percent(found.sensitivity.value),
                "95 % interval": _between(found.sensitivity),
                "Found": f"{found.tp:,} of {found.tp + found.fn:,}",
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
            title=f"By {level}, {quantity(len(y), level)}",
            note="Exploratory: each threshold is chosen on the very cases it is counted on. "
            "Thresholds for use are chosen on validation data and stored in the run. "
            + _recall_words(y.mean(), context.evaluation.get("prevalence")),
            numeric=("Recalled", "Sensitivity", "95 % interval", "Found"),
        ),
        curves(
            lines_of,
            title=f"ROC curve with benchmarks, by {level}.",
            x="1 − specificity",  # noqa: RUF001  (a minus sign)
            y="Sensitivity",
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
            frame=pd.DataFrame({"View": counts.index, "Images": [f"{n:,}" for n in counts]}),
            numeric=("Images",),
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
        "Measure": name,
        "Value": _percent(rate.value),
        "95 % interval": _between(rate),
        "Cases": f"{rate.x:,} of {rate.n:,}",
        "Benchmark": "" if benchmark is None else _percent(benchmark),
    }


def _per_thousand(name: str, hit: NDArray[np.bool_], rows: pd.DataFrame) -> dict[str, Any]:
    """One number per 1,000 of the audit beside its benchmark."""
    rate = proportion(hit, rows["group"].astype(str).to_numpy(), word="patient")
    benchmark = BENCHMARKS.get(name)
    ends = (rate.low, rate.high)
    return {
        "Measure": name,
        "Value": f"{1000 * (rate.value or 0):.1f}",
        "95 % interval": ""
        if None in ends
        else " to ".join(f"{1000 * (end or 0):.1f}" for end in ends),
        "Cases": f"{rate.x:,} of {rate.n:,}",
        "Benchmark": "" if benchmark is None else f"{benchmark:.1f}",
    }


def _percent(value: float | None) -> str:
    """A share in percent; a dash where it is undefined."""
    return UNDEFINED if value is None else number(value, percent=True)


def _between(rate: Rate) -> str:
    """The interval of a rate; empty where there is none."""
    return interval({"value": rate.value, "low": rate.low, "high": rate.high, "percent": True})

"""The sections that speak of results: from rows of ``metrics.json`` to blocks.

Nothing is computed here; a number that the file does not hold is not shown.
A row that no section claims ends in the last table, so that none is lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.report import plots
from core.report.blocks import Block, Figure, Table
from core.report.numbers import (
    brief,
    count,
    estimate,
    level_words,
    metrics_table,
    number,
    pick,
    plural,
    reasons,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.app import Task

    Row = Mapping[str, Any]

__all__ = ["Results"]

# Names of metrics that speak of scores as probabilities.
CALIBRATION = re.compile(r"calib|brier|(^|_)ece(_|$)|log_loss|slope|intercept|observed|expected")
# Names of metrics that speak of ranking.
RANKING = re.compile(r"auroc|auc|average_precision|auprc|concordance")


class Results:
    """The rows of one evaluation, each handed out once.

    Args:
        evaluation: the content of ``metrics.json``.
        task: gives the words for classes.
        group: what a group is called.
    """

    def __init__(self, evaluation: Mapping[str, Any], task: Task, group: str) -> None:
        self.evaluation = evaluation
        self.task = task
        self.group = group
        self.rows: list[Row] = list(evaluation.get("metrics") or [])
        self.curves: Mapping[str, Any] = evaluation.get("curves") or {}
        self._shown: set[int] = set()

    def headline(self) -> Row | None:
        """The row of the metric named before training."""
        about = self.evaluation.get("about") or {}
        named = about.get("headline")
        if isinstance(named, dict):
            named = named.get("name")
        whole = pick(self.rows, of="", subgroup="")
        found = pick(whole, name=named) if named else whole
        unit = about.get("unit") or about.get("headline_unit")
        return next(iter([*pick(found, unit=unit), *found]), None)

    def numbers(self) -> list[Block]:
        """The overall numbers, a table for each unit."""
        rows = [
            row
            for row in pick(self.rows, of="", subgroup="")
            if not CALIBRATION.search(row["name"]) and not RANKING.search(row["name"])
        ]
        first = self.headline()
        rows = [*([first] if first else []), *(row for row in rows if row is not first)]
        return self._by_unit(rows, "Cases are")

    def classes(self) -> list[Block]:
        """One line per class, one column per number; then the confusion matrices."""
        rows = [row for row in self._of_classes() if not RANKING.search(row["name"])]
        blocks = self._by_class(rows)
        for unit, matrix in (self.evaluation.get("confusion") or {}).items():
            counts = np.asarray(matrix.get("counts", []), dtype=int)
            if counts.ndim == 2 and counts.size:
                blocks.append(
                    plots.confusion_matrix(
                        counts,
                        [self.task.title(name) for name in matrix["classes"]],
                        title=f"Confusion matrix, by {unit}.",
                        note="Counts; shading and percentages are shares of the true class.",
                    )
                )
        return blocks

    def discrimination(self) -> list[Block]:
        """Ranking numbers and their curves."""
        rows = [row for row in self._of_classes() if RANKING.search(row["name"])]
        self._claim(rows)
        blocks = [*self._matching(RANKING), *self._by_class(rows)]
        for key, title, x, y in (
            ("roc", "ROC curve", "1 − specificity", "Sensitivity"),  # noqa: RUF001  (a minus sign)
            ("pr", "Precision and recall", "Recall", "Precision"),
        ):
            lines = [line for line in map(self._line, _entries(self.curves.get(key))) if line]
            if lines:
                marks = self._marks() if key == "roc" else []
                blocks.append(
                    plots.curves(
                        lines, title=f"{title}.", x=x, y=y, diagonal=key == "roc", points=marks
                    )
                )
        return blocks

    def calibration(self) -> list[Block]:
        """Numbers and diagrams of scores read as probabilities."""
        blocks = self._matching(CALIBRATION)
        diagram = self.curves.get("reliability")
        bins = _bins(diagram)
        if bins:
            blocks.append(
                plots.reliability(
                    bins,
                    title="Reliability.",
                    note="Points on the diagonal: scores can be read as probabilities. "
                    "Lines: intervals. Below: cases in each bin.",
                )
            )
        blocks.extend(self._use_curves())
        return blocks

    def subgroups(self, headline: Row | None) -> list[Block]:
        """A forest plot of the headline metric, and the table of all numbers by subgroup."""
        rows = [row for row in self._free() if row.get("subgroup")]
        if not rows:
            return []
        blocks: list[Block] = []
        if headline is not None:
            name, unit = headline["name"], headline.get("unit")
            of_headline = [
                r for r in rows if r["name"] == name and not r.get("of") and r.get("unit") == unit
            ]
            if of_headline:
                blocks.append(self._forest(of_headline, headline))
        lines = []
        for row in rows:
            column, _, value = str(row["subgroup"]).partition("=")
            of = f": {row['of']}" if row.get("of") else ""
            lines.append(
                {
                    "Column": column,
                    "Subgroup": value or "(empty)",
                    "Measure": f"{row.get('title') or row['name']}{of}",
                    "Value": estimate(row),
                    "Cases": count(row.get("n") or 0),
                    plural(self.group).capitalize(): count(row.get("n_groups") or 0),
                }
            )
        frame = pd.DataFrame(lines)
        blocks.append(
            Table(
                frame,
                title="All numbers by subgroup",
                note=f"In brackets the {level_words(rows)}. {reasons(_without_of(rows))}".strip(),
                numeric=tuple(frame.columns[3:]),
            )
        )
        self._claim(rows)
        return blocks

    def operating_points(self) -> list[Block]:
        """Thresholds, where they came from, and what they give here."""
        blocks: list[Block] = []
        points = [
            point
            for point in self.evaluation.get("operating_points") or []
            if isinstance(point, dict)
        ]
        lines = []
        for point in points:
            given = point.get("target") or point.get("rule") or ""
            lines.append(
                {
                    "Operating point": str(point.get("name") or given),
                    "Threshold": number(point["threshold"])
                    if point.get("threshold") is not None
                    else "",
                    "Chosen for": str(given),
                    "Chosen on": str(
                        point.get("split") or point.get("chosen_on") or point.get("source") or ""
                    ),
                    "Standing": "exploratory: chosen on the cases it is judged on"
                    if point.get("exploratory")
                    else ("in force" if point.get("active") else "set before this evaluation"),
                }
            )
        if lines:
            frame = pd.DataFrame(lines)
            blocks.append(
                Table(frame.loc[:, (frame != "").any()], title="Thresholds", numeric=("Threshold",))
            )
        names = {str(point.get("name")) for point in points}
        rows = [row for row in self._free() if row.get("of") in names and not row.get("subgroup")]
        for name in dict.fromkeys(str(point.get("name")) for point in points):
            some = [row for row in rows if row.get("of") == name]
            if some:
                shown = [{**row, "of": ""} for row in some]
                blocks.append(metrics_table(shown, title=f"At {name}", group=self.group))
        self._claim(rows)
        return blocks

    def rest(self) -> list[Block]:
        """Rows that no section has shown."""
        return self._by_unit(self._free(), "Counted by")

    def probe(self, headline: Row | None) -> list[Block]:
        """The fine-tuned network beside the linear head on frozen features."""
        before = [row for row in self.evaluation.get("probe") or [] if not row.get("of")]
        if not before:
            return []
        lines = []
        for row in before:
            same = pick(self.rows, name=row["name"], of="", subgroup="", unit=row.get("unit"))
            if same:
                lines.append(
                    {
                        "Measure": str(row.get("title") or row["name"]),
                        "Counted by": str(row.get("unit") or ""),
                        "This model": estimate(same[0]),
                        "Frozen features": estimate(row),
                    }
                )
        if not lines:
            return []
        frame = pd.DataFrame(lines)
        told = (
            "Frozen features: the pretrained network unchanged, with a logistic regression on top."
        )
        kept = headline and f" In brackets the {level_words([headline])}."
        return [Table(frame, note=told + (kept or ""), numeric=("This model", "Frozen features"))]

    def _forest(self, rows: Sequence[Row], headline: Row) -> Figure:
        """Everybody first, then each column of subgroups under its own heading."""
        percent = bool(headline.get("percent"))
        shown: list[dict[str, Any]] = [{**headline, "label": "All", "text": estimate(headline)}]
        column = None
        for row in rows:
            name, _, value = str(row["subgroup"]).partition("=")
            if name != column:
                shown.append({"label": name, "heading": True})
                column = name
            missing = row.get("value") is None and row.get("reason")
            why = f": {row['reason']}" if missing else ""
            shown.append({**row, "label": value or "(empty)", "text": estimate(row) + why})
        return plots.forest(
            shown,
            title=f"{headline.get('title') or headline['name']} by subgroup.",
            x=str(headline.get("title") or headline["name"]),
            reference=headline.get("value"),
            note=f"Squares: value; lines: {level_words(rows)}; dotted: all cases.",
            percent=percent,
        )

    def _use_curves(self) -> list[Block]:
        """Decision curve and risk-coverage curve, where they were computed."""
        blocks: list[Block] = []
        decision = self.curves.get("decision")
        lines = _decision_lines(decision)
        if lines:
            blocks.append(
                plots.decision_curve(
                    lines,
                    title="Decision curve.",
                    note="Net benefit of acting on the score, beside acting on all or none.",
                )
            )
        for entry in _entries(self.curves.get("risk_coverage"))[:1]:
            line = self._line(entry)
            if line:
                blocks.append(
                    plots.risk_coverage(
                        line,
                        title="Referring the least certain cases.",
                        note="Error among the cases that are still decided.",
                    )
                )
        return blocks

    def _marks(self) -> list[tuple[str, float, float]]:
        """Operating points of which sensitivity and specificity are known."""
        marks = []
        for point in self.evaluation.get("operating_points") or []:
            name = str(point.get("name"))
            sens = pick(self.rows, of=name, name="sensitivity", subgroup="")
            spec = pick(self.rows, of=name, name="specificity", subgroup="")
            if (
                sens
                and spec
                and sens[0].get("value") is not None
                and spec[0].get("value") is not None
            ):
                marks.append((name, 1 - float(spec[0]["value"]), float(sens[0]["value"])))
        return marks

    def _line(self, entry: Mapping[str, Any]) -> plots.Line | None:
        """A curve of ``metrics.json``."""
        x = next(
            (entry[key] for key in ("x", "fpr", "recall", "coverage", "threshold") if key in entry),
            None,
        )
        y = next(
            (
                entry[key]
                for key in ("y", "tpr", "precision", "risk", "error", "net_benefit")
                if key in entry
            ),
            None,
        )
        if not x or not y:
            return None
        name = str(entry.get("of") or entry.get("class") or entry.get("name") or "")
        return plots.Line(
            name=self.task.title(name),
            x=x,
            y=y,
            low=entry.get("low") or (),
            high=entry.get("high") or (),
        )

    def _of_classes(self) -> list[Row]:
        """Rows that speak of one class, of everybody."""
        names = set(self.task.classes)
        return [row for row in pick(self.rows, subgroup="") if row.get("of") in names]

    def _by_class(self, rows: Sequence[Row]) -> list[Block]:
        """A table for each unit: one line per class, one column per number; claimed."""
        self._claim(rows)
        blocks: list[Block] = []
        units = _units(rows)
        for unit, some in units:
            heads = {row["name"]: _title_of(row["name"], some) for row in some}
            lines = []
            for name in self.task.classes:
                of = {row["name"]: row for row in some if row.get("of") == name}
                events = [row["n_events"] for row in of.values() if row.get("n_events") is not None]
                line = {"Class": self.task.title(name), "Cases": count(events[0]) if events else ""}
                line |= {head: brief(of[key]) if key in of else "" for key, head in heads.items()}
                lines.append(line)
            frame = pd.DataFrame(lines)
            note = f"In brackets the {level_words(some)}. {reasons(some)}".strip()
            title = f"By class and {unit}" if len(units) > 1 else "By class"
            blocks.append(Table(frame, title=title, note=note, numeric=tuple(frame.columns[1:])))
        return blocks

    def _matching(self, names: re.Pattern[str]) -> list[Block]:
        """Rows of everybody with such a name that no section has shown."""
        rows = [r for r in self._free() if names.search(r["name"]) and not r.get("subgroup")]
        return self._by_unit(rows, "Counted by")

    def _by_unit(self, rows: Sequence[Row], words: str) -> list[Block]:
        """A table for each unit, claimed."""
        self._claim(rows)
        units = _units(rows)
        return [
            metrics_table(
                some, title=f"{words} {plural(unit)}" if len(units) > 1 else "", group=self.group
            )
            for unit, some in units
        ]

    def _claim(self, rows: Iterable[Row]) -> None:
        """Remember that these rows are shown."""
        self._shown.update(id(row) for row in rows)

    def _free(self) -> list[Row]:
        """Rows that no section has shown yet."""
        return [row for row in self.rows if id(row) not in self._shown]


def _units(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of each unit, in order of appearance."""
    units = dict.fromkeys(str(row.get("unit") or "image") for row in rows)
    return [
        (unit, [row for row in rows if str(row.get("unit") or "image") == unit]) for unit in units
    ]


def _title_of(measure: str, rows: Sequence[Row]) -> str:
    """The heading of a column of one measure."""
    row = next(row for row in rows if row["name"] == measure)
    return f"{row.get('title') or measure}{' (%)' if row.get('percent') else ''}"


def _without_of(rows: Sequence[Row]) -> list[Row]:
    """The rows with the subgroup where a reason would name the class."""
    return [{**row, "of": row.get("subgroup")} for row in rows]


def _entries(curve: object) -> list[Mapping[str, Any]]:
    """A curve, or a list of them, as a list."""
    if isinstance(curve, dict):
        return [curve]
    return [entry for entry in curve if isinstance(entry, dict)] if isinstance(curve, list) else []


def _bins(diagram: object) -> dict[str, list[dict[str, Any]]]:
    """Bins of a reliability diagram by what was done to the scores."""
    if not isinstance(diagram, dict):
        return {}
    return {
        name: [
            {
                "score": row.get("score", row.get("mean_score")),
                "share": row.get("share", row.get("observed")),
                "low": row.get("low"),
                "high": row.get("high"),
                "n": row["n"],
            }
            for row in rows
        ]
        for name, rows in diagram.items()
        if isinstance(rows, list) and rows
    }


def _decision_lines(decision: object) -> list[plots.Line]:
    """The curves of net benefit: the model, everybody, nobody."""
    entry = next(iter(_entries(decision)), {})
    x = entry.get("threshold") or entry.get("x") or []
    names = {
        "model": "this model",
        "net_benefit": "this model",
        "all": "act on all",
        "treat_all": "act on all",
    }
    lines = [
        plots.Line(name=words, x=x, y=entry[key])
        for key, words in names.items()
        if isinstance(entry.get(key), list) and len(entry[key]) == len(x)
    ]
    if lines:
        lines.append(plots.Line(name="act on none", x=x, y=[0.0] * len(x)))
    return lines

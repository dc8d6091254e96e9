"""The sections that speak of overall results: from ``metrics.json`` to blocks.

Nothing is computed here; a number that the file does not hold is not shown.
Each row is handed out once, and a row that no section claims ends in the last
table, so that none is lost. What is broken down further stands in
``core.report.thresholds`` and ``core.report.subgroups``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.blocks import Block, Figure, Fold, Table, Text
from core.report import plots
from core.report.calibration_words import temperature_words
from core.report.numbers import (
    Footnotes,
    brief,
    count,
    estimate,
    interval,
    level_words,
    metrics_table,
    pick,
    point_words,
    quantity,
    reasons,
    value_words,
    without_counts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.app import Task

    Row = Mapping[str, Any]

__all__ = ["Results"]

# Names of metrics that speak of scores as probabilities.
CALIBRATION = re.compile(r"calibration|brier|log_loss")
# Names of metrics that speak of ranking.
RANKING = re.compile(r"auroc|average_precision")


class Results:
    """The rows of one evaluation, each handed out once.

    Args:
        evaluation: the content of ``metrics.json``; any part may be absent.
        task: gives the words for classes.
        group: what a group is called.
        columns: what columns of the manifest are called.
    """

    def __init__(
        self,
        evaluation: Mapping[str, Any],
        task: Task,
        group: str,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.evaluation = evaluation
        self.task = task
        self.group = group
        self.columns = columns or {}
        self.about: Mapping[str, Any] = evaluation.get("about") or {}
        self.curves: Mapping[str, Any] = evaluation.get("curves") or {}
        # Reasons and measures name a class by its title.
        self.rows: list[Row] = [
            {**row, "of_words": self.words_of(row["of"])} if row.get("of") else row
            for row in evaluation.get("metrics") or []
        ]
        self._shown: set[int] = set()
        self._drawn: set[str] = set()

    def headline(self) -> Row | None:
        """The row of the metric named before training, or the first there is."""
        whole = pick(self.rows, of="", subgroup="")
        found = pick(whole, name=self.about.get("headline")) or whole
        return next(iter([*pick(found, unit=self.about.get("unit")), *found]), None)

    def numbers(self) -> list[Block]:
        """The overall numbers of the headline's unit; those of other units behind a fold."""
        rows = [
            row
            for row in pick(self.rows, subgroup="")
            if not CALIBRATION.search(row["name"])
            and (not row.get("of") or self._ranks_several(row))
        ]
        first = self.headline()
        main = [*([first] if first else []), *(r for r in rows if r is not first)]
        return self._by_unit(main, "Numbers")

    def _ranks_several(self, row: Row) -> bool:
        """Whether a number ranks cases of several classes, taken together, above the others."""
        return bool(RANKING.search(row["name"])) and row.get("of") not in self.task.classes

    def picture(self) -> Figure | None:
        """What shows the result at a glance: the ROC curve of two classes, else the confusions.

        The figure is not repeated in the sections below.
        """
        if self.task.kind in {"binary", "multilabel"} and self.curves.get("roc"):
            self._drawn.add("roc")
            return self._curve("roc")
        unit = str(self.about.get("unit") or "image")
        matrix = (self.evaluation.get("confusion") or {}).get(unit)
        if matrix is None:
            return None
        self._drawn.add(f"confusion {unit}")
        return self._confusion(unit, matrix)

    def classes(self) -> list[Block]:
        """One line per class, one column per number; then the confusion matrices."""
        blocks = self._by_class(self._of_classes())
        main = str(self.about.get("unit") or "image")
        found = self._other_confusions()
        first = [self._confusion(unit, matrix) for unit, matrix in found if unit == main]
        rest = [self._confusion(unit, matrix) for unit, matrix in found if unit != main]
        folded = [Fold("Confusion matrices of the other units", rest)] if rest else []
        return [*blocks, *first, *folded]

    def _other_confusions(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Matrices not drawn yet, each of its counts once; the headline's unit first."""
        main = str(self.about.get("unit") or "image")
        every = self.evaluation.get("confusion") or {}
        found = {unit: every[unit] for unit in sorted(every, key=lambda name: name != main)}
        seen = [found[unit]["counts"] for unit in found if f"confusion {unit}" in self._drawn]
        others = []
        for unit, matrix in found.items():
            if f"confusion {unit}" not in self._drawn and matrix["counts"] not in seen:
                seen.append(matrix["counts"])
                others.append((unit, matrix))
        return others

    def _confusion(self, unit: str, matrix: Mapping[str, Any]) -> Figure:
        """Counts of one unit."""
        counts = np.asarray(matrix["counts"], dtype=int)
        is_two_way = self.task.is_two_way and self.about.get("threshold") is not None
        is_decided = is_two_way or self.task.kind == "multilabel"
        return plots.confusion_matrix(
            counts,
            [self.task.title(name) for name in matrix["classes"]],
            title=f"Confusion matrix, by {unit}.",
            note=f"{quantity(int(counts.sum()), unit)}; percentages are of the true class."
            f"{self._beside_a_threshold(matrix)}",
            across="Decided" if is_decided else "Predicted class",
        )

    def counts_apart(self) -> bool:
        """Whether positive cases are called at a threshold in use, and classes without it."""
        is_told = self.task.kind == "multilabel" or self.task.is_two_way
        return not is_told and self.about.get("threshold") is not None

    def decided_words(self) -> str:
        """By what cases count as called, wherever no threshold is named beside the number."""
        if self.about.get("threshold") is None:
            return "by the predicted class"
        return "at the operating point in use"

    def _beside_a_threshold(self, matrix: Mapping[str, Any] | None = None) -> str:
        """That sensitivity and specificity are counted apart from the predicted class.

        Args:
            matrix: of one unit, of which the positive cases of another class are then told.
        """
        if not self.counts_apart():
            return ""
        message = (
            f" Sensitivity and specificity for {self.task.positive_name} are counted at the "
            "threshold in use instead, which changes no predicted class"
        )
        if matrix is None:
            return f"{message}."
        counts = np.asarray(matrix["counts"], dtype=int)
        positive = {self.task.classes[i] for i in self.task.positive_index}
        is_one = np.array([str(name) in positive for name in matrix["classes"]])
        n, other = int(counts[is_one].sum()), int(counts[is_one][:, ~is_one].sum())
        return (
            f" Counted by the predicted class.{message}: of {count(n)} that are "
            f"{self.task.positive_name}, {count(other)} have a predicted class here that is not."
        )

    def discrimination(self) -> list[Block]:
        """The curves of ranking."""
        found = [self._curve(key) for key in ("roc", "pr") if key not in self._drawn]
        of_classes = [self._curve(key, of_classes=True) for key in ("roc", "pr")]
        rest = [figure for figure in of_classes if figure is not None]
        folded = [Fold("ROC, precision and recall of the classes", rest)] if rest else []
        return [*(figure for figure in found if figure is not None), *folded]

    def _is_positive(self, of: object) -> bool:
        """Whether a curve is that of the positive cases, where more than two are drawn."""
        positive = list(self.about.get("positive") or [])
        return bool(positive) and str(of or "").split("+") == positive

    def _curve(self, key: str, *, of_classes: bool = False) -> Figure | None:
        """The ROC curve, or precision against recall; None where no curve is known.

        Args:
            key: ``roc`` or ``pr``.
            of_classes: the curves beside that of the positive cases, where there is one.
        """
        entries = self.curves.get(key) or []
        main = [entry for entry in entries if self._is_positive(entry.get("of"))]
        if main and self.task.kind != "multilabel":
            entries = [entry for entry in entries if (entry in main) is not of_classes]
        elif of_classes:
            return None
        if not entries:
            return None
        is_roc = key == "roc"
        lines = [
            plots.Line(name=self.words_of(entry.get("of")), x=entry["x"], y=entry["y"])
            for entry in entries
        ]
        title, x, y = (
            ("ROC curve.", "1 − specificity", "Sensitivity")  # noqa: RUF001  (a minus sign)
            if is_roc
            else ("Precision and recall.", "Recall", "Precision")
        )
        title = f"{title.removesuffix('.')} of the classes." if of_classes else title
        if main and not of_classes and len(lines) == 1:
            title = f"{title.removesuffix('.')} of {lines[0].name}."
        marks = self._marks() if is_roc and not of_classes else []
        unit = str(self.about.get("unit") or "image")
        note = f"By {unit}." + (" Dotted: chance." if is_roc else "")
        note += " Circles: stored thresholds." if marks else ""
        return plots.curves(lines, title=title, x=x, y=y, note=note, diagonal=is_roc, points=marks)

    def calibration(self) -> list[Block]:
        """Numbers and diagrams of scores read as probabilities."""
        # Whether a score is a probability is said once, on the first screen.
        message = temperature_words(self.evaluation)
        blocks: list[Block] = [Text(message)] if message else []
        before = [row for row in self.free() if row["name"].endswith("_before")]
        self.claim(before)
        earlier = [
            metrics_table(some, title=f"By {unit}", group=self.group)
            for unit, some in self._worth_showing(pick(before, subgroup=""))
        ]
        blocks += [*self._matching(CALIBRATION, "Errors of scores"), *self._line_of_calibration()]
        if earlier:
            blocks.append(Fold("Errors of scores before temperature scaling", earlier))
        return [*blocks, *self._reliability()]

    def _reliability(self) -> list[Block]:
        """The diagram of the headline's unit; before and after scaling, by image, behind a fold."""
        stored = self.curves.get("reliability") or {}
        # The scores in use last, whatever the order in the file.
        by_image = {name: stored[name] for name in ("before", "after") if name in stored}
        heat = self.about.get("temperature")
        is_scaled = "before" in stored or heat not in {None, 1.0}
        titles = {name: f"{name} temperature scaling" for name in by_image}
        titles = titles if is_scaled else {"after": "scores"}
        first = {titles[name]: rows for name, rows in by_image.items() if name in titles}
        main = {name: rows for name, rows in stored.items() if name not in by_image}
        is_apart = any(rows != stored.get("after") for rows in main.values())
        if not any(row["n"] for rows in stored.values() for row in rows):
            return []
        if not is_apart:
            return [self._reliability_of(first, "Reliability.")]
        folded = Fold(
            "Reliability by image", [self._reliability_of(first, "Reliability by image.")]
        )
        return [self._reliability_of(main, "Reliability."), folded]

    def _reliability_of(
        self, diagrams: Mapping[str, Sequence[Mapping[str, float]]], title: str
    ) -> Figure:
        """Bins of scores against what was right."""
        is_two_way = self.task.is_two_way
        return plots.reliability(
            diagrams,
            title=title,
            x=f"Score of {self.task.positive_name}"
            if is_two_way
            else "Score of the predicted class",
            y="Observed share" if is_two_way else "Share right",
            note="On the diagonal, scores are right. Lines: intervals. Below: cases.",
        )

    def rest(self) -> list[Block]:
        """Rows that no section has shown."""
        return self._by_unit(self.free(), "Numbers")

    def probe(self, *, is_kept: bool = False) -> list[Block]:
        """The fine-tuned network beside the linear head on frozen features.

        Args:
            is_kept: that the probe itself is the model, so that there is nothing to compare.
        """
        if is_kept:
            # The section on the model says that it is the probe.
            return []
        lines = []
        rows = pick(self.evaluation.get("probe") or [], of="", subgroup="")
        units = [row.get("unit") for row in rows]
        unit = self.about.get("unit") if self.about.get("unit") in units else next(iter(units), "")
        for row in rows:
            same = pick(self.rows, name=row["name"], of="", subgroup="", unit=row.get("unit"))
            # One unit, the headline's where the probe was judged by it; the column says which.
            if same and row.get("unit") == unit and not row["name"].endswith("_before"):
                lines.append(
                    {
                        "Measure": str(row.get("title") or row["name"]),
                        "By": str(row.get("unit") or ""),
                        "This model": estimate(same[0]),
                        "Probe": estimate(row),
                        "n": count(row.get("n") or 0),
                    }
                )
        if not lines:
            return []
        paired = self.evaluation.get("against_probe") or {}
        message = ""
        if paired.get("difference") is not None:
            difference = estimate({**paired, "value": paired["difference"]})
            how = f" ({paired['method']})" if paired.get("method") else ""
            message = (
                f"{paired['title']} by {paired['unit']}, this model minus the probe on the same "
                f"cases: {difference}, {paired['verdict']}{how}. "
            )
        note = (
            f"{message}Probe: the network with its starting weights unchanged, and a logistic "
            f"regression on top. In brackets the {level_words(self.rows)}."
        )
        table = Table(pd.DataFrame(lines), note=note, numeric=("This model", "Probe", "n"))
        return [Fold("Beside the probe (frozen features)", [table])]

    def methods(self) -> list[Block]:
        """How each interval was made, behind a fold."""
        named: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        for row in self.rows:
            if row.get("method") and not row.get("subgroup"):
                unit = str(row.get("unit") or "image")
                title = str(row.get("title") or row["name"]).removesuffix(f", by {unit}")
                (method,) = without_counts([row["method"]])
                titles, units = named.setdefault(method, ({}, {}))
                titles[title], units[unit] = None, None
        lines = [
            {"Method": method, "Of": ", ".join(titles), "By": ", ".join(units)}
            for method, (titles, units) in named.items()
        ]
        return [Fold("How the intervals were made", [Table(pd.DataFrame(lines))])] if lines else []

    def words_of(self, of: object) -> str:
        """What a curve or number speaks of: a class by its title, or the positive ones together."""
        parts = str(of or "").split("+")
        if len(parts) > 1 and parts == list(self.about.get("positive") or []):
            joint = self.task.positive_title
            return f"{joint} cases" if joint else "all positive classes"
        return " + ".join(self.task.title(part) for part in parts)

    def column_words(self, name: object) -> str:
        """What a column is called: by the app, or its own name without underscores."""
        return self.columns.get(str(name)) or str(name).replace("_", " ")

    def claim(self, rows: Iterable[Row]) -> None:
        """Remember that these rows are shown."""
        self._shown.update(id(row) for row in rows)

    def free(self) -> list[Row]:
        """Rows that no section has shown yet."""
        return [row for row in self.rows if id(row) not in self._shown]

    def _of_classes(self) -> list[Row]:
        """Rows that speak of one class, of everybody."""
        names = set(self.task.classes)
        return [row for row in pick(self.rows, subgroup="") if row.get("of") in names]

    def _by_class(self, rows: Sequence[Row], title: str = "By class") -> list[Block]:
        """One line per class, one column per number; claimed. Other units behind a fold."""
        self.claim(rows)
        blocks: list[tuple[str, Table]] = []
        units = self._worth_showing(rows)
        for unit, all_of_unit in units:
            # The support is the column of cases.
            some = [row for row in all_of_unit if row["name"] != "support"]
            heads = {row["name"]: _title_of(row["name"], some) for row in some}
            lines = []
            notes = Footnotes()
            for name in self.task.classes:
                of = {row["name"]: row for row in some if row.get("of") == name}
                events = [row["n_events"] for row in of.values() if row.get("n_events") is not None]
                line = {
                    "Class": self.task.title(name),
                    "Cases": count(events[0]) if events else "",
                }
                line |= {
                    head: brief(of[key]) + notes.mark(of[key]) if key in of else ""
                    for key, head in heads.items()
                }
                lines.append(line)
            frame = pd.DataFrame(lines)
            note = f"In brackets the {level_words(some)}. {self._decided()}".strip()
            table = Table(
                frame,
                f"{title}, by {unit}",
                note,
                numeric=tuple(frame.columns[1:]),
                marked=notes.texts,
            )
            blocks.append((unit, table))
        return self._fold_others(blocks)

    def _decided(self) -> str:
        """How cases were decided for a class, which need not be at one of the operating points."""
        if self.task.kind == "multilabel" or not self.evaluation.get("operating_points"):
            return ""
        if self.about.get("threshold") is None:
            return "Precision, recall and F1 are of the predicted class."
        if self.task.is_two_way:
            return "Decided at the operating point in use."
        return f"Precision, recall and F1 are of the predicted class.{self._beside_a_threshold()}"

    def _worth_showing(self, rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
        """The rows of each unit, the headline's first; without units whose numbers are the same."""
        main = str(self.about.get("unit") or "image")
        units = sorted(_units(rows), key=lambda pair: pair[0] != main)
        kept: list[tuple[str, list[Row]]] = []
        known: set[tuple[Any, ...]] = set()
        for unit, some in units:
            keys = {(r["name"], r.get("of"), r.get("value"), r.get("n")) for r in some}
            if not keys <= known:
                kept.append((unit, some))
            known |= keys
        return kept

    def _fold_others(self, tables: Sequence[tuple[str, Table]]) -> list[Block]:
        """The table of the headline's unit, or the first there is; the others behind a fold."""
        if not tables:
            return []
        rest = [table for _, table in tables[1:]]
        what = tables[0][1].title.partition(f"by {tables[0][0]}")[0]
        words = what + " and ".join(f"by {unit}" for unit, _ in tables[1:])
        return [tables[0][1], *([Fold(words, rest)] if rest else [])]

    def _matching(self, names: re.Pattern[str], what: str) -> list[Block]:
        """Rows of everybody with such a name that no section has shown."""
        return self._by_unit(
            [r for r in self.free() if names.search(r["name"]) and not r.get("subgroup")], what
        )

    def _by_unit(self, rows: Sequence[Row], what: str) -> list[Block]:
        """A table for each unit, claimed; units beside the headline's behind a fold."""
        self.claim(rows)
        note = (
            "Counted by the predicted class; AUROC and average precision need no decision."
            if what == "Numbers" and self.counts_apart()
            else ""
        )
        tables = [
            (unit, metrics_table(some, title=f"{what}, by {unit}", group=self.group, note=note))
            for unit, some in self._worth_showing(rows)
        ]
        return self._fold_others(tables)

    def _line_of_calibration(self) -> list[Block]:
        """Slope, intercept and calibration in the large."""
        line = self.evaluation.get("calibration")
        if not line:
            return []
        shown = []
        for key, title, best in _CALIBRATION_LINE:
            row = line.get(key) or {"reason": line.get("reason")}
            shown.append(
                {
                    "Measure": title,
                    "Value": value_words(row),
                    "Interval": interval(row),
                    "Best": best,
                }
            )
        why = reasons([{"title": "Calibration line", "reason": line.get("reason")}])
        note = (
            f"Of {self.words_of(line.get('of'))}, on the scale of log odds. A slope below 1: "
            f"scores too extreme. Calibration-in-the-large below 0: scores too high. {why}"
        )
        return [
            Table(
                pd.DataFrame(shown),
                title="Calibration line",
                note=note.strip(),
                numeric=("Value", "Interval", "Best"),
            )
        ]

    def _marks(self) -> list[tuple[str, float, float]]:
        """Operating points of which sensitivity and specificity are known."""
        marks = []
        for point in self.evaluation.get("operating_points") or []:
            sensitivity = (point.get("sensitivity") or {}).get("value")
            specificity = (point.get("specificity") or {}).get("value")
            if sensitivity is not None and specificity is not None:
                marks.append((point_words(point["name"]), 1 - specificity, sensitivity))
        return marks


# Key in metrics.json, words, the value of perfect calibration.
_CALIBRATION_LINE = (
    ("slope", "Slope", "1"),
    ("intercept", "Intercept", "0"),
    ("in_the_large", "Calibration-in-the-large", "0"),
)


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

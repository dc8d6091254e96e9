"""What a report on leaf photos holds beyond the numbers every task has.

Which two classes are taken for one another, and what such photos look like;
how the errors are spread over light and severe infections. Every section counts photos, and
its intervals resample whole groups.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from core.app import class_key
from core.base.tables import decided_classes, groups_or_own
from core.blocks import Fold, Pictures, Table, Text
from core.report.numbers import count, estimate, number, plural
from core.statistics.operating_points import proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from core.app import ReportContext
    from core.blocks import Block
    from core.statistics.operating_points import Rate

__all__ = ["by_severity", "confused_pairs", "several_diseases", "sick_and_healthy"]

# Pairs listed, pairs shown with pictures, and pictures of each.
PAIRS, PICTURED, PICTURES = 5, 3, 4
# Fewer photos than this of a grade say next to nothing about it.
FEW = 10


def sick_and_healthy(context: ReportContext) -> str:
    """How many sick pictures are taken for healthy ones, and the other way round."""
    healthy = _healthy(context)
    judged = _judged(context)
    if not healthy or not len(judged):
        return ""
    is_sick, said_sick = judged["label"] != healthy, judged["decision"] != healthy
    n, sick = len(judged), int(is_sick.sum())
    if not 0 < sick < n:
        return ""
    missed, alarms = int((is_sick & ~said_sick).sum()), int((~is_sick & said_sick).sum())
    word = _pictures_are(context)
    lost = _rate(~said_sick[is_sick], judged[is_sick])
    called = _rate(said_sick[~is_sick], judged[~is_sick])
    return (
        f"Called healthy: {count(missed)} of {count(sick)} sick {word}, {_rate_text(lost)}. "
        f"Called sick: {count(alarms)} of {count(n - sick)} healthy ones, {_rate_text(called)}. "
        f"Of 1,000 such {word}, {count(round(1000 * sick / n))} of them sick: "
        f"{_of_thousand(lost, sick / n)} missed, "
        f"{_of_thousand(called, 1 - sick / n)} false alarms."
    )


def _of_thousand(rate: Rate, share: float) -> str:
    """How many of 1,000 a rate is among those that make up this share, with its interval."""
    middle = count(round(1000 * share * (rate.value or 0.0)))
    if rate.low is None or rate.high is None:
        return middle
    low, high = (count(round(1000 * share * end)) for end in (rate.low, rate.high))
    return f"{middle} ({low} to {high})"


def _healthy(context: ReportContext) -> str:
    """The class of what has no disease; empty where the classes name none."""
    if context.task.kind == "multilabel":
        return ""
    return next((name for name in context.task.classes if name.lower() == "healthy"), "")


def confused_pairs(context: ReportContext) -> Sequence[Block]:
    """The pairs of classes most often taken for one another, with pictures."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    if context.task.kind == "multilabel":
        return []
    judged = _judged(context)
    wrong = judged[judged["decision"] != judged["label"]]
    word = _pictures_are(context)
    if not len(judged):
        return []
    if not len(wrong):
        return [Text(f"None of {count(len(judged))} {word} was taken for another class.")]
    counts = Counter(zip(wrong["label"], wrong["decision"], strict=True))
    # Ties in the order of the names, so that the same predictions give the same page.
    pairs = sorted(counts, key=lambda pair: (-counts[pair], pair))
    were, its = ("was", "its") if len(wrong) == 1 else ("were", "their")
    message = (
        f"{count(len(wrong))} of {count(len(judged))} {word} {were} not called what "
        f"{its} label says; some labels may be wrong."
    )
    rows = []
    for label, decision in pairs[:PAIRS]:
        of_class = judged[judged["label"] == label]
        rows.append(
            {
                "True class": context.task.title(label),
                "Called": context.task.title(decision),
                word.capitalize(): f"{count(counts[label, decision])} of {count(len(of_class))}",
                "Share (95 % interval)": _share(of_class["decision"] == decision, of_class),
            }
        )
    if len(wrong) == 1:
        only = rows[0]
        return [Text(f"{message} It is {only['True class']}, called {only['Called']}.")]
    left = len(pairs) - len(rows)
    rarer = (
        f" {count(left)} rarer {plural('pair', left)}: see the confusion matrix." if left else ""
    )
    blocks: list[Block] = [
        Table(
            frame=pd.DataFrame(rows),
            note=f"{message}{rarer}",
            numeric=(word.capitalize(), "Share (95 % interval)"),
        )
    ]
    galleries: list[Pictures] = []
    for label, decision in pairs[:PICTURED] if context.picture else []:
        both = wrong[(wrong["label"] == label) & (wrong["decision"] == decision)]
        galleries += _gallery(context, both, label, decision)
    if galleries:
        blocks.append(Fold("Pictures of the most frequent pairs", galleries))
    return blocks


def _gallery(
    context: ReportContext, rows: pd.DataFrame, label: str, decision: str
) -> Sequence[Pictures]:
    """The most confident errors of one pair."""
    column = f"score_{decision}"
    if column in rows:
        rows = rows.sort_values([column, "image_id"], ascending=[False, True])
    pictures = []
    for row in rows.head(PICTURES).to_dict("records"):
        pixels = context.picture(str(row["image_id"])) if context.picture else None
        if pixels is not None:
            score = f", score {row[column]:.2f}" if column in row else ""
            pictures.append((_png(pixels), f"{row['path']}{score}"))
    if not pictures:
        return []
    title = f"{context.task.title(label)}, called {context.task.title(decision)}"
    return [Pictures(title=title, pictures=pictures, note="The most confident first.")]


def by_severity(context: ReportContext) -> Sequence[Block]:
    """How often the decision is right at each grade of severity.

    Left out where severity is what is predicted, where nothing says the severity, and where
    the class gives the grade: what is said by class would be said again.
    """
    import pandas as pd  # noqa: PLC0415  (see above)

    if context.task.label == "severity" or context.task.kind == "multilabel":
        return []
    judged = _judged(context)
    if "severity" not in judged and "severity" in context.manifest:
        known = context.manifest.set_index("image_id")["severity"]
        judged = judged.assign(severity=judged["image_id"].map(known))
    if "severity" not in judged:
        return []
    grade = judged["severity"].fillna("").astype(str).str.removesuffix(".0")
    grades = sorted(set(grade) - {""}, key=class_key)
    label = judged["label"][grade != ""]
    if len(grades) < 2 or len(set(zip(label, grade[grade != ""], strict=True))) == label.nunique():
        return []
    rows, held, wrong, few = [], [], [], []
    word = _pictures_are(context)
    for name in grades:
        part = judged[grade == name]
        right = part["decision"] == part["label"]
        wrong.append(int((~right).sum()))
        few += [name] if len(part) < FEW else []
        rows.append(
            {
                "Severity": name,
                word.capitalize(): count(len(part)),
                "Right": count(int(right.sum())),
                "Share right (95 % interval)": _share(right, part),
            }
        )
        held.append(
            {
                "Severity": name,
                "Classes": ", ".join(
                    f"{context.task.title(label)} {count(n)}"
                    for label, n in sorted(Counter(part["label"]).items())
                ),
            }
        )
    blocks: list[Block] = [
        Table(
            frame=pd.DataFrame(rows),
            title="Right decisions by severity",
            note="The grades hold different classes, so a difference between two grades may be one "
            "between classes."
            + (f" Too few {word} to judge: grade {', '.join(few)}." if few else ""),
            numeric=(word.capitalize(), "Right", "Share right (95 % interval)"),
        )
    ]
    total = sum(wrong)
    if total:
        # The lightest grade with symptoms: what an early warning has to see.
        first = next((i for i, name in enumerate(grades) if name != "0"), 0)
        healthy = _healthy(context)
        part = judged[(grade == grades[first]) & (judged["decision"] != judged["label"])]
        missed = int((part["decision"] == healthy).sum())
        message = f" Of these errors {count(missed)} were called healthy." if healthy else ""
        blocks.append(
            Text(
                f"{count(wrong[first])} of {count(total)} errors are on {word} of grade "
                f"{grades[first]}, the lightest with symptoms; "
                f"{number(float((grade == grades[first]).mean()), percent=True)} of the {word} are "
                f"of that grade.{message}"
            )
        )
    return [*blocks, Fold("Classes of each severity", [Table(pd.DataFrame(held))])]


def several_diseases(context: ReportContext) -> Sequence[Block]:
    """How photos fare that show more than one disease, where the data say what each shows.

    Known where the manifest has a column for two or more of the classes, above zero where a
    photo shows it. Left out where several labels are predicted at once.
    """
    import pandas as pd  # noqa: PLC0415  (see above)

    shown = [name for name in context.task.classes if name in context.manifest.columns]
    if len(shown) < 2 or context.task.kind == "multilabel":
        return []
    judged = _judged(context)
    named = context.manifest.set_index("image_id")[shown].reindex(judged["image_id"])
    is_on = (named.apply(pd.to_numeric, errors="coerce").fillna(0) > 0).to_numpy()
    several = is_on.sum(axis=1) > 1
    if not several.any():
        return []
    is_called = np.stack([(judged["decision"] == name).to_numpy() for name in shown], axis=1)
    right = judged["decision"] == judged["label"]
    also = (is_on & is_called).any(axis=1) & ~right.to_numpy()
    word = _pictures_are(context)
    share, other = "Called their label (95 % interval)", "Called another disease on them"
    rows = []
    for title, among in (("one disease", is_on.sum(axis=1) == 1), ("several diseases", several)):
        rows.append(
            {
                f"{word.capitalize()} with": title,
                "n": count(int(among.sum())),
                share: _share(right[among], judged[among]) if among.any() else "none",
                other: count(int(also[among].sum())),
            }
        )
    note = (
        "A label and a call name one disease each, so a call does not rule out the others that the "
        "data name; treatment may need several."
    )
    return [Table(pd.DataFrame(rows), note=note, numeric=("n", share, other))]


def _pictures_are(context: ReportContext) -> str:
    """What the pictures of this report are called."""
    return "tiles" if "row_off" in context.manifest else "photos"


def _judged(context: ReportContext) -> pd.DataFrame:
    """Photos with a score and a known label, and what was decided about them."""
    rows = context.predictions
    if "label" not in rows:
        return rows.iloc[:0].assign(label="", decision="")
    label = rows["label"].fillna("").astype(str)
    judged = rows[(rows["status"] == "ok") & (label != "")].copy()
    judged["label"] = judged["label"].astype(str)
    if "decision" not in judged:
        return judged.assign(decision=judged["predicted"].astype(str))
    decided = decided_classes(judged, context.task)
    return judged.assign(decision=decided.where(decided != "", judged["predicted"]))


def _share(hit: pd.Series[bool], rows: pd.DataFrame) -> str:
    """A share with the interval that ``metrics.json`` has for it, over groups."""
    return _rate_text(_rate(hit, rows))


def _rate_text(rate: Rate) -> str:
    """A share and its interval in words."""
    words = estimate({**asdict(rate), "percent": True})
    return words if rate.low is not None else f"{words} (too few groups)"


def _rate(hit: pd.Series[bool], rows: pd.DataFrame) -> Rate:
    """A share over groups; a photo without a group is one of its own."""
    return proportion(hit.to_numpy(bool), groups_or_own(rows).to_numpy())


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    """RGB pixels (H, W, 3) uint8 as PNG bytes."""
    from PIL import Image  # noqa: PLC0415  (only a report draws)

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG")
    return stream.getvalue()

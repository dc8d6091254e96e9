"""What a report on eyes holds beyond the numbers every task has.

Whom a screening programme would refer and miss, with and without those who cannot be
judged from photographs; why photographs are ungradable; how cameras differ; and the
eyes whose grade is off by two or more. Rates are of patients, and intervals
resample or cluster whole patients.
"""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.retinopathy.index import UNGRADABLE
from apps.retinopathy.metrics import GRADES, REFERABLE, VISION_THREATENING
from apps.retinopathy.referral_curve import referral_curve
from apps.retinopathy.screening import is_ungradable, referrals
from core.blocks import Fold, Pictures, Table, Text
from core.evaluation.stored_thresholds import counted_at, thresholds_of
from core.evaluation.units import text_of
from core.report.numbers import count, estimate, number, point_words, quantity
from core.report.overlay import overlay
from core.statistics.operating_points import per_thousand, proportion, two_by_two

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from apps.retinopathy.screening import Referrals
    from core.app import ReportContext
    from core.blocks import Block

__all__ = ["cameras", "referral_words", "screening", "ungradable", "worst_errors"]

# Fewer eyes than this of a grade say next to nothing about it: of 30, half of them found, the
# interval of the share found is still 35 percentage points wide.
FEW = 30
# Pictures of eyes that are far off, and their longer side.
SHOWN, SIDE_PX = 8, 260
# How photographs may differ, the more telling first.
_KINDS = (
    ("camera", "Camera"),
    ("site", "Site"),
    ("resolution", "Radius of the field in the file"),
    ("disc_rule", "Field outline"),
)


def screening(context: ReportContext) -> Sequence[Block]:
    """Whom the model would refer among 1,000 patients; ungradable eyes counted both ways."""
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    if not context.task.positive_index or context.task.kind == "multilabel":
        return []
    given = context.evaluation.get("prevalence")
    judged = _with_refused(context)
    rows: list[dict[str, str]] = []
    apart: list[dict[str, str]] = []
    prevalence = None
    n_lost = 0
    points: list[tuple[str, NDArray[np.bool_]]] = []
    decided_at: list[str] = []
    for name, threshold, at in _thresholds(context):
        found = referrals(judged, task=context.task, threshold=threshold)
        patients = found.patients[found.patients["label"].isin(context.task.classes)]
        if not len(patients):
            return []
        if threshold is not None:
            points.append((name, patients["is_called"].to_numpy(dtype=bool)))
            decided_at.append(at)
        truth = patients["label"].isin(
            {context.task.classes[i] for i in context.task.positive_index}
        )
        prevalence = float(given) if given else float(truth.mean())
        lost = patients["ungradable"]
        n_lost = int(lost.sum())
        for table, among in ((rows, lost | ~lost), (apart, ~lost)):
            part = patients[among]
            rates = _rates(truth[among], part["referred"], part["group"], prevalence)
            table.append({"Decided by": name, **rates})
    frame = pd.DataFrame(rows)
    where = "as stated for the place of use" if given else "that of these patients"
    note = (
        f"Counts are for a prevalence of {number(prevalence or 0, percent=True)} referable "
        f"patients, {where}, and hold where patients are like these. A patient is referable if the "
        "worse eye is. "
    )
    if n_lost:
        note += (
            f"{quantity(n_lost, 'patient')} with an ungradable eye "
            f"{'is' if n_lost == 1 else 'are'} counted as referred, for whoever cannot be graded "
            "has to be seen."
        )
    numeric = tuple(frame.columns[1:])
    blocks: list[Block] = [Table(frame, note=note.strip(), numeric=numeric)]
    figure = referral_curve(patients, points, at="; ".join(dict.fromkeys(decided_at)))
    blocks += [figure] if figure is not None else []
    few = _few(context)
    if few:
        blocks.append(
            Text(
                f"Too few eyes to judge {', '.join(few)}. Numbers for them, and for what they "
                "are part of, may be far from the truth.",
                "warning",
            )
        )
    if n_lost:
        title = f"Referral without {quantity(n_lost, 'ungradable patient')}"
        blocks.append(Fold(title, [Table(pd.DataFrame(apart), numeric=numeric)]))
    return blocks


def referral_words(context: ReportContext) -> str:
    """How many patients are referred and missed by what decides, and how grave the misses are."""
    if not context.task.positive_index or context.task.kind == "multilabel":
        return ""
    split = str((context.evaluation.get("about") or {}).get("split") or "")
    points = context.evaluation.get("operating_points") or []
    point = next((p for p in points if p.get("active") and p.get("threshold") is not None), None)
    threshold = None if point is None else thresholds_of(point, split)
    patients = referrals(_with_refused(context), task=context.task, threshold=threshold).patients
    patients = patients[patients["label"].isin(context.task.classes)]
    if not len(patients):
        return ""
    truth = patients["label"].isin({context.task.classes[i] for i in context.task.positive_index})
    referred, n = int(patients["referred"].sum()), len(patients)
    lost = int(patients["ungradable"].sum())
    blind = (
        f", {count(lost)} of them for an eye that the quality gate calls ungradable"
        if lost
        else "; none for want of a gradable photograph"
    )
    found = ""
    if truth.any():
        of = patients[truth]
        rate = proportion(of["referred"].to_numpy(bool), of["group"].to_numpy(), word="patient")
        found = (
            f" Of {quantity(rate.n, 'referable patient')} {count(rate.n - rate.x)} "
            f"{'is' if rate.n - rate.x == 1 else 'are'} missed (sensitivity "
            f"{estimate({**asdict(rate), 'percent': True})})."
        )
    by = "by the predicted grade" if point is None else "at the operating point in use"
    return (
        f"By patient (the worse eye) and {by}, {count(referred)} of {count(n)} would be referred "
        f"({number(1000 * referred / n, places=0)} of 1,000){blind}.{found}{_grave(context)}"
    )


def _grave(context: ReportContext) -> str:
    """How many eyes that threaten vision are graded below referable."""
    unit = str((context.evaluation.get("about") or {}).get("unit") or "image")
    matrix = (context.evaluation.get("confusion") or {}).get(unit)
    if matrix is None or tuple(matrix["classes"]) != GRADES:
        return ""
    rows = np.asarray(matrix["counts"], dtype=int)[list(VISION_THREATENING)]
    below, none = int(rows[:, : min(REFERABLE)].sum()), int(rows[:, 0].sum())
    if not rows.sum():
        return ""
    return (
        f" Of {quantity(int(rows.sum()), unit)} with severe or proliferative disease, "
        f"{count(below)} {'is' if below == 1 else 'are'} graded below referable, {count(none)} of "
        f"them as {context.task.title(GRADES[0]).removeprefix('0 ')}."
    )


def _with_refused(context: ReportContext) -> pd.DataFrame:
    """The photographs of this split, and those of its patients that graders could not grade.

    The latter train nothing and have no score, but a programme has to see the patient.
    """
    import pandas as pd  # noqa: PLC0415  (see above)

    rows, manifest = context.predictions, context.manifest
    if "reason" not in manifest or "group" not in rows:
        return rows
    here = (
        (text_of(manifest["reason"]) == UNGRADABLE)
        & np.isin(text_of(manifest["group"]), [name for name in text_of(rows["group"]) if name])
        & ~np.isin(text_of(manifest["image_id"]), text_of(rows["image_id"]))
    )
    if not here.any():
        return rows
    refused = manifest[here]
    refused = refused[[name for name in rows.columns if name in refused.columns]]
    every: pd.DataFrame = pd.concat([rows, refused.assign(quality="")], ignore_index=True)
    return every


def _thresholds(
    context: ReportContext,
) -> list[tuple[str, float | dict[str, float] | None, str]]:
    """What referral can be decided by: the grade, and each operating point; and at which threshold.

    Out-of-fold cases helped to choose the threshold of the run: each is decided at that of the
    other folds, as everywhere else.
    """
    split = str((context.evaluation.get("about") or {}).get("split") or "")
    points = context.evaluation.get("operating_points") or []
    return [
        ("the predicted grade", None, ""),
        *(
            (point_words(str(point["name"])), thresholds_of(point, split), counted_at(point, split))
            for point in points
            if point.get("threshold") is not None
        ),
    ]


def _rates(
    truth: pd.Series[bool], referred: pd.Series[bool], group: pd.Series[str], prevalence: float
) -> dict[str, str]:
    """Sensitivity and specificity of referral, and what they mean for 1,000 patients."""
    own = [str(name) or f"\uffff{i}" for i, name in enumerate(group)]
    table = two_by_two(truth.to_numpy(), referred.to_numpy(), groups=np.array(own), word="patient")
    cells = {"Patients": count(len(truth))}
    for title, rate in (("Sensitivity", table.sensitivity), ("Specificity", table.specificity)):
        cells[title] = estimate(
            {"value": rate.value, "low": rate.low, "high": rate.high, "percent": True}
        )
    sensitivity, specificity = table.sensitivity.value, table.specificity.value
    if sensitivity is None or specificity is None or not 0 < prevalence < 1:
        return cells
    expected = per_thousand(sensitivity, specificity, prevalence)
    return {
        **cells,
        "Referred of 1,000": number(expected["called"], places=0),
        "of these rightly": number(expected["found"], places=0),
        "Missed of 1,000": number(expected["missed"], places=0),
    }


def _few(context: ReportContext) -> list[str]:
    """Grades with too few eyes, in words."""
    unit = "eye" if "eye" in context.decisions else "image"
    table = context.decisions.get(unit)
    if table is None or "label" not in table:
        return []
    counts = {name: int((table["label"] == name).sum()) for name in context.task.classes}
    return [
        f"{context.task.title(name)} ({quantity(n, unit)})" for name, n in counts.items() if n < FEW
    ]


def ungradable(context: ReportContext) -> Sequence[Block]:
    """Photographs that say nothing of their eye, and why."""
    import pandas as pd  # noqa: PLC0415  (see above)

    rows = _with_refused(context)
    if not len(rows):
        return []
    bad = is_ungradable(rows)
    blocks: list[Block] = []
    if bad.any():
        why = [_short(q, r) for q, r in zip(*_texts(rows[bad]), strict=True)]
        labels = text_of(rows[bad]["label"]) if "label" in rows else [""] * len(why)
        positive = {context.task.classes[i] for i in context.task.positive_index}
        table = pd.DataFrame({"why": why, "label": labels})
        lines = [
            {
                "Why": reason,
                "Photographs": count(len(part)),
                "Share": number(len(part) / len(rows), percent=True),
                "Labelled referable": count(int(part["label"].isin(positive).sum())),
            }
            for reason, part in sorted(
                table.groupby("why"), key=lambda pair: (-len(pair[1]), str(pair[0]))
            )
        ]
        note = (
            f"{count(int(bad.sum()))} of {quantity(len(rows), 'photograph')} of this split. The "
            "check of quality is automatic and conservative. Referral counts their patients as "
            "referred and leaves them out of its ROC curve, as “Grade right” does; all other "
            "sections count their scores."
        )
        frame = pd.DataFrame(lines)
        blocks.append(
            Table(frame, title="Not gradable", note=note, numeric=tuple(frame.columns[1:]))
        )
    else:
        words = f"None of {quantity(len(rows), 'photograph')} was found ungradable."
        blocks.append(Text(words))
    fallen = _fallen_back(rows)
    return [*blocks, *([Text(fallen, "note")] if fallen else [])]


def _texts(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Quality and reason of rows."""
    return list(text_of(rows["quality"])), list(text_of(rows["reason"]))


def _short(quality: str, reason: str) -> str:
    """A reason without its numbers, so that like faults count together."""
    if not quality:
        if reason == UNGRADABLE:
            return "ungradable: its grader said so"
        return "not read, or left out" if reason else "without a score"
    kind, _, faults = quality.partition(": ")
    if kind.startswith("not a fundus"):
        return kind
    parts = dict.fromkeys(part.split(":")[0].strip() for part in faults.split(";"))
    return f"{kind}: {', '.join(parts)}"


def _fallen_back(rows: pd.DataFrame) -> str:
    """How often no disc was found."""
    if "disc_rule" not in rows:
        return ""
    rule = text_of(rows["disc_rule"])
    n = int(np.isin(rule, ("outline", "frame")).sum())
    if not n:
        return ""
    return (
        f"In {quantity(n, 'photograph')} no round edge of the retina was found; they were scaled "
        "by their lit region or their frame, so lesions in them may look larger or smaller."
    )


def cameras(context: ReportContext) -> Sequence[Block]:
    """Photographs of each kind: how many, how many gradable, how often right."""
    import pandas as pd  # noqa: PLC0415  (see above)

    if context.task.kind == "multilabel":
        return []
    threshold = (context.evaluation.get("about") or {}).get("threshold")
    found = referrals(context.predictions, task=context.task, threshold=threshold)
    by = "by the grade" if threshold is None else f"at the threshold in use, {threshold:.3g}"
    rows = context.predictions.set_index(text_of(context.predictions["image_id"]))
    blocks: list[Block] = []
    for column, title in _KINDS:
        if column not in rows:
            continue
        kind = pd.Series(text_of(rows[column]), index=rows.index)
        names = [name for name in sorted(set(kind)) if name]
        if len(names) < 2:
            continue
        lines = [
            _kind_line(name, title, found, set(kind.index[kind == name]), context) for name in names
        ]
        frame = pd.DataFrame(lines)
        blocks.append(
            Table(
                frame,
                title=f"By {title[0].lower()}{title[1:]}",
                note=f"Referable is decided {by}. Grade right and referable found are of the "
                "gradable photographs. Intervals by patient. Kinds see different patients, but for "
                "those with several kinds, so a difference may be one between these.",
                numeric=tuple(frame.columns[1:]),
            )
        )
    return blocks


def _kind_line(
    name: str, title: str, found: Referrals, ids: set[Any], context: ReportContext
) -> dict[str, str]:
    """One kind of photograph."""
    part = found.images[found.images["image_id"].isin(ids)]
    known = part[part["label"].isin(context.task.classes)]
    graded = known[known["grade"] != ""]
    positive = {context.task.classes[i] for i in context.task.positive_index}
    return {
        title: name,
        "Photographs": count(len(part)),
        "Patients": count(part["patient"].nunique()),
        "Ungradable": _share(part["ungradable"], part),
        "Labelled referable": _part(known["label"].isin(positive)),
        "Grade right": _share(graded["grade"] == graded["label"], graded),
        "Referable found": _share(
            graded["is_called"][graded["label"].isin(positive)],
            graded[graded["label"].isin(positive)],
        ),
    }


def _part(hit: pd.Series[bool]) -> str:
    """A share of the photographs at hand, which is no estimate and has no interval."""
    if not len(hit):
        return "none"
    return (
        f"{number(float(hit.mean()), percent=True)}, {count(int(hit.sum()))} of {count(len(hit))}"
    )


def _share(hit: pd.Series[bool], rows: pd.DataFrame) -> str:
    """A share with its interval by patient, and what it is of: shares of others may look alike."""
    if not len(hit):
        return "none"
    rate = proportion(hit.to_numpy(), rows["patient"].to_numpy(), word="patient")
    shown = estimate({"value": rate.value, "low": rate.low, "high": rate.high, "percent": True})
    return f"{shown}, {count(rate.x)} of {count(rate.n)}"


def worst_errors(context: ReportContext) -> Sequence[Block]:
    """Photographs two grades or more off, gradable ones and the farthest first."""
    is_graded = context.task.kind != "multilabel" and tuple(context.task.classes) == GRADES
    if not is_graded or "label" not in context.predictions:
        return []
    rows = context.predictions
    rows = rows[(rows["status"] == "ok") & rows["label"].isin(GRADES)]
    decided = rows["predicted"]
    rows = rows.assign(decided=decided, away=decided.astype(int) - rows["label"].astype(int))
    far = rows[rows["away"].abs() >= 2]
    if not len(rows):
        return []
    missed = int((far["away"] < 0).sum())
    words = (
        f"{count(len(far))} of {quantity(len(rows), 'photograph')} are two grades or more off, by "
        "the predicted grade: "
        f"{count(missed)} too low, {count(len(far) - missed)} too high."
    )
    blocks: list[Block] = [Text(words)]
    # Those that nobody would grade explain themselves, so they come last.
    far = far.assign(size=far["away"].abs(), bad=is_ungradable(far)).sort_values(
        ["bad", "size", "away", "image_id"], ascending=[True, False, True, True]
    )
    pictures = list(_pictured(far.head(SHOWN).to_dict("records"), context))
    if pictures:
        gallery = Pictures(
            title="",
            pictures=pictures,
            note="As the network sees them, gradable ones first. Right of each, where a map is "
            "shown: the regions that raised the score, which need not be where a lesion is. "
            "Grades are those of one or more graders and can be wrong too.",
        )
        blocks.append(Fold("The photographs farthest off", [gallery]))
    return blocks


def _pictured(
    rows: Sequence[Mapping[Any, Any]], context: ReportContext
) -> Iterator[tuple[bytes, str]]:
    """Pictures of rows, with their captions."""
    if context.picture is None:
        return
    for row in rows:
        image_id = str(row["image_id"])
        picture = context.picture(image_id)
        shown = [picture]
        if context.saliency is not None:
            shown.append(overlay(picture, context.saliency(image_id)))
        quality = f"; {row['quality']}" if row.get("quality") else ""
        title = context.task.title
        words = f"{image_id}: is {title(row['label'])}, called {title(row['decided'])}{quality}"
        yield _jpeg(np.concatenate(shown, axis=1)), words


def _jpeg(pixels: np.ndarray[Any, Any]) -> bytes:
    """RGB pixels as a small JPEG."""
    from PIL import Image  # noqa: PLC0415  (only a report draws)

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((2 * SIDE_PX, SIDE_PX))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=88)
    return stream.getvalue()

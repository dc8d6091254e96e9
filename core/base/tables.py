"""The four tables that flow through every command: columns, types, checks.

    manifest      one row per model input: what it is and where it comes from
    predictions   one row per input: status, scores, or the reason it failed
    decisions     one row per unit: calibrated score, decision
    metrics       one row per number: value, interval, n, unit, split

This module knows nothing of files, images or models. A table is a pandas frame;
extra columns travel along untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import LeakageError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from core.app import Task

__all__ = [
    "DECISIONS",
    "MANIFEST",
    "METRICS",
    "NEGATIVE",
    "POSITIVE",
    "PREDICTIONS",
    "SPLITS",
    "Column",
    "as_text",
    "attention_columns",
    "check_manifest",
    "check_splits",
    "count_groups",
    "decided_classes",
    "groups_or_own",
    "logit_columns",
    "logits_in",
    "score_columns",
]

SPLITS = ("train", "val", "test")
# What a threshold decides where the task has more classes than two: a side, never a class.
POSITIVE, NEGATIVE = "positive", "negative"


@dataclass(frozen=True)
class Column:
    """One column of a table. ``required`` columns may not hold missing values."""

    name: str
    dtype: str
    meaning: str
    required: bool = True


MANIFEST = (
    Column("image_id", "str", "unique name of the input, made from its path, never from a header"),
    Column("path", "str", "file, relative to the manifest's root where it lies below it"),
    Column("label", "str", "class name; empty where unknown", required=False),
    Column("group", "str", "what may never straddle a split; empty where unknown", required=False),
    Column("split", "str", "train, val or test; empty where not yet drawn", required=False),
    Column("status", "str", "ok, or skipped with a reason"),
    Column("reason", "str", "why it was skipped; empty if ok", required=False),
)

PREDICTIONS = (
    Column("image_id", "str", "as in the manifest"),
    Column("path", "str", "as in the manifest"),
    Column("status", "str", "ok, failed or skipped"),
    Column("reason", "str", "why it failed or was skipped; empty if ok", required=False),
    Column("quality", "str", "why the image should not be judged; empty if fine", required=False),
    Column("predicted", "str", "class with the highest calibrated score", required=False),
    Column(
        "decision",
        "str",
        "what the run's threshold decides: a class of two, else positive or negative; the "
        "predicted class without a threshold; open, referred or withheld where in doubt",
        required=False,
    ),
    Column("doubt", "str", "why a result should not be relied on; empty if fine", required=False),
    Column(
        "same_as",
        "str",
        "image_id of another input with the same pixels that stands for another eye, side, "
        "patient; empty if none",
        required=False,
    ),
    Column(
        "embedding_distance",
        "float64",
        "distance to the training images, in units of the 95th percentile of validation: above "
        "1 is unusual",
        required=False,
    ),
    Column("unfamiliar", "bool", "embedding_distance is above the run's limit", required=False),
    Column("model_id", "str", "first 12 hex digits of the sha256 of the weights", required=False),
)
# Beside them: score_<class> (calibrated, float64), logit_<i> (float64), and where
# the truth is known label, group and split; where a run learned how much each image of a
# unit counts, attention and attention_logit_<i>.

DECISIONS = (
    Column("unit", "str", "level: image, eye, breast, patient ..."),
    Column("unit_id", "str", "identifies the unit"),
    Column("n_images", "int64", "images whose scores count for the unit"),
    Column("n_failed", "int64", "images of the unit without a score"),
    Column("predicted", "str", "class with the highest score", required=False),
    Column("decision", "str", "as in the predictions, for the unit", required=False),
    Column("label", "str", "true class where known", required=False),
    Column("group", "str", "group of the unit", required=False),
)
# Beside them: score_<class>; of new inputs n_unfamiliar, n_poor, n_ungradable (scored, but of
# another kind or not gradable, so that it counts for nothing), missing and doubt.

METRICS = (
    Column("name", "str", "name of the metric, snake case"),
    Column("title", "str", "its words in a report"),
    Column(
        "of",
        "str",
        "class, pair, operating point or bin it speaks of; empty if all",
        required=False,
    ),
    Column("unit", "str", "image or the name of a unit"),
    Column("split", "str", "train, val, test, or a name of new data"),
    Column("subgroup", "str", "column=value, or empty for everybody", required=False),
    Column("value", "float64", "the number; missing where undefined", required=False),
    Column("low", "float64", "lower end of the interval", required=False),
    Column("high", "float64", "upper end of the interval", required=False),
    Column("level", "float64", "confidence level, 0.95", required=False),
    Column("method", "str", "how the interval was made", required=False),
    Column("n", "int64", "cases it is computed on"),
    Column("n_groups", "int64", "groups they belong to"),
    Column("n_events", "int64", "cases of the class, where the metric has events", required=False),
    Column("reason", "str", "why there is no value, or a caution in words", required=False),
    Column("percent", "bool", "whether to show it as a percentage", required=False),
)


def decided_classes(table: pd.DataFrame, task: Task) -> pd.Series[str]:
    """The class each row was taken for.

    That of the decision where a threshold parts two classes, or where labels are decided one
    by one; else the predicted one, for a side of a threshold is no class.
    """
    by_decision = task.is_two_way or task.kind == "multilabel"
    column = "decision" if by_decision or "predicted" not in table else "predicted"
    return as_text(table[column])


def score_columns(classes: Sequence[str]) -> list[str]:
    """Names of the score columns, in class order.

    >>> score_columns(["healthy", "rust"])
    ['score_healthy', 'score_rust']
    """
    return [f"score_{name}" for name in classes]


def logit_columns(n_logits: int) -> list[str]:
    """Names of the logit columns.

    >>> logit_columns(2)
    ['logit_0', 'logit_1']
    """
    return [f"logit_{i}" for i in range(n_logits)]


def logits_in(table: pd.DataFrame) -> list[str]:
    """The logit columns that a predictions table has, in order.

    >>> import pandas as pd
    >>> logits_in(pd.DataFrame(columns=["image_id", "logit_1", "logit_0"]))
    ['logit_0', 'logit_1']
    """
    found = [str(name) for name in table.columns if str(name).startswith("logit_")]
    return sorted(found, key=lambda name: int(name.removeprefix("logit_")))


def attention_columns(n_logits: int) -> list[str]:
    """Names of the columns from which the rule ``attention`` makes the score of a unit.

    >>> attention_columns(1)
    ['attention', 'attention_logit_0']
    """
    return ["attention", *(f"attention_logit_{i}" for i in range(n_logits))]


def check_manifest(table: pd.DataFrame, *, labelled: bool) -> None:
    """Refuse a manifest that the next step could not trust; all problems at once.

    Args:
        table: a manifest, see ``MANIFEST``.
        labelled: whether every row that is ok must have a label.

    Raises:
        ManifestError: columns are absent, ids repeat, a status or split is
            unknown, a label is missing, or nothing is left.
    """
    problems: list[str] = []
    absent = [column.name for column in MANIFEST if column.name not in table.columns]
    if absent:
        msg = f"The manifest has no column {', '.join(absent)}. The app's index must fill it."
        raise ManifestError(msg)
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        problems.append(f"{len(repeated)} image_id(s) repeat (first: {repeated.iloc[0]!r})")
    ok = table[table["status"] == "ok"]
    odd = table[~table["status"].isin(["ok", "skipped"])]
    if len(odd):
        problems.append(f"{len(odd)} row(s) have a status other than ok or skipped")
    silent = table[(table["status"] == "skipped") & (as_text(table["reason"]) == "")]
    if len(silent):
        problems.append(
            f"{len(silent)} skipped row(s) give no reason (first: {silent['image_id'].iloc[0]!r})"
        )
    split = as_text(table["split"])
    strange = table[~split.isin(["", *SPLITS])]
    if len(strange):
        problems.append(
            f"{len(strange)} row(s) name a split other than {', '.join(SPLITS)} "
            f"(first: {strange['split'].iloc[0]!r} for {strange['image_id'].iloc[0]!r})"
        )
    if labelled:
        bare = ok[as_text(ok["label"]) == ""]
        if len(bare):
            problems.append(
                f"{len(bare)} of {len(ok):,} rows have no label (first: "
                f"{bare['image_id'].iloc[0]!r})"
            )
    if not len(ok):
        problems.append("no usable image is left")
    if problems:
        msg = (
            f"The manifest cannot be used: {'; '.join(problems)}. Correct the data, or the "
            f"table that lists it."
        )
        raise ManifestError(msg)


def check_splits(table: pd.DataFrame) -> None:
    """Refuse a manifest in which a group stands in more than one split.

    Rows without a group or a split are passed over: what cannot be known
    cannot be checked.

    Raises:
        LeakageError: with the number of such groups and the first.
    """
    known = table[
        (table["status"] == "ok")
        & (as_text(table["group"]) != "")
        & (as_text(table["split"]) != "")
    ]
    spread = known.groupby("group", sort=True)["split"].nunique()
    crossing = spread[spread > 1]
    if not len(crossing):
        return
    first = crossing.index[0]
    rows = known[known["group"] == first]
    where = ", ".join(
        f"{row.image_id} in {row.split}" for row in rows.drop_duplicates("split").itertuples()
    )
    msg = (
        f"{len(crossing):,} of {len(spread):,} groups stand in more than one split (first: "
        f"{first!r}: {where}). "
        "Images of one group resemble each other, so the result would look better than it is. "
        "Correct the split column or folders, remove them and let resight draw the split, or name "
        "another group with --group."
    )
    raise LeakageError(msg)


def as_text(values: pd.Series[Any]) -> pd.Series[str]:
    """A column of any type as text; missing values become the empty string."""
    return values.astype("object").where(values.notna(), "").astype(str)


def groups_or_own(table: pd.DataFrame, own: str = "image_id") -> pd.Series[str]:
    """The group of each row; a row without one is a group of its own, named by a column."""
    names = table[own].astype(str)
    group = as_text(table["group"]) if "group" in table else names
    return group.where(group != "", names)


def count_groups(groups: Iterable[str]) -> int:
    """How many groups some images are of, each without one being its own; 0 if none is known.

    >>> count_groups(["p1", "p1", "", ""]), count_groups(["", ""])
    (3, 0)
    """
    names = list(groups)
    known = set(names) - {""}
    return len(known) + names.count("") if known else 0

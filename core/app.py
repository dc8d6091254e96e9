"""The contract an app fills in: what a domain must say so that core can do the rest.

An ``App`` is data, not a subclass: a frozen record whose fields stand in the
order the data meets them. This module knows no domain, no file format and no
network, and imports neither torch nor pandas when it is loaded.

Apps are found through the entry-point group ``resight.apps``; the ones of this
repository come through the same door as a third party's.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from core.errors import AppError, ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from core.blocks import Block, Figure

__all__ = [
    "FOR_SMALL_SIGNS",
    "App",
    "Cases",
    "Domain",
    "Export",
    "ExportContext",
    "Manifest",
    "Metric",
    "Option",
    "ReportContext",
    "Section",
    "Source",
    "Task",
    "Tour",
    "Unit",
    "app_names",
    "find_app",
    "output_option",
]

# The version of this contract, stored in every run. It grows by one whenever an
# app written for the version before could break.
CONTRACT = 1

# ``App.config`` where a sign may fill little of a picture: pixels count (361 squared is 256 x 512),
# and the strongest answer anywhere counts beside the average: on 983 coffee leaves frozen features
# gave a grouped out-of-fold log-loss of 0.329 without and 0.290 with the maximum. More and larger
# steps than the defaults, the first of them at a smaller size: validation log-loss of those leaves
# fell from 0.298 (probe) to 0.172 in five epochs.
FOR_SMALL_SIGNS: Mapping[str, Any] = {
    "side_px": 361,
    "pool": "last_two_max",
    "batch": 16,
    "lr_backbone": 1.5e-4,
    "small_share": 0.4,
}

TaskKind = Literal["binary", "multiclass", "ordinal", "multilabel"]
Rule = Literal["mean", "max", "noisy_or", "attention"]
Truth = Literal["worst", "union", "same", "most", "stated", "positive"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted.

    Attributes:
        name: what the user calls it: ``--task NAME``.
        kind: ``binary`` (two classes, the second counts as positive),
            ``multiclass``, ``ordinal`` (classes in rising order) or
            ``multilabel`` (any number of classes per image, joined by
            ``label_separator`` in the label column; the separator alone says that the
            image has none of them, an empty label that they are not known).
        classes: names in index order; empty means "from the training manifest,
            sorted" (numbers by value).
        positive: the classes that together count as positive where a
            two-way question is asked of the task (referable, diseased).
        positive_title: the word for these classes together in a report (``referable``);
            empty takes the title of the class where there is one.
        label: the manifest column that holds the label.
        titles: words for a class in reports, by class name; optional.
        label_separator: between the classes of a multi-label image.
        headline: name of the app's metric that stands first for this task; empty
            means the app's first.
        rules: rules of units for this task, by unit name, where they are not the
            unit's own: the worst breast decides about cancer, the mean about density.
        truths: how the label of a unit follows from those of its images, by unit name, the
            empty name for all others: ``worst`` (the last in class order), ``union``, ``same``
            (units whose images differ are not judged) or ``most``. Without it grades and
            yes-or-no questions take the worst, several labels their union, classes in no order
            the same. A column ``<unit>_label`` states it.
        config: settings of this task that differ from the app's, as ``App.config``.
        cuts: (K - 1,) of an ordinal task: the expected class index from which on the
            next class is decided, in rising order. Set by a training that was asked
            to decide by frequencies; empty decides for the median class.
        fold_cuts: of a cross-validation, by name of the fold, the cuts that the other folds
            alone gave (empty: the median), at which its out-of-fold rows are judged.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    label: str = "label"
    titles: Mapping[str, str] = field(default_factory=dict)
    label_separator: str = "|"
    headline: str = ""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    truths: Mapping[str, Truth] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    cuts: tuple[float, ...] = ()
    positive_title: str = ""
    fold_cuts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def with_classes(self, labels: Sequence[str]) -> Task:
        """This task with its class order fixed from the labels of a training manifest.

        Raises:
            ManifestError: a label is not among the declared classes, there are too few
                classes for the kind, or nothing says the order of grades.
        """
        found = set()
        for label in labels:
            found.update(
                label.split(self.label_separator) if self.kind == "multilabel" else [label]
            )
        found.discard("")
        if self.classes:
            unknown = sorted(found - set(self.classes), key=class_key)
            if unknown:
                guess = difflib.get_close_matches(unknown[0], self.classes, n=1)
                hint = f" Did you mean {guess[0]!r}?" if guess else ""
                msg = (
                    f"{len(unknown)} label(s) are not classes of the task {self.name!r} "
                    f"(first: {unknown[0]!r}; known: {', '.join(self.classes)}).{hint} "
                    "Rename the labels, say what they count as with --label-map "
                    f"'{unknown[0]}=CLASS', or choose another task with --task."
                )
                raise ManifestError(msg)
            return self
        classes = tuple(sorted(found, key=class_key))
        if self.kind == "ordinal" and len(classes) > 2:
            classes = _in_order(classes)
        if len(classes) < (1 if self.kind == "multilabel" else 2):
            only = f" ({classes[0]!r})" if classes else ""
            msg = (
                f"The labels name {len(classes)} class{only}; a model needs at least two to tell "
                "apart. Add a folder, or rows, of another class."
            )
            raise ManifestError(msg)
        if self.kind == "binary" and len(classes) != 2:
            msg = (
                f"The task {self.name!r} is binary but the labels name {len(classes)} classes "
                f"({', '.join(classes[:6])}). Merge them, or pass --task multiclass."
            )
            raise ManifestError(msg)
        return replace(
            self,
            classes=_absence_first(classes) if self.kind in {"binary", "multiclass"} else classes,
            positive=tuple(c for c in self.positive if c in classes),
        )

    def title(self, name: str) -> str:
        """The words for a class in a report."""
        return self.titles.get(name, name)

    @property
    def is_two_way(self) -> bool:
        """Whether the two sides of a threshold are classes themselves."""
        return self.kind != "multilabel" and len(self.classes) == 2

    @property
    def positive_index(self) -> tuple[int, ...]:
        """Indices of the positive classes; of a binary task without any named, the second."""
        if self.positive:
            return tuple(self.classes.index(c) for c in self.positive)
        return (1,) if self.kind == "binary" else ()

    @property
    def positive_name(self) -> str:
        """The word for a positive case in a sentence: ``referable``, the class, or ``positive``."""
        if self.positive_title:
            return self.positive_title
        index = self.positive_index
        return self.title(self.classes[index[0]]) if len(index) == 1 else "positive"


# How a class is called in which nothing was found.
_ABSENCE = re.compile(
    r"(?i)(normal|healthy|negative|neg|benign|no|none|not|non|without|absent|controls?|unaffected|"
    r"uninfected|uninjured|undamaged|intact|false|ok|okay|good|pass|passed)(?:[\W_]|$)"
)


def _absence_first(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Two classes with the one of which nothing was found first, so that the finding is positive.

    >>> _absence_first(("hyperplasia", "normal")), _absence_first(("malignant", "no_finding"))
    (('normal', 'hyperplasia'), ('no_finding', 'malignant'))
    """
    absent = [name for name in classes if _ABSENCE.match(name)]
    if len(classes) != 2 or len(absent) != 1:
        return classes
    return (absent[0], *(name for name in classes if name != absent[0]))


# Words of grades, from the least to the most; those of one place mean the same.
_GRADES = (
    ("none", "no", "absent", "normal", "healthy", "negative"),
    ("minimal", "trace", "doubtful"),
    ("mild", "low", "slight", "light", "early", "small"),
    ("moderate", "medium", "intermediate", "middle", "mid"),
    ("severe", "high", "strong", "heavy", "advanced", "late", "large"),
    ("extreme", "very severe", "very high", "proliferative"),
)


def _in_order(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Grades from the least to the most: by the number in each, or by words of degree.

    >>> _in_order(("mild", "moderate", "none", "severe"))
    ('none', 'mild', 'moderate', 'severe')
    >>> _in_order(("grade10", "grade2", "grade1"))
    ('grade1', 'grade2', 'grade10')
    """
    if all(class_key(name)[0] == 0 for name in classes):
        return classes
    parts = {name: re.split(r"([0-9]+)", name) for name in classes}
    if len({(len(p), p[0], p[-1]) for p in parts.values()}) == 1 and len(parts[classes[0]]) == 3:
        return tuple(sorted(classes, key=lambda name: int(parts[name][1])))
    ranks = {word: rank for rank, words in enumerate(_GRADES) for word in words}
    ranked = {ranks.get(re.sub(r"[\W_]+", " ", name).strip().lower()): name for name in classes}
    if None not in ranked and len(ranked) == len(classes):
        return tuple(name for _, name in sorted(ranked.items()))
    counted = ",".join(f"{name}={i}" for i, name in enumerate(classes[:4]))
    msg = (
        f"Nothing says in which order the classes {', '.join(classes[:6])} rise. Number them, "
        f"least first, as in --label-map '{counted}', or pass --task "
        "multiclass if they have no order."
    )
    raise ManifestError(msg)


def class_key(label: str) -> tuple[int, float, str]:
    """Sort key of class names: numbers by value first, then words.

    >>> sorted(["10", "2", "b", "a", "nan", "inf"], key=class_key)
    ['2', '10', 'a', 'b', 'inf', 'nan']
    """
    # Only digits: float() would take "nan", which has no place in any order, "inf" and "1_0".
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", label):
        return (0, float(label), label)
    return (1, 0.0, label)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the user pointed at, as ``App.index`` receives it.

    Attributes:
        paths: folders, files, tables or globs (already expanded), absolute.
        labelled: whether labels are wanted (check, train, evaluate) or not (predict).
        task: the task whose label column is read.
        label: a label column named by the user, or None for the app's own rule.
        group: a group column named by the user, or None for the app's own rule.
        allow_outside: whether paths in a table may leave the table's folder.
        options: the app's own options as given on the command line.
        trained: what the run that judges remembers of its training data
            (``Manifest.facts``); empty while a run is being made.
    """

    paths: tuple[Path, ...]
    labelled: bool
    task: Task
    label: str | None = None
    group: str | None = None
    allow_outside: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One row per model input, and in words how it came about.

    Attributes:
        table: columns of ``core.base.tables.MANIFEST`` and any extras.
        root: the folder that relative paths start from.
        group_rule: one sentence saying where the group came from; empty if none
            could be found, and then leakage cannot be checked.
        split_rule: one sentence saying where a given split came from; empty if
            the data name no split.
        class_rule: one sentence saying what names the classes and what is left out;
            the first line of a check.
        notes: further sentences for the user: what was assumed, skipped, renamed.
        cards: names of the data cards recognised.
        facts: plain values that a run remembers of its training data, to compare
            later inputs with; see ``Source.trained``. ``sided`` says in words why left and
            right matter in these data, where the app knows it.
        settings: what these data need instead of ``App.config``, as keyword
            arguments of ``core.base.settings.TrainConfig``; None lets the rule decide.
        group_word: what the group is called in these data, where it is not
            ``App.group``; a unit named ``App.group`` is then left out.
        extent: (column, unit) of what an input stands for, such as
            ``("hectares", "ha")``: progress counts in it.
        from_tables: extra columns that were taken over from a user's tables; a run keeps
            those alone that the app names.
    """

    table: pd.DataFrame
    root: Path
    group_rule: str = ""
    split_rule: str = ""
    class_rule: str = ""
    notes: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    group_word: str = ""
    extent: tuple[str, str] = ("", "images")
    from_tables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One step up from scores of images to scores of what is decided about.

    Attributes:
        name: what one row of the decisions is: ``eye``, ``breast``, ``patient``.
        columns: manifest columns that together identify one unit. A step whose
            columns are absent from the manifest is left out, and that is said.
        rule: how scores of the level below become one: ``mean``, ``max``
            (the row with the highest expected class, ordinal and binary: the
            worst finding counts), ``noisy_or``, or ``attention``: weights of a unit's
            images that were learned (``core.model.attention_pooling``).
        learned: whether training fits those weights for this unit, so that the rule may
            be chosen and the report compares it with the others; of several such units
            the first that the data know. Its images are those of the unit, whatever
            steps lie between.
        parts_are: column that says which part of the unit an image shows: ``eye``.
        parts: values of it that a whole unit has. One that lacks a part is incomplete, and
            a negative decision about it stays open.
        heeds_each: whether one image that is positive on its own keeps a negative decision about
            the unit open: a sign may show on one photograph of several.
    """

    name: str
    columns: tuple[str, ...]
    rule: Rule = "mean"
    learned: bool = False
    parts_are: str = ""
    parts: tuple[str, ...] = ()
    heeds_each: bool = False


@dataclass(frozen=True)
class Cases:
    """The cases a metric is computed on; rows without a label or a score are already gone.

    Attributes:
        y: (N,) class indices, or (N, K) zeros and ones for a multi-label task.
        scores: (N, K) calibrated scores in [0, 1]; rows sum to 1 unless multi-label.
        decided: (N,) the class index decided, or (N, K) zeros and ones.
        weight: (N,) how often a row counts; all ones outside of a resample, where a row
            counts as often as its group was drawn.
        positive: indices of the task's positive classes; empty where it names none, None
            where no task is known (the upper half of the classes then counts).
    """

    y: NDArray[np.int_]
    scores: NDArray[np.float64]
    decided: NDArray[np.int_]
    weight: NDArray[np.float64]
    positive: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number computed on decisions.

    Attributes:
        name: snake case, unique in the app; the key in ``metrics.json``.
        title: the words in a report.
        compute: cases -> value; raises ``MetricError`` with the reason where the
            value is undefined. Must honour ``Cases.weight``.
        unit: the level it is computed on: ``image`` or the name of a ``Unit``;
            empty means the highest unit there is.
        higher_is_better: which way is up.
        percent: whether the report shows it as a percentage.
        tasks: kinds or names of the tasks it is for; empty means all.
        interval: how its interval is made: ``proportion`` (each case is a success, a failure
            or not counted; alone it gives 1, 0 or ``MetricError``), ``area`` (smooth, between 0
            and 1), ``resampled`` (any other). Empty means that of the function of
            ``core.statistics.metrics`` behind it, and ``resampled`` of an own function.
        seeks: whether it seeks its threshold on the very cases it is computed on, as
            "sensitivity at 90 % specificity" does; such numbers are marked.
    """

    name: str
    title: str
    compute: Callable[[Cases], float]
    unit: str = ""
    higher_is_better: bool = True
    percent: bool = False
    tasks: tuple[str, ...] = ()
    interval: Literal["", "proportion", "area", "resampled"] = ""
    seeks: bool = False

    def fits(self, task: Task) -> bool:
        """Whether it is for this task."""
        return not self.tasks or task.kind in self.tasks or task.name in self.tasks


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a report is made from.

    Attributes:
        app: the app, or None when the predictions came from elsewhere.
        task: the resolved task.
        evaluation: the content of ``metrics.json``.
        predictions: the predictions table of the split reported on.
        decisions: unit name -> decisions table.
        manifest: the manifest with its split; empty when there is none.
        run: the parsed ``run.json``; empty when there is none.
        audit: the content of ``audit.json``; empty when there is none.
        log: one row per epoch: the learning curves; empty when there is none.
        plan: one row per setting: setting, value, reason; empty when there is none.
        picture: image_id -> prepared pixels (H, W, 3) uint8, or None.
        saliency: image_id -> (H, W) in [0, 1] over the prepared pixels, or None.
    """

    app: App | None
    task: Task
    evaluation: Mapping[str, Any]
    predictions: pd.DataFrame
    decisions: Mapping[str, pd.DataFrame]
    manifest: pd.DataFrame
    run: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    log: pd.DataFrame | None = None
    plan: pd.DataFrame | None = None
    picture: Callable[[str], NDArray[np.uint8]] | None = None
    saliency: Callable[[str], NDArray[np.float32]] | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """An extra section of the report.

    Attributes:
        title: heading.
        build: context -> blocks (``core.blocks``); an empty list leaves it out.
        part: the part of the report that it follows.
    """

    title: str
    build: Callable[[ReportContext], Sequence[Block]]
    part: Literal["data", "results", "use", "subgroups", "errors"] = "use"


@dataclass(frozen=True, kw_only=True)
class ExportContext:
    """What an export receives after a prediction has ended.

    Attributes:
        out: the output folder of the prediction; an export writes below it only.
        predictions: the finished predictions table.
        decisions: unit name -> decisions table.
        manifest: the manifest of the inputs, with absolute paths in ``path``.
        task: the resolved task of the run.
        run: the parsed ``run.json``.
        options: the app's own options as given on the command line.
        checked: name of an export -> what its ``check`` gave.
        judged: the run's own predictions of what was held out, with label and
            group; None where the run's folder does not hold them any more.
        evaluation: the content of the run's ``metrics.json``; empty without it.
        trained: the run's own manifest with its splits; None without it.
        read: image_id -> full-resolution pixels (H, W, C).
        saliency: image_id -> (H, W) in [0, 1] in the source's pixels, or None
            where there is no model (computed on demand, slow).
        withheld: why nothing is decided about these inputs, in one sentence; then no output
            that somebody acts on is written. Empty where decisions stand.
        accept_doubtful: whether the user asked for such outputs in spite of doubt
            (``core.evaluation.doubt``); else they are left out for what is in doubt, and counted.
        abstain: whether the user wants whatever is in doubt to be referred.
        notes: sentences for the user; an export appends what it left out, and why.
    """

    out: Path
    predictions: pd.DataFrame
    decisions: Mapping[str, pd.DataFrame]
    manifest: pd.DataFrame
    task: Task
    run: Mapping[str, Any]
    options: Mapping[str, Any]
    read: Callable[[str], NDArray[Any]]
    checked: Mapping[str, Any] = field(default_factory=dict)
    judged: pd.DataFrame | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    trained: pd.DataFrame | None = None
    saliency: Callable[[str], NDArray[np.float32]] | None = None
    withheld: str = ""
    accept_doubtful: bool = False
    abstain: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Export:
    """An extra output of a prediction.

    Attributes:
        name: what the user calls it.
        help: one sentence.
        write: context -> the files written, below ``context.out``.
        option: the option that asks for it (``overlays`` for ``--overlays``);
            empty means it is always written.
        check: (options, task) -> what the options name, read once and found by ``write`` in
            ``context.checked`` under the export's name; called before anything is scored, and
            raises a ``ResightError`` for a value with which nothing can be written.
    """

    name: str
    help: str
    write: Callable[[ExportContext], Sequence[Path]]
    option: str = ""
    check: Callable[[Mapping[str, Any], Task], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of the app's own on a command: ``--within FILE``, ``--letters``.

    Attributes:
        name: without dashes, words joined by ``-``.
        help: one sentence.
        verbs: the commands that take it; all that read images, unless some are named.
        type: ``bool`` for a flag, or ``str``, ``int``, ``float``, ``Path``.
        default: value when it is not given.
        choices: the values it may have, where they are few; shown in the help.
        scope: how long a value given at training holds. ``command``: there alone, as
            for what an output shows; a file always has this scope. ``run``: later
            commands begin with it. ``pixels``: an image looks otherwise to the
            network for it, so later commands refuse another value.
        settings: of a training that a value brings, where the user names no others, as keyword
            arguments of ``core.base.settings.TrainConfig``: ``{"whole": {"backbone": ...}}``.
    """

    name: str
    help: str
    verbs: tuple[str, ...] = ("check", "train", "evaluate", "predict")
    type: type = str
    default: Any = None
    scope: Literal["command", "run", "pixels"] = "run"
    choices: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# An option of what a prediction writes, which nothing else reads.
output_option = partial(Option, verbs=("predict",), scope="command")


@dataclass(frozen=True, kw_only=True)
class Tour:
    """A second kind of input that ``resight demo`` shows: train on one set, predict another.

    Attributes:
        name: of its folder.
        title: what it shows, in a few words.
        phantom: as ``App.phantom``.
        n_images: how many the phantom is asked for.
        settings: of the training, as keyword arguments of ``core.base.settings.TrainConfig``.
        train_options: the app's own options of the training.
        predict_options: of the prediction; a relative ``Path`` is a file of the phantom
            that is predicted.
    """

    name: str
    title: str
    phantom: Callable[[Path, int, int], Path]
    n_images: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    train_options: Mapping[str, Any] = field(default_factory=dict)
    predict_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """How data of an app's domain are told from others, where the user names no app.

    A data card that the app recognises by its layout needs no word here.

    Attributes:
        words: that occur in names of classes or of the folder: ``rust``, ``fundus``; lower case.
        modalities: of DICOM files: ``MG``.
        finds: path -> why its data are of this domain, in words; empty if nothing shows it.
        is_any: takes any data that no other app knows.
    """

    words: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    finds: Callable[[Path], str] | None = None
    is_any: bool = False


@dataclass(frozen=True, kw_only=True)
class App:
    """A domain, as data. Everything in it must pickle.

    Attributes:
        name: folder name and the word on the command line.
        title: heading of reports.
        intended_use: the sentence printed above every result.
        tasks: what can be predicted; the first is the default.
        index: source -> manifest.
        group: what the group is called in words: ``patient``, ``leaf``, ``field``.
        read: one manifest row (with an absolute ``path``) -> full-resolution
            pixels (H, W, C), uint8, uint16 or float32. Where the row holds
            ``at_least``, an (H, W), pixels of any size not below it will do, if
            that is faster and nothing else depends on the size.
        prepare: (H, W) in pixels -> deterministic transform over a dictionary,
            a chain of steps (``core.data.steps``) or of MONAI's dictionary transforms. It
            receives ``{"image": pixels, **row}`` and
            returns a dictionary with ``image`` (H, W, C) of exactly that size
            and the dtype of the input, and may add ``affine`` (3, 3), which maps
            prepared (row, col, 1) to source (row, col, 1), ``quality`` (an
            empty string, or why the image should not be judged; it begins with
            ``not`` where it is no picture of the app's kind at all, and with
            ``ungradable`` where it says nothing of its unit), and the columns named in
            ``prepared_columns``.
        augment: (H, W) -> random transform, an albumentations pipeline over
            (H, W, C) pixels, for training only; must give exactly that size. What comes
            in has the same shape of frame and is mostly larger, so that what is drawn nearer
            stays sharp. Its ``set_random_state`` makes it repeat itself.
        symmetries: pipelines as ``augment`` makes them, by what the pictures of a data set may be
            turned into: ``none``, ``left_right``, ``both``, ``any`` (``core.data.symmetry``). The
            audit then measures which of them these data allow. Empty where the domain knows.
        units: how scores climb above the image.
        metrics: the first one is the headline.
        targets: operating points that every training chooses on validation, at the
            unit of the headline, from the summed score of the positive classes:
            ``sensitivity=0.95``, ``specificity=0.9``, ``recall-rate=0.1``, ``youden``,
            ``cost=5:1``. Evaluation counts at them; none is in use until the user sets it.
        design: ``case-control`` where its data hold fixed numbers of cases of each class, as
            enriched sets do: intervals then hold within classes, and pages say so. A data card
            may say it of one set.
        subgroups: manifest columns by which every result is broken down.
        sections: extra report sections.
        first_picture: what the first screen of a report shows in place of the ROC curve or the
            confusion matrix; None, or a None that it returns, keeps these.
        first_words: a sentence for the first screen of a report, on what its users count beside
            the unit of the headline, such as patients referred; empty for none.
        exports: extra prediction outputs.
        phantom: (folder, number of images, seed) -> the path to train on: writes a
            small synthetic data set with a known answer.
        config: settings of the domain that differ from core's defaults, as
            keyword arguments of ``core.base.settings.TrainConfig``.
        prepared_columns: scalar columns that ``prepare`` adds.
        output_columns: manifest columns that may stand in outputs beside the
            ones every table has; nothing else leaves the manifest. Of a user's table
            only these, and the columns of units and subgroups, enter a run: name here
            what ``read`` takes from it, too.
        cautions: (column of the predictions, value, words): an input with this value is in
            doubt, in these words.
        options: the app's own command-line options.
        tours: further kinds of input that the demo shows.
        image_words: what an image is called on pages, by a manifest column that is filled, such as
            ``{"row_off": "tile", "": "photo"}``; the first that fits, ``""`` always does. Empty:
            ``image``.
        domain: how its data are recognised.
        characteristics: manifest column -> how Table 1 of a report calls it; an empty word leaves
            out a column that places an image or serves the program.
        about_people: whether what is judged belongs to a person; pages and results then
            say that this is no medical device.
        frame_colour: RGB, where ``prepare`` does no more to an 8-bit photograph than fit it
            whole and upright into the frame and pad it in this colour: then an exported model
            comes with a program that needs nothing of the app. None where it does more.
    """

    name: str
    title: str
    intended_use: str
    tasks: tuple[Task, ...]
    index: Callable[[Source], Manifest]
    group: str
    read: Callable[[Mapping[str, Any]], NDArray[Any]]
    prepare: Callable[[tuple[int, int]], Callable[[dict[str, Any]], dict[str, Any]]]
    augment: Callable[[tuple[int, int]], Any]
    symmetries: Mapping[str, Callable[[tuple[int, int]], Any]] = field(default_factory=dict)
    units: tuple[Unit, ...]
    metrics: tuple[Metric, ...]
    targets: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    first_picture: Callable[[ReportContext], Figure | None] | None = None
    first_words: Callable[[ReportContext], str] | None = None
    exports: tuple[Export, ...] = ()
    phantom: Callable[[Path, int, int], Path]
    config: Mapping[str, Any] = field(default_factory=dict)
    prepared_columns: tuple[str, ...] = ()
    output_columns: tuple[str, ...] = ()
    cautions: tuple[tuple[str, str, str], ...] = ()
    options: tuple[Option, ...] = ()
    tours: tuple[Tour, ...] = ()
    domain: Domain = Domain()
    characteristics: Mapping[str, str] = field(default_factory=dict)
    about_people: bool = True
    image_words: Mapping[str, str] = field(default_factory=dict)
    design: Literal["cohort", "case-control"] = "cohort"
    frame_colour: tuple[int, int, int] | None = None

    def task(self, name: str | None = None) -> Task:
        """The task of this name, or the first; a bare kind gives a task of that kind.

        Raises:
            AppError: no task has this name.
        """
        if name is None:
            return self.tasks[0]
        for task in self.tasks:
            if task.name == name:
                return task
        if name in {"binary", "multiclass", "ordinal", "multilabel"}:
            return Task(name=name, kind=name)  # type: ignore[arg-type]
        known = ", ".join(task.name for task in self.tasks)
        msg = (
            f"{self.name} has no task {name!r} (it has: {known}). Choose one of these, or a kind: "
            "binary, multiclass, ordinal, multilabel."
        )
        raise AppError(msg)

    def image_word(self, table: pd.DataFrame) -> str:
        """What an image of this table is called in a report, see ``image_words``."""
        for column, word in self.image_words.items():
            if not column or (column in table and bool(table[column].notna().any())):
                return word
        return "image"

    def with_symmetry(self, name: str | None) -> App:
        """The app with the random changes that data of this symmetry allow.

        Raises:
            ConfigError: the app knows its domain's symmetry itself.
        """
        if name is None:
            return self
        if name not in self.symmetries:
            msg = (
                f"symmetry={name}: {self.name} knows which mirror images its pictures allow "
                f"(it takes: {', '.join(self.symmetries) or 'no such setting'}). Leave it out."
            )
            raise ConfigError(msg)
        return replace(self, augment=self.symmetries[name])

    def metrics_for(self, task: Task) -> list[Metric]:
        """The metrics that are for this task, the task's headline first."""
        fitting = [metric for metric in self.metrics if metric.fits(task)]
        return sorted(fitting, key=lambda metric: metric.name != task.headline)


def app_names() -> list[str]:
    """The names of the installed apps, sorted; none of them is imported."""
    return sorted({point.name for point in entry_points(group="resight.apps")})


def find_app(name: str) -> App:
    """Load one app by name.

    Raises:
        AppError: no installed app has this name, or what its entry point names
            is not an ``App``.
    """
    points = [point for point in entry_points(group="resight.apps") if point.name == name]
    if not points:
        known = app_names()
        guess = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {guess[0]!r}?" if guess else ""
        msg = (
            f"No installed app is called {name!r} (installed: {', '.join(known) or 'none'}).{hint} "
            "`resight apps` lists them."
        )
        raise AppError(msg)
    app = points[0].load()
    if not isinstance(app, App):
        msg = (
            f"The entry point {name!r} of the group resight.apps names a {type(app).__name__}, "
            "not an App. Correct it in the pyproject.toml of the package that brings it."
        )
        raise AppError(msg)
    return app

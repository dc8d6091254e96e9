"""The report: made from the numbers of metrics.json alone, honest where they are missing."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import ImageFile

from core.app import App, Metric, ReportContext, Section, Task, Unit
from core.base.tables import logit_columns, score_columns
from core.blocks import Figure, Fold, Table, Text
from core.errors import MetricError, OutputError
from core.evaluation.delivered import delivered_rates
from core.evaluation.summary import EvaluationPlan, summarise
from core.evaluation.verdicts import verdicts
from core.report import pdf
from core.report.calibration_words import calibration_words, temperature_words
from core.report.cautions import cautions
from core.report.first_screen import first_screen
from core.report.html import render_page
from core.report.model_card import model_card
from core.report.numbers import count, metrics_table, number, rounded_parts
from core.report.own_words import blocks_in_words
from core.report.page import report_html, write_report
from core.report.results import Results
from core.report.verdict import verdict
from core.statistics.metrics import accuracy, macro_f1, sensitivity_of_positive
from tests.page_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CLASSES = ("healthy", "leaf_miner", "rust")
TASK = Task(
    name="stress",
    kind="multiclass",
    classes=CLASSES,
    positive=CLASSES[1:],
    titles={"leaf_miner": "leaf miner"},
)
HOSTILE = '<script>alert("=1+1")</script><img src=x onerror=x>$a_b$'


def predictions(task: Task = TASK, n: int = 90, *, seed: int = 0) -> pd.DataFrame:
    """Scored images of n/3 leaves, one of them failed; mostly right."""
    rng = np.random.default_rng(seed)
    k = len(task.classes)
    y = np.arange(n) % k
    logits = rng.normal(0, 1, (n, k))
    logits[np.arange(n), y] += 1.8
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array(task.classes)
    table = pd.DataFrame(
        {
            "image_id": [f"i{i:03d}" for i in range(n)],
            "path": [f"leaves/{i:03d}.jpg" for i in range(n)],
            "status": "ok",
            "reason": "",
            "quality": "",
            "predicted": names[scores.argmax(axis=1)],
            "decision": names[scores.argmax(axis=1)],
            "label": names[y],
            "group": [f"g{i // 3}" for i in range(n)],
            "split": "test",
            "camera": np.where(np.arange(n) % 2, "A", "B"),
        }
    )
    table[score_columns(task.classes)] = scores
    table[logit_columns(k)] = logits
    table.loc[n - 1, ["status", "reason"]] = ["failed", "the file ends too early"]
    table.loc[n - 1, ["predicted", "decision"]] = ""
    table.loc[n - 1, [*score_columns(task.classes), *logit_columns(k)]] = np.nan
    return table


def evaluate(table: pd.DataFrame, task: Task = TASK, **more: Any) -> dict[str, Any]:
    """The content of metrics.json, read back as JSON."""
    settings = {
        "subgroups": ("camera",),
        "operating_points": [{"name": "youden", "threshold": 0.5, "chosen_on": "val"}],
        "metrics": (METRIC,),
        "split": "test",
        "group_word": "leaf",
        "resamples": 200,
        "prevalence": 0.05,
        **more,
    }
    content, _ = summarise(table, EvaluationPlan(task=task, **settings))
    found: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    return found


METRIC = Metric(name="macro_f1", title="Macro-F1", compute=macro_f1, percent=True)


def app_with(*sections: Section) -> App:
    """An app of which only the words matter here."""

    def unused(*_args: Any) -> Any:
        pytest.fail("a report needs no data")

    return App(
        name="crop_disease",
        title="Leaves",
        intended_use="Helps scouts.",
        tasks=(TASK,),
        index=unused,
        group="leaf",
        read=unused,
        prepare=unused,
        augment=unused,
        units=(),
        metrics=(METRIC,),
        sections=sections,
        phantom=unused,
    )


def context(evaluation: dict[str, Any], table: pd.DataFrame, **more: Any) -> ReportContext:
    """A context with no more than a table of predictions gives."""
    settings: dict[str, Any] = {
        "app": None,
        "task": TASK,
        "evaluation": evaluation,
        "predictions": table,
        "decisions": {},
        "manifest": pd.DataFrame(),
        **more,
    }
    return ReportContext(**settings)


def rich(evaluation: dict[str, Any], table: pd.DataFrame, word: str = "leaf") -> ReportContext:
    """A context in which everything is known, and every name is ``word``."""

    def picture(_image_id: str) -> np.ndarray:
        return np.full((32, 48, 3), 90, dtype=np.uint8)

    def saliency(_image_id: str) -> np.ndarray:
        return np.linspace(0, 1, 32 * 48, dtype=np.float32).reshape(32, 48)

    return context(
        {**evaluation, "probe": evaluation["metrics"], "cautions": [word]},
        table,
        app=app_with(Section(title=word, build=lambda _: [Text(word)])),
        manifest=table[["image_id", "path", "label", "group", "split", "status", "reason"]],
        run={
            "title": word,
            "group": word,
            "group_rule": word,
            "split_rule": word,
            "cards": [word],
            "members": [{"network": {"backbone": word}, "kept": "fine-tuned", "best_epoch": 2}],
            "start": {"source": word, "licence": f"{word} cc-by-nc-4.0"},
            "versions": {"resight": word},
            "model_id": word,
            "temperature": 1.2,
        },
        audit={
            "checks": [{"name": "labels", "title": word, "verdict": "warning", "words": word}],
            "shortcuts": [
                {"name": word, "value": 0.4, "low": 0.3, "high": 0.5, "chance": 0.3, "n": 9},
                {"name": "file", "value": None, "chance": 0.3, "n": 9, "reason": word},
            ],
        },
        log=pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_score": [0.4, 0.6]}),
        plan=pd.DataFrame({"setting": [word], "value": [word], "reason": [word]}),
        picture=picture,
        saliency=saliency,
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return predictions()


@pytest.fixture(scope="module")
def evaluation(table: pd.DataFrame) -> dict[str, Any]:
    return evaluate(table)


@pytest.fixture(scope="module")
def plain(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Without what is drawn, which takes most of the time."""
    rows = [row for row in evaluation["metrics"] if not row["subgroup"]]
    return {**evaluation, "metrics": rows, "curves": {}, "confusion": {}, "flow": []}


@pytest.fixture(scope="module")
def page(evaluation: dict[str, Any], table: pd.DataFrame) -> str:
    return report_html(context(evaluation, table))


@pytest.fixture(scope="module")
def rich_page(evaluation: dict[str, Any], table: pd.DataFrame) -> str:
    return report_html(rich(evaluation, table))


def words_of(page: str) -> str:
    """What a reader reads, figures left out."""
    return " ".join(" ".join(Reader(page).words).split())


def section(page: str, anchor: str) -> str:
    """The words of one section."""
    start = page.index(f'<section id="{anchor}"')
    return words_of(page[start : page.index("</section>", start)] + "</section>")


NUMERAL = re.compile(r"(?<![\w./])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def leaves(content: Any) -> Iterator[Any]:
    """Every value in a JSON document, and every key."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    else:
        yield content


def test_every_number_on_the_page_stands_in_metrics_json(
    page: str, evaluation: dict[str, Any], table: pd.DataFrame
) -> None:
    known: set[str] = set()
    # Written beside the metrics of every run.
    delivered = delivered_rates(evaluation, {"image": table}, TASK)
    for leaf in leaves({**evaluation, "delivered": delivered}):
        if isinstance(leaf, str):
            known.update(NUMERAL.findall(leaf))
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            ways = [number(leaf), number(leaf, percent=True), number(leaf, places=0), count(leaf)]
            ways.append(str(float(f"{leaf:.5g}")))
            known.update(NUMERAL.findall(" ".join([*ways, str(leaf), f"{100 * leaf:g}"])))
    # Of the cases left to a person the file has the number.
    kept = [row["n"] for entry in evaluation["curves"]["risk_coverage"] for row in entry["rows"]]
    known.update(
        number(1 - n / max(kept), percent=True).split("\N{NO-BREAK SPACE}")[0] for n in kept
    )
    # The year of a guideline, and the thousand in "of 1,000 cases".
    known |= {"2024", "1,000"}
    # Scores of single cases come from the predictions, which this section lists.
    start = page.index('<section id="errors"')
    rest = page[:start] + page[page.index("</section>", start) + len("</section>") :]
    seen = NUMERAL.findall(words_of(rest))
    assert len(seen) > 500
    assert {numeral for numeral in seen if numeral not in known} == set()


def intervals_in(content: Any) -> Iterator[tuple[float, float, float | None]]:
    """Value, low and high of every number with an interval in a JSON document."""
    if isinstance(content, list):
        for one in content:
            yield from intervals_in(one)
    elif isinstance(content, dict):
        value = content.get("value", content.get("difference", content.get("gain")))
        if isinstance(value, float) and isinstance(content.get("low"), float):
            yield value, content["low"], content["high"]
        for key, one in content.items():
            # Others are written as value, value_low, value_high.
            if isinstance(one, float) and isinstance(content.get(f"{key}_low"), float):
                yield one, content[f"{key}_low"], content[f"{key}_high"]
        for one in content.values():
            yield from intervals_in(one)


ESTIMATE = re.compile(r"(-?[\d.,]+)(?: %)? \((-?[\d.,]+) to (-?[\d.,]+)(?: %)?\)")


def test_no_number_has_two_intervals() -> None:
    # Two classes, so that accuracy, recall and sensitivity meet in many tables, with units,
    # subgroups and an operating point in use; few values are equal by chance.
    task = Task(name="rust", kind="binary", classes=("no", "yes"), positive=("yes",))
    table = predictions(task, 180, seed=3)
    # Images of a leaf share its class.
    table["leaf"] = table["group"] = [f"g{i // 6 * 2 + i % 2}" for i in range(len(table))]
    point = {"name": "youden", "threshold": 0.5, "chosen_on": "val", "active": True}
    found = evaluate(
        table,
        task,
        metrics=(
            Metric(name="found", title="Found", compute=sensitivity_of_positive, percent=True),
            Metric(name="right", title="Right", compute=accuracy, percent=True),
        ),
        units=(Unit(name="leaf", columns=("leaf",)),),
        operating_points=[point],
    )
    of_value: dict[tuple[float, float], set[tuple[float, float]]] = {}
    # Means and ratios that may have the value of a share by chance, and are something else.
    others = {"balanced_accuracy", "macro_f1", "f1"}
    for row in found["metrics"]:
        if row["low"] is not None and row["name"] not in others:
            # A share of as many cases, of as many groups, is one number, whatever it is called.
            key = (round(row["value"], 12), row["n"], row["n_groups"])
            of_value.setdefault(key, set()).add((round(row["low"], 9), round(row["high"], 9)))
    assert len(of_value) > 15
    assert {key: ends for key, ends in of_value.items() if len(ends) > 1} == {}
    # Rates of the operating point in use are those of the decisions.
    rates = {r["name"]: r for r in found["metrics"] if r["of"] == "youden"}
    recall = next(
        r for r in found["metrics"] if (r["name"], r["of"], r["unit"]) == ("recall", "yes", "leaf")
    )
    for key in ("value", "low", "high", "n", "n_groups"):
        assert rates["sensitivity"][key] == recall[key], key
    # What the page prints with an interval stands so in metrics.json.
    told = words_of(report_html(context(found, table, task=task))).replace("\xa0", " ")
    known = {
        tuple(
            number(end, percent=percent).removesuffix("\xa0%").replace("\N{MINUS SIGN}", "-")
            for end in ends
        )
        for ends in intervals_in(found)
        for percent in (True, False)
    }
    by_prevalence = "At other prevalences"
    seen = ESTIMATE.findall(told.replace("\N{MINUS SIGN}", "-").split(by_prevalence)[0])
    assert len(seen) > 20
    assert set(seen) - known == set()


def test_the_headline_on_the_page_is_that_of_metrics_json(
    page: str, evaluation: dict[str, Any]
) -> None:
    row = next(r for r in evaluation["metrics"] if r["name"] == "macro_f1" and not r["subgroup"])
    value, low, high = (f"{100 * row[key]:.1f}" for key in ("value", "low", "high"))
    told = words_of(page)
    assert (
        "On 89 images of 30 leaves never used for training or tuning, macro-F1 was "
        f"{value} % (95 % interval {low} to {high} %): better than chance (balanced accuracy "
    ) in told.replace("\xa0", " ")


def test_every_row_of_metrics_json_is_on_the_page(page: str, evaluation: dict[str, Any]) -> None:
    told = words_of(page)
    for row in evaluation["metrics"]:
        if row["value"] is not None and row["name"] != "support":
            shown = number(row["value"], percent=bool(row["percent"]))
            assert shown.removesuffix("\xa0%") in told, row


def test_same_context_same_bytes(
    rich_page: str, evaluation: dict[str, Any], table: pd.DataFrame
) -> None:
    assert report_html(rich(evaluation, table)) == rich_page


def test_nothing_is_fetched(rich_page: str) -> None:
    assert "://" not in re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", rich_page)
    for _, name, value in Reader(rich_page).attributes:
        if name in {"src", "href"}:
            assert value.startswith(("#", "data:image/"))


def test_hostile_names_never_become_markup(rich_page: str) -> None:
    classes = (HOSTILE, "leaf_miner", "rust")
    task = replace(TASK, classes=classes, positive=(HOSTILE,), name=HOSTILE)
    rows = predictions(task).assign(camera=HOSTILE)
    rows.loc[::2, "camera"] = "B"
    rows["path"] = HOSTILE
    rows.loc[rows["status"] == "failed", "reason"] = HOSTILE
    points = [{"name": HOSTILE, "threshold": 0.5, "chosen_on": HOSTILE, "exploratory": True}]
    found = evaluate(rows, task, operating_points=points, group_word=HOSTILE)
    hostile = replace(rich(found, rows, HOSTILE), task=task)
    reader = Reader(report_html(hostile))
    assert set(reader.tags) == set(Reader(rich_page).tags)
    assert reader.tags.count("script") == 1
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert any(HOSTILE in words for words in reader.words)
    card = model_card(hostile, verdict(hostile), cautions(hostile))
    body = card.split("\n---\n", 1)[1]
    assert not re.search(r"(?<!\\)<(script|img)", body)


def test_undefined_is_said_with_its_reason() -> None:
    task = replace(TASK, classes=(*CLASSES, "phoma"), positive=())
    rows = predictions().assign(score_phoma=0.0)
    found = evaluate(rows, task, operating_points=[])
    told = words_of(report_html(context(found, rows, task=task)))
    recall = next(r for r in found["metrics"] if r["name"] == "recall" and r["of"] == "phoma")
    assert recall["value"] is None
    assert "phoma 0 not estimable a not estimable b not estimable c" in told
    assert "No case is of this class" in told
    assert "not estimable: not estimable" not in told
    assert not re.search(r"\b(nan|None|inf)\b", told)


def test_an_undefined_headline_gives_no_number(table: pd.DataFrame) -> None:
    row = {
        "name": "auroc",
        "title": "AUROC",
        "of": "",
        "unit": "image",
        "value": None,
        "n": 9,
        "reason": "not estimable: no case is positive",
    }
    found = {"about": {"split": "test", "group": "leaf"}, "metrics": [row]}
    assert verdict(context(found, table)) == (
        "On 9 images never used for training or tuning, AUROC is not estimable: "
        "no case is positive."
    )


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("test", "never used for training or tuning"),
        ("out-of-fold", "each scored by networks that had not seen its leaf"),
        ("val", "also served to choose the model"),
        ("new data", "(new data)"),
    ],
)
def test_the_verdict_says_what_the_cases_had_to_do_with_training(
    evaluation: dict[str, Any], table: pd.DataFrame, split: str, words: str
) -> None:
    about = {**evaluation["about"], "split": split}
    assert words in verdict(context({**evaluation, "about": about}, table))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.61, 0.75, "better than chance (chance is 0.5)"),
        (0.44, 0.61, "This test cannot tell whether the model is better than guessing"),
        (0.21, 0.38, "worse than chance (chance is 0.5). Look for swapped labels."),
        (None, None, "cannot be said without an interval"),
    ],
)
def test_the_verdict_says_whether_the_result_beats_guessing(
    table: pd.DataFrame, low: float | None, high: float | None, words: str
) -> None:
    row = {"name": "auroc", "title": "AUROC", "unit": "exam", "of": "", "subgroup": "", "n": 100}
    row |= {"value": 0.5, "low": low, "high": high, "n_groups": 50}
    found = {"about": {"headline": "auroc", "unit": "exam", "split": "test"}, "metrics": [row]}
    assert words in verdict(context(found, table))


def test_better_than_a_baseline_needs_intervals_that_do_not_overlap() -> None:
    def row(name: str, low: float, high: float) -> dict[str, Any]:
        return {"name": name, "value": (low + high) / 2, "low": low, "high": high, "unit": "image"}

    found = {
        "about": {"headline": "macro_f1", "unit": "image"},
        "metrics": [row("macro_f1", 0.7, 0.8), row("balanced_accuracy", 0.7, 0.8)],
        "probe": [row("macro_f1", 0.6, 0.72)],
    }
    shortcuts = [{"name": "border", "value": 0.5, "low": 0.4, "high": 0.69, "chance": 0.3}]
    answers = {e["question"]: e["answer"] for e in verdicts(found, TASK, {"shortcuts": shortcuts})}
    # 0.7 lies above 0.69 and above one third, but not above 0.72.
    assert answers == {"chance": "yes", "probe": "not shown", "shortcuts": "yes"}


def test_numbers_of_an_equal_unit_are_not_repeated(
    plain: dict[str, Any], table: pd.DataFrame
) -> None:
    again = [{**row, "unit": "leaf"} for row in plain["metrics"]]
    same = context({**plain, "metrics": [*plain["metrics"], *again]}, table)
    assert "Numbers, by leaf" not in words_of(report_html(same))
    other = [{**row, "n": row["n"] + 1} for row in again]
    differs = context({**plain, "metrics": [*plain["metrics"], *other]}, table)
    assert "Numbers, by leaf" in words_of(report_html(differs))


def test_the_page_says_how_a_unit_comes_by_its_label_and_what_a_threshold_leaves_alone() -> None:
    grades = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("2",))
    rows = predictions(grades).assign(leaf=lambda t: t["group"], label="1")
    rows.loc[::3, "label"] = "2"
    point = {"name": "set", "threshold": 0.4, "chosen_on": "val", "active": True}
    settings = {"units": (Unit(name="leaf", columns=("leaf",)),), "operating_points": [point]}
    found = evaluate(rows, grades, **settings)
    page = words_of(report_html(replace(context(found, rows), task=grades)))
    told = "The truth of each leaf is the highest grade of its images, in the order 0 < 1 < 2."
    assert told in page
    # A table of classes is not decided by the threshold of a yes or no.
    assert "Precision, recall and F1 are of the predicted class." in page
    assert "Decided at the operating point in use." not in page
    stated = evaluate(rows.assign(leaf_label="1"), grades, **settings)
    assert "its own label in the table" in stated["about"]["truth"]["leaf"]


@pytest.mark.parametrize("active", [True, False])
def test_every_sensitivity_of_a_page_says_at_what_it_is_counted(active: bool) -> None:
    rows = predictions()
    point = {"name": "set", "threshold": 0.45, "split": "val", "active": active}
    found = evaluate(rows, operating_points=[point], prevalence=None)
    page = words_of(report_html(context(found, rows)))
    used, apart = "at the operating point in use", "by the predicted class"
    told, other = (used, apart) if active else (apart, used)
    assert f"Sensitivity and specificity are counted {told}" in page
    assert f"of cases called {TASK.positive_name} {told}" in page
    assert f"counted {other}" not in page
    assert (", not in use: score" in page) is not active
    # The first screen counts what is delivered, found anew from the table.
    ok = rows[rows["status"] == "ok"]
    truth = ok["label"].isin(TASK.positive)
    score = ok[[f"score_{name}" for name in TASK.positive]].sum(axis=1)
    called = score >= 0.45 if active else ok["predicted"].isin(TASK.positive)
    found = f"{(truth & called).sum()} of {truth.sum()} images"
    assert found in page[: page.index("Contents")]
    assert f"{(truth & ~called).sum()} of {truth.sum()} images that are" in page


def test_cases_of_folds_are_not_said_to_be_held_against_the_threshold_that_ships() -> None:
    rows = predictions().assign(split="out-of-fold")
    rows["fold"] = [str(int(name[1:]) % 3) for name in rows["group"]]
    folds = {"0": 0.3, "1": 0.5, "2": 0.7}
    point = {"name": "set", "threshold": 0.45, "split": "out-of-fold", "fold_thresholds": folds}
    found = evaluate(rows, operating_points=[point], split="out-of-fold", prevalence=None)
    page = words_of(report_html(context(found, rows)))
    assert "not in use: set; each case at the threshold that the other folds gave." in page
    assert "0.45 or more" not in page
    assert "chosen on the other folds" in page
    assert "Each case is judged at what the other folds chose." in page
    for false in ("set before this evaluation", "Chosen before the test", "ranks as well"):
        assert false not in page


def test_groups_nobody_knows_are_not_counted_as_leaves(table: pd.DataFrame) -> None:
    rows = table.assign(group="", path=[f"{i}.jpg" for i in range(len(table))])
    found = evaluate(rows, operating_points=[], subgroups=())
    some = context(found, rows, run={"group": "leaf", "group_rule": ""})
    assert "leaves" not in verdict(some)
    # Neither in a column, a method nor a limit: each image counts by itself.
    page = words_of(report_html(some))
    assert "No leaf is known, so every image counts as independent." in page
    assert "leaves" not in page.lower()
    assert any("cannot be checked" in sentence for sentence in cautions(some))


def test_what_limits_the_result_stands_before_it(rich_page: str) -> None:
    told = words_of(rich_page)
    first_screen = told[: told.index("Contents")]
    assert "For research use; not a medical device." in first_screen
    assert "Helps scouts." in first_screen
    assert "The licence of the pretrained weights (leaf cc-by-nc-4.0) restricts use" in first_screen
    assert 2 <= first_screen.split("further caution")[0].count("Caution.") <= 3


def test_an_exploratory_threshold_is_marked(plain: dict[str, Any], table: pd.DataFrame) -> None:
    points = [{**plain["operating_points"][0], "exploratory": True}]
    some = context({**plain, "operating_points": points}, table)
    assert any("Exploratory" in sentence for sentence in cautions(some))
    assert "exploratory: chosen on the cases it is judged on" in words_of(report_html(some))


def test_a_free_licence_needs_no_caution(table: pd.DataFrame, evaluation: dict[str, Any]) -> None:
    run = {"group_rule": "by leaf", "start": {"licence": "apache-2.0"}}
    sentences = cautions(context(evaluation, table, run=run))
    assert not any("licence" in sentence for sentence in sentences)


def test_failures_are_counted_and_named(page: str) -> None:
    told = section(page, "data")
    assert "Failed: no score 1 image" in told
    assert "leaves/089.jpg failed the file ends too early" in told
    # 89 scored of 90: each number once without the failure and once with it as wrong.
    results = section(page, "results")
    assert "Failed: left out" in results
    assert "Failed: counted as wrong" in results
    assert re.search(r"\d+ of 89 .* \d+ of 90", results)


def test_sections_of_an_app_appear_in_their_place(
    plain: dict[str, Any], table: pd.DataFrame
) -> None:
    def broken(_context: ReportContext) -> list[Text]:
        msg = "no pair of classes was confused"
        raise MetricError(msg)

    app = app_with(
        Section(title="Confused pairs", build=lambda c: [Text(f"of {len(c.predictions)}")]),
        Section(title="Empty", build=lambda _: []),
        Section(title="Broken", build=broken),
    )
    page = report_html(context(plain, table, app=app))
    assert section(page, "confused-pairs") == "Confused pairs of 90"
    assert 'id="empty"' not in page
    assert "could not be made: no pair of classes was confused" in section(page, "broken")


def test_a_fault_of_ours_in_a_section_is_not_hidden(
    plain: dict[str, Any], table: pd.DataFrame
) -> None:
    app = app_with(Section(title="Fault", build=lambda _: [Text("a" + 1)]))  # type: ignore[operator]
    with pytest.raises(TypeError):
        report_html(context(plain, table, app=app))


def test_the_surest_errors_come_first(page: str, table: pd.DataFrame) -> None:
    wrong = table[(table["status"] == "ok") & (table["predicted"] != table["label"])]
    sure = wrong[score_columns(CLASSES)].max(axis=1)
    names = re.findall(r"leaves/\d+\.jpg", section(page, "errors"))
    assert names[0] == wrong.loc[sure.idxmax(), "path"]
    assert set(names) <= set(wrong["path"])


def test_errors_have_pictures_named_by_their_file(rich_page: str) -> None:
    names = [value for _, name, value in Reader(rich_page).attributes if name == "alt"]
    assert names
    assert all(re.match(r"leaves/\d+\.jpg: true .* predicted ", value) for value in names)


def test_the_checklist_answers_what_is_known_and_leaves_the_rest(page: str, rich_page: str) -> None:
    bare, full = (section(p, "checklist-for-reporting") for p in (page, rich_page))
    assert bare.count("The user must state.") > full.count("The user must state.") > 3
    assert "Helps scouts." in full


@pytest.mark.parametrize("kind", ["binary", "ordinal", "multilabel"])
def test_every_kind_of_task_has_a_report(kind: Any) -> None:
    classes = ("a", "b") if kind == "binary" else ("a", "b", "c")
    task = Task(name="t", kind=kind, classes=classes, positive=("b",))
    rows = predictions(task, 40).drop(columns=["logit_0"])
    found = evaluate(rows, task, metrics=(), operating_points=[])
    told = words_of(report_html(context(found, rows, task=task)))
    assert "On 39 images" in told
    assert not re.search(r"\bnan\b|\bNone\b(?! was seen)", told)


def test_numbers_alone_make_a_report(table: pd.DataFrame) -> None:
    told = words_of(report_html(context({"metrics": []}, table)))
    assert "No number could be computed on these cases." in told


def test_both_files_are_written_and_nothing_else(
    tmp_path: Path, plain: dict[str, Any], table: pd.DataFrame
) -> None:
    some = context(plain, table)
    files = write_report(tmp_path, some)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert [file.name for file in files] == ["report.html", "model_card.md"]
    assert files[0].read_text(encoding="utf-8") == report_html(some)


def test_the_model_card_repeats_the_numbers(
    evaluation: dict[str, Any], table: pd.DataFrame
) -> None:
    some = rich(evaluation, table)
    card = model_card(some, verdict(some), cautions(some))
    _, front, body = card.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["pipeline_tag"] == "image-classification"
    measured = {m["name"]: m["value"] for m in meta["model-index"][0]["results"][0]["metrics"]}
    row = next(r for r in evaluation["metrics"] if r["name"] == "macro_f1" and not r["subgroup"])
    assert measured["Macro-F1, by image"] == row["value"]
    assert "not a medical device" in body
    assert f"{100 * row['value']:.1f}" in body


SMALL = render_page("Leaves", lead="", sections=[("", [Text("words on paper")])])


def test_a_page_becomes_a_pdf(tmp_path: Path) -> None:
    source, target = tmp_path / "a.html", tmp_path / "a.pdf"
    source.write_text(SMALL, encoding="utf-8")
    try:
        engine = pdf.write_pdf(source, target)
    except OutputError:
        pytest.skip("this machine has neither WeasyPrint with Pango nor Chromium")
    assert engine in {"weasyprint", "chromium"}
    assert target.read_bytes().startswith(b"%PDF-")
    # WeasyPrint would have Pillow take half a file for an image from here on.
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_what_is_folded_is_printed_in_an_appendix(page: str) -> None:
    paper = pdf.on_paper(page)
    assert 'class="fold"' not in paper
    body, _, appendix = paper.partition('<section id="appendix">')
    assert "How the intervals were made: Appendix A" in body
    # A section of which all is folded goes there with its heading, and leaves no empty one.
    assert "<h2>Checklist" not in body
    assert re.search(r"<h3>A\d+\. Checklist for reporting</h3>", appendix)
    # Only pointers are joined to one another.
    told = re.findall(r'<p class="text note pointer">[^<]*</p>', body)
    assert len(told) < appendix.count('class="part')
    assert all(one.count(": Appendix A") == one.count("Appendix A") for one in told)
    assert body.count("Appendix A") == sum(one.count("Appendix A") for one in told)
    assert "bootstrap of 200 resamples" in appendix
    assert not re.search(r"n = [\d,]+(?: of [\d,]+ \w+)?by ", paper)
    # Nothing is lost and nothing is printed twice.
    assert sorted(re.findall(r"<td[^>]*>[^<]*", paper)) == sorted(
        re.findall(r"<td[^>]*>[^<]*", page)
    )


def test_what_is_said_of_cells_is_a_mark_in_each_and_one_note_below() -> None:
    few, far = "none was seen", "too few to judge: 2 events"
    rows = [
        {
            "name": "a",
            "title": "A",
            "value": 0.1,
            "low": 0.0,
            "high": 0.2,
            "reason": f"{few}; {far}",
        },
        {"name": "b", "title": "B", "value": 0.3, "low": 0.2, "high": 0.4, "reason": ""},
        {"name": "c", "title": "C", "value": None, "reason": f"not estimable: {far}."},
    ]
    cases = [{**row, "n": 90, "n_groups": 30} for row in rows]
    page = render_page("T", lead="", sections=[("S", [metrics_table(cases, group="leaf")])])
    cells = re.findall(r'<td class="num">(.*?)</td>', page)
    told = ["0.100<sup>a, b</sup>", "0.300", "not estimable<sup>b</sup>"]
    assert [cells[0], cells[2], cells[4]] == told
    # The cases, the same in every line, stand in the heading.
    assert "<h3>n = 90 of 30 leaves</h3>" in page
    (caption,) = re.findall(r'<p class="caption">(.*?)</p>', page)
    notes = "<sup>a</sup> None was seen. <sup>b</sup> Too few to judge: 2 events."
    assert " ".join(caption.split()) == notes


def test_a_method_loses_the_number_of_its_cases_and_no_other_word() -> None:
    methods = [
        "bootstrap of 2,000 resamples of 33 exams, on the scale of logarithm of 1 minus it",
        "Wilson, 1 independent case",
        "Wilson, 1,204 independent cases",
        "Newcombe's score interval, 2 positive and 86 negative exams",
    ]
    rows = [
        {"name": f"m{i}", "title": f"M{i}", "value": 0.5, "unit": "exam", "method": method}
        for i, method in enumerate(methods)
    ]
    (fold,) = Results({"metrics": rows}, TASK, "exam").methods()
    (table,) = fold.blocks
    assert table.frame["Method"].tolist() == [
        "bootstrap of 2,000 resamples of exams, on the scale of logarithm of 1 minus it",
        "Wilson, independent cases",
        "Newcombe's score interval, positive and negative exams",
    ]
    assert table.frame["Of"].tolist() == ["M0", "M1, M2", "M3"]


def test_a_system_without_a_library_of_weasyprint_prints_without_a_warning(tmp_path: Path) -> None:
    # The Pango of Debian 12 comes without HarfBuzz-Subset, of which WeasyPrint warns when imported.
    source, target = tmp_path / "a.html", tmp_path / "a.pdf"
    source.write_text(SMALL, encoding="utf-8")
    program = """
import sys, warnings
from pathlib import Path
import cffi
load = cffi.FFI.dlopen
def without_subset(self, name, *flags):
    if "subset" in str(name):
        raise OSError(name)
    return load(self, name, *flags)
cffi.FFI.dlopen = without_subset
from core.report import pdf
warnings.simplefilter("error")
assert pdf._by_weasyprint(Path(sys.argv[1]).read_text(encoding="utf-8"))[:5] == b"%PDF-"
"""
    try:
        importlib.import_module("weasyprint")
    except OSError:
        pytest.skip("this machine has no Pango")
    command = [sys.executable, "-c", program, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_without_an_engine_the_user_is_told_to_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.html"
    source.write_text(SMALL, encoding="utf-8")
    # None makes the import fail, as where the package is absent; no browser is on an empty path.
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="print it to PDF from the browser"):
        pdf.write_pdf(source, tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_an_image_is_called_what_its_users_call_it() -> None:
    frame = pd.DataFrame({"File": ["image 1.png"], "Images": ["2 images of image_1.png"]})
    blocks: list[Any] = [
        Text("Images: see image.png, --group image_id and 1 image."),
        Fold("Images left out", [Table(frame, title="By image", numeric=("Images",))]),
    ]
    text, fold = blocks_in_words(blocks, "tile")
    assert text == Text("Tiles: see image.png, --group image_id and 1 tile.")
    assert isinstance(fold, Fold)
    assert isinstance(table := fold.blocks[0], Table)
    assert (fold.title, table.title, table.numeric) == ("Tiles left out", "By tile", ("Tiles",))
    # A file keeps its name, whatever it is.
    assert table.frame.to_numpy().tolist() == [["image 1.png", "2 tiles of image_1.png"]]
    assert blocks_in_words(blocks, "image") == blocks


def test_the_confusions_of_the_headlines_unit_are_shown_and_others_folded() -> None:
    task = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    point = {"of": "yes", "unit": "exam", "x": [0.0, 1.0], "y": [0.0, 1.0]}
    counts = {"image": [[3, 1], [0, 4]], "exam": [[2, 0], [0, 2]], "breast": [[2, 0], [0, 2]]}
    found = {
        "about": {"unit": "exam"},
        "curves": {"roc": [point]},
        "confusion": {u: {"classes": ["no", "yes"], "counts": c} for u, c in counts.items()},
    }
    results = Results(found, task, "patient")
    assert results.picture() is not None  # the ROC curve
    first, fold = results.classes()
    assert isinstance(first, Figure)
    assert first.title == "Confusion matrix, by exam."
    assert isinstance(fold, Fold)
    # Those of the breast are the same counts once more.
    assert [block.title for block in fold.blocks] == ["Confusion matrix, by image."]


def _line(slope: tuple[float, float], large: tuple[float, float]) -> dict[str, Any]:
    ends = {"slope": slope, "in_the_large": large}
    return {key: {"value": sum(of) / 2, "low": of[0], "high": of[1]} for key, of in ends.items()}


def _bins(counts: Sequence[int]) -> list[dict[str, Any]]:
    return [{"start": i / 10, "end": (i + 1) / 10, "n": n} for i, n in enumerate(counts)]


@pytest.mark.parametrize(
    ("slope", "large", "words"),
    [
        ((0.8, 1.3), (-0.2, 0.3), "no error is shown over all cases together; of parts of them"),
        ((0.2, 1.9), (-0.2, 0.3), "inconclusive, the intervals are wide"),
        ((0.8, 1.3), (-0.2, 1.7), "inconclusive"),
        ((0.3, 0.9), (-0.2, 0.3), "the score is too extreme."),
        ((0.8, 1.3), (-0.9, -0.1), "the score is too high as a whole."),
    ],
)
def test_of_a_positive_class_its_own_score_is_judged(
    slope: tuple[float, float], large: tuple[float, float], words: str
) -> None:
    found = {
        "about": {"unit": "eye"},
        # Of the predicted class; it would say the contrary.
        "metrics": [_ranged("expected_calibration_error", 0.05, 0.02, 0.2, "eye")],
        "calibration": {**_line(slope, large), "n": 126, "n_events": 21},
        "curves": {"reliability": {"after": _bins([80, 40, 3, 0, 0, 0, 0, 0, 2, 1])}},
    }
    task = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
    said = calibration_words(found, task)
    assert words in said
    start = "Calibration of the score of yes, tested on 126 eyes, 21 of them yes (slope "
    assert said.startswith(f"{start}{sum(slope) / 2:.3f}")
    # A test that finds nothing does not make a score a probability.
    assert ("Do not read the score as a probability." in said) == ("inconclusive" in said)
    assert said.count("probabilit") == said.count("inconclusive")
    if "no error" in said:
        assert "Too few eyes have other scores to say whether those are right." in said


# Cases in each tenth of the scores: few have low ones, hardly any is below the last, or all alike.
FEW_LOW, ONE_END, ALIKE = [0, 0, 0, 3, 20, 30, 40, 50, 60, 90], [0] * 5 + [1, 1, 0, 1, 39], [1] * 10


@pytest.mark.parametrize(
    ("low", "high", "counts", "words"),
    [
        (0.0, 0.06, FEW_LOW, "Only 3 of 293 tiles score below 0.4, too few to say"),
        (
            *(0.0, 0.08, ONE_END),
            "inconclusive: only 3 of 42 tiles score below 0.9, too few to say whether lower",
        ),
        (0.0, 0.08, ALIKE, "inconclusive: at no score are there enough"),
        (0.0, 0.14, FEW_LOW, "and on so few cases calibrated scores could be"),
        (0.02, 0.09, FEW_LOW, "more than calibrated scores would be"),
        # Nearly perfect scores: what chance would give of them is less than anybody asks for.
        (1e-7, 2e-7, [50, *[0] * 8, 50], "off by less than 0.1 percentage points."),
    ],
)
def test_no_score_is_spoken_of_that_few_cases_have(
    low: float, high: float, counts: list[int], words: str
) -> None:
    found = {
        "about": {"unit": "tile"},
        "metrics": [_ranged("expected_calibration_error", 0.04, low, high, "tile")],
        "curves": {"reliability": {"after, by tile": _bins(counts), "after": _bins([9] * 10)}},
    }
    said = calibration_words(found, Task(name="t", kind="multiclass", classes=("a", "b", "c")))
    assert words in said
    assert "0.3" not in said


@pytest.mark.parametrize(("low", "told"), [(0.02, True), (-0.02, False)])
def test_a_temperature_did_harm_where_the_paired_difference_shows_it(
    low: float, told: bool
) -> None:
    # The intervals of the two numbers overlap in both: they are of the same images.
    rows = [
        _ranged("log_loss", 0.5, 0.3, 0.7),
        _ranged("log_loss_before", 0.4, 0.36, 0.44),
        _ranged("expected_calibration_error", 0.05, 0.0, 0.2),
        _ranged("expected_calibration_error_before", 0.04, 0.0, 0.2),
    ]
    change = {"difference": 0.1, "low": low, "high": 0.18}
    about = {"unit": "image", "temperature": 0.7, "split": "test"}
    found = {"about": about, "metrics": rows, "scaling": change}
    task = Task(name="t", kind="multiclass", classes=("a", "b", "c"))
    assert ("made scores worse" in calibration_words(found, task)) == told
    said = temperature_words(found)
    assert "divided by 0.700, fitted on validation" in said
    assert ("neither to help nor to harm" in said) != told
    # Of folds that number is the one that ships; no judged case was divided by it.
    own = {"split": "out-of-fold", "fold_temperatures": {"0": 0.9, "1": 1.2}}
    of_folds = temperature_words({**found, "about": {**about, **own}})
    assert "fitted on the other folds: 0.900 to 1.200)" in of_folds
    assert "divided by 0.700" not in of_folds
    assert "validation" not in of_folds


def _ranged(
    name: str, value: float, low: float, high: float, unit: str = "image"
) -> dict[str, Any]:
    return {"name": name, "value": value, "low": low, "high": high, "unit": unit}


def test_parts_add_up_to_the_total_of_the_table() -> None:
    # 123 of 176 called, 30 rightly and 93 wrongly: 698.86, 170.45 and 528.41 of 1,000.
    assert rounded_parts(1000 * 123 / 176, [1000 * 30 / 176, 1000 * 93 / 176]) == (699, [171, 528])
    for n in range(20, 60):
        whole, parts = rounded_parts(1000 * 13 / n, [1000 * 4 / n, 1000 * 9 / n])
        assert whole == round(1000 * 13 / n) == sum(parts)


def test_one_caution_about_few_cases_is_always_on_the_first_screen(table: pd.DataFrame) -> None:
    few = "11 positive cases call for caution (fewer than 100); 33 more would halve the intervals."
    graver = [f"{n} copies of images of training" for n in range(5)]
    found = {"about": {"unit": "image"}, "metrics": [], "cautions": [*graver, few]}
    plain = context(found, table)
    shown = [
        b.text
        for b in first_screen(plain, Results(found, plain.task, "leaf"))
        if isinstance(b, Text)
    ]
    assert few in shown
    assert sum(sentence.endswith("of training") for sentence in shown) == 2


def test_beside_a_matrix_stands_that_the_threshold_counts_apart(table: pd.DataFrame) -> None:
    grades = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("2",))
    found = {
        "about": {"unit": "image", "headline": "accuracy"},
        "metrics": [{**_ranged("accuracy", 0.5, 0.4, 0.6), "title": "Accuracy", "n": 12}],
        "operating_points": [
            {
                "name": "sensitivity=0.95",
                "split": "val",
                "threshold": 0.2,
                "sensitivity": {"value": 0.5, "low": 0.3, "high": 0.7, "x": 2, "n": 4},
                "specificity": {"value": 0.75, "low": 0.4, "high": 0.9, "x": 6, "n": 8},
            }
        ],
        "confusion": {
            "image": {"classes": ["0", "1", "2"], "counts": [[5, 0, 0], [2, 1, 0], [2, 1, 1]]}
        },
    }
    bare = table.assign(label="")
    page = words_of(report_html(replace(context(found, bare), task=grades)))
    # A threshold that is not in use calls nobody; what it would give stands apart, and its miss.
    assert "that is not" not in page
    said = page.replace("\N{NO-BREAK SPACE}", " ")
    assert "a sensitivity of 50.0 % (30.0 to 70.0 %)" in said
    assert "the aim of 95 % was missed" in said
    found["operating_points"][0]["active"] = True
    found["about"]["threshold"] = 0.2
    page = words_of(report_html(replace(context(found, bare), task=grades)))
    assert "of 4 that are 2, 3 have a predicted class here that is not" in page
    assert "12 images, by the predicted class" in page
    assert "2 of 4 cases that are 2 are missed" in page


def test_the_first_screen_says_on_how_many_images_of_which_data(table: pd.DataFrame) -> None:
    some = context(evaluate(table), table)
    terms = {"title": "A", "weights_release": "allowed", "licence": "CC0", "conditions": []}
    run = {**some.run, "n_images": {"train": 70, "val": 10, "test": 20}, "terms": [terms]}
    run["split_rule"] = "The split was drawn at random."
    page = words_of(report_html(replace(some, run=run)))
    told = "Data: A. Trained on 70 images, validated on 10, tested on 20 of the same data"
    assert told in page
    # A split that the data give may be of another place.
    run["split_rule"] = "The data give the split."
    assert "of the same data" not in words_of(report_html(replace(some, run=run)))

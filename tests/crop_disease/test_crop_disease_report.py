"""The sections of the app: right counts, words and pictures, and silence where nothing is known."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from apps.crop_disease import APP
from apps.crop_disease.report import by_severity, confused_pairs, several_diseases
from core.app import ReportContext, Task
from core.blocks import Fold, Pictures, Table, Text

TASK = Task(
    name="disease",
    kind="multiclass",
    classes=("healthy", "miner", "rust"),
    titles={"miner": "leaf miner"},
)
# 12 photos of 6 leaves: rust called miner three times, miner called healthy once.
LABELS = ["rust"] * 6 + ["miner"] * 4 + ["healthy"] * 2
DECIDED = (
    ["miner", "miner", "miner", "rust", "rust", "rust", "healthy"] + ["miner"] * 3 + ["healthy"] * 2
)
SEVERITY = ["1", "1", "2", "2", "3", "3", "1", "1", "2", "2", "0", "0"]


def context(**more: Any) -> ReportContext:
    predictions = pd.DataFrame(
        {
            "image_id": [f"i{i:02}" for i in range(12)],
            "path": [f"{label}/{i}.jpg" for i, label in enumerate(LABELS)],
            "status": "ok",
            "label": LABELS,
            "predicted": DECIDED,
            "decision": DECIDED,
            "group": [f"leaf{i // 2}" for i in range(12)],
            "severity": SEVERITY,
            "score_healthy": 0.1,
            "score_miner": np.linspace(0.2, 0.9, 12),
            "score_rust": 0.1,
        }
    )
    given: dict[str, Any] = {
        "app": APP,
        "task": TASK,
        "evaluation": {},
        "predictions": predictions,
        "decisions": {},
        "manifest": pd.DataFrame({"image_id": predictions["image_id"]}),
        "picture": lambda _: np.full((6, 8, 3), 90, np.uint8),
    }
    return ReportContext(**{**given, **more})


def test_pairs_are_counted_of_their_true_class_and_sorted() -> None:
    table = confused_pairs(context())[0]
    assert isinstance(table, Table)
    assert table.frame["True class"].tolist() == ["rust", "leaf miner"]
    assert table.frame["Called"].tolist() == ["leaf miner", "healthy"]
    assert table.frame["Photos"].tolist() == ["3 of 6", "1 of 4"]
    # 3 of 6; leaves with 2, 1, 0: se = sqrt(3 / 2 * (1 + 0 + 1)) / 6 = .289, a design effect of 2
    # and Student's 4.303 on 2 degrees of freedom: Wilson of 3 cases and 4.303 for 1.96.
    assert table.frame["Share (95 % interval)"][0].replace("\xa0", " ") == "50.0 % (3.6 to 96.4 %)"
    assert "4 of 12" in table.note


def test_pairs_are_shown_the_most_confident_first() -> None:
    fold = confused_pairs(context())[1]
    assert isinstance(fold, Fold)
    first = fold.blocks[0]
    assert isinstance(first, Pictures)
    assert first.title == "rust, called leaf miner"
    captions = [caption for _, caption in first.pictures]
    assert captions == [
        "rust/2.jpg, score 0.33",
        "rust/1.jpg, score 0.26",
        "rust/0.jpg, score 0.20",
    ]
    assert Image.open(io.BytesIO(first.pictures[0][0])).size == (8, 6)


def test_pairs_need_no_pictures() -> None:
    assert [type(block) for block in confused_pairs(context(picture=None))] == [Table]


def test_a_photo_without_a_score_or_a_label_is_no_error() -> None:
    given = context().predictions
    given.loc[0, ["status", "predicted", "decision"]] = ["failed", "", ""]
    given.loc[1, "label"] = None
    table = confused_pairs(context(predictions=given))[0]
    assert isinstance(table, Table)
    assert table.frame["Photos"].tolist() == ["1 of 4", "1 of 4"]


def test_a_perfect_model_confuses_nothing() -> None:
    given = context().predictions.assign(predicted=LABELS, decision=LABELS)
    (block,) = confused_pairs(context(predictions=given))
    assert isinstance(block, Text)
    assert block.text == "None of 12 photos was taken for another class."


def test_severity_counts_right_decisions_by_grade() -> None:
    table, words, fold = by_severity(context())
    assert isinstance(table, Table)
    assert isinstance(words, Text)
    assert isinstance(fold, Fold)
    (held,) = fold.blocks
    assert isinstance(held, Table)
    assert table.frame["Severity"].tolist() == ["0", "1", "2", "3"]
    assert table.frame["Photos"].tolist() == ["2", "4", "4", "2"]
    assert table.frame["Right"].tolist() == ["2", "1", "3", "2"]
    assert held.frame["Classes"][1] == "leaf miner 2, rust 2"
    # Errors: two rust and one miner of grade 1, one rust of grade 2.
    assert words.text.startswith("3 of 4 errors are on photos of grade 1")


def test_severity_is_found_in_the_manifest_and_its_grades_sort_by_value() -> None:
    manifest = pd.DataFrame(
        {"image_id": [f"i{i:02}" for i in range(12)], "severity": [10.0] * 5 + [2.0] * 7}
    )
    given = context().predictions.drop(columns="severity")
    table = by_severity(context(predictions=given, manifest=manifest))[0]
    assert isinstance(table, Table)
    assert table.frame["Severity"].tolist() == ["2", "10"]


def test_severity_that_the_class_gives_is_not_told_again() -> None:
    given = context().predictions
    given["severity"] = given["label"].map({"healthy": "0", "miner": "1", "rust": "1"})
    assert by_severity(context(predictions=given)) == []
    given.loc[0, "severity"] = "2"
    assert len(by_severity(context(predictions=given))) == 3


def test_severity_is_silent_where_it_is_unknown_or_the_task() -> None:
    bare = context().predictions.drop(columns="severity")
    assert by_severity(context(predictions=bare)) == []
    graded = Task(name="severity", kind="ordinal", classes=("0", "1"), label="severity")
    assert by_severity(context(task=graded)) == []


def test_photos_with_several_diseases_are_judged_apart() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{i:02}" for i in range(12)],
            # The first four photos of rust also show miner; three of them were called so.
            "miner": ["1"] * 4 + ["0"] * 2 + ["2"] * 4 + ["", "0"],
            "rust": ["2"] * 6 + ["0"] * 6,
        }
    )
    (table,) = several_diseases(context(manifest=manifest))
    assert table.frame["n"].tolist() == ["6", "4"]
    assert table.frame["Called another disease on them"].tolist() == ["0", "3"]
    # Of one disease: two of rust and three of four of miner are right, 5 of 6.
    assert table.frame.iloc[:, 2].str.startswith(("83.3", "25.0")).all()
    assert "does not rule out the others" in table.note


def test_nothing_is_said_of_several_diseases_where_the_data_name_none() -> None:
    assert several_diseases(context()) == []

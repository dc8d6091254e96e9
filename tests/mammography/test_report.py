"""Report sections against hand counts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from apps.mammography import APP
from apps.mammography.report import screening_audit, views_and_sides, what_recall_finds
from core.app import ReportContext
from core.blocks import Figure, Table, Text


def context(**extra: Any) -> ReportContext:
    # Ten exams: two with cancer, one of them recalled, and one false alarm.
    label = ["yes", "yes", *["no"] * 8]
    decision = ["yes", "no", "yes", *["no"] * 7]
    score = [0.9, 0.3, 0.8, 0.25, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02]
    exams = pd.DataFrame(
        {
            "unit": "exam",
            "unit_id": [f"e{i}" for i in range(10)],
            "label": label,
            "decision": decision,
            "score_yes": score,
            "score_no": [1 - s for s in score],
            "group": [f"p{i}" for i in range(10)],
        }
    )
    images = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "exam": ["e0", "e1"],
            "laterality": ["L", "R"],
            "view": ["CC", ""],
            "missing_views": ["", "L CC"],
            "quality": ["", "a breast implant is present"],
            "status": "ok",
        }
    )
    return ReportContext(
        app=APP,
        task=APP.tasks[0],
        evaluation=extra,
        predictions=images,
        decisions={"exam": exams},
        manifest=pd.DataFrame(),
    )


def test_the_audit_by_hand() -> None:
    blocks = screening_audit(context(prevalence=0.01))
    table = next(block for block in blocks if isinstance(block, Table))
    values = table.frame.set_index("Measure")["Value"].to_dict()
    assert {key: value.replace("\xa0", " ") for key, value in values.items()} == {
        "recall rate": "20.0 %",  # 2 of 10
        "sensitivity": "50.0 %",  # 1 of 2
        "specificity": "87.5 %",  # 7 of 8
        "PPV1": "50.0 %",  # 1 of 2
        "cancers found per 1,000": "100.0",
        "cancers missed per 1,000": "100.0",
    }
    assert table.frame.set_index("Measure").loc["recall rate", "Benchmark"] == "11.6\xa0%"
    assert "10.1148/radiol.2016161174" in table.note
    texts = [block for block in blocks if isinstance(block, Text)]
    assert any(text.tone == "warning" and "Only 2 exams" in text.text for text in texts)
    # .5 x .01 = .005 found, .125 x .99 = .12375 false alarms: 129 recalled, 3.9 % with cancer.
    assert "recall 129 of 1,000, and 3.9 %" in texts[-1].text.replace("\xa0", " ")


def test_of_nobody_recalled_no_share_is_told() -> None:
    told = context(prevalence=0.01)
    told.decisions["exam"]["decision"] = "no"
    text = [block for block in screening_audit(told) if isinstance(block, Text)][-1].text
    assert "would recall nobody. This holds" in text
    assert "not estimable" not in text


def test_predictive_values_after_recall_stand_where_the_data_know_of_biopsies() -> None:
    told = context()
    # Two views of each exam; e0 (found) and e2 (a false alarm) were biopsied, e1 (missed) was too.
    images = [(f"e{i}", view) for i in range(10) for view in ("CC", "MLO")]
    known = ReportContext(
        app=told.app,
        task=told.task,
        evaluation={},
        predictions=told.predictions,
        decisions=told.decisions,
        manifest=pd.DataFrame(
            {
                "exam": [exam for exam, _ in images],
                "biopsy_recommended": ["yes" if e in {"e0", "e1", "e2"} else "" for e, _ in images],
                "biopsy": ["1" if e == "e0" and view == "CC" else "0" for e, view in images],
            }
        ),
    )
    table = next(block for block in screening_audit(known) if isinstance(block, Table))
    cases = table.frame.set_index("Measure")["Cases"].to_dict()
    assert (cases["PPV1"], cases["PPV2"], cases["PPV3"]) == ("1 of 2", "1 of 2", "1 of 1")
    assert table.frame["95 % interval"].ne("").all()
    benchmark = table.frame.set_index("Measure")["Benchmark"].str.replace("\xa0", " ")
    assert (benchmark["PPV2"], benchmark["PPV3"]) == ("25.6 %", "28.6 %")
    bare = next(block for block in screening_audit(told) if isinstance(block, Table))
    assert not {"PPV2", "PPV3"} & set(bare.frame["Measure"])


def test_recall_rates_and_the_curve() -> None:
    table, figure = what_recall_finds(context())
    assert isinstance(table, Table)
    assert isinstance(figure, Figure)
    # One exam of ten may be recalled at 10 and 11.6 %: the one at .9, half of the cancers.
    assert table.frame["Found"].tolist() == ["0 of 2", "0 of 2", "1 of 2", "1 of 2"]
    assert "Exploratory" in table.note


def test_views_missing_views_and_flags_are_told() -> None:
    table, missing, flagged = views_and_sides(context())
    assert isinstance(table, Table)
    assert sorted(table.frame["View"]) == ["L CC", "R"]
    assert isinstance(missing, Text)
    assert missing.text.startswith("1 of 2 exams lack")
    assert isinstance(flagged, Text)
    assert "1 of 2 images are flagged" in flagged.text


@pytest.mark.parametrize("build", [screening_audit, what_recall_finds])
def test_without_labels_the_sections_stay_away(build: Any) -> None:
    bare = context()
    bare.decisions["exam"]["label"] = ""
    assert build(bare) == []

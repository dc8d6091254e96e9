"""The page of predictions: every row in its data, names harmless, corrections are labels."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.app import Manifest, Task
from core.data.corrections import corrected
from core.errors import ManifestError
from core.report.predictions_page import PageText, Thumbnails, write_predictions_page

TASK = Task(name="t", kind="multiclass", classes=("healthy", "rust"))
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=x>.jpg"


def predictions(n: int = 3) -> pd.DataFrame:
    rows = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "path": HOSTILE})
    rows["status"], rows["reason"], rows["quality"] = "ok", "", ""
    rows["predicted"], rows["decision"], rows["unfamiliar"] = "rust", "rust", False
    rows["score_healthy"], rows["score_rust"] = 0.25, 0.75
    rows.loc[1, ["status", "reason", "predicted", "decision"]] = ["failed", "cut short", "", ""]
    rows.loc[1, ["score_healthy", "score_rust"]] = np.nan
    rows.loc[2, ["decision", "unfamiliar"]] = ["withheld", True]
    return rows


def content(page: str) -> dict[str, list[list[object]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, list[list[object]]] = json.loads(found[1])
    return data


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        self.tags.append(tag)


def test_every_input_is_a_row_and_no_name_becomes_markup(tmp_path: Path) -> None:
    table = predictions()
    thumbnails = Thumbnails(tmp_path, table.to_dict("records"))
    thumbnails.keep("i0", np.full((400, 200, 3), 90, np.uint8))
    file = write_predictions_page(
        tmp_path,
        table,
        TASK,
        PageText(
            title=HOSTILE,
            lead="Use.",
            sentences=["It was good."],
            notes=[HOSTILE],
            files=["worklist.csv", "maps/a/classes.tif"],
        ),
        threshold=0.4,
        thumbnails=thumbnails,
        similar={"i2": [(thumbnails.other(6), HOSTILE, 0.5)]},
    )
    page = file.read_text(encoding="utf-8")
    rows = content(page)["rows"]
    assert [row[0] for row in rows] == ["i0", "i1", "i2"]
    assert rows[2][-1] == [["t000007.jpg", HOSTILE, 0.5]]
    assert rows[0][1:] == [
        HOSTILE,
        "ok",
        "",
        "rust",
        [0.25, 0.75],
        0,
        "",
        "00001.jpg",
        "rust",
        "",
        "",
        [],
    ]
    assert rows[1][2:6] == ["failed", "cut short", "", []]
    # What the model predicts and what was decided are told apart.
    assert (rows[2][4], rows[2][9], rows[2][6]) == ("withheld", "rust", 1)
    # The score that a threshold is held against, and what else was made.
    held = content(page)
    assert (held["threshold"], held["positive"]) == (0.4, list(TASK.positive_index))
    assert '<a href="worklist.csv">' in page
    assert "classes.tif" not in page
    assert Tags(page).tags.count("script") == 2
    assert "img" not in Tags(page).tags
    assert "://" not in page
    # The picture is named by its number, and small.
    assert [p.name for p in (tmp_path / "thumbnails").iterdir()] == ["00001.jpg"]


def test_tiles_are_named_by_their_place(tmp_path: Path) -> None:
    table = (
        predictions()
        .iloc[:2]
        .assign(
            path="mosaic.tif", image_id=["mosaic.tif#r000000_c000032", "mosaic.tif#r000128_c000000"]
        )
    )
    page = write_predictions_page(tmp_path, table, TASK, PageText(title="T", lead="")).read_text()
    named = [row[-3] for row in content(page)["rows"]]
    assert named == ["mosaic.tif, row 0, column 32", "mosaic.tif, row 128, column 0"]


def test_ten_thousand_rows_stay_one_small_file(tmp_path: Path) -> None:
    rows = predictions(10_000).assign(path="leaves/0123456789.jpg")
    file = write_predictions_page(tmp_path, rows, TASK, PageText(title="T", lead=""))
    assert len(content(file.read_text(encoding="utf-8"))["rows"]) == 10_000
    assert file.stat().st_size < 2_000_000


def manifest() -> Manifest:
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "label": ["rust", "rust", "healthy"]})
    return Manifest(table=table, root=Path())


def test_corrections_change_labels_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    file.write_text("image_id,path,label,predicted\na,a.jpg,healthy,rust\nc,c.jpg,healthy,rust\n")
    found = corrected(manifest(), file)
    assert found.table["label"].tolist() == ["healthy", "rust", "healthy"]
    assert "1 label changed by corrections.csv, 1 confirmed." in found.notes[-1]


def test_corrections_find_an_image_that_was_predicted_from_another_folder(tmp_path: Path) -> None:
    ids = ["train/a.jpg", "train/b.jpg", "old/b.jpg", "c.jpg"]
    table = pd.DataFrame({"image_id": ids, "label": ["rust"] * 4})
    file = tmp_path / "corrections.csv"
    # Two images are called b.jpg, so that neither is taken for it.
    file.write_text("image_id,label\na.jpg,healthy\nb.jpg,healthy\nfarm/c.jpg,healthy\n")
    found = corrected(Manifest(table=table, root=Path()), file)
    assert found.table["label"].tolist() == ["healthy", "rust", "rust", "healthy"]
    assert "1 image of it not in these data" in found.notes[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,label\nx,rust\n", "none of its 1 image is in the data"),
        ("image_id,label\na,rust\na,healthy\n", "1 image with two different labels"),
        ("image,label\na,rust\n", "has no column image_id"),
    ],
)
def test_corrections_of_something_else_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "corrections.csv"
    file.write_text(text)
    with pytest.raises(ManifestError, match=words):
        corrected(manifest(), file)

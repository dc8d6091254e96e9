"""Table 1: counts, shares and quartiles by partition, by hand."""

import pandas as pd

from core.app import Task
from core.evaluation.characteristics import characteristics_of

TASK = Task(name="t", kind="binary", classes=("no", "yes"))


def test_characteristics_are_counts_shares_and_quartiles_of_each_partition() -> None:
    n = 40
    table = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(n)],
            "path": "x.png",
            "label": ["yes" if i % 4 == 0 else "no" for i in range(n)],
            "group": [str(i // 2) for i in range(n)],
            "patient": [str(i // 2) for i in range(n)],
            "split": ["train"] * 30 + ["test"] * 10,
            "status": ["ok"] * 39 + ["skipped"],
            "reason": "",
            "age": [str(30 + i) if i else "" for i in range(n)],
            "camera": ["A" if i % 3 else "B" for i in range(n)],
            "gsd_m": 0.0500190001,
            "row_off": 7,
        }
    )
    titles = {"gsd_m": "ground sampling distance (m)", "row_off": ""}
    found = characteristics_of(table, TASK, "patient", names={"patient"}, titles=titles)
    assert found is not None
    assert found["partitions"] == ["train", "test"]
    rows = {(row["what"], row["value"]): row["cells"] for row in found["rows"]}
    # The last image was skipped.
    assert rows["images", ""]["test"]["n"] == 9
    assert rows["patient", ""] == {"train": {"n": 15, "of": None}, "test": {"n": 5, "of": None}}
    assert rows["class", "yes"]["train"] == {"n": 8, "of": 30}
    # Ages 31 to 59.
    assert rows["age", "median (quartiles)"]["train"] == {
        "median": 45.0,
        "low": 38.0,
        "high": 52.0,
        "n": 29,
    }
    assert rows["age", "not known"]["train"] == {"n": 1, "of": 30}
    # Rows 30, 33, 36 of 30 to 38.
    assert rows["camera", "B"]["test"] == {"n": 3, "of": 9}
    # A column is called as the app says, or not told; no number has ten decimals.
    assert rows["ground sampling distance (m)", "0.05002"]["test"] == {"n": 9, "of": 9}
    assert not any(what in {"row_off", ""} for what, _ in rows)
    # A column that names the group is no characteristic.
    assert not any(what == "patient" and value for what, value in rows)


def test_a_table_without_splits_has_no_partitions() -> None:
    assert characteristics_of(pd.DataFrame(), TASK, "patient") is None


def test_images_without_a_group_are_groups_of_their_own_in_every_partition() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "group": ["p", "p", "", "", "", ""],
            "split": ["train"] * 3 + ["test"] * 3,
            "status": "ok",
            "label": list("xyxyxy"),
        }
    )
    found = characteristics_of(
        manifest, Task(name="t", kind="binary", classes=("x", "y")), "patient"
    )
    assert found is not None
    row = next(row for row in found["rows"] if row["what"] == "patient")
    assert {part: cell["n"] for part, cell in row["cells"].items()} == {"train": 2, "test": 3}

"""What may not straddle a split on the ground, on tiles laid out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.crop_disease.field.area_report import areas_and_severity, share_by_area
from apps.crop_disease.field.areas import corrected_areas, judged_counts
from apps.crop_disease.field.groups import assign_spatial_blocks
from core.app import ReportContext, Source, Task
from core.blocks import Table, Text
from core.errors import ManifestError
from core.statistics.operating_points import proportion

TASK = Task(name="disease", kind="multiclass", classes=("healthy", "rust"))
# Metres per degree of latitude on the sphere that ``field_groups`` uses.
DEGREE = np.pi / 180 * 6_371_008.8


def source(group: str | None = None, **options: Any) -> Source:
    """A labelled source; options with ``_`` for ``-``."""
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return Source(paths=(), labelled=True, task=TASK, group=group, options=given)


def tiles(
    places: list[tuple[float, float]], *, path: str = "a.tif", **columns: Any
) -> pd.DataFrame:
    """Tiles of 10 m at (column, row) places, counted in tiles, on the equator."""
    table = pd.DataFrame(
        {
            "image_id": [f"{path}#{c:05.1f}_{r:05.1f}" for c, r in places],
            "path": path,
            "lon": [c * 10 / DEGREE for c, _ in places],
            "lat": [-r * 10 / DEGREE for _, r in places],
            "tile_m": 10.0,
            "status": "ok",
            "reason": "",
            "split": "",
            "field": "north",
            "flight": "may",
            "block": "",
        }
    )
    return table.assign(**columns)


def gap(table: pd.DataFrame, column: str = "group") -> float:
    """The least distance between the edges of tiles of two groups, in tiles."""
    ok = table[table["status"] == "ok"]
    x, y = ok["lon"].to_numpy() * DEGREE / 10, ok["lat"].to_numpy() * DEGREE / 10
    apart = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y)) - 1
    other = ok[column].to_numpy()[:, None] != ok[column].to_numpy()
    return float(apart[other].min())


def test_tile_files_that_touch_are_one_group() -> None:
    # Two patches of 2 x 1 tiles, five tiles apart, and a tile alone.
    table = tiles([(0, 0), (1, 0), (6, 0), (7, 0), (20, 0)]).assign(path=list("abcde"))
    table, word, (rule, _), _ = assign_spatial_blocks(table, source(), whole=True)
    assert word == "block"
    assert "patch of ground" in rule
    first, second, third, fourth, fifth = table["group"]
    assert first == second
    assert third == fourth
    assert len({first, third, fifth}) == 3
    assert (table["status"] == "ok").all()


def test_a_large_patch_of_tile_files_is_cut_with_strips() -> None:
    table = tiles([(c, r) for r in range(24) for c in range(24)])
    table["path"] = [f"{i}.tif" for i in range(len(table))]
    table, _, _, _ = assign_spatial_blocks(table, source(), whole=True)
    assert table["group"][table["status"] == "ok"].nunique() >= 30
    assert gap(table) == pytest.approx(1, abs=0.01)
    assert set(table["reason"]) == {"", "lies in the strip between two blocks of ground"}


def test_blocks_of_two_flights_over_one_ground_are_joined() -> None:
    may = tiles([(0, 0), (9, 0)], block=["may/1", "may/2"])
    june = tiles([(0.4, 0.2), (30, 0)], path="b.tif", block=["june/1", "june/2"], flight="june")
    both = pd.concat([may, june], ignore_index=True)
    table, _, _, notes = assign_spatial_blocks(both, source(), whole=False)
    assert table["group"][0] == table["group"][2]
    assert table["group"].nunique() == 3
    assert any("2 blocks of different rasters lie on the same ground" in note for note in notes)


def test_a_flight_held_out_is_the_test_and_shared_ground_is_told() -> None:
    may = tiles([(0, 0), (9, 0)], block=["may/1", "may/2"])
    june = tiles([(0.4, 0.2), (30, 0)], path="b.tif", block=["june/1", "june/2"], flight="june")
    both = pd.concat([may, june], ignore_index=True)
    table, _, (_, rule), notes = assign_spatial_blocks(both, source(hold_out="june"), whole=False)
    assert list(table["split"]) == ["train", "train", "test", "test"]
    assert "Held out: the flight june." in rule
    assert table["group"][0] != table["group"][2]
    assert any("1 of 2 tiles held out lie on or beside ground" in note for note in notes)
    with pytest.raises(ManifestError, match=r"neither a field .north. nor a flight .june, may."):
        assign_spatial_blocks(both, source(hold_out="july"), whole=False)


def test_a_field_held_out_keeps_a_tile_from_its_neighbour() -> None:
    places = [(c, r) for r in range(4) for c in range(8)]
    field = ["west" if c < 4 else "east" for c, _ in places]
    table = tiles(places, field=field, block=[f"b{c // 2}{r // 2}" for c, r in places])
    table, _, _, _ = assign_spatial_blocks(
        table, source(group="field", hold_out="east"), whole=False
    )
    held = table[table["split"] == "test"]
    assert len(held) == 16
    assert (table["status"] == "skipped").sum() == 4
    assert gap(table, "split") == pytest.approx(1, abs=0.01)


def test_fields_that_nothing_names_are_asked_for() -> None:
    table = tiles([(0, 0), (5, 0)], field="")
    with pytest.raises(ManifestError, match="nothing names the field of tiles"):
        assign_spatial_blocks(table, source(group="field"), whole=True)
    scattered, word, (rule, _), _ = assign_spatial_blocks(
        table, source(group="image_id"), whole=True
    )
    assert word == "tile"
    assert "will look better" in rule
    assert scattered["group"].is_unique


# ---- areas


def test_groups_that_err_alike_widen_the_interval() -> None:
    # 20 groups of 20 tiles called healthy; in two of them all are rust. As 400 tiles drawn at
    # random, 10 % wrong has a standard error of 1.5 %; as 20 groups it has 6.7 %.
    counts = np.zeros((20, 2, 2))
    counts[:18, 0, 0] = 20
    counts[18:, 0, 1] = 20
    counts[:, 1, 1] = 1
    plain, grouped = (corrected_areas([100, 0.001], c) for c in (counts.sum(axis=0), counts))
    assert grouped.area == pytest.approx(plain.area)
    assert plain.high[1] - plain.low[1] == pytest.approx(2 * 1.96 * 1.5, rel=0.05)
    assert grouped.high[1] - grouped.low[1] > 3 * (plain.high[1] - plain.low[1])
    assert (grouped.n_groups, grouped.n_judged) == (20, 420)


def judged(**columns: Any) -> pd.DataFrame:
    """Six tiles of 10 m, the last half valid, in six groups."""
    table = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "status": "ok",
            "label": ["healthy", "healthy", "healthy", "rust", "rust", "rust"],
            "decision": ["healthy", "healthy", "rust", "rust", "rust", "healthy"],
            "predicted": "healthy",
            "group": list("123456"),
            "tile_m": 10.0,
            "valid_fraction": [1, 1, 1, 1, 1, 0.5],
            "row_off": 0,
        }
    )
    return table.assign(**columns)


def context(table: pd.DataFrame, task: Task = TASK) -> ReportContext:
    """A report on these tiles."""
    return ReportContext(
        app=None,
        task=task,
        evaluation={},
        predictions=table,
        decisions={},
        manifest=pd.DataFrame(),
    )


def test_accuracy_is_weighted_by_the_ground_a_tile_holds() -> None:
    table, words = areas_and_severity(context(judged()))
    assert isinstance(table, Table)
    assert isinstance(words, Text)
    # 100 m2 a tile: healthy 300 by label; called so 200 right and 50 wrong. Right: 400 of 550.
    assert list(table.frame["Area by label"]) == ["300\xa0m²", "250\xa0m²"]
    assert list(table.frame["Area by the model"]) == ["250\xa0m²", "300\xa0m²"]
    assert table.frame["User's accuracy"][0].startswith("80.0\xa0% (")
    assert table.frame["Producer's accuracy"][1].startswith("80.0\xa0%")
    assert words.text.startswith("Of the ground of these 6 held-out tiles, 72.7\xa0% (")
    counts = judged_counts(judged(), TASK.classes)
    assert counts.shape == (6, 2, 2)
    assert counts.sum(axis=0).tolist() == [[2, 1], [1, 2]]


def test_a_share_of_equal_tiles_has_the_interval_of_its_count() -> None:
    # Four of five of two groups: what the confusion matrix's recall has.
    right, group = np.array([1, 1, 1, 1, 0], bool), np.array(list("aaabb"))
    found, counted = share_by_area(right, np.full(5, 2.0), group), proportion(right, group)
    assert (found.value, found.low, found.high) == (0.8, counted.low, counted.high)
    # Areas that hardly differ hardly change it.
    near = share_by_area(right, np.array([2.0, 2.0, 2.0, 2.0, 2.0001]), group)
    assert near.low == pytest.approx(counted.low, abs=1e-3)
    assert share_by_area(right, np.full(5, 2.0), np.full(5, "a")).words == (
        "80.0\xa0% (too few groups)"
    )


@pytest.mark.parametrize("truth", [0.8, 0.95])
def test_shares_of_ground_stay_inside_and_cover(truth: float) -> None:
    rng = np.random.default_rng(5)
    held, n = 0, 400
    for _ in range(n):
        # 20 groups of 6 tiles of unequal ground, alike within a group.
        group = np.repeat(np.arange(20), 6)
        own = rng.beta(truth * 6, (1 - truth) * 6, 20)[group]
        right, area = rng.random(120) < own, rng.uniform(0.5, 1.0, 120)
        found = share_by_area(right, area, group)
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        held += found.low <= truth <= found.high
    assert held / n >= 0.93


def test_severity_is_compared_group_by_group() -> None:
    grades = Task(name="severity", kind="ordinal", classes=("0", "1", "2"), label="severity")
    given = ["0", "0", "1", "1", "2", "2"]
    scores = {f"score_{k}": [float(g == str(k)) for g in given] for k in range(3)}
    exact = judged(label=given, decision=given, predicted=given, **scores)
    *_, table = areas_and_severity(context(exact, grades))
    assert isinstance(table, Table)
    assert table.title == "Severity by group"
    values = list(table.frame["value (95 % interval)"])
    assert values[0].startswith("1.000")
    assert values[1].startswith("0.000")
    few = areas_and_severity(context(exact.assign(group="1"), grades))[-1]
    assert isinstance(few, Text)
    assert "there are 1 groups" in few.text


def test_photos_have_no_areas() -> None:
    assert areas_and_severity(context(judged().drop(columns="tile_m"))) == []

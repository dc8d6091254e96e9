"""What a sprayer reads: rates and ground, checked with another vendor's reader and dictionary."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from isoxml.converter.np_grid import to_numpy_array
from isoxml.models.ddi_entities import DDEntity
from isoxml.util.isoxml_io import isoxml_from_path

from apps.crop_disease.field import isoxml as taskdata
from apps.crop_disease.field.isoxml import TaskNames, write_grid_taskdata, write_taskdata
from apps.crop_disease.field.prescription import write_prescription
from apps.crop_disease.field.rates import UNITS, Rate, read_rates, stored_value
from core.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("healthy", "rust", "wilt")
# What one of each stands for in the unit of the standard's entry, by the definition of the unit.
AMOUNT = {
    "l": (1e6, "mm³"),
    "ml": (1e3, "mm³"),
    "m3": (1e9, "mm³"),
    "kg": (1e6, "mg"),
    "g": (1e3, "mg"),
    "t": (1e9, "mg"),
    "lb": (453_592.37, "mg"),
    "seeds": (1.0, ""),
    "plants": (1.0, ""),
}
GROUND_M2 = {"ha": 1e4, "m2": 1.0, "ac": 4046.8564224}
# Rates as an agronomist gives them.
USUAL = {
    "l/ha": (0.8, 200.0, 1.5),
    "ml/ha": (25.0, 750.0, 0.5),
    "m3/ha": (0.2, 12.0, 30.0),
    "kg/ha": (0.75, 160.0, 2.05),
    "g/ha": (30.0, 500.0, 20.0),
    "t/ha": (0.5, 3.0, 12.25),
    "l/m2": (0.02, 0.5, 1.0),
    "g/m2": (15.0, 30.0, 0.5),
    "lb/ac": (40.0, 180.0, 0.75),
    "seeds/ac": (32_000.0, 28_500.0, 40_000.0),
    "seeds/ha": (75_000.0, 90_000.0, 60_010.0),
    "plants/ha": (50_000.0, 80_000.0, 100.0),
    "seeds/m2": (320.0, 0.5, 250.0),
    "plants/m2": (8.5, 9.0, 12.0),
}


def zones() -> Any:
    """Three fields beside each other, near Bonn: 7 degrees east, 50.7 north."""
    boxes = [(7.000, 50.700, 7.001, 50.7005), (7.001, 50.700, 7.0015, 50.7005)]
    boxes.append((7.000, 50.7005, 7.0015, 50.7008))
    frame = geopandas.GeoDataFrame(
        {"zone": [1, 2, 3], "class": list(CLASSES), "area_ha": [0.3928, 0.1964, 0.3535]},
        geometry=[shapely.box(*box) for box in boxes],
        crs="EPSG:4326",
    )
    # A hole where a pylon stands.
    pylon = shapely.box(7.0004, 50.7002, 7.0006, 50.7003)
    frame.loc[0, "geometry"] = frame.geometry.iloc[0].difference(pylon)
    return frame


def written(out: Path, unit: str, amounts: tuple[float, ...]) -> Path:
    rates = {name: Rate(value, unit) for name, value in zip(CLASSES, amounts, strict=True)}
    names = TaskNames(field="Long acre", farm="Upper farm", customer="Ms Smith", product="Sulphur")
    write_prescription(zones(), rates, out, names=names, cell_m=2.0)
    return out


def applied(value: int, ddi: bytes) -> tuple[float, str]:
    """What an implement applies for a stored value: by the dictionary, not by what is shown."""
    entry = DDEntity.from_bytes(ddi)
    return value * entry.bit_resolution, entry.unit


def meant(rate: float, unit: str) -> tuple[float, str]:
    """The same in the unit of the standard's entry, by the definitions of litre and hectare."""
    amount, ground = unit.split("/")
    size, word = AMOUNT[amount]
    return rate * size / GROUND_M2[ground], f"{word}/m²"


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_every_unit_is_applied_as_it_was_written(tmp_path: Path, unit: str) -> None:
    out = written(tmp_path, unit, USUAL[unit])
    tasks, _ = isoxml_from_path(out / "TASKDATA" / "TASKDATA.XML")
    found = {
        zone.designator: zone.process_data_variables[0] for zone in tasks.tasks[0].treatment_zones
    }
    shown = tasks.value_presentations[0]
    assert shown.unit_designator == unit
    layers = [pyogrio.read_dataframe(out / f"prescription.{kind}") for kind in ("shp", "geojson")]
    for name, rate in zip(CLASSES, USUAL[unit], strict=True):
        value = found[name].process_data_value
        amount, dimension = applied(value, bytes(found[name].process_data_ddi))
        # Acres and pounds are no whole number of steps; all others are.
        near = 0.002 if unit.endswith("ac") else 1e-9
        asked = meant(rate, unit)
        assert (amount, dimension) == (pytest.approx(asked[0], rel=near), asked[1])
        # What the terminal shows is what it applies.
        assert value * float(shown.scale) == pytest.approx(rate, rel=near)
        for layer in layers:
            row = layer[layer["Class"] == name].iloc[0]
            assert (row["Rate"], row["Unit"]) == (pytest.approx(rate, rel=1e-9), unit)
    outside = found["outside"]
    assert outside.process_data_value == 0


def test_a_grid_has_the_rate_of_the_zone_at_its_place(tmp_path: Path) -> None:
    out = written(tmp_path, "l/ha", (0.8, 200.0, 1.5))
    tasks, files = isoxml_from_path(out / "grid" / "TASKDATA" / "TASKDATA.XML")
    grid = tasks.tasks[0].grids[0]
    template = {zone.code: zone for zone in tasks.tasks[0].treatment_zones}[
        grid.treatment_zone_code
    ]
    ddi = DDEntity.from_bytes(bytes(template.process_data_variables[0].process_data_ddi))
    data = files[grid.filename]
    assert len(data) == grid.filelength == 4 * grid.maximum_row * grid.maximum_column
    values = to_numpy_array(data, grid, [ddi])[..., 0]
    where = zones()
    # Cells of two metres: 55 m by 106 m of ground, to within a cell.
    assert values.shape == (-(-0.0008 // float(grid.cell_north_size)), pytest.approx(53, abs=1))
    rows, cols = np.indices(values.shape)
    north = float(grid.minimum_north_position) + (rows + 0.5) * grid.cell_north_size
    east = float(grid.minimum_east_position) + (cols + 0.5) * grid.cell_east_size
    for name, rate in zip(CLASSES, (0.8, 200.0, 1.5), strict=True):
        shape = where.geometry[where["class"] == name].iloc[0]
        inside = shapely.contains_xy(shape, east, north)
        assert inside.sum() > 100
        # 1 L/ha is 100 mm3/m2.
        assert np.allclose(values[inside], rate * 100)
    assert (values[~shapely.contains_xy(where.union_all(), east, north)] == 0).all()


def test_a_grid_that_cannot_follow_the_zones_is_told_to_the_user(tmp_path: Path) -> None:
    rates = {name: Rate(rate, "l/ha") for name, rate in zip(CLASSES, (1, 2, 3), strict=True)}
    said: dict[float, list[str]] = {}
    for cell in (0.5, 40.0):
        said[cell] = []
        (tmp_path / str(cell)).mkdir()
        names = TaskNames(field="west")
        write_prescription(
            zones(), rates, tmp_path / str(cell), names=names, cell_m=cell, notes=said[cell]
        )
    assert said[0.5] == []
    assert said[40.0]
    assert "cells of 40 m give" in said[40.0][0]


def test_polygons_lie_where_the_zones_lie(tmp_path: Path) -> None:
    out = written(tmp_path, "l/ha", (0.8, 200.0, 1.5))
    tasks, _ = isoxml_from_path(out / "TASKDATA" / "TASKDATA.XML")
    where = zones()
    for zone in tasks.tasks[0].treatment_zones:
        if zone.designator == "outside":
            assert not zone.polygons
            continue
        read = shapely.Polygon()
        for polygon in zone.polygons:
            for line in polygon.line_strings:
                ring = shapely.Polygon([(float(p.east), float(p.north)) for p in line.points])
                read = read.union(ring) if line.type.value == "1" else read.difference(ring)
        mine = where.geometry[where["class"] == zone.designator].iloc[0]
        assert read.symmetric_difference(mine).area < 1e-4 * mine.area
    field = tasks.partfields[0]
    assert field.area == pytest.approx(9427, abs=1)


def test_the_terminal_knows_whose_field_it_is(tmp_path: Path) -> None:
    for folder in ("TASKDATA", "grid/TASKDATA"):
        tasks, _ = isoxml_from_path(written(tmp_path, "kg/ha", (1, 2, 3)) / folder / "TASKDATA.XML")
        customer, farm = tasks.customers[0], tasks.farms[0]
        field, task = tasks.partfields[0], tasks.tasks[0]
        assert (customer.designator, farm.designator) == ("Ms Smith", "Upper farm")
        assert (field.designator, tasks.products[0].designator) == ("Long acre", "Sulphur")
        assert farm.customer_id_ref == field.customer_id_ref == task.customer_id_ref == customer.id
        assert field.farm_id_ref == task.farm_id_ref == farm.id
        assert task.partfield_id_ref == field.id
        for zone in task.treatment_zones:
            assert zone.process_data_variables[0].product_id_ref == tasks.products[0].id


@pytest.mark.parametrize("folder", ["TASKDATA", "grid/TASKDATA"])
@pytest.mark.parametrize("unit", ["m3/ha", "seeds/ha"])
def test_every_attribute_is_as_the_standard_wants_it(
    tmp_path: Path, folder: str, unit: str
) -> None:
    out = written(tmp_path, unit, USUAL[unit])
    tasks, _ = isoxml_from_path(out / folder / "TASKDATA.XML")
    assert faults(tasks) == []
    # Numbers with an exponent are no decimals in XML Schema.
    assert not re.search(r'"[0-9.]+e-?[0-9]+"', (out / folder / "TASKDATA.XML").read_text())


def faults(node: Any) -> list[str]:
    """What the reader's model of the standard (its limits and patterns) says against a document."""
    found = []
    for field in dataclasses.fields(node):
        value, limit = getattr(node, field.name), field.metadata
        where = f"{type(node).__name__}.{field.name}: {value!r}"
        if value is None:
            found += [f"{where} is missing"] if limit.get("required") else []
            continue
        for item in value if isinstance(value, list) else [value]:
            if dataclasses.is_dataclass(item):
                found += faults(item)
            elif isinstance(item, str) and not isinstance(item, Enum):
                if not limit.get("min_length", 0) <= len(item) <= limit.get("max_length", 1e9):
                    found.append(f"{where} is too long or short")
                if "pattern" in limit and not re.fullmatch(limit["pattern"], item):
                    found.append(f"{where} is not of its form")
            elif "min_inclusive" in limit and not (
                limit["min_inclusive"] <= item <= limit["max_inclusive"]
            ):
                found.append(f"{where} is out of range")
    return found


# A tenth of a millidegree of ground in metres at the equator: 11.132 m by 11.132 m.
SIDE_DEG, SIDE_M = 1e-4, 11.132


def squares(classes: list[str], area_ha: list[float] | None = None, step: float = 2.0) -> Any:
    """Squares of 11 m side by side on the equator, where a degree is as long east as north."""
    own = SIDE_M**2 / 1e4
    boxes = [
        shapely.box(step * k * SIDE_DEG, 0, (step * k + 1) * SIDE_DEG, SIDE_DEG)
        for k in range(len(classes))
    ]
    return geopandas.GeoDataFrame(
        {"Class": classes, "Area_ha": area_ha or [own] * len(classes)},
        geometry=boxes,
        crs="EPSG:4326",
    )


def litres(**rates: float) -> dict[str, Rate]:
    return {name: Rate(value, "l/ha") for name, value in rates.items()}


def test_a_task_is_planned_and_says_how_its_numbers_are_shown(tmp_path: Path) -> None:
    frame = squares(["rust", "wilt", "rust"])
    rates = litres(rust=0.125, wilt=20.0)
    polygons = write_taskdata(frame, rates, tmp_path, names=TaskNames(field="west"))
    grid = write_grid_taskdata(
        frame, rates, tmp_path / "grid", names=TaskNames(field="west"), cell_m=1.0
    )
    assert polygons == tmp_path / "TASKDATA" / "TASKDATA.XML"
    assert grid is not None
    assert grid == (tmp_path / "grid" / "TASKDATA" / "TASKDATA.XML", [])
    for path in (polygons, grid[0]):
        assert path.read_bytes().startswith(b"<?xml version='1.0' encoding='utf-8'?>")
        tasks, _ = isoxml_from_path(path)
        assert (int(tasks.version_major.value), int(tasks.version_minor.value)) == (3, 3)
        assert tasks.management_software_manufacturer == "resight"
        # From the farm's computer to the terminal.
        assert tasks.data_transfer_origin.value == "1"
        task, shown = tasks.tasks[0], tasks.value_presentations[0]
        assert task.status.value == "1"
        assert shown.offset == 0
        assert (shown.number_of_decimals, shown.unit_designator) == (3, "l/ha")
        assert task.default_treatment_zone_code == task.position_lost_treatment_zone_code == 0
        assert task.out_of_field_treatment_zone_code == 0
        # Nothing is named, and nothing is invented.
        assert tasks.customers[0].designator == "customer not named"
        assert tasks.farms[0].designator == "farm not named"
        assert tasks.products[0].designator == "as prescribed"
        # The field is all that has a rate: 3 squares of 124 m2.
        assert tasks.partfields[0].area == pytest.approx(3 * SIDE_M**2, abs=1)
        kinds = [one.type.name for one in tasks.partfields[0].polygons]
        assert kinds == ["PartfieldBoundary"] * 3
    zones_read = isoxml_from_path(polygons)[0].tasks[0].treatment_zones
    assert [(zone.code, zone.designator) for zone in zones_read] == [
        (0, "outside"),
        (1, "rust"),
        (2, "wilt"),
    ]
    # One zone of each class, with all of its ground.
    assert [len(zone.polygons) for zone in zones_read] == [0, 2, 1]
    kinds = [one.type.name for zone in zones_read for one in zone.polygons]
    assert kinds == ["TreatmentZone"] * 3
    # 0.125 l/ha are 12.5 mm3/m2, in steps of 0.01.
    stored = [zone.process_data_variables[0].process_data_value for zone in zones_read]
    assert stored == [0, 1250, 200_000]


def test_names_are_cut_where_the_standard_ends(tmp_path: Path) -> None:
    long = "abcdefghijklmnopqrstuvwxyz0123456789"
    frame = squares([long, "wilt"])
    names = TaskNames(field=long, farm=long, customer=long, product=long)
    path = write_taskdata(frame, litres(**{long: 1, "wilt": 2}), tmp_path, names=names)
    assert path is not None
    tasks, _ = isoxml_from_path(path)
    assert faults(tasks) == []
    found = [one[0].designator for one in (tasks.customers, tasks.farms, tasks.products)]
    found += [tasks.partfields[0].designator, tasks.tasks[0].designator]
    found.append(tasks.tasks[0].treatment_zones[1].designator)
    assert found == [long[:32]] * 6


def test_a_zone_of_several_pieces_and_one_that_touches_another_keep_their_ground(
    tmp_path: Path,
) -> None:
    frame = squares(["rust", "wilt", "wilt"], step=1.0)
    # The first and last are one zone in two pieces; the field is one piece of ground.
    pieces = shapely.MultiPolygon([frame.geometry.iloc[0], frame.geometry.iloc[2]])
    frame = frame.iloc[:2].set_geometry([pieces, frame.geometry.iloc[1]])
    path = write_taskdata(frame, litres(rust=1, wilt=2), tmp_path, names=TaskNames(field="w"))
    assert path is not None
    tasks, _ = isoxml_from_path(path)
    assert [len(zone.polygons) for zone in tasks.tasks[0].treatment_zones] == [0, 2, 1]
    (whole,) = tasks.partfields[0].polygons
    (outline,) = whole.line_strings
    ring = shapely.Polygon([(float(p.east), float(p.north)) for p in outline.points])
    assert ring.equals_exact(ring, 0)
    assert ring.bounds == pytest.approx((0, 0, 3 * SIDE_DEG, SIDE_DEG), abs=1e-9)


def test_more_classes_than_a_terminal_has_numbers_give_a_grid_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taskdata, "MOST_ZONES", 2)
    rates = litres(a=1, b=2, c=3)
    names = TaskNames(field="w")
    assert write_taskdata(squares(["a", "b"]), rates, tmp_path / "two", names=names) is not None
    assert write_taskdata(squares(["a", "b", "c"]), rates, tmp_path, names=names) is None
    assert not (tmp_path / "TASKDATA").exists()
    frame = squares(["a", "b", "c"])
    assert write_grid_taskdata(frame, rates, tmp_path, names=names, cell_m=1.0) is not None
    # Nothing to spray is no grid.
    assert write_grid_taskdata(frame[:0], rates, tmp_path, names=names, cell_m=1.0) is None


def test_a_grid_has_square_cells_and_about_as_many_as_terminals_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = squares(["a", "b", "a"])
    for most, n_rows, n_cols in ((10**6, 12, 56), (100, 5, 23)):
        # 5 squares of 11.1 m: 56 by 12 cells of a metre; of 620 m2, 100 cells are 2.49 m each.
        monkeypatch.setattr(taskdata, "MOST_CELLS", most)
        written = write_grid_taskdata(
            frame, litres(a=1, b=2), tmp_path, names=TaskNames(field="w"), cell_m=1.0
        )
        assert written is not None
        tasks, files = isoxml_from_path(written[0])
        grid = tasks.tasks[0].grids[0]
        assert (grid.maximum_row, grid.maximum_column) == (n_rows, n_cols)
        assert len(files[grid.filename]) == grid.filelength == 4 * n_rows * n_cols
        assert float(grid.cell_north_size) == pytest.approx(float(grid.cell_east_size), rel=1e-6)
        assert str(grid.type.value) == "2"
        assert (float(grid.minimum_north_position), float(grid.minimum_east_position)) == (0, 0)
        template = tasks.tasks[0].treatment_zones[1]
        assert template.code == grid.treatment_zone_code == 1


def test_in_the_north_cells_are_as_wide_as_they_are_high(tmp_path: Path) -> None:
    # At 60 degrees a degree east is half as long as a degree north.
    frame = squares(["a"]).set_geometry([shapely.box(10, 60, 10.002, 60.001)])
    written = write_grid_taskdata(
        frame, litres(a=1), tmp_path, names=TaskNames(field="w"), cell_m=5.0
    )
    assert written is not None
    grid = isoxml_from_path(written[0])[0].tasks[0].grids[0]
    assert float(grid.cell_east_size) == pytest.approx(2 * float(grid.cell_north_size), rel=1e-4)
    # 111.3 m each way.
    assert (grid.maximum_row, grid.maximum_column) == (23, 23)


def test_ground_of_a_rate_that_differs_by_more_than_a_twentieth_is_told(tmp_path: Path) -> None:
    def said(classes: list[str], areas: list[float], **rates: float) -> list[str]:
        # Cells of a hundredth of a square: what is drawn is what the square is.
        written = write_grid_taskdata(
            squares(classes, areas),
            litres(**rates),
            tmp_path,
            names=TaskNames(field="west"),
            cell_m=SIDE_M / 10,
        )
        assert written is not None
        return written[1]

    own = SIDE_M**2 / 1e4
    assert said(["a", "b"], [own, own], a=1, b=2) == []
    assert said(["a", "b"], [0.96 * own, 1.05 * own], a=1, b=2) == []
    (told,) = said(["a", "b"], [0.5 * own, own], a=1, b=2)
    # 124 m2 are drawn, 62 were asked for.
    assert told == (
        "west: in the grid for terminals without polygons, cells of 1.1 m give a 124 m2 where "
        "the zones have 62."
    )
    # Where nothing is applied nothing is wrong; classes of one rate are one ground.
    assert said(["a", "b"], [0.5 * own, own], a=0, b=2) == []
    assert said(["b", "a"], [0.5 * own, 1.5 * own], a=1, b=1) == []
    (told,) = said(["b", "a"], [2 * own, own], a=1, b=1)
    assert "give a, b 248 m2 where the zones have 372." in told


def test_a_layer_says_of_each_zone_what_is_applied_and_why_it_may_be_in_doubt(
    tmp_path: Path,
) -> None:
    rates = {name: Rate(value, "l/ha") for name, value in zip(CLASSES, (0, 200, 1.5), strict=True)}
    # In another system: what is written is longitude and latitude all the same.
    frame = zones().assign(n_tiles=[40, 8, 3], n_doubtful=[0, 2, 3], doubt_share=[0, 0.2534, 1.0])
    files = write_prescription(
        frame.to_crs("EPSG:32632"), rates, tmp_path, names=TaskNames(field="f"), cell_m=2.0
    )
    assert all(file.is_file() for file in files)
    assert {file.relative_to(tmp_path).as_posix() for file in files} == {
        *(f"prescription.{end}" for end in ("shp", "shx", "dbf", "prj", "cpg", "geojson")),
        *("TASKDATA/TASKDATA.XML", "grid/TASKDATA/TASKDATA.XML", "grid/TASKDATA/GRD00001.bin"),
    }
    for kind in ("shp", "geojson"):
        layer = pyogrio.read_dataframe(tmp_path / f"prescription.{kind}")
        assert layer.crs.to_epsg() == 4326
        assert layer["Zone"].tolist() == [1, 2, 3]
        assert layer["Class"].tolist() == list(CLASSES)
        assert layer["Rate"].tolist() == [0, 200, 1.5]
        assert set(layer["Product"]) == {"as prescribed"}
        assert layer["Area_ha"].tolist() == pytest.approx([0.3928, 0.1964, 0.3535])
        assert (layer["N_tiles"].tolist(), layer["N_doubtful"].tolist()) == ([40, 8, 3], [0, 2, 3])
        assert layer["Doubt"].fillna("").tolist() == [
            "",
            "2 of 8 tiles in doubt, 25 % of the ground",
            "3 of 3 tiles in doubt, 100 % of the ground",
        ]
        for found, meant in zip(layer.geometry, zones().geometry, strict=True):
            assert found.symmetric_difference(meant).area < 1e-6 * meant.area
    # A unit without an entry in the dictionary leaves the layers; nothing is known of doubt here.
    boxes = {name: Rate(1, "boxes/ha") for name in CLASSES}
    (tmp_path / "b").mkdir()
    files = write_prescription(
        zones(), boxes, tmp_path / "b", names=TaskNames(field="f"), cell_m=2.0
    )
    assert {file.suffix for file in files} == {".shp", ".shx", ".dbf", ".prj", ".cpg", ".geojson"}
    plain = pyogrio.read_dataframe(tmp_path / "b" / "prescription.geojson")
    assert not {"N_tiles", "N_doubtful", "Doubt"} & set(plain)


def test_a_rate_may_be_rounded_by_one_percent_and_fill_the_number() -> None:
    # A step of mass is 1 mg/m2, which is 10 g/ha.
    assert stored_value(Rate(1.0, "kg/ha")) == 100
    # 0.504 becomes 0.50, which is 0.8 % less; 0.304 would become 0.30, which is 1.3 % less.
    assert stored_value(Rate(0.504, "kg/ha")) == 50
    with pytest.raises(
        ManifestError, match=r"0.304 kg/ha would become 0.3 kg/ha, .* steps of 0.01"
    ):
        stored_value(Rate(0.304, "kg/ha"))
    # Numbers of 32 bits with a sign end at 2,147,483,647; one litre per hectare is 10,000.
    assert stored_value(Rate(214_748.3647, "l/ha")) == 2**31 - 1
    with pytest.raises(ManifestError, match=r"is more than ISOXML can hold"):
        stored_value(Rate(214_748.3648, "l/ha"))
    assert stored_value(Rate(0.0, "l/ha")) == 0


def test_a_table_of_rates_is_read_whatever_else_stands_in_it(tmp_path: Path) -> None:
    table = tmp_path / "rates.csv"
    table.write_text("Unit,note,CLASS,Rate\nl/ha,dry,wilt,1.5\nl/ha,,rust,0\nl/ha,,healthy,20\n")
    assert read_rates(table, CLASSES) == {
        "wilt": Rate(1.5, "l/ha"),
        "rust": Rate(0.0, "l/ha"),
        "healthy": Rate(20.0, "l/ha"),
    }
    table.write_text("class,rate,unit\nrust,x,l/ha\nrot,1,banana\nwilt,1,kg/ha\n")
    with pytest.raises(ManifestError) as caught:
        read_rates(table, CLASSES)
    # All that is wrong is told at once.
    for word in ("'x'", "'banana'", "no rate for healthy", "rot is no class", "several units"):
        assert word in str(caught.value)
    with pytest.raises(ManifestError, match=r"--rates .*none.csv.*columns class, rate, unit"):
        read_rates(tmp_path / "none.csv", CLASSES)


@pytest.mark.parametrize(
    ("rate", "unit", "word"),
    [
        (300_000, "l/ha", "more than ISOXML can hold"),
        (250, "m3/ha", "more than ISOXML can hold"),
        # Counted in steps of 10 g/ha: 25 would be applied as 20.
        (25, "g/ha", "would become 20 g/ha"),
        (0.00001, "l/ha", "would become 0 l/ha"),
    ],
)
def test_a_rate_that_would_be_applied_otherwise_is_refused(
    tmp_path: Path, rate: float, unit: str, word: str
) -> None:
    with pytest.raises(ManifestError, match=word):
        stored_value(Rate(rate, unit))
    table = tmp_path / "rates.csv"
    table.write_text(f"class,rate,unit\nhealthy,0,{unit}\nrust,{rate},{unit}\nwilt,0,{unit}\n")
    with pytest.raises(ManifestError, match=f"the rate of 'rust'.*{word}"):
        read_rates(table, CLASSES)


@pytest.mark.parametrize("text", ["1,200", "1.500", "80'000", "2\u202f500", "12,345,678", "80 %"])
def test_an_amount_that_may_be_a_thousand_times_another_is_refused(
    tmp_path: Path, text: str
) -> None:
    table = tmp_path / "rates.csv"
    table.write_text(
        f'class,rate,unit\nhealthy,0,kg/ha\nrust,"{text}",kg/ha\nwilt,0,kg/ha\n', encoding="utf-8"
    )
    with pytest.raises(ManifestError, match="the rate of 'rust' is"):
        read_rates(table, CLASSES)


@pytest.mark.parametrize(
    ("text", "value"), [("0,8", 0.8), ("0.125", 0.125), ("1200", 1200), ("12,5", 12.5)]
)
def test_an_amount_with_decimals_is_read_with_either_sign(
    tmp_path: Path, text: str, value: float
) -> None:
    table = tmp_path / "rates.csv"
    table.write_text(f'class,rate,unit\nhealthy,0,l/ha\nrust,"{text}",l/ha\nwilt,0,l/ha\n')
    assert read_rates(table, CLASSES)["rust"].value == value


def test_a_unit_that_is_no_amount_per_area_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "rates.csv"
    table.write_text("class,rate,unit\nhealthy,0,banana\nrust,1,banana\nwilt,0,banana\n")
    with pytest.raises(ManifestError, match="no amount per area"):
        read_rates(table, CLASSES)


@pytest.mark.parametrize(
    ("spelled", "unit"),
    [
        *((text, "l/ha") for text in ("L/ha", " L / Ha", "litres per hectare", "l ha-1", "L·ha⁻¹")),
        *((text, "kg/ha") for text in ("KG/HA", "kg ha^-1", "kgs/ha")),
        *(("mL/ha", "ml/ha"), ("m³/ha", "m3/ha"), ("seeds/m²", "seeds/m2")),
        *(("plants m-2", "plants/m2"), ("lbs/acre", "lb/ac")),
    ],
)
def test_units_are_read_as_people_write_them(spelled: str, unit: str) -> None:
    rate = USUAL[unit][0]
    assert stored_value(Rate(rate, spelled)) == stored_value(Rate(rate, unit))


# A megalitre (irrigation) or a millilitre; a megagram or a milligram; gallons, pints and ounces of
# several sizes; a deci-tonne; ground of 100 m2.
AMBIGUOUS = ("ML/ha", "Mg/ha", "gal/ac", "pt/ac", "oz/ac", "dt/ha", "l/a", "l/100m2", "t/ac")


@pytest.mark.parametrize("unit", [*AMBIGUOUS, "l", "l/h", "%", "ha"])
def test_a_unit_that_may_mean_something_else_gives_no_task_data(unit: str) -> None:
    with pytest.raises(ManifestError, match="ISOXML knows no rates in"):
        stored_value(Rate(1, unit))


def test_a_unit_without_an_entry_gives_no_task_data(tmp_path: Path) -> None:
    out = written(tmp_path, "boxes/ha", (1, 2, 3))
    assert not (out / "TASKDATA").exists()
    assert set(pyogrio.read_dataframe(out / "prescription.shp")["Unit"]) == {"boxes/ha"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("class,rate\nrust,1\n", "has no column unit"),
        ("class,rate,unit\nrust,1,L/ha\n", "no rate for healthy, wilt"),
        ("class,rate,unit\nrust,lots,L/ha\nhealthy,0,L/ha\nwilt,1,L/ha\n", "'lots', which is no"),
        ("class,rate,unit\nrust,-1,L/ha\nhealthy,0,L/ha\nwilt,1,L/ha\n", "'-1', which is no"),
        ("class,rate,unit\nrust,inf,L/ha\nhealthy,0,L/ha\nwilt,1,L/ha\n", "'inf', which is no"),
        ("class,rate,unit\nrust,nan,L/ha\nhealthy,0,L/ha\nwilt,1,L/ha\n", "'rust' is empty .*nan"),
        ("class,rate,unit\nrust,,L/ha\nhealthy,0,L/ha\nwilt,1,L/ha\n", "'rust' is empty .* no am"),
        ("class,rate,unit\nrust,1,L/ha\nhealthy,0,kg/ha\nwilt,1,L/ha\n", "several units"),
        ("class,rate,unit\nrust,1,\nhealthy,0,L/ha\nwilt,1,L/ha\n", "has no unit"),
        ("class,rate,unit\nrust,1,a\nrust,2,a\nhealthy,0,a\nwilt,1,a\n", "'rust' has two rates"),
        ("class,rate,unit\nrot,1,a\nrust,2,a\nhealthy,0,a\nwilt,1,a\n", "rot is no class of the"),
    ],
)
def test_rates_that_make_no_sense_are_refused(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "rates.csv").write_text(text)
    with pytest.raises(ManifestError, match=word):
        read_rates(tmp_path / "rates.csv", CLASSES)

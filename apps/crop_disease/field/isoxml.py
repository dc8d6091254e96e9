"""A prescription as ISOXML task data, the file that ISOBUS terminals read.

``TASKDATA/TASKDATA.XML`` by ISO 11783-10, version 3.3: customer, farm, product, one field with
its area, and one planned task. Ground is given either as polygons, one treatment zone per
class, or, for terminals that take no polygons, as a grid of values (type 2). Rates are written
as whole numbers of the data dictionary (``rates``); a unit that it does not know cannot be
written.

This module knows zones and rates; it reads and writes no raster.

Source: ISO 11783-10:2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Xml

import numpy as np

from apps.crop_disease.field.ground import DEGREE_M
from apps.crop_disease.field.rates import DictionaryUnit, Rate, dictionary_unit, stored_value
from core.base.outputs import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["TaskNames", "write_grid_taskdata", "write_taskdata"]

# A treatment zone has a number from 0 to 254; 0 is ground outside of all zones.
MOST_ZONES = 254
# Names are cut to this length by the standard.
NAME = 32
# Cells of a grid at most; terminals refuse files of many megabytes.
MOST_CELLS = 4_000_000
# From which share of its zones the ground of a rate is said to differ in the grid.
MOST_OFF = 0.05


@dataclass(frozen=True)
class TaskNames:
    """What the terminal shows: names of field and task, farm, customer and product."""

    field: str
    farm: str = "farm not named"
    customer: str = "customer not named"
    product: str = "as prescribed"


def write_taskdata(
    zones: Any, rates: Mapping[str, Rate], out: Path, *, names: TaskNames
) -> Path | None:
    """Write ``TASKDATA/TASKDATA.XML``, or nothing where its unit or number of classes has no place.

    Args:
        zones: polygons in longitude and latitude with the columns Class and Area_ha.
        rates: for every class, all in one unit.
        out: the folder.
        names: see ``TaskNames``.
    """
    classes = list(dict.fromkeys(zones["Class"]))
    unit = dictionary_unit(next(iter(rates.values())).unit)
    if unit is None or len(classes) > MOST_ZONES:
        return None
    root, task = _task(zones, rates, unit, names)
    # Outside of all zones, and where the position is lost, nothing is applied.
    _add_zone(task, 0, "outside", 0, unit)
    for number, kind in enumerate(classes, 1):
        zone = Xml.SubElement(task, "TZN", A=str(number), B=kind[:NAME])
        for shape in zones.geometry[zones["Class"] == kind]:
            for part in getattr(shape, "geoms", [shape]):
                _add_polygon(zone, part, kind="2")
        _add_value(zone, stored_value(rates[kind]), unit)
    return _write(root, out / "TASKDATA")


def write_grid_taskdata(
    zones: Any, rates: Mapping[str, Rate], out: Path, *, names: TaskNames, cell_m: float
) -> tuple[Path, list[str]] | None:
    """Write the same prescription as a grid of type 2: ``TASKDATA.XML`` and ``GRD00001.bin``.

    A cell has the rate of the zone at its centre; ground outside of all zones has 0. Rows go
    north, columns east, from the south-western corner; values are little-endian, 32 bits.

    Args:
        zones: see ``write_taskdata``.
        rates: see ``write_taskdata``.
        out: the folder above ``TASKDATA``.
        names: see ``TaskNames``.
        cell_m: side of a cell, coarsened where the grid had too many.

    Returns:
        the two files' XML, and a sentence for each rate whose cells cover clearly more or less
        ground than its zones; None where the data dictionary does not know the unit.
    """
    from affine import Affine  # noqa: PLC0415  (an extra)
    from rasterio.features import rasterize  # noqa: PLC0415

    unit = dictionary_unit(next(iter(rates.values())).unit)
    if unit is None or not len(zones):
        return None
    west, south, east, north = zones.total_bounds
    high = cell_m / DEGREE_M
    wide = high / max(0.01, float(np.cos(np.radians((south + north) / 2))))
    coarser = max(1.0, float(np.sqrt((east - west) * (north - south) / high / wide / MOST_CELLS)))
    high, wide = high * coarser, wide * coarser
    n_rows = max(1, int(np.ceil((north - south) / high)))
    n_cols = max(1, int(np.ceil((east - west) / wide)))
    # Drawn north up, as rasters are, and turned over: row 0 of the grid is the southernmost.
    to_ground = Affine(wide, 0, west, 0, -high, south + n_rows * high)
    stored = {kind: stored_value(rates[kind]) for kind in set(zones["Class"])}
    cells = rasterize(
        [(shape, stored[kind]) for shape, kind in zip(zones.geometry, zones["Class"], strict=True)],
        out_shape=(n_rows, n_cols),
        transform=to_ground,
        fill=0,
        dtype="int32",
    )[::-1]
    side = cell_m * coarser
    differs = _differing(zones, stored, cells, side)
    data = np.ascontiguousarray(cells).astype("<i4").tobytes()
    root, task = _task(zones, rates, unit, names)
    _add_zone(task, 0, "outside", 0, unit)
    # The template: which value a number of the grid is.
    _add_zone(task, 1, "grid", 0, unit)
    Xml.SubElement(
        task,
        "GRD",
        A=f"{south:.9f}",
        B=f"{west:.9f}",
        C=f"{high:.12f}",
        D=f"{wide:.12f}",
        E=str(n_cols),
        F=str(n_rows),
        G="GRD00001",
        H=str(len(data)),
        I="2",
        J="1",
    )
    folder = out / "TASKDATA"
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "GRD00001.bin", data)
    sentences = [
        f"{names.field}: in the grid for terminals without polygons, cells of {side:.2g} m give "
        f"{', '.join(kinds)} {drawn:,.0f} m2 where the zones have {ground:,.0f}."
        for kinds, drawn, ground in differs
    ]
    return _write(root, folder), sentences


def _differing(
    zones: Any, stored: Mapping[str, int], cells: NDArray[np.int32], side: float
) -> list[tuple[list[str], float, float]]:
    """Classes of one value, and the square metres of their cells and of their zones."""
    found = []
    for value in sorted(set(stored.values())):
        kinds = sorted(kind for kind, one in stored.items() if one == value)
        ground = 1e4 * float(zones["Area_ha"][zones["Class"].isin(kinds)].sum())
        drawn = float((cells == value).sum()) * side**2
        if value and abs(drawn - ground) > MOST_OFF * ground:
            found.append((kinds, drawn, ground))
    return found


def _task(
    zones: Any, rates: Mapping[str, Rate], unit: DictionaryUnit, names: TaskNames
) -> tuple[Xml.Element, Xml.Element]:
    """The document and its task, still without ground."""
    root = Xml.Element(
        "ISO11783_TaskData",
        VersionMajor="3",
        VersionMinor="3",
        ManagementSoftwareManufacturer="resight",
        ManagementSoftwareVersion=_version(),
        DataTransferOrigin="1",
    )
    Xml.SubElement(root, "CTR", A="CTR1", B=names.customer[:NAME])
    Xml.SubElement(root, "FRM", A="FRM1", B=names.farm[:NAME], I="CTR1")
    Xml.SubElement(root, "PDT", A="PDT1", B=names.product[:NAME])
    words = next(iter(rates.values())).unit.strip()
    # Only what a terminal shows; what it applies is the number and the dictionary.
    scale = f"{1 / unit.factor:.9f}".rstrip("0").rstrip(".")
    Xml.SubElement(root, "VPN", A="VPN1", B="0", C=scale, D=_decimals(rates), E=words[:NAME])
    area_m2 = round(1e4 * float(zones["Area_ha"].sum()))
    field = Xml.SubElement(
        root, "PFD", A="PFD1", C=names.field[:NAME], D=str(area_m2), E="CTR1", F="FRM1"
    )
    whole = zones.geometry.union_all()
    for part in getattr(whole, "geoms", [whole]):
        if part.geom_type == "Polygon" and not part.is_empty:
            _add_polygon(field, part, kind="1")
    task = Xml.SubElement(
        root,
        "TSK",
        A="TSK1",
        B=names.field[:NAME],
        C="CTR1",
        D="FRM1",
        E="PFD1",
        # Planned.
        G="1",
        H="0",
        I="0",
        J="0",
    )
    return root, task


def _decimals(rates: Mapping[str, Rate]) -> str:
    """Decimals that show every rate as it was written, 7 at most as the standard has it."""
    texts = [f"{rate.value:.7f}".rstrip("0").partition(".")[2] for rate in rates.values()]
    return str(max(len(text) for text in texts))


def _write(root: Xml.Element, folder: Path) -> Path:
    """Write the document."""
    folder.mkdir(parents=True, exist_ok=True)
    Xml.indent(root, " ")
    text = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    write_bytes(folder / "TASKDATA.XML", text + b"\n")
    return folder / "TASKDATA.XML"


def _add_zone(
    task: Xml.Element, number: int, name: str, value: int, unit: DictionaryUnit
) -> Xml.Element:
    """A treatment zone without ground."""
    zone = Xml.SubElement(task, "TZN", A=str(number), B=name)
    _add_value(zone, value, unit)
    return zone


def _add_value(zone: Xml.Element, value: int, unit: DictionaryUnit) -> None:
    """The value of a zone, which follows its polygons in the standard's schema."""
    Xml.SubElement(zone, "PDV", A=unit.ddi, B=str(value), C="PDT1", E="VPN1")


def _add_polygon(parent: Xml.Element, shape: Any, *, kind: str) -> None:
    """A polygon: its outline, then its holes; kind 1 bounds a field, 2 is a treatment zone."""
    polygon = Xml.SubElement(parent, "PLN", A=kind)
    for line_kind, ring in [("1", shape.exterior), *(("2", hole) for hole in shape.interiors)]:
        line = Xml.SubElement(polygon, "LSG", A=line_kind)
        for x, y in ring.coords:
            # 1e-9 degrees are 0.1 mm.
            Xml.SubElement(line, "PNT", A="2", C=f"{y:.9f}", D=f"{x:.9f}")


def _version() -> str:
    """Of this program."""
    try:
        return version("resight")
    except PackageNotFoundError:
        return "0"

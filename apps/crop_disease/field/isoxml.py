"""A prescription as ISOXML task data, the file that ISOBUS terminals read.

``TASKDATA/TASKDATA.XML`` by ISO 11783-10, version 3.3: one field with its area, one
planned task, and one treatment zone per rate with the polygons of all its patches.
Rates are written in the units of the standard's data dictionary, as whole numbers;
a unit that the dictionary does not know cannot be written.

This module knows zones and rates; it reads and writes no raster.

Source: ISO 11783-10:2015 and the data dictionary of ISO 11783-11 (isobus.net), entries
1, 6 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Xml

from core.base.outputs import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apps.crop_disease.field.rates import Rate

__all__ = ["UNITS", "Unit", "write_taskdata"]


@dataclass(frozen=True)
class Unit:
    """How a unit of a rate is written.

    Attributes:
        ddi: entry of the data dictionary, four hexadecimal digits.
        factor: the number stored over the rate.
    """

    ddi: str
    factor: float


# Setpoint volume per area in mm3/m2 (entry 1), mass per area in mg/m2 (6), count per
# area in 0.001/m2 (11). 1 L/ha is 10^6 mm3 on 10^4 m2; 1 seed/ha is 10^-4 per m2.
UNITS = {
    "l/ha": Unit("0001", 100.0),
    "ml/ha": Unit("0001", 0.1),
    "m3/ha": Unit("0001", 100_000.0),
    "kg/ha": Unit("0006", 100.0),
    "g/ha": Unit("0006", 0.1),
    "t/ha": Unit("0006", 100_000.0),
    "seeds/ha": Unit("000B", 0.1),
    "plants/ha": Unit("000B", 0.1),
    "seeds/m2": Unit("000B", 1000.0),
    "plants/m2": Unit("000B", 1000.0),
}
# A treatment zone has a number from 0 to 254; 0 is ground outside of all zones.
MOST_ZONES = 254
# Names are cut to this length by the standard.
NAME = 32


def write_taskdata(zones: Any, rates: Mapping[str, Rate], out: Path, *, name: str) -> Path | None:
    """Write ``TASKDATA/TASKDATA.XML``, or nothing where its unit or number of classes has no place.

    Args:
        zones: polygons in longitude and latitude with the columns Class and Area_ha.
        rates: for every class, all in one unit.
        out: the folder.
        name: of the field and the task.
    """
    classes = list(dict.fromkeys(zones["Class"]))
    unit = UNITS.get(next(iter(rates.values())).unit.strip().lower())
    if unit is None or len(classes) > MOST_ZONES:
        return None
    root = Xml.Element(
        "ISO11783_TaskData",
        VersionMajor="3",
        VersionMinor="3",
        ManagementSoftwareManufacturer="resight",
        ManagementSoftwareVersion=_version(),
        DataTransferOrigin="1",
    )
    words = next(iter(rates.values())).unit.strip()
    Xml.SubElement(root, "PDT", A="PDT1", B="as prescribed")
    Xml.SubElement(root, "VPN", A="VPN1", B="0", C=f"{1 / unit.factor:.9g}", D="2", E=words[:NAME])
    area_m2 = round(1e4 * float(zones["Area_ha"].sum()))
    Xml.SubElement(root, "PFD", A="PFD1", C=name[:NAME], D=str(area_m2))
    # 1: planned. Outside of all zones, and where the position is lost, nothing is applied.
    task = Xml.SubElement(
        root, "TSK", A="TSK1", B=name[:NAME], E="PFD1", G="1", H="0", I="0", J="0"
    )
    _add_zone(task, 0, "outside", 0, unit)
    for number, kind in enumerate(classes, 1):
        value = round(rates[kind].value * unit.factor)
        zone = _add_zone(task, number, kind[:NAME], value, unit)
        for shape in zones.geometry[zones["Class"] == kind]:
            for part in getattr(shape, "geoms", [shape]):
                _add_polygon(zone, part)
        # The value follows the polygons in the standard's schema.
        value_of = zone.find("PDV")
        if value_of is not None:
            zone.remove(value_of)
            zone.append(value_of)
    folder = out / "TASKDATA"
    folder.mkdir(parents=True, exist_ok=True)
    Xml.indent(root, " ")
    text = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    write_bytes(folder / "TASKDATA.XML", text + b"\n")
    return folder / "TASKDATA.XML"


def _add_zone(task: Xml.Element, number: int, name: str, value: int, unit: Unit) -> Xml.Element:
    """A treatment zone with its value."""
    zone = Xml.SubElement(task, "TZN", A=str(number), B=name)
    Xml.SubElement(zone, "PDV", A=unit.ddi, B=str(value), C="PDT1", E="VPN1")
    return zone


def _add_polygon(zone: Xml.Element, shape: Any) -> None:
    """A polygon of a treatment zone: its outline, then its holes."""
    polygon = Xml.SubElement(zone, "PLN", A="2")
    for kind, ring in [("1", shape.exterior), *(("2", hole) for hole in shape.interiors)]:
        line = Xml.SubElement(polygon, "LSG", A=kind)
        for x, y in ring.coords:
            # 1e-9 degrees are 0.1 mm.
            Xml.SubElement(line, "PNT", A="2", C=f"{y:.9f}", D=f"{x:.9f}")


def _version() -> str:
    """Of this program."""
    try:
        return version("resight")
    except PackageNotFoundError:
        return "0"

"""From zones to what the sprayer applies: a rate per class, in files that terminals read.

The rates are the agronomist's and come from a table; nothing here proposes one.
Written are a shapefile, which most terminals import, and GeoJSON, both in
longitude and latitude with the columns ``Rate`` and ``Unit``, and ISOXML for those of
ISOBUS (``isoxml``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.isoxml import UNITS, write_taskdata
from apps.crop_disease.field.zones import write_layer
from core.base.progress import log
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Rate", "read_rates", "write_prescription"]


@dataclass(frozen=True)
class Rate:
    """How much is applied to a class; ``unit`` is per area, as in L/ha."""

    value: float
    unit: str


def read_rates(path: Path, classes: Sequence[str]) -> dict[str, Rate]:
    """Rates by class from a table with the columns class, rate, unit.

    Raises:
        ManifestError: a column or a class is missing, a rate is no number or
            negative, or the units differ.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        msg = f"--rates {path}: cannot be read ({error}). Pass a CSV with class, rate, unit."
        raise ManifestError(msg) from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    absent = [name for name in ("class", "rate", "unit") if name not in table]
    if absent:
        msg = f"--rates {path}: has no column {', '.join(absent)}. It needs class, rate, unit."
        raise ManifestError(msg)
    rates: dict[str, Rate] = {}
    problems: list[str] = []
    for row in table.to_dict("records"):
        name, text, unit = (str(row[key]).strip() for key in ("class", "rate", "unit"))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            problems.append(f"the rate of {name!r} is {text!r}, which is no amount")
        if not unit:
            problems.append(f"the rate of {name!r} has no unit")
        if name in rates:
            problems.append(f"{name!r} has two rates")
        rates[name] = Rate(value, unit)
    missing = [name for name in classes if name not in rates]
    if missing:
        problems.append(f"there is no rate for {', '.join(missing)} (0 means: leave out)")
    strange = [name for name in rates if name not in classes]
    if strange:
        problems.append(f"{', '.join(strange)} is no class of the model ({', '.join(classes)})")
    if len({rate.unit for rate in rates.values()}) > 1:
        # A terminal reads one unit for the whole file.
        problems.append("its rates have several units")
    if problems:
        msg = f"--rates {path}: {'; '.join(problems)}. Correct the table."
        raise ManifestError(msg)
    return rates


def write_prescription(
    zones: Any, rates: Mapping[str, Rate], out: Path, *, name: str
) -> list[Path]:
    """Write ``prescription.shp`` (and its parts), ``prescription.geojson`` and ``TASKDATA``.

    Args:
        zones: see ``zones.trace_zones``.
        rates: for every class.
        out: the folder.
        name: of the field, for the terminal.
    """
    import geopandas  # noqa: PLC0415  (an extra)

    frame = geopandas.GeoDataFrame(
        {
            # Shapefiles cut names to ten characters.
            "Zone": zones["zone"].astype("int32"),
            "Class": zones["class"],
            "Rate": [rates[name].value for name in zones["class"]],
            "Unit": [rates[name].unit for name in zones["class"]],
            "Area_ha": zones["area_ha"],
        },
        geometry=zones.geometry,
        crs=zones.crs,
    ).to_crs("EPSG:4326")
    write_layer(frame, out / "prescription.shp")
    parts = [f for f in sorted(out.glob("prescription.*")) if f.suffix not in {".geojson"}]
    written = [*parts, write_layer(frame, out / "prescription.geojson")]
    task = write_taskdata(frame, rates, out, name=name)
    if task is None:
        log.info(
            "no ISOXML was written: it knows rates in %s, and no more than 254 zones",
            ", ".join(UNITS),
        )
    return [*written, *([task] if task else [])]

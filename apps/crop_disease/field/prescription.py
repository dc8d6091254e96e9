"""From zones to what the sprayer applies: a rate per class, in files that terminals read.

The rates are the agronomist's and come from a table; nothing here proposes one.
Written are a shapefile, which most terminals import, and GeoJSON, both in
longitude and latitude with the columns ``Rate`` and ``Unit``, and ISOXML for those of
ISOBUS (``isoxml``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.isoxml import UNITS, write_taskdata
from apps.crop_disease.field.zones import write_layer
from core.base.progress import log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apps.crop_disease.field.rates import Rate

__all__ = ["write_prescription"]


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

"""From zones to what the sprayer applies: a rate per class, in files that terminals read.

Written are a shapefile, which most terminals import, and GeoJSON, both in
longitude and latitude with the columns ``Rate`` and ``Unit``, and ISOXML for those of
ISOBUS (``isoxml``), as polygons in ``TASKDATA`` and as a grid in ``grid/TASKDATA``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.isoxml import TaskNames, write_grid_taskdata, write_taskdata
from apps.crop_disease.field.zones import write_layer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apps.crop_disease.field.rates import Rate

__all__ = ["write_prescription"]

# Why a zone may be in doubt, under names of ten characters at most, as shapefiles want.
MARKS = {"n_tiles": "N_tiles", "n_doubtful": "N_doubtful"}


def write_prescription(
    zones: Any,
    rates: Mapping[str, Rate],
    out: Path,
    *,
    names: TaskNames,
    cell_m: float,
    notes: list[str] | None = None,
) -> list[Path]:
    """Write ``prescription.shp`` (and its parts), ``prescription.geojson`` and task data.

    Args:
        zones: see ``zones.trace_zones``.
        rates: for every class.
        out: the folder.
        names: for the terminal.
        cell_m: side of a cell of the grid.
        notes: for the user; where the grid differs clearly from the polygons is appended.

    Returns:
        the files; without task data where ISOXML has no entry for the unit.
    """
    import geopandas  # noqa: PLC0415  (an extra)

    frame = geopandas.GeoDataFrame(
        {
            # Shapefiles cut names to ten characters.
            "Zone": zones["zone"].astype("int32"),
            "Class": zones["class"],
            "Rate": [rates[name].value for name in zones["class"]],
            "Unit": [rates[name].unit for name in zones["class"]],
            "Product": names.product,
            "Area_ha": zones["area_ha"],
            **{mark: zones[name] for name, mark in MARKS.items() if name in zones},
            **({"Doubt": _doubt_of(zones)} if {*MARKS, "doubt_share"} <= set(zones) else {}),
        },
        geometry=zones.geometry,
        crs=zones.crs,
    ).to_crs("EPSG:4326")
    write_layer(frame, out / "prescription.shp")
    parts = [f for f in sorted(out.glob("prescription.*")) if f.suffix not in {".geojson", ".qml"}]
    written = [*parts, write_layer(frame, out / "prescription.geojson")]
    task = write_taskdata(frame, rates, out, names=names)
    if task is None:
        return written
    grid = write_grid_taskdata(frame, rates, out / "grid", names=names, cell_m=cell_m)
    written.append(task)
    if grid is not None:
        path, differs = grid
        written += [path, path.with_name("GRD00001.bin")]
        if notes is not None:
            notes += differs
    return written


def _doubt_of(zones: Any) -> list[str]:
    """How much of each zone is in doubt, in words; empty where no tile of it is."""
    marks = zip(zones["n_doubtful"], zones["n_tiles"], zones["doubt_share"], strict=True)
    return [
        f"{n} of {of} tiles in doubt, {float(f'{100 * share:.2g}'):g} % of the ground" if n else ""
        for n, of, share in marks
    ]

"""Zonal statistics: hectares of each class within each polygon of the field's boundary.

Areas are measured on the polygons themselves, so that those of a plot add up to the plot: what
was not measured, or lies beyond the raster, is a row of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.doubtful_ground import doubt_verdict
from apps.crop_disease.field.ground import Ground, area_perimeter_m, in_degrees, to_map
from apps.crop_disease.field.notes import area_words
from apps.crop_disease.field.summary import mark_areas
from apps.crop_disease.field.zone_tiles import doubt_of_shapes
from core.report.numbers import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from apps.crop_disease.field.spatial import Shapes

__all__ = ["IN_NO_ZONE", "per_field", "plot_names", "plot_notes"]

# What stands in place of a class for ground that no zone covers.
IN_NO_ZONE = "in no zone"
BEYOND = "no part of it lies on the raster"
# Smaller rests come from cutting polygons along pixels.
LEAST_REST_M2 = 0.005
# From which share on ground in no zone is said in a note.
MOST_LEFT = 0.01


def plot_names(values: Sequence[str]) -> list[str]:
    """A name for each polygon; the second of a name is told apart by a number.

    >>> plot_names(["A", "B", "A", ""])
    ['A', 'B', 'A (2)', 'polygon 4']
    """
    seen: Counter[str] = Counter()
    names: list[str] = []
    for place, value in enumerate(values, 1):
        name = base = value or f"polygon {place}"
        while name in names:
            seen[base] += 1
            name = f"{base} ({seen[base] + 1})"
        names.append(name)
    return names


def per_field(
    zones: Any,
    within: Shapes,
    facts: RasterFacts,
    tiles: pd.DataFrame,
    *,
    accept: bool = False,
    withheld: str = "",
) -> pd.DataFrame:
    """Hectares of each class in each polygon, what share of it they are, and the doubt.

    Ground that no zone covers is a row ``in no zone``, also of polygons beyond the raster.

    Args:
        zones: see ``zones.trace_zones``.
        within: the polygons, in pixels.
        facts: of the raster.
        tiles: of the raster.
        accept: whether areas are given in spite of doubt.
        withheld: why no area of the whole map is given.
    """
    import geopandas  # noqa: PLC0415  (an extra)
    import pandas as pd  # noqa: PLC0415

    names, shapes, n_on = _plots(within, facts)
    fields = geopandas.GeoDataFrame({"field": names}, geometry=list(shapes), crs=facts.crs)
    both = geopandas.overlay(
        zones[["class", "geometry"]].set_crs(facts.crs, allow_override=True),
        fields,
        how="intersection",
        keep_geom_type=True,
    )
    both["area_ha"] = _hectares(both.geometry.to_numpy(), facts)
    share = doubt_of_shapes(both.geometry.to_numpy(), tiles, facts)
    both["doubtful"] = both["area_ha"] * share
    sums = both.groupby(["field", "class"], sort=True)[["area_ha", "doubtful"]].sum().reset_index()
    whole = sums.groupby("field")[["area_ha", "doubtful"]].sum()
    plot_ha = dict(zip(names, _hectares(shapes, facts), strict=True))
    rows = []
    for line in sums.to_dict("records"):
        field = whole.loc[line["field"]]
        row = {
            "field": line["field"],
            "class": line["class"],
            "area_ha": round(line["area_ha"], 6),
            "share": round(line["area_ha"] / max(plot_ha[line["field"]], 1e-12), 6),
            "doubt_share": round(line["doubtful"] / max(line["area_ha"], 1e-300), 6),
        }
        # The field's own share counts first: of a field unlike the training no class is known.
        share = field["doubtful"] / max(field["area_ha"], 1e-300)
        of_field = doubt_verdict(share, of="this field", accept=accept)
        of_class = doubt_verdict(row["doubt_share"], of="this class here", accept=accept)
        mark_areas(row, of_field if of_field[0] else of_class, whole=withheld)
        rows.append(row)
    for place, name in enumerate(names):
        rest = plot_ha[name] - (float(whole["area_ha"].get(name, 0.0)) if len(whole) else 0.0)
        if 1e4 * rest < LEAST_REST_M2:
            continue
        left = {"area_ha": round(rest, 6), "share": round(rest / plot_ha[name], 6)}
        doubt = "" if place < n_on else BEYOND
        rows.append(
            {"field": name, "class": IN_NO_ZONE, **left, "doubt_share": 0.0, "doubt": doubt}
        )
    columns = ["field", "class", "area_ha", "share", "doubt_share", "doubt"]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("field", kind="stable").reset_index(drop=True)


def plot_notes(
    zones: Any, within: Shapes, facts: RasterFacts, options: Mapping[str, Any]
) -> list[str]:
    """What of the polygons is in no zone, and which are too narrow for the working width."""
    import shapely  # noqa: PLC0415  (an extra)

    width_m = float(options.get("working-width") or 0)
    names, shapes, n_on = _plots(within, facts)
    on = shapely.union_all(shapes[:n_on])
    covered = shapely.intersection(shapely.union_all(zones.geometry.to_numpy()), on)
    plots_ha, zones_ha = _hectares(np.array([on, covered], object), facts)
    left, sentences = plots_ha - zones_ha, []
    if left > MOST_LEFT * plots_ha:
        sentences.append(
            f"{area_words(left)} of {area_words(plots_ha)} inside of --within are in no zone "
            f"({number(left / plots_ha, percent=True)}), for nothing was mapped there: fields.csv "
            "has them per polygon."
        )
    if n_on < len(names):
        n = len(names) - n_on
        sentences.append(
            f"{n:,} of {len(names):,} polygons of --within "
            f"{'lies' if n == 1 else 'lie'} beyond this raster (first: {names[n_on]})."
        )
    middle = Ground.of(facts.crs, facts.transform)
    pixel_m = middle.pixel_area_m2(facts.height // 2, facts.width // 2, 1, 1) ** 0.5
    sides = [_narrow_side(shape) * pixel_m for shape in within.geometries]
    narrow = [name for name, side in zip(names, sides, strict=False) if side < 2 * width_m]
    if narrow:
        sentences.append(
            f"{len(narrow):,} of {len(names):,} polygons of --within are narrower than two working "
            f"widths of {width_m:g} m (first: {narrow[0]}), so their zones follow the machine more "
            "than the map. Pass a smaller --working-width if yours is."
        )
    return sentences


def _plots(within: Shapes, facts: RasterFacts) -> tuple[list[str], NDArray[Any], int]:
    """Names and shapes in the raster's system of all polygons; the first so many lie on it."""
    import shapely  # noqa: PLC0415  (an extra)

    every = [within, within.beyond] if within.beyond else [within]
    named = [name for these in every for name in these.values]  # noqa: PD011
    pixels = np.concatenate([these.geometries for these in every])
    shapes = shapely.transform(pixels, lambda xy: to_map(facts.transform, xy))
    return plot_names(named), shapes, len(within)


def _narrow_side(shape: Any) -> float:
    """The shorter side of the smallest rectangle, at any angle, around a shape."""
    import shapely  # noqa: PLC0415  (an extra)

    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
    sides = np.hypot(*np.diff(corners[:3], axis=0).T)
    return float(sides.min()) if len(sides) == 2 else 0.0


def _hectares(shapes: NDArray[Any], facts: RasterFacts) -> list[float]:
    """Geodesic area of each shape of the raster's system."""
    return [area_perimeter_m(shape)[0] / 1e4 for shape in in_degrees(shapes, facts.crs)]

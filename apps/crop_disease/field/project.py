"""A QGIS project (``map.qgs``) that opens all layers of a map with their styles.

Each layer also gets a ``.qml`` of its own name, which QGIS takes up where the layer is added
alone. Files are named relative to the project, so the folder can be moved as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from apps.crop_disease.field.colours import map_colours
from apps.crop_disease.field.doubtful_ground import MOST_DOUBT
from apps.crop_disease.field.styles import (
    HEAD,
    classes_renderer,
    doubt_renderer,
    polygon_renderer,
    rate_renderer,
    scores_renderer,
    spots_renderer,
    style_file,
)
from core.base.outputs import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apps.crop_disease.field.rates import Rate
    from core.app import Task

__all__ = ["Layers"]

# Longitude and latitude, WGS 84.
DEGREES = "EPSG:4326"


@dataclass(frozen=True)
class _Layer:
    """One layer of the project: its words, file, kind of geometry and renderer."""

    title: str
    source: str
    kind: str
    renderer: str
    crs: str
    is_shown: bool = True


@dataclass
class Layers:
    """The layers of one map, styled as they are added.

    Attributes:
        folder: of the map; styles and the project are written to it.
        task: with its class order.
        crs: of the raster, as WKT.
        files: those that are written.
    """

    folder: Path
    task: Task
    crs: str
    files: list[Path] = field(default_factory=list)
    _found: list[_Layer] = field(default_factory=list)

    def add_scores(self, path: Path, affected: Sequence[str]) -> None:
        """Scores of the first class that a scout should see."""
        names = list(self.task.classes)
        shown = next(iter(affected), names[-1])
        renderer = scores_renderer(names.index(shown) + 1, shown)
        self._add(f"score of {shown}", path, "raster", renderer, is_shown=False)

    def add_classes(self, path: Path | None, doubt: Path) -> None:
        """The class map, where there is one, and over it how much of the ground is in doubt."""
        if path is not None:
            renderer = classes_renderer(self.task.classes, map_colours(self.task.classes))
            self._add("class map", path, "raster", renderer)
        self._add("ground in doubt", doubt, "raster", doubt_renderer(MOST_DOUBT))

    def add_polygons(self, path: Path, *, column: str) -> None:
        """Tiles or zones, by the class in a column."""
        colours = map_colours(self.task.classes)
        renderer = polygon_renderer(self.task.classes, colours, column=column)
        self._add(path.stem, path, "polygon", renderer, is_shown=False)

    def add_spots(self, path: Path) -> None:
        """Places to look at."""
        self._add("places to look at", path, "point", spots_renderer())

    def add_prescription(self, path: Path, rates: Mapping[str, Rate]) -> None:
        """What is applied where."""
        self._add("prescription", path, "polygon", rate_renderer(list(rates.values())))

    def write_project(self, raster: Path) -> Path:
        """Write ``map.qgs``; the layers added last lie on top, the raster below all of them."""
        mosaic = _Layer("mosaic", _relative(raster, self.folder), "raster", "", self.crs)
        layers = [*reversed(self._found), mosaic]
        # QGIS takes no id of ten signs or fewer for one.
        ids = [f"resight_{layer.kind}_{number:02d}" for number, layer in enumerate(layers)]
        tree = "".join(
            f"<layer-tree-layer id={quoteattr(name)} name={quoteattr(layer.title)} "
            f"source={quoteattr(layer.source)} providerKey={quoteattr(_provider(layer))} "
            f'checked="{"Qt::Checked" if layer.is_shown else "Qt::Unchecked"}" expanded="0"/>'
            for name, layer in zip(ids, layers, strict=True)
        )
        content = "".join(_layer_text(n, layer) for n, layer in zip(ids, layers, strict=True))
        write_text(
            self.folder / "map.qgs",
            f'{HEAD}<qgis version="3.22" projectname={quoteattr(self.folder.name)}>'
            f"<title>{escape(self.folder.name)}</title>"
            f"<projectCrs>{_system(self.crs)}</projectCrs>"
            f"<layer-tree-group>{tree}</layer-tree-group>"
            f"<projectlayers>{content}</projectlayers>"
            '<properties><Paths><Absolute type="bool">false</Absolute></Paths></properties>'
            "</qgis>\n",
        )
        return self.folder / "map.qgs"

    def _add(
        self, title: str, path: Path, kind: str, renderer: str, *, is_shown: bool = True
    ) -> None:
        """Take up a layer and write its style; its own file is listed as well."""
        style = path.with_suffix(".qml")
        write_text(style, style_file(renderer))
        # A shapefile and its parts are listed by whoever wrote them.
        self.files += [style] if path.suffix == ".shp" else [path, style]
        # Files for the web and for terminals are in longitude and latitude.
        crs = DEGREES if path.suffix in {".geojson", ".shp"} else self.crs
        self._found.append(_Layer(title, path.name, kind, renderer, crs, is_shown))


def _provider(layer: _Layer) -> str:
    """What QGIS reads it with."""
    return "gdal" if layer.kind == "raster" else "ogr"


def _layer_text(name: str, layer: _Layer) -> str:
    """One layer of the project."""
    is_raster = layer.kind == "raster"
    geometry = "" if is_raster else f' geometry="{layer.kind.capitalize()}"'
    return (
        f'<maplayer type="{"raster" if is_raster else "vector"}"{geometry}>'
        f"<id>{escape(name)}</id><datasource>{escape(_located(layer.source))}</datasource>"
        f"<layername>{escape(layer.title)}</layername><srs>{_system(layer.crs)}</srs>"
        f"<provider>{_provider(layer)}</provider>"
        f"{layer.renderer}</maplayer>"
    )


def _system(crs: str) -> str:
    """A coordinate reference system; without one QGIS lays layers beside each other."""
    from pyproj import CRS  # noqa: PLC0415  (comes with the extra)

    known = CRS.from_user_input(crs)
    authority = known.to_authority(min_confidence=90)
    name = f"<authid>{escape(':'.join(authority))}</authid>" if authority else ""
    return f"<spatialrefsys><wkt>{escape(known.to_wkt())}</wkt>{name}</spatialrefsys>"


def _located(source: str) -> str:
    """A path as QGIS writes relative ones."""
    return source if source.startswith("..") or Path(source).is_absolute() else f"./{source}"


def _relative(path: Path, folder: Path) -> str:
    """A path from a folder; absolute where Windows has them on different drives."""
    try:
        return Path(relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()

"""Style files that QGIS takes up by itself: a ``.qml`` beside the layer of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["polygon_style", "raster_style"]

Colour = tuple[int, int, int]
HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def raster_style(classes: Sequence[str], colours: Sequence[Colour]) -> str:
    """Style of a raster of class indices: one colour and one name per class."""
    entries = "".join(
        f'<paletteEntry value="{i}" color="{_hex(colour)}" alpha="255" label={quoteattr(name)}/>'
        for i, (name, colour) in enumerate(zip(classes, colours, strict=True))
    )
    return (
        f'{HEAD}<qgis version="3.0"><pipe><rasterrenderer type="paletted" band="1" opacity="0.7" '
        f'alphaBand="-1"><colorPalette>{entries}</colorPalette></rasterrenderer></pipe></qgis>\n'
    )


def polygon_style(classes: Sequence[str], colours: Sequence[Colour], *, column: str) -> str:
    """Style of polygons by the class in a column: filled, with a thin outline."""
    categories = "".join(
        f'<category value={quoteattr(name)} symbol="{i}" label={quoteattr(name)} render="true"/>'
        for i, name in enumerate(classes)
    )
    symbols = "".join(
        f'<symbol type="fill" name="{i}" alpha="0.6"><layer class="SimpleFill" enabled="1" '
        f'locked="0" pass="0"><Option type="Map">'
        f'<Option type="QString" name="color" value="{_rgba(colour)}"/>'
        f'<Option type="QString" name="outline_color" value="40,40,40,255"/>'
        f'<Option type="QString" name="outline_width" value="0.2"/>'
        f'<Option type="QString" name="style" value="solid"/></Option></layer></symbol>'
        for i, colour in enumerate(colours)
    )
    return (
        f'{HEAD}<qgis version="3.0" styleCategories="Symbology">'
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(column)} enableorderby="0" '
        f'forceraster="0" symbollevels="0"><categories>{categories}</categories>'
        f"<symbols>{symbols}</symbols></renderer-v2></qgis>\n"
    )


def _hex(colour: Colour) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _rgba(colour: Colour) -> str:
    """QGIS's own notation."""
    return "{},{},{},255".format(*colour)

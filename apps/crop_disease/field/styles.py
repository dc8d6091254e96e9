"""How layers look in QGIS: the renderer of each kind, as a style file (``.qml``) or in a project.

Colours are those of the map (``colours.map_colours``): green is kept for what is well, so that no
layer opens with healthy ground in red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from apps.crop_disease.field.doubtful_ground import IN_DOUBT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.crop_disease.field.rates import Rate

__all__ = [
    "classes_renderer",
    "doubt_renderer",
    "polygon_renderer",
    "rate_renderer",
    "scores_renderer",
    "spots_renderer",
    "style_file",
]

Colour = tuple[int, int, int]
HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# From nothing to the most: pale yellow to dark red, read rightly by colour-blind people too.
RAMP: tuple[Colour, ...] = ((255, 255, 204), (254, 178, 76), (240, 59, 32), (128, 0, 38))
WHITE: Colour = (255, 255, 255)
GREY: Colour = (160, 160, 160)
# Of ground in doubt; no class has it.
DARK: Colour = (45, 45, 45)


def style_file(renderer: str) -> str:
    """A renderer as the content of a ``.qml`` file."""
    return f'{HEAD}<qgis version="3.22" styleCategories="Symbology">{renderer}</qgis>\n'


def classes_renderer(classes: Sequence[str], colours: Sequence[Colour]) -> str:
    """A raster of class indices: one colour and one name per class."""
    entries = "".join(
        f'<paletteEntry value="{i}" color="{_hex(colour)}" alpha="255" label={quoteattr(name)}/>'
        for i, (name, colour) in enumerate(zip(classes, colours, strict=True))
    )
    return (
        '<pipe><rasterrenderer type="paletted" band="1" opacity="0.7" alphaBand="-1">'
        f"<colorPalette>{entries}</colorPalette></rasterrenderer></pipe>"
    )


def scores_renderer(band: int, name: str) -> str:
    """One band of scores from 0 to 1, pale to dark; without a style QGIS shows bands as RGB.

    Args:
        band: from 1, of the class that is shown.
        name: of that class.
    """
    steps = [i / (len(RAMP) - 1) for i in range(len(RAMP))]
    items = "".join(
        f'<item value="{step:.4f}" color="{_hex(colour)}" alpha="255" '
        f"label={quoteattr(f'{name}: {step:.2f}')}/>"
        for step, colour in zip(steps, RAMP, strict=True)
    )
    return (
        f'<pipe><rasterrenderer type="singlebandpseudocolor" band="{band}" opacity="0.8" '
        'alphaBand="-1" classificationMin="0" classificationMax="1"><rastershader>'
        '<colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" '
        f'minimumValue="0" maximumValue="1">{items}</colorrampshader></rastershader>'
        "</rasterrenderer></pipe>"
    )


def doubt_renderer(share: float) -> str:
    """Percent of ground in doubt over the class map: clear, tinted, or dark where it prevails.

    Args:
        share: in [0, 1] from which a zone is in doubt.
    """
    steps = (
        (0.0, 0, "known ground"),
        (100 * share, 90, f"up to {100 * share:.0f} % in doubt"),
        (100.0, 215, f"in doubt (more than {100 * share:.0f} %)"),
    )
    items = "".join(
        f'<item value="{value:.4f}" color="{_hex(DARK)}" alpha="{alpha}" label={quoteattr(label)}/>'
        for value, alpha, label in steps
    )
    return (
        '<pipe><rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" '
        'classificationMin="0" classificationMax="100"><rastershader><colorrampshader '
        'colorRampType="DISCRETE" classificationMode="1" clip="0" minimumValue="0" '
        f'maximumValue="100">{items}</colorrampshader></rastershader></rasterrenderer></pipe>'
    )


def polygon_renderer(classes: Sequence[str], colours: Sequence[Colour], *, column: str) -> str:
    """Polygons by the class in a column: filled, with a thin outline; dark where in doubt."""
    both = [*zip(classes, colours, strict=True), (IN_DOUBT, DARK)]
    return _categories(column, [(name, name, _fill(colour)) for name, colour in both])


def rate_renderer(rates: Sequence[Rate]) -> str:
    """Polygons by the amount that is applied: white for nothing, the darker the more."""
    amounts = sorted({rate.value for rate in rates})
    most = max(amounts[-1], 1e-12)
    entries = []
    for amount in amounts:
        place = min(len(RAMP) - 1, round(amount / most * (len(RAMP) - 1)))
        label = f"{amount:g} {rates[0].unit}"
        entries.append((f"{amount:.15g}", label, _fill(RAMP[place] if amount else WHITE)))
    return _categories("Rate", entries)


def spots_renderer() -> str:
    """Points of places to look at, each with its rank beside it."""
    symbol = (
        '<layer class="SimpleMarker" enabled="1" locked="0" pass="0"><Option type="Map">'
        '<Option type="QString" name="name" value="circle"/>'
        f'<Option type="QString" name="color" value="{_rgba(WHITE)}"/>'
        '<Option type="QString" name="outline_color" value="17,17,17,255"/>'
        '<Option type="QString" name="outline_width" value="0.4"/>'
        '<Option type="QString" name="size" value="4"/>'
        '<Option type="QString" name="size_unit" value="MM"/></Option></layer>'
    )
    return (
        '<renderer-v2 type="singleSymbol" enableorderby="0" forceraster="0" symbollevels="0">'
        f'<symbols><symbol type="marker" name="0" alpha="1">{symbol}</symbol></symbols>'
        '</renderer-v2><labeling type="simple"><settings calloutType="simple">'
        '<text-style fieldName="rank" fontSize="9" textColor="17,17,17,255" isExpression="0"/>'
        '<placement placement="1" quadOffset="4"/><rendering drawLabels="1"/></settings></labeling>'
    )


def _categories(column: str, entries: Sequence[tuple[str, str, str]]) -> str:
    """A renderer from (value, label, symbol layer), and grey for any other value."""
    categories = "".join(
        f'<category value={quoteattr(value)} symbol="{i}" label={quoteattr(label)} render="true"/>'
        for i, (value, label, _) in enumerate(entries)
    )
    rest = len(entries)
    categories += f'<category value="" symbol="{rest}" label="other" render="true"/>'
    symbols = "".join(
        f'<symbol type="fill" name="{i}" alpha="0.6">{layer}</symbol>'
        for i, layer in enumerate([*(layer for *_, layer in entries), _fill(GREY)])
    )
    return (
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(column)} enableorderby="0" '
        f'forceraster="0" symbollevels="0"><categories>{categories}</categories>'
        f"<symbols>{symbols}</symbols></renderer-v2>"
    )


def _fill(colour: Colour) -> str:
    """A filled symbol."""
    return (
        '<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">'
        f'<Option type="QString" name="color" value="{_rgba(colour)}"/>'
        '<Option type="QString" name="outline_color" value="40,40,40,255"/>'
        '<Option type="QString" name="outline_width" value="0.2"/>'
        '<Option type="QString" name="style" value="solid"/></Option></layer>'
    )


def _hex(colour: Colour) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _rgba(colour: Colour) -> str:
    """QGIS's own notation."""
    return "{},{},{},255".format(*colour)

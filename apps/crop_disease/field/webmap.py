"""One HTML file that shows the map on any computer, without network or map server.

Leaflet 1.9.4 (BSD-2, in ``vendor/leaflet`` with its licence) is written into the
page, the class map and the mosaic as pictures in Web Mercator, which is how
Leaflet lays a picture between two corners. The page forbids itself to load anything.
"""

from __future__ import annotations

import base64
import html
import io
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.doubtful_ground import IN_DOUBT, MOST_DOUBT
from apps.crop_disease.field.ground import Ground
from apps.crop_disease.field.mapping import NODATA
from apps.crop_disease.field.notes import area_words
from apps.crop_disease.field.raster import CACHE_BYTES, open_geotiff
from apps.crop_disease.field.styles import DARK
from core.base.attempt import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from apps.crop_disease.field.channels import Reading
    from core.blocks import Table

__all__ = ["Words", "web_map"]

# Longer side of the pictures: sharp on a screen, and a file that can be mailed.
LONG_SIDE_PX = 1600
MERCATOR = "EPSG:3857"
# Width of the stripes over ground in doubt, in pixels of the picture, and how the legend has them.
STRIPE_PX = 6
STRIPES = "repeating-linear-gradient(135deg,rgb({},{},{}) 0 3px,#fff 3px 6px)".format(*DARK)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the page says around the map.

    Attributes:
        title: heading.
        intended_use: the sentence above every result.
        classes: words for the classes, in index order.
        colours: of the classes.
        rows: of the table below the map.
        header: of that table.
        notes: sentences below it.
        spots: see ``zones.hot_spots``.
        warning: a sentence above the map; empty where there is none.
        trust: sentences above the map on how good the model is and where it was trained.
        applied: what the sprayer will apply; None without rates.
    """

    title: str
    intended_use: str
    classes: Sequence[str]
    colours: Sequence[tuple[int, int, int]]
    rows: Sequence[tuple[str, ...]]
    header: Sequence[str]
    notes: Sequence[str]
    spots: Any
    warning: str = ""
    trust: Sequence[str] = ()
    applied: Table | None = None


def web_map(words: Words, *, raster: Path, reading: Reading, maps: tuple[Path, Path]) -> str:
    """The page.

    Args:
        words: around the map.
        raster: the mosaic, shown below the classes.
        reading: its first three bands are shown.
        maps: class indices, and percent of ground in doubt, see ``mapping``.
    """
    colours, spots, warning, applied = words.colours, words.spots, words.warning, words.applied
    overlay, bounds, is_striped = _classes_picture(*maps, colours)
    backdrop, back_bounds, more = _below(raster, reading, bounds)
    notes = [*words.notes, *more]
    content = {
        "overlay": overlay,
        "bounds": bounds,
        "backdrop": backdrop,
        "backBounds": back_bounds,
        "legend": _legend(words.classes, colours, is_striped=is_striped),
        "spots": [
            {
                "lat": spot["lat"],
                "lon": spot["lon"],
                "words": f"{spot['rank']}. {spot['class']}: {area_words(spot['area_m2'] / 1e4)}, "
                f"mean score {spot['score']:.2f}, {spot['lat']:.6f}, {spot['lon']:.6f}"
                + _doubt(spot),
            }
            for spot in spots.drop(columns="geometry").to_dict("records")
        ],
    }
    # "<" could end the script; JSON may spell it otherwise.
    data = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    vendor = files("apps.crop_disease.field") / "vendor" / "leaflet"
    script = (vendor / "leaflet.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    # Its links to pictures of markers and layers, which this page does not use, are cut.
    css = (vendor / "leaflet.css").read_text(encoding="utf-8")
    for name in ("images/layers.png", "images/layers-2x.png", "images/marker-icon.png"):
        css = css.replace(f"url({name})", "none")
    message = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return PAGE.format(
        title=html.escape(words.title),
        use=html.escape(words.intended_use),
        css=css,
        leaflet=script,
        data=data,
        areas=_table("Areas on the map", words.header, words.rows),
        applied="" if applied is None else _applied(applied),
        places=_places(spots),
        trust="".join(f"<p>{html.escape(sentence)}</p>" for sentence in words.trust),
        notes=message,
        warning=f'<p class="warning" role="alert">{html.escape(warning)}</p>' if warning else "",
    )


def _places(spots: Any) -> str:
    """The places to visit in order, with coordinates that a phone opens; empty without any."""
    rows = spots.drop(columns="geometry").to_dict("records")
    lines = [
        f"<li><strong>{html.escape(str(spot['class']))}</strong>, "
        f"{area_words(spot['area_m2'] / 1e4)}, score {spot['score']:.2f}<br>"
        f'<a href="geo:{spot["lat"]:.6f},{spot["lon"]:.6f}">{spot["lat"]:.6f}, '
        f"{spot['lon']:.6f}</a>{html.escape(_doubt(spot))}</li>"
        for spot in rows
    ]
    if not lines:
        return ""
    return (
        '<section class="places" aria-labelledby="places"><h2 id="places">Places to visit, in '
        "order</h2><p>Affected zones by area times mean score; latitude and longitude, for a phone "
        f"also in hotspots.geojson.</p><ol>{''.join(lines)}</ol></section>"
    )


def _doubt(spot: dict[Any, Any]) -> str:
    """What is in doubt of a place, after its coordinates."""
    return f"; {spot['doubt']}" if spot.get("doubt") else ""


def _legend(
    classes: Sequence[str], colours: Sequence[tuple[int, int, int]], *, is_striped: bool
) -> list[dict[str, str]]:
    """Name and colour of each class, and the stripes over ground in doubt where there are any."""
    shown = [
        {"name": name, "colour": "rgb({},{},{})".format(*colour)}
        for name, colour in zip(classes, colours, strict=True)
    ]
    return [*shown, *([{"name": IN_DOUBT, "colour": STRIPES}] if is_striped else [])]


def _table(title: str, header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    """A table under a heading, which scrolls where it is wider than the page."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    name = html.escape(title, quote=True)
    return (
        f'<h2>{name}</h2><div class="wide" tabindex="0" role="region" aria-label="{name}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _applied(table: Table) -> str:
    """What the sprayer will apply."""
    frame = table.frame
    rows = [tuple(map(str, row)) for row in frame.itertuples(index=False)]
    return _table(table.title, list(frame.columns), rows) + f"<p>{html.escape(table.note)}</p>"


def _below(
    raster: Path, reading: Reading, bounds: list[list[float]]
) -> tuple[str, list[list[float]], list[str]]:
    """The picture below the classes, its corners, and a sentence where there is none.

    The map counts, not what lies below it: a raster may be damaged where no tile was scored.
    """
    found, reason = attempt(lambda: _mosaic_picture(raster, reading))
    if found is None:
        return BLANK, bounds, [f"The raster itself cannot be shown below the classes ({reason})."]
    return (*found, [])


def _classes_picture(
    path: Path, doubt: Path, colours: Sequence[tuple[int, int, int]]
) -> tuple[str, list[list[float]], bool]:
    """The class map as PNG, striped where ground is in doubt; its corners; whether any is."""
    from PIL import Image  # noqa: PLC0415  (only a page draws)

    index, _, bounds = _mercator(path, [1], nodata=NODATA, resampling="nearest")
    picture = np.zeros((*index.shape[1:], 4), np.uint8)
    for i, colour in enumerate(colours):
        picture[index[0] == i] = (*colour, 255)
    share, _, _ = _mercator(doubt, [1], nodata=NODATA, resampling="nearest")
    in_doubt = (share[0] > 100 * MOST_DOUBT) & (share[0] != NODATA) & (picture[..., 3] > 0)
    rows, cols = np.indices(in_doubt.shape, sparse=True)
    picture[in_doubt & ((rows + cols) // STRIPE_PX % 2 == 0)] = (*DARK, 255)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=True)
    return _uri("png", stream.getvalue()), bounds, bool(in_doubt.any())


def _mosaic_picture(path: Path, reading: Reading) -> tuple[str, list[list[float]]]:
    """The mosaic as JPEG on white, stretched between its 1st and 99th percentile."""
    from PIL import Image  # noqa: PLC0415  (only a page draws)

    numbers = [number for _, number in reading.bands]
    numbers = numbers[:3] if len(numbers) >= 3 else numbers[:1]
    wanted = [*numbers, *([reading.alpha] if reading.alpha else [])]
    bands, seen, bounds = _mercator(path, wanted, nodata=None, resampling="average")
    colour = bands[: len(numbers)].astype(np.float64)
    seen &= np.isfinite(colour).all(axis=0)
    if reading.alpha:
        seen &= bands[-1] > 0
    if len(numbers) == 1:
        colour = np.repeat(colour, 3, axis=0)
    shown = np.full((*seen.shape, 3), 255, np.uint8)
    if seen.any():
        low, high = np.percentile(colour[:, seen], [1, 99])
        stretched = np.clip((colour - low) / max(high - low, 1e-9), 0, 1) * 255
        shown[seen] = stretched[:, seen].T.astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(shown).save(stream, format="JPEG", quality=80)
    return _uri("jpeg", stream.getvalue()), bounds


def _mercator(
    path: Path, numbers: list[int], *, nodata: float | None, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_], list[list[float]]]:
    """Bands in Web Mercator at screen size.

    Returns:
        (C, H, W), the mask (H, W), and [[south, west], [north, east]] in degrees.
    """
    import rasterio  # noqa: PLC0415  (an extra)
    from affine import Affine  # noqa: PLC0415
    from rasterio.enums import Resampling  # noqa: PLC0415
    from rasterio.vrt import WarpedVRT  # noqa: PLC0415
    from rasterio.warp import transform_bounds  # noqa: PLC0415

    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), open_geotiff(path) as source:
        # Of the four corners: a raster may be rotated.
        x, y = Ground.of(source.crs.to_wkt(), source.transform).xy(
            [0, 0, source.height, source.height], [0, source.width, 0, source.width]
        )
        west, south, east, north = transform_bounds(
            source.crs, MERCATOR, x.min(), y.min(), x.max(), y.max(), densify_pts=21
        )
        scale = LONG_SIDE_PX / max(east - west, north - south)
        most = max(source.width, source.height)
        scale = min(scale, 2 * most / max(east - west, north - south))
        width = max(1, round((east - west) * scale))
        height = max(1, round((north - south) * scale))
        with WarpedVRT(
            source,
            crs=MERCATOR,
            transform=Affine((east - west) / width, 0, west, 0, (south - north) / height, north),
            width=width,
            height=height,
            resampling=Resampling[resampling],
            **({"nodata": nodata} if nodata is not None else {}),
        ) as warped:
            bands = warped.read(numbers)
            seen = warped.dataset_mask() > 0
        corners = transform_bounds(MERCATOR, "EPSG:4326", west, south, east, north)
    return bands, seen, [[corners[1], corners[0]], [corners[3], corners[2]]]


def _uri(kind: str, data: bytes) -> str:
    """A picture as text."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# One white pixel.
BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{css}</style>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem;
 color: #1b1b1b; background: #fff; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .3rem; }}
h2 {{ font-size: 1.1rem; margin: 1.2rem 0 .3rem; }}
.view {{ display: flex; gap: 1rem; align-items: flex-start; }}
#map {{ flex: 1; min-width: 0; height: 70vh; min-height: 20rem; border: 1px solid #999;
 background: #fff; }}
/* Beside the map or, on a narrow screen, below it: never over the field. */
@media (max-width: 700px) {{ .view {{ display: block; }} }}
.beside {{ flex: 0 0 17rem; }}
.legend {{ padding: .5rem 0; }}
.places p {{ font-size: .9rem; margin: .2rem 0; }}
.places ol {{ margin: 0; padding-left: 1.6rem; font-size: .95rem; line-height: 1.4; }}
.places li {{ padding: .15rem 0; }}
.legend i {{ display: inline-block; width: 1em; height: 1em; margin-right: .5em;
 vertical-align: -.12em; border: 1px solid #333; }}
.legend label {{ display: block; }}
.warning {{ border: 3px solid #b00020; padding: .5rem .8rem; font-weight: bold; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .25rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.number {{ background: #fff; border: 2px solid #111; border-radius: 50%; text-align: center;
 font: bold 12px/18px system-ui, sans-serif; }}
@media print {{ body {{ max-width: none; padding: 0; font-size: 9pt; }} #map {{ height: 120mm; }}
 .leaflet-control-container, .legend label {{ display: none; }}
 .places p, .places ol {{ font-size: 8pt; }} .places li {{ padding: 0; }}
 .wide, h2, tr, li {{ break-inside: avoid; break-after: auto; }} h2 {{ break-after: avoid; }} }}
</style></head>
<body><main>
<h1>{title}</h1>
<p>{use}</p>
{warning}
{trust}
<div class="view">
<div id="map" role="application" aria-label="Map of classes"></div>
<div class="beside">
<div id="legend" class="legend" role="group" aria-label="Legend"></div>
{places}
</div>
</div>
{applied}
{areas}
{notes}
</main>
<script>{leaflet}</script>
<script id="content" type="application/json">{data}</script>
<script>
const content = JSON.parse(document.getElementById("content").textContent);
const map = L.map("map", {{zoomSnap: 0.25, maxZoom: 26, attributionControl: false}});
const back = L.imageOverlay(content.backdrop, content.backBounds, {{alt: "mosaic"}}).addTo(map);
const classes = L.imageOverlay(content.overlay, content.bounds,
  {{opacity: 0.6, alt: "classes"}}).addTo(map);
map.fitBounds(content.bounds);
L.control.scale({{imperial: false}}).addTo(map);
const spots = L.layerGroup(content.spots.map((spot, i) => {{
  const icon = L.divIcon({{className: "number", html: String(i + 1), iconSize: [22, 22]}});
  const words = document.createElement("span");
  words.textContent = spot.words;
  return L.marker([spot.lat, spot.lon], {{icon, alt: spot.words}}).bindPopup(words);
}})).addTo(map);
{{
  const box = document.getElementById("legend");
  for (const entry of content.legend) {{
    const line = L.DomUtil.create("div", "", box);
    const patch = L.DomUtil.create("i", "", line);
    patch.style.background = entry.colour;
    line.append(entry.name);
  }}
  const control = (words, input, act) => {{
    const label = L.DomUtil.create("label", "", box);
    label.append(input, " " + words);
    input.addEventListener("input", act);
  }};
  const toggle = (words, layer) => {{
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = true;
    control(words, input, () => input.checked ? layer.addTo(map) : layer.remove());
  }};
  toggle("mosaic", back);
  toggle("places to look at", spots);
  const range = document.createElement("input");
  Object.assign(range, {{type: "range", min: 0, max: 1, step: 0.05, value: 0.6}});
  range.setAttribute("aria-label", "strength of the class colours");
  control("strength of the colours", range, () => classes.setOpacity(Number(range.value)));
}}
// The legend took its width from the map.
map.invalidateSize();
map.fitBounds(content.bounds);
matchMedia("print").addEventListener("change", () => {{
  map.invalidateSize({{animate: false}});
  map.fitBounds(content.bounds, {{animate: false}});
}});
document.documentElement.dataset.ready = String(content.spots.length);
</script>
</body></html>
"""

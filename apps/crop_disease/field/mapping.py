"""From scores of tiles to a map: probabilities and classes on the pixels of the raster.

Each block of the map asks which tiles lie on it and blends them, so memory holds
one block whatever the size of the raster, and no block depends on another. A tile
weighs most in its middle and least at its edge: where two overlap, one fades
into the other. What is not valid in the raster, lies outside of the boundary, or
was reached by no scored tile, is nodata.

A class says nothing of whether the model knows such ground, so a third file has how much of
what was blended at a pixel comes from tiles in doubt, in percent.

The maps have the raster's own grid: same coordinate reference system, same
transform, same size. Probabilities are stored in 8 bits, in steps of 1/250.

This module knows tiles, scores and masks, no model and no task.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from apps.crop_disease.field.colours import map_colours
from apps.crop_disease.field.ground import Ground
from apps.crop_disease.field.raster import CACHE_BYTES
from core.base.outputs import check_space
from core.base.progress import track
from core.base.tables import score_columns
from core.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from apps.crop_disease.field.raster import RasterFacts
    from apps.crop_disease.field.window import Window

__all__ = ["NODATA", "STEPS", "Maps", "blend", "write_maps"]

Floats: TypeAlias = "NDArray[np.float32]"
Decide: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.int_]]"

# Stored values 0 to 250 stand for 0 to 1; a step is finer than any tile's score is sure.
STEPS = 250
NODATA = 255
BLOCK = 512
# For the last copy, which reads each block once: a larger cache was not faster
# (20,000 x 20,000 x 3: 16 s with 32 MiB and with 128), only larger.
COPY_CACHE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Maps:
    """What was written, and what the map says.

    Attributes:
        scores: one band per class.
        classes: one band of class indices, or None where classes exclude each other not.
        doubt: one band, percent of what was blended that is from tiles in doubt.
        area_m2: class -> area on the map.
        valid_m2: area that holds a measurement and lies within the boundary.
        unmapped_m2: part of it that no scored tile reaches.
    """

    scores: Path
    classes: Path | None
    doubt: Path
    area_m2: Mapping[str, float]
    valid_m2: float
    unmapped_m2: float


def blend(
    window: Window, tiles: NDArray[np.int_], scores: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores on the pixels of a window.

    The weight of a tile at a pixel is the product of the pixel's distances, in
    rows and in columns, to the nearer edge of the tile; so it is continuous where
    a tile begins.

    Args:
        window: (row, col, height, width).
        tiles: (T, 4) row, col, height, width of the tiles on it.
        scores: (T, K) of these.

    Returns:
        (K, H, W) scores, and which pixels (H, W) a tile reaches.
    """
    row, col, height, width = window
    total = np.zeros((scores.shape[1], height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    for (top, left, high, wide), score in zip(tiles, scores, strict=True):
        r0, r1 = max(top, row), min(top + high, row + height)
        c0, c1 = max(left, col), min(left + wide, col + width)
        if r0 >= r1 or c0 >= c1:
            continue
        w = np.outer(_tent(r0 - top, r1 - top, high), _tent(c0 - left, c1 - left, wide))
        place = (slice(r0 - row, r1 - row), slice(c0 - col, c1 - col))
        weight[place] += w
        for k, value in enumerate(score):
            total[(k, *place)] += w * value
    reached = weight > 0
    np.divide(total, weight, out=total, where=reached)
    return total, reached


def write_maps(
    tiles: pd.DataFrame,
    *,
    classes: Sequence[str],
    facts: RasterFacts,
    mask: Callable[[Window], NDArray[np.bool_]],
    out: Path,
    decide: Decide | None = None,
) -> Maps:
    """Write the maps of probability, class and doubt as cloud-optimised GeoTIFF.

    A map that stands there already and was made of the same tiles is kept, so a killed job
    goes on with the file it was at.

    Args:
        tiles: row_off, col_off, height, width, ``score_<class>`` and, where any is known,
            ``in_doubt`` (bool); rows without a score are passed over.
        classes: names in index order.
        facts: of the raster the tiles are from.
        mask: window -> what is valid there.
        out: the folder; ``scores.tif``, ``classes.tif`` and ``doubt.tif`` are written to it.
        decide: (N, K) scores -> (N,) class indices; None writes no class map.

    Raises:
        OutputError: the disk is full or cannot be written to.
    """
    place, scores = _sorted(tiles, classes)
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".*.partial*"):
        left.unlink(missing_ok=True)
    key = _key(place, scores, classes, facts)
    pixels = facts.height * facts.width
    # Uncompressed, once blocked and once with its overviews: more than it can come to.
    check_space(out, int(pixels * (len(classes) + 2) * 0.5) + 10_000_000)
    scores_file, classes_file = out / "scores.tif", out / "classes.tif"
    made = [scores_file, out / "doubt.tif", *([] if decide is None else [classes_file])]
    done = all(_read_key(file) == key for file in made)
    kept = json.loads(_tag(scores_file, "resight_areas") or "null") if done else None
    if kept is None:
        kept = _write(place, scores, classes, facts, mask, scores_file, decide, key)
    areas: dict[str, float] = {name: float(kept["area_m2"][name]) for name in classes}
    return Maps(
        scores_file,
        classes_file if decide else None,
        out / "doubt.tif",
        areas if decide else {},
        float(kept["valid_m2"]),
        float(kept["unmapped_m2"]),
    )


def _write(
    place: NDArray[np.int_],
    scores: Floats,
    classes: Sequence[str],
    facts: RasterFacts,
    mask: Callable[[Window], NDArray[np.bool_]],
    scores_file: Path,
    decide: Decide | None,
    key: str,
) -> dict[str, Any]:
    """Stream blocks into files, then turn each into its final form."""
    import rasterio  # noqa: PLC0415  (an extra)

    ground = Ground.of(facts.crs, facts.transform)
    area = np.zeros(len(classes))
    valid_m2 = unmapped_m2 = 0.0
    finals = [scores_file, *(scores_file.with_name(f"{n}.tif") for n in ("classes", "doubt"))]
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), _partials(*finals) as drafts:
        with (
            rasterio.open(drafts[0], "w", **_profile(facts, len(classes))) as score_map,
            rasterio.open(drafts[1], "w", **_profile(facts, 1)) as class_map,
            rasterio.open(drafts[2], "w", **_profile(facts, 1)) as doubt_map,
            track("drawing the map", facts.height * facts.width // 10**6 + 1, unit="Mpx") as step,
        ):
            for window, near in _blocks(facts, place):
                valid = mask(window)
                both, reached = blend(window, place[near], scores[near])
                score, doubt = both[:-1], both[-1]
                shown = valid & reached
                pixel_m2 = ground.pixel_area_m2(*window)
                valid_m2 += pixel_m2 * float(valid.sum())
                unmapped_m2 += pixel_m2 * float((valid & ~reached).sum())
                stored = np.where(shown, np.rint(score * STEPS), NODATA).astype(np.uint8)
                score_map.write(stored, window=_rectangle(window))
                # Rounded up: no ground is 0 where a tile in doubt lies.
                percent = np.where(shown, np.ceil(100 * doubt - 1e-3), NODATA).astype(np.uint8)
                doubt_map.write(percent[None], window=_rectangle(window))
                if decide is not None:
                    index = np.full(valid.shape, NODATA, np.uint8)
                    if shown.any():
                        index[shown] = decide(score[:, shown].T.astype(np.float64))
                    area += pixel_m2 * np.bincount(index[shown], minlength=len(classes))
                    class_map.write(index[None], window=_rectangle(window))
                step(window[2] * window[3] // 10**6)
        values: dict[str, Any] = {
            "area_m2": dict(zip(classes, area.tolist(), strict=True)),
            "valid_m2": valid_m2,
            "unmapped_m2": unmapped_m2,
        }
        if decide is not None:
            _describe_classes(drafts[1], classes, key)
            _finish(drafts[1], finals[1], "MODE")
        with rasterio.open(drafts[2], "r+", driver="GTiff") as target:
            target.descriptions, target.units = ("ground in doubt",), ("%",)
            target.update_tags(resight_key=key)
        _finish(drafts[2], finals[2], "AVERAGE")
        # Last: its tag says that both are there.
        _describe_scores(drafts[0], classes, key, values)
        _finish(drafts[0], scores_file, "AVERAGE")
    return values


def _blocks(
    facts: RasterFacts, place: NDArray[np.int_]
) -> Iterator[tuple[Window, NDArray[np.int_]]]:
    """Windows in storage order, and the numbers of the tiles on each."""
    top, left = place[:, 0], place[:, 1]
    bottom, right = top + place[:, 2], left + place[:, 3]
    for row in range(0, facts.height, BLOCK):
        height = min(BLOCK, facts.height - row)
        band = np.flatnonzero((top < row + height) & (bottom > row))
        for col in range(0, facts.width, BLOCK):
            width = min(BLOCK, facts.width - col)
            near = band[(left[band] < col + width) & (right[band] > col)]
            yield (row, col, height, width), near


def _sorted(tiles: pd.DataFrame, classes: Sequence[str]) -> tuple[NDArray[np.int_], Floats]:
    """Places (T, 4) of tiles that have a score, and (T, K + 1) scores and doubt, in order."""
    columns = score_columns(classes)
    scored = tiles[tiles[columns].notna().all(axis=1)]
    scored = scored.sort_values(["row_off", "col_off"], kind="stable")
    place = scored[["row_off", "col_off", "height", "width"]].to_numpy(np.int64)
    doubt = scored["in_doubt"] if "in_doubt" in scored else np.zeros(len(scored))
    return place, np.column_stack([scored[columns], doubt]).astype(np.float32)


def _tent(first: int, last: int, length: int) -> Floats:
    """Distance of pixels ``first`` to ``last`` of a tile to its nearer edge."""
    position = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    return np.asarray(np.minimum(position, np.float32(length) - position))


def _profile(facts: RasterFacts, bands: int) -> dict[str, Any]:
    """How a draft is stored: in the blocks it is written in."""
    from rasterio.crs import CRS  # noqa: PLC0415  (an extra)

    return {
        "driver": "GTiff",
        "height": facts.height,
        "width": facts.width,
        "count": bands,
        "dtype": "uint8",
        "crs": CRS.from_wkt(facts.crs),
        "transform": facts.transform,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "photometric": "MINISBLACK",
        "compress": "deflate",
        "zlevel": 1,
        "BIGTIFF": "IF_SAFER",
    }


def _describe_scores(
    draft: Path, classes: Sequence[str], key: str, values: Mapping[str, Any]
) -> None:
    """Names of the bands, and what a stored value stands for."""
    import rasterio  # noqa: PLC0415  (an extra)

    with rasterio.open(draft, "r+", driver="GTiff") as target:
        target.descriptions = tuple(classes)
        target.scales = (1 / STEPS,) * len(classes)
        target.update_tags(resight_key=key, resight_areas=json.dumps(values, sort_keys=True))


def _describe_classes(draft: Path, classes: Sequence[str], key: str) -> None:
    """The palette, and the names of the classes as tags ``class_0`` ..."""
    import rasterio  # noqa: PLC0415  (an extra)

    palette = {i: (*colour, 255) for i, colour in enumerate(map_colours(classes))}
    with rasterio.open(draft, "r+", driver="GTiff") as target:
        target.write_colormap(1, {**palette, NODATA: (0, 0, 0, 0)})
        target.descriptions = ("class",)
        target.update_tags(resight_key=key, **{f"class_{i}": n for i, n in enumerate(classes)})


def _finish(draft: Path, final: Path, resampling: str) -> None:
    """Copy a draft into a cloud-optimised file that appears whole or not at all."""
    import rasterio  # noqa: PLC0415  (an extra)
    from rasterio.shutil import copy  # noqa: PLC0415

    partial = final.with_name(f".{final.name}.{os.getpid()}.cog.partial")
    try:
        with rasterio.Env(GDAL_CACHEMAX=COPY_CACHE_BYTES):
            copy(
                draft,
                partial,
                driver="COG",
                COMPRESS="DEFLATE",
                LEVEL=6,
                BLOCKSIZE=BLOCK,
                BIGTIFF="IF_SAFER",
                OVERVIEW_RESAMPLING=resampling,
                NUM_THREADS=1,
            )
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(final)
    finally:
        for rest in final.parent.glob(f"{partial.name}*"):
            rest.unlink(missing_ok=True)


@contextmanager
def _partials(*finals: Path) -> Iterator[list[Path]]:
    """Names for drafts, which are gone afterwards."""
    from rasterio.errors import RasterioIOError  # noqa: PLC0415  (an extra)

    drafts = [f.with_name(f".{f.name}.{os.getpid()}.partial") for f in finals]
    try:
        yield drafts
    except (RasterioIOError, OSError) as error:
        msg = (
            f"{finals[0].parent}: the map cannot be written ({error}). Free some space, or choose "
            "another --out; the same command goes on from here."
        )
        raise OutputError(msg) from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _key(
    place: NDArray[np.int_], scores: Floats, classes: Sequence[str], facts: RasterFacts
) -> str:
    """Says of what a map was made."""
    digest = hashlib.sha256(json.dumps([list(classes), facts.crs, list(facts.transform)]).encode())
    stat = facts.path.stat()
    digest.update(f"{facts.path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    digest.update(np.ascontiguousarray(place).tobytes())
    digest.update(np.ascontiguousarray(scores).tobytes())
    return digest.hexdigest()[:24]


def _read_key(path: Path) -> str:
    """The key of a map; empty if there is none."""
    return _tag(path, "resight_key")


def _tag(path: Path, name: str) -> str:
    """A tag of a map; empty if there is none."""
    if not path.is_file():
        return ""
    import rasterio  # noqa: PLC0415  (an extra)

    with rasterio.open(path, driver="GTiff") as source:
        return str(source.tags().get(name, ""))


def _rectangle(window: Window) -> Any:
    """Rasterio's own kind of window."""
    from rasterio.windows import Window as Rectangle  # noqa: PLC0415  (an extra)

    row, col, height, width = window
    return Rectangle(col, row, width, height)

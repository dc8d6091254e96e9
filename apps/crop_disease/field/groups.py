"""Spatial groups for the split: blocks, fields and flights, and which of them are held out.

Two tiles that touch show the same plants in the same light, so between tiles of
two groups lies at least the side of a tile (Roberts et al. 2017,
doi:10.1111/ecog.02881). Tiles cut from a raster come in such blocks already; here
blocks of several rasters are joined where they show the same ground, tiles that
came as files are put into blocks, and a field or a flight is held out.

Distances are in sides of a tile, between centres: neighbours are 1 apart, and 2
apart there is room for one tile between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from apps.crop_disease.field.grid import BLOCKS_WANTED, PER_BLOCK
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.app import Source

__all__ = ["assign_spatial_blocks"]

GROUPS = ("block", "field", "flight", "image_id")
# Less than 2, for a grid may be turned by a degree against north.
NEAR = 1.98
# A patch of touching tiles larger than this share of all is cut into blocks.
LARGE_PATCH = 1 / 8
EARTH_M = 6_371_008.8


def assign_spatial_blocks(
    table: Any, source: Source, *, whole: bool
) -> tuple[Any, str, tuple[str, str], tuple[str, ...]]:
    """Give every tile its group, and leave out tiles that lie between two.

    Args:
        table: tiles with block, field, flight, split, lon, lat and tile_m.
        source: what the user points at; ``hold-out`` of its options is honoured.
        whole: whether every tile came as a file of its own.

    Returns:
        the table with group, split, status and reason; what the group is called; the
        rules of group and split in words; and what else must be said.

    Raises:
        ManifestError: the group or what is to be held out is unknown.
    """
    if not source.labelled:
        return table.assign(group=table["field"]), "field", ("", ""), ()
    table = table.copy()
    ok = np.flatnonzero((table["status"] == "ok").to_numpy())
    if not len(ok):
        return table.assign(group=""), "block", ("", ""), ()
    pairs = ok[_near(table.iloc[ok])]
    split_rule = "The split is that of the folders." if (table["split"] != "").any() else ""
    held = [w.strip() for w in str(source.options.get("hold-out") or "").split(",") if w.strip()]
    notes: list[str] = []
    by = ""
    if held:
        by = _hold_out(table, held)
        split_rule = f"Held out: the {by} {', '.join(held)}."
    group = source.group or "block"
    if group not in GROUPS:
        msg = f"--group {group}: tiles know their {', '.join(GROUPS)}. Choose one of these."
        raise ManifestError(msg)
    if group in {"field", "flight"} and (table[group].iloc[ok] == "").any():
        msg = (
            f"--group {group}: nothing names the {group} of tiles that are files of their own. "
            "Pass --within FILE for the fields, or leave --group out for blocks of ground."
        )
        raise ManifestError(msg)
    if group == "block" and whole:
        _blocks_of_files(table, ok)
        pairs = pairs[(table["status"].to_numpy()[pairs] == "ok").all(axis=1)]
    names = table[group].to_numpy(dtype=object).copy()
    path, split = table["path"].to_numpy(), table["split"].to_numpy()
    same_file = (path[pairs[:, 0]] == path[pairs[:, 1]]) | whole
    if group == "block":
        joined = pairs[~same_file & (split[pairs[:, 0]] == split[pairs[:, 1]])]
        n_joined = _join(names, joined)
        if n_joined:
            notes.append(
                f"{n_joined:,} blocks of different rasters lie on the same ground and were joined."
            )
    # Fields that touch, and what touches ground held out.
    if group != "image_id":
        other = names[pairs[:, 0]] != names[pairs[:, 1]]
        _buffer(table, pairs[same_file & other])
    if held or split_rule:
        notes += _shared_ground(table, pairs)
    word = "tile" if group == "image_id" else group
    rules = _words(group, whole=whole), split_rule
    return table.assign(group=names), word, rules, tuple(notes)


def _near(tiles: Any) -> NDArray[np.int_]:
    """(P, 2) numbers of tiles that are less than a tile's side apart."""
    from scipy.spatial import cKDTree  # noqa: PLC0415  (only where a field is trained on)

    found = cKDTree(_places(tiles)).query_pairs(NEAR, p=np.inf, output_type="ndarray")
    return np.asarray(found, np.int64).reshape(-1, 2)


def _places(tiles: Any) -> NDArray[np.float64]:
    """(N, 2) east and north of the centres, in sides of a tile; exact enough for a farm."""
    lon, lat = np.radians(tiles["lon"].to_numpy(float)), np.radians(tiles["lat"].to_numpy(float))
    side = float(tiles["tile_m"].median())
    east = (lon - lon.mean()) * np.cos(lat.mean()) * EARTH_M / side
    return np.column_stack([east, (lat - lat.mean()) * EARTH_M / side])


def _hold_out(table: Any, held: Sequence[str]) -> str:
    """Mark what is held out as test and all else as train, in place; says what it is called."""
    for column in ("field", "flight"):
        known = sorted(set(table[column]) - {""})
        if set(held) <= set(known):
            is_held = table[column].isin(held)
            table["split"] = np.where(
                table["status"] != "ok", "", np.where(is_held, "test", "train")
            )
            return column
    have = {c: ", ".join(sorted(set(table[c]) - {""})[:8]) or "none" for c in ("field", "flight")}
    msg = (
        f"--hold-out {', '.join(held)}: is neither a field ({have['field']}) nor a flight "
        f"({have['flight']}). Name one or several of these, joined by commas."
    )
    raise ManifestError(msg)


def _blocks_of_files(table: Any, ok: NDArray[np.int_]) -> None:
    """Blocks of tiles that are files, in place: patches that touch; large ones cut, with strips.

    Tiles in the strips are left out.
    """
    tiles = table.iloc[ok]
    place = _places(tiles)
    split = tiles["split"].to_numpy()
    pairs = _near(tiles)
    pairs = pairs[split[pairs[:, 0]] == split[pairs[:, 1]]]
    patch = _components(len(tiles), pairs)
    names = np.array([f"patch{p:04d}" for p in patch], dtype=object)
    strip = np.zeros(len(tiles), bool)
    for number, size in enumerate(np.bincount(patch)):
        if size <= max(4, LARGE_PATCH * len(tiles)):
            continue
        here = np.flatnonzero(patch == number)
        corner = place[here] - place[here].min(axis=0)
        for per_block in range(PER_BLOCK, 0, -1):
            cell = np.floor(corner / (per_block + 1) + 1e-6).astype(int)
            inside = (corner - cell * (per_block + 1) <= per_block - 1 + 0.02).all(axis=1)
            if len(np.unique(cell[inside], axis=0)) >= BLOCKS_WANTED:
                break
        names[here] = [f"patch{number:04d}/r{r:02d}c{c:02d}" for c, r in cell]
        strip[here] = ~inside
    block = table["block"].to_numpy(dtype=object).copy()
    block[ok] = names
    table["block"] = block
    _leave_out(table, ok[strip], "lies in the strip between two blocks of ground")


def _join(names: NDArray[Any], pairs: NDArray[np.int_]) -> int:
    """Give groups that a pair links one name, in place; how many were joined."""
    known, number = np.unique(names.astype(str), return_inverse=True)
    links = np.unique(number[pairs].reshape(-1, 2), axis=0)
    links = links[links[:, 0] != links[:, 1]]
    if not len(links):
        return 0
    part = _components(len(known), links)
    first = {p: known[i] for i, p in reversed(list(enumerate(part)))}
    names[:] = [first[part[i]] for i in number]
    return len(np.unique(links))


def _components(n: int, pairs: NDArray[np.int_]) -> NDArray[np.int_]:
    """The number of the connected part of each of ``n`` nodes."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415  (only where a field is trained on)
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _buffer(table: Any, pairs: NDArray[np.int_]) -> None:
    """Of each pair of groups that touch, leave out the tiles of one, in place; never of the test.

    The later name gives way, so that the earlier keeps all its tiles.
    """
    split, field = table["split"].to_numpy(), table["field"].to_numpy()
    order = [(s != "test", str(f), i) for i, (s, f) in enumerate(zip(split, field, strict=True))]
    yields = sorted({max(int(a), int(b), key=lambda i: order[i]) for a, b in pairs})
    _leave_out(table, np.array(yields, int), "lies less than a tile's side from another group")


def _leave_out(table: Any, rows: NDArray[np.int_], reason: str) -> None:
    """Skip tiles with a reason, in place."""
    for column, value in (("status", "skipped"), ("reason", reason), ("split", "")):
        values = table[column].to_numpy(dtype=object).copy()
        values[rows] = value
        table[column] = values


def _shared_ground(table: Any, pairs: NDArray[np.int_]) -> list[str]:
    """What to say where the ground of a given test was trained on as well."""
    split = table["split"].to_numpy()
    ends = split[pairs]
    shared = {int(row) for row, mark in zip(pairs.ravel(), ends.ravel(), strict=True) if mark}
    crossing = (ends[:, 0] != ends[:, 1]) & (ends != "").all(axis=1)
    judged = {int(i) for i in pairs[crossing].ravel() if split[i] == "test"} & shared
    if not judged:
        return []
    n_test = int((split == "test").sum())
    return [
        f"{len(judged):,} of {n_test:,} tiles held out lie on or beside ground that the training "
        "shows as well, in another file: what is new to the model there is the flight, not the "
        "plants."
    ]


def _words(group: str, *, whole: bool) -> str:
    """The rule of the group."""
    if group == "block" and whole:
        return (
            "The group is a patch of ground that touching tiles cover, large patches cut into "
            "blocks; between groups lies at least the side of a tile."
        )
    return {
        "block": "The group is a block of ground; between blocks lies at least the side of a tile.",
        "field": "The group is the field: the polygon of --within, or the raster. Between fields "
        "of one raster lies at least the side of a tile.",
        "flight": "The group is the flight: the WebODM project, or the folder of the raster.",
        "image_id": "Every tile is a group of its own, so tiles that touch may stand in different "
        "splits: the result will look better than new ground lets it be.",
    }[group]

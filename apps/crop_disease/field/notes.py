"""What a user must be told about the tiles of a field, and what a run remembers of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.crop_disease.field.grid import in_words
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.app import Source

__all__ = ["area_words", "facts_of", "require_some", "scale_notes", "skip_notes", "tiles_of"]

# How much finer or coarser the ground may be sampled than in training before it is said.
GSD_FACTOR = 1.5
# Smaller areas are written in square metres.
LEAST_HA = 0.1


def area_words(hectares: float) -> str:
    """An area as people write it: in hectares from 0.1 ha on, in square metres below.

    >>> area_words(1.23456), area_words(0.00526), area_words(0)
    ('1.235\N{NO-BREAK SPACE}ha', '52.6\N{NO-BREAK SPACE}m²', '0\N{NO-BREAK SPACE}m²')
    """
    size = abs(hectares)
    if size >= LEAST_HA:
        return f"{hectares:,.{3 if size < 10 else 1}f}\N{NO-BREAK SPACE}ha"
    metres = 1e4 * hectares
    places = 0 if abs(metres) >= 100 or not metres else 1
    return f"{metres:,.{places}f}\N{NO-BREAK SPACE}m²"


def tiles_of(table: Any) -> Any:
    """The rows of a manifest that are tiles with pixels; none of photos."""
    if "row_off" not in table:
        return table.iloc[:0]
    return table[(table["status"] == "ok") & table["row_off"].notna()]


def facts_of(table: Any) -> dict[str, Any]:
    """What a run should remember of its training tiles, to compare new rasters with.

    Args:
        table: a manifest of tiles.

    Returns:
        ``gsd_m`` and ``tile_m`` (medians), ``tile_px``, ``reading``, ``depth``; empty without.
    """
    tiles = tiles_of(table)
    if not len(tiles):
        return {}
    return {
        "gsd_m": float(tiles["gsd_m"].median()),
        "tile_m": float(tiles["tile_m"].median()),
        "tile_px": int(tiles["width"].median()),
        "reading": str(tiles["reading"].mode().iloc[0]),
        **({"depth": str(tiles["depth"].mode().iloc[0])} if "depth" in tiles else {}),
    }


def scale_notes(table: Any, source: Source) -> Iterator[str]:
    """What is to be said about ground sampling distance and tiles."""
    facts = facts_of(table)
    if not facts:
        return
    tiles = tiles_of(table)
    yield (
        f"Tiles are {in_words(facts['tile_m'])} on a side at a ground sampling distance of "
        f"{in_words(facts['gsd_m'])}; channels: {facts['reading']}."
    )
    low, high = float(tiles["gsd_m"].min()), float(tiles["gsd_m"].max())
    if high > GSD_FACTOR * low:
        yield (
            f"The rasters differ in ground sampling distance, {in_words(low)} to {in_words(high)}. "
            "Pass --tile in metres, so that all tiles show as much ground."
        )
    trained = float(source.trained.get("tile_m") or 0)
    if trained:
        ratio = facts["tile_m"] / trained
        if not 1 / GSD_FACTOR <= ratio <= GSD_FACTOR:
            yield (
                f"Tiles show {facts['tile_m']:.3g} m of ground, and the model was trained on "
                f"{trained:.3g} m: plants appear {max(ratio, 1 / ratio):.1f} times "
                f"{'smaller' if ratio > 1 else 'larger'}. Pass --match-gsd."
            )


def skip_notes(table: Any) -> Iterator[str]:
    """How many tiles are left out for want of valid area or of a class."""
    skipped = table[table["status"] != "ok"]
    dry = int(skipped["reason"].str.contains("of it is valid").sum())
    if dry:
        yield f"{dry:,} of {len(table):,} tiles are left out: too little of them is valid."
    rest = len(skipped) - dry
    if rest:
        first = skipped[~skipped["reason"].str.contains("of it is valid")].iloc[0]
        yield f"{rest:,} of {len(table):,} are left out (first: {first.image_id}: {first.reason})."


def require_some(table: Any, files: Sequence[Any]) -> None:
    """Refuse where nothing is left to judge.

    Raises:
        ManifestError: with the most frequent reasons.
    """
    if len(tiles_of(table)):
        return
    refusals = table["refused"].where(table["refused"] != "", table["reason"])
    reasons = refusals.value_counts()
    why = "; ".join(f"{n:,} x {reason}" for reason, n in reasons.head(3).items())
    msg = (
        f"{files[0][0]}: not one of {len(table):,} tiles can be used ({why or 'it has none'}). "
        "Check --within, --labels and --least-valid, or pass a smaller --tile."
    )
    raise ManifestError(msg)

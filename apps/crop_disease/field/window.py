"""Windows of a raster: (row, col, height, width) in pixels, zero-based."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Window", "is_tile", "window_of"]

Window: TypeAlias = tuple[int, int, int, int]


def is_tile(row: Mapping[str, Any]) -> bool:
    """Whether a manifest row is a tile of a raster; a photo is not."""
    value = row.get("row_off")
    return value is not None and value == value and value != ""  # noqa: PLR0124  (NaN)


def window_of(row: Mapping[str, Any]) -> Window:
    """(row, col, height, width) of a tile in its raster."""
    return int(row["row_off"]), int(row["col_off"]), int(row["height"]), int(row["width"])

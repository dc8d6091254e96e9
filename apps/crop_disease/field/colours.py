"""Colours of the classes on every map of a field, told apart by colour-blind readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WELL", "map_colours"]

# Words for ground that is well; every other class is for a scout to see.
WELL = frozenset({"healthy", "normal", "none", "background", "soil", "bare soil", "other"})
# Okabe and Ito's palette, told apart by colour-blind readers: its green is kept for what is
# well. Neighbours in this order differ in hue and in lightness, also over a picture of the field.
GREEN = (0, 158, 115)
COLOURS = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 114, 178),
    (204, 121, 167),
    (120, 120, 120),
    (230, 159, 0),
)


def map_colours(classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """A colour per class: green for the first that is well, the others in order, repeating.

    >>> map_colours(["blight", "healthy", "rust"])
    [(213, 94, 0), (0, 158, 115), (86, 180, 233)]
    """
    well = next((name for name in classes if name.lower() in WELL), None)
    rest = iter(range(len(classes)))
    return [GREEN if name == well else COLOURS[next(rest) % len(COLOURS)] for name in classes]

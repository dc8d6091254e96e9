"""One picture given under two names: as both eyes of a patient, as two breasts, as two patients.

Then one of them was never photographed, whatever its scores say. Content is compared by a hash
of the pixels as read; that several images of one eye, or frames of one file, are alike is no
contradiction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.evaluation.units import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Unit

__all__ = ["CONTENT", "same_pictures"]

# Column of scored rows that holds the hash of an input's pixels; it leaves no command.
CONTENT = "content_hash"


def same_pictures(predictions: pd.DataFrame, units: Sequence[Unit]) -> NDArray[np.object_]:
    """The first other input (N,) that has the same pixels and stands for something else.

    Args:
        predictions: with ``content_hash``; empty where there are no pixels.
        units: what inputs stand for; parts (an eye, a view) are told apart as units are.

    Returns:
        image ids; empty where there is none. An input that does not say what it shows
        stands for itself.

    >>> import pandas as pd
    >>> from core.app import Unit
    >>> rows = pd.DataFrame({"image_id": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"],
    ...                      "eye": ["l", "r", "l"], "content_hash": ["x", "x", "y"]})
    >>> same_pictures(rows, [Unit(name="eye", columns=("eye",))]).tolist()
    ['b', 'a', '']
    """
    found = np.full(len(predictions), "", dtype=object)
    columns = dict.fromkeys(
        name for unit in units for name in (*unit.columns, unit.parts_are) if name in predictions
    )
    if CONTENT not in predictions or not columns:
        return found
    ids, paths = text_of(predictions["image_id"]), text_of(predictions["path"])
    cells = zip(*(text_of(predictions[name]) for name in columns), strict=True)
    stands_for = [key if all(key) else (*key, ids[i]) for i, key in enumerate(cells)]
    places: dict[str, list[int]] = {}
    for i, content in enumerate(text_of(predictions[CONTENT])):
        if content:
            places.setdefault(str(content), []).append(i)
    for alike in places.values():
        for i in alike if len(alike) > 1 else []:
            others = (j for j in alike if stands_for[j] != stands_for[i] and paths[j] != paths[i])
            other = next(others, None)
            found[i] = "" if other is None else str(ids[other])
    return found

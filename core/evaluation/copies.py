"""One picture given under two names: as both eyes of a patient, as two breasts, as two patients.

Then one of them was never photographed, whatever its scores say. The same pixels are found
among all inputs by a hash; a copy that was saved anew, resized, cropped, turned or mirrored by
registered local features (``core.data.moved_copies``): pair by pair among the images of one
patient or exam, and among all inputs, if they are not too many. That several images of one eye,
or frames of one file, are alike is no contradiction. docs/outputs.md has how often copies, fellow
eyes and other patients are taken for one.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.facts import Facts
from core.data.moved_copies import moved_copies
from core.data.reading import in_threads
from core.evaluation.units import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import Unit

__all__ = [
    "CONTENT",
    "MOST_COMPARED",
    "PICTURE",
    "changed_copies",
    "compares_pictures",
    "is_compared_with_all",
    "same_pictures",
    "written",
]

# Columns of scored rows that leave no command: the hash of an input's pixels, and the small grey
# picture by which changed copies are found, a PNG in base64 of some 6 kB.
CONTENT, PICTURE = "content_hash", "small_picture"
# Inputs that are all compared with each other: 35 ms each, and what is kept of each takes memory.
MOST_COMPARED = 5_000


def compares_pictures(units: Sequence[Unit]) -> bool:
    """Whether images of a unit are to show different things, and so must not be copies."""
    return any(unit.parts for unit in units)


def written(grey: NDArray[np.uint8] | None) -> str:
    """A small grey picture (H, W) as text; empty for none."""
    import cv2  # noqa: PLC0415  (0.1 s to import)

    if grey is None:
        return ""
    return base64.b64encode(cv2.imencode(".png", grey)[1].tobytes()).decode()


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
    if CONTENT not in predictions or not _columns(predictions, units):
        return found
    ids, paths = text_of(predictions["image_id"]), text_of(predictions["path"])
    stands_for = _stand_for(predictions, units)
    for alike in _places(text_of(predictions[CONTENT])):
        for i in alike if len(alike) > 1 else []:
            others = (j for j in alike if stands_for[j] != stands_for[i] and paths[j] != paths[i])
            other = next(others, None)
            found[i] = "" if other is None else str(ids[other])
    return found


def changed_copies(
    predictions: pd.DataFrame, units: Sequence[Unit], *, workers: int = 1
) -> NDArray[np.object_]:
    """The other input (N,) that shows the same picture, changed, and stands for something else.

    Args:
        predictions: with ``small_picture``; empty where there is none.
        units: those with parts are compared within the outermost of them, and all inputs with
            each other, if these are at most ``MOST_COMPARED``.
        workers: threads.

    Returns:
        image ids, of the same patient before those of others, the most alike first; empty
        where there is none.
    """
    found = np.full(len(predictions), "", dtype=object)
    within = [unit for unit in units if unit.parts]
    outer = min(within, key=lambda unit: len(unit.columns), default=None)
    if PICTURE not in predictions or outer is None or not set(outer.columns) <= set(predictions):
        return found
    ids, pictures = text_of(predictions["image_id"]), text_of(predictions[PICTURE])
    paths, stands_for = text_of(predictions["path"]), _stand_for(predictions, units)
    names = zip(*(text_of(predictions[column]) for column in outer.columns), strict=True)
    owners = np.array(["\0".join(cells) if all(cells) else "" for cells in names], dtype=object)
    groups = [
        [i for i in at if pictures[i]]
        for at in _places(owners)
        if len({stands_for[i] for i in at}) > 1
    ]

    def compare(at: list[int], threads: int = 1) -> list[tuple[float, int, int]]:
        facts = [Facts(f"{i:09d}", sha256=str(i), grey=_read(pictures[i])) for i in at]
        pairs, _ = moved_copies(facts, workers=threads)
        return [(pair.agreement, int(pair.first), int(pair.second)) for pair in pairs]

    everywhere = (
        np.flatnonzero(pictures != "").tolist() if is_compared_with_all(predictions) else []
    )
    for alike in [*in_threads(compare, groups, workers=workers), compare(everywhere, workers)]:
        for _, i, j in sorted(alike, reverse=True):
            if stands_for[i] != stands_for[j] and paths[i] != paths[j]:
                found[i], found[j] = found[i] or str(ids[j]), found[j] or str(ids[i])
    return found


def is_compared_with_all(predictions: pd.DataFrame) -> bool:
    """Whether changed copies are looked for among all inputs and not within a patient alone."""
    return PICTURE in predictions and int((predictions[PICTURE] != "").sum()) <= MOST_COMPARED


def _read(text: str) -> NDArray[np.uint8]:
    """The picture that ``written`` wrote."""
    import cv2  # noqa: PLC0415

    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _columns(predictions: pd.DataFrame, units: Sequence[Unit]) -> list[str]:
    """The columns that say what an input stands for."""
    named = (name for unit in units for name in (*unit.columns, unit.parts_are))
    return [name for name in dict.fromkeys(named) if name in predictions]


def _stand_for(predictions: pd.DataFrame, units: Sequence[Unit]) -> list[tuple[Any, ...]]:
    """What each input stands for; one that does not say it stands for itself."""
    ids = text_of(predictions["image_id"])
    columns = _columns(predictions, units)
    cells = zip(*(text_of(predictions[name]) for name in columns), strict=True)
    return [key if all(key) else (*key, ids[i]) for i, key in enumerate(cells)]


def _places(names: NDArray[Any]) -> list[list[int]]:
    """Where each name but the empty one stands, in order of first appearance."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if name:
            found.setdefault(str(name), []).append(i)
    return list(found.values())

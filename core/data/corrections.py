"""Labels corrected by a person: a table of images and labels laid over those of the data.

``predictions.html`` saves such a table. It changes labels only, in the manifest of the training;
no file of the data is touched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.base.words import quantity
from core.data.tables_in import read_cells, read_frame
from core.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from core.app import Manifest

__all__ = ["corrected"]


def corrected(manifest: Manifest, file: Path) -> Manifest:
    """The manifest with the labels of a table of corrections.

    Args:
        manifest: of the training's data.
        file: CSV with the columns ``image_id`` and ``label``; others are ignored. An
            empty label counts as none of the classes. An image that was predicted from
            another folder (``a.png``, in the data ``train/a.png``) is found by the end of its
            path where only one image of the data has it.

    Raises:
        ManifestError: the table lacks a column, names an image twice with different
            labels, or names no image of the data.
    """
    table = read_frame(read_cells(file)).fillna("").astype(str)
    missing = [name for name in ("image_id", "label") if name not in table]
    if missing:
        msg = (
            f"{file}: has no column {' and no column '.join(missing)}. A table of corrections "
            "needs image_id and label, as predictions.html saves it."
        )
        raise ManifestError(msg)
    given = table.drop_duplicates(["image_id", "label"])
    twice = given["image_id"][given["image_id"].duplicated()]
    if len(twice):
        msg = (
            f"{file}: {quantity(twice.nunique(), 'image')} with two different labels (first: "
            f"{twice.iloc[0]}). Keep one row for each image."
        )
        raise ManifestError(msg)
    labels = dict(zip(given["image_id"], given["label"], strict=True))
    rows = manifest.table.copy()
    ids = rows["image_id"].astype(str)
    there = _of_data(labels, ids)
    labels = {there[name]: label for name, label in labels.items()}
    known = ids.isin(labels)
    if not known.any():
        msg = (
            f"{file}: none of its {quantity(len(labels), 'image')} is in the data (first: "
            f"{next(iter(labels), '')}; the data begin with {ids.iloc[0]}). Corrections belong to "
            "the folder that was predicted: pass that folder, or leave --corrections out."
        )
        raise ManifestError(msg)
    new = ids[known].map(labels)
    changed = int((rows.loc[known, "label"].fillna("").astype(str) != new).sum())
    rows.loc[known, "label"] = new
    left = len(labels) - int(known.sum())
    agreed = int(known.sum()) - changed
    note = f"{quantity(changed, 'label')} changed by {file.name}, {agreed:,} confirmed."
    if left:
        note += f" {quantity(left, 'image')} of it not in these data."
    return replace(manifest, table=rows, notes=(*manifest.notes, note))


def _of_data(names: Iterable[str], ids: pd.Series[str]) -> dict[str, str]:
    """The image of the data that each corrected one is; itself where none or several fit."""
    known = set(ids)
    by_file: dict[str, list[str]] = {}
    for one in ids:
        by_file.setdefault(one.rpartition("/")[2], []).append(one)
    found = {}
    for name in names:
        fit = [
            one
            for one in by_file.get(name.rpartition("/")[2], [])
            if one.endswith(f"/{name}") or name.endswith(f"/{one}")
        ]
        found[name] = fit[0] if name not in known and len(fit) == 1 else name
    return found

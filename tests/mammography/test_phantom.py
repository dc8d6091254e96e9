"""The phantom is the same for the same seed and is read as it was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from apps.mammography import APP
from core.app import Source

if TYPE_CHECKING:
    from pathlib import Path


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    one, two = (APP.phantom(tmp_path / name, 17, 5) for name in "ab")
    first = {p.relative_to(one): p.read_bytes() for p in sorted(one.rglob("*")) if p.is_file()}
    assert first == {
        p.relative_to(two): p.read_bytes() for p in sorted(two.rglob("*")) if p.is_file()
    }
    assert len(first) == 17 + 1 + 1  # images, one for processing, the table


def test_every_vendor_shows_the_lesion_where_the_table_says(tmp_path: Path) -> None:
    folder = APP.phantom(tmp_path, 48, 1)
    labels = pd.read_csv(folder / "labels.csv", keep_default_na=False).set_index("path")
    found = APP.index(Source(paths=(folder,), labelled=True, task=APP.task("pathology")))
    table = found.table[found.table["status"] == "ok"]
    assert len(table) == 48
    transform = APP.prepare((384, 192))
    seen = set()
    for row in table.to_dict("records"):
        pixels = APP.read({**row, "path": str(found.root / row["path"])})
        shown = pixels[..., 0] / 65535
        assert shown[:, [0, -1]].mean(axis=0).max() > 3 * shown[:, [0, -1]].mean(axis=0).min()
        side = "left" if shown[:, 0].mean() > shown[:, -1].mean() else "right"
        assert side == {"L": "left", "R": "right"}[row["laterality"]]
        done = transform({**row, "image": pixels})
        assert done["chest_side"] == side
        lesion = labels.loc[row["image_id"], "lesions"]
        if row["label"] == "malignant":
            r, c, radius = (float(v) for v in lesion.split())
            r, c, radius = r * 384, c * 288, radius * 384
            rows, columns = np.ogrid[:384, :288]
            away = np.hypot(rows - r, columns - c)
            assert (
                np.percentile(shown[away < radius], 97)
                > shown[(away > 1.6 * radius) & (away < 2.5 * radius)].mean() + 0.1
            )
            seen.add(row.get("manufacturer"))
    assert seen >= {"GE", ""}

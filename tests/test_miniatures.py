"""Every public set of an app, in small: recognised, or refused with what is not as published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from core.cards.card import all_cards
from core.errors import ManifestError
from tests.miniatures import crop_disease, mammography, retinopathy
from tests.miniatures.sets import MINIATURES, look_at

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize("module", [crop_disease, mammography, retinopathy])
def test_every_set_of_an_app_has_a_miniature(module: ModuleType) -> None:
    app = module.APP
    cards = {name for name, file in all_cards().items() if file.card.app == app.name}
    assert cards == {name for name, small in MINIATURES.items() if small.app is app}


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_recognised(name: str, tmp_path: Path) -> None:
    small = MINIATURES[name]
    small.write(tmp_path)
    found = look_at(small.app, tmp_path)
    assert found.cards == (name,)
    ok = found.table[found.table["status"] == "ok"]
    assert len(ok) >= 4
    assert len(set(ok["label"])) >= 2
    assert set(ok["label"]) <= set(small.app.tasks[0].classes or ok["label"])
    if small.app is mammography.APP:
        assert (ok["group"] != "").all()
        assert "patient" in found.group_rule
    # A card that is named reads the same.
    named = look_at(small.app, tmp_path, card=name).table
    for column in ("image_id", "status", "label"):
        assert named[column].equals(found.table[column])


@pytest.mark.parametrize("name", MINIATURES)
def test_a_renamed_column_or_class_is_an_error_with_a_diff(name: str, tmp_path: Path) -> None:
    small = MINIATURES[name]
    small.write(tmp_path)
    place = tmp_path / small.place
    if place.is_dir():
        (place / small.old).rename(place / small.new)
    else:
        text = place.read_text()
        assert small.old in text
        place.write_text(text.replace(small.old, small.new, 1))
    if name == "ddr":
        # It is known by any of its lists.
        for other in ("valid", "test"):
            place.with_name(f"{other}.txt").write_text("007.jpg;4\n")
    with pytest.raises(ManifestError) as caught:
        look_at(small.app, tmp_path)
    words = str(caught.value)
    assert small.told in words
    assert f"+ {small.new}" in words or name == "ddr"
    assert "--card none" in words


@pytest.mark.parametrize("name", MINIATURES)
def test_a_missing_file_is_counted(name: str, tmp_path: Path) -> None:
    small = MINIATURES[name]
    small.write(tmp_path)
    before = look_at(small.app, tmp_path)
    ok = before.table[before.table["status"] == "ok"]
    first = before.root / ok["path"].iloc[0]
    # The table of this set lists patients, so all files of one must be gone.
    for file in list(first.parent.iterdir()) if name == "cmmd" else [first]:
        file.unlink()
    notes = " ".join(look_at(small.app, tmp_path).notes)
    if (tmp_path / small.place).is_dir():
        n, total = len(ok) - 1, all_cards()[name].card.counts.images
        assert f"{n:,} of {total:,} published images are here" in notes
    else:
        assert re.search(r"\b1 of [^.]*listed images are not there", notes), notes

"""Public mammography sets: what is particular to each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from apps.mammography import APP
from core.app import Source
from core.data.recognition import index_with_cards
from core.errors import ConfigError, ManifestError
from core.verbs.check import check
from tests.miniatures.mammography import (
    cbis_ddsm,
    cmmd,
    csaw_cc,
    dicom,
    embed,
    inbreast,
    rsna2023,
    vindr_mammo,
)
from tests.miniatures.sets import look_at, table

if TYPE_CHECKING:
    from core.app import Manifest

DATA = Path(__file__).parents[3] / "shared" / "data"
look = partial(look_at, APP)


def labels(found: Manifest) -> dict[str, str]:
    rows = found.table[found.table["status"] == "ok"]
    return dict(zip(rows["image_id"], rows["label"], strict=True))


def of(found: Manifest, part: str) -> list[str]:
    return [label for name, label in labels(found).items() if part in name]


def test_none_reads_the_folder_as_any_other(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    found = look(tmp_path, card="none")
    assert found.cards == ()
    # A label column that the user names does not change whose data these are.
    source = Source(paths=(tmp_path,), labelled=True, task=APP.task("cancer"), label="cancer")
    assert index_with_cards(APP, source, None)[0].cards == ("rsna2023",)


def test_cbis_patients_in_both_parts_train_and_are_counted(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path)
    found = look(tmp_path)
    splits = found.table.groupby("group")["split"].agg(set).to_dict()
    assert splits == {
        "P_00001": {"train"},
        "P_00002": {"train"},
        "P_00003": {"train"},
        "P_00004": {"test"},
    }
    assert any("1 patients stand in the training set of one kind" in note for note in found.notes)
    assert set(found.table["density"]) == {"C"}


def test_cbis_without_its_tables_is_known_by_its_headers(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path)
    for file in tmp_path.glob("*.csv"):
        file.unlink()
    dicom(tmp_path / "other.dcm", 99, PatientID="someone")
    found = look(tmp_path)
    assert found.cards == ("cbis_ddsm",)
    assert set(labels(found).values()) == {""}
    assert len(labels(found)) == 6
    assert any("no label is known" in note for note in found.notes)
    assert "its header is not one of CBIS-DDSM" in set(found.table["reason"])


def test_a_folder_without_any_label_can_be_looked_at(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path / "films")
    for file in (tmp_path / "films").glob("*.csv"):
        file.unlink()
    done = check("mammography", tmp_path / "films", tmp_path / "out", progress=False)
    assert (done["cards"], done["counts"]["ok"]) == (["cbis_ddsm"], 6)
    verdicts = {entry["name"]: entry["verdict"] for entry in done["checks"]}
    assert verdicts["classes"] == verdicts["shortcut_file"] == "cannot be checked"
    assert verdicts["readable"] == "passed"


@pytest.mark.parametrize("name", ["INbreast.xls", "CMMD_clinicaldata_revision.xlsx"])
def test_a_table_that_is_a_spreadsheet_is_named(name: str, tmp_path: Path) -> None:
    dicom(tmp_path / "D1-0001" / "1.dcm", 1)
    (tmp_path / name).write_bytes(b"sheet")
    with pytest.raises(ManifestError, match=r"Save its first sheet as \.xlsx or CSV"):
        look(tmp_path)


def test_the_copy_of_cbis_ddsm_as_jpeg_is_the_set(tmp_path: Path) -> None:
    cbis_ddsm(tmp_path / "published")
    before = look(tmp_path / "published")
    uid = "1.3.6.1.4.1.9590.100.1.2.{}"
    (tmp_path / "copy" / "csv").mkdir(parents=True)
    n = 0
    for file in sorted((tmp_path / "published").glob("*.csv")):
        heading, *rows = file.read_text().splitlines()
        lines = [heading]
        for row in rows:
            n += 1
            lines.append(row.replace("/1/2/0.dcm", f"/{uid.format(n)}0/{uid.format(n)}/0.dcm"))
            # The full film, and a cut-out in a series of its own that no row names.
            for name, value in ((uid.format(n), n), (f"{uid.format(n)}9", n + 50)):
                place = tmp_path / "copy" / "jpeg" / name / "1-1.jpg"
                place.parent.mkdir(parents=True)
                Image.fromarray(np.full((8, 8), value, np.uint8)).save(place)
        (tmp_path / "copy" / "csv" / file.name).write_text("\n".join(lines))
    after = look(tmp_path / "copy")
    assert after.cards == ("cbis_ddsm",)

    def known(found: Manifest) -> list[tuple[str, ...]]:
        ok = found.table[found.table["status"] == "ok"]
        names = ["label", "laterality", "view", "split"]
        return sorted(tuple(row) for row in ok[names].itertuples(index=False))

    assert known(after) == known(before)
    assert (after.table["status"] == "skipped").sum() == n


def test_what_counts_as_cancer_in_birads_is_a_choice(tmp_path: Path) -> None:
    vindr_mammo(tmp_path / "v")
    inbreast(tmp_path / "i")
    before = look(tmp_path / "v")
    assert sorted(of(before, "s0")) == ["no", "no", "yes", "yes"]
    assert of(before, "s1") == ["no", "no"]
    after = look(tmp_path / "v", options={"birads-cancer": "4,5"})
    assert sorted(of(after, "s1")) == ["no", "no", "yes", "yes"]
    assert any("as asked" in note and "bi-rads 4 as yes" in note for note in after.notes)
    assert list(labels(look(tmp_path / "i")).values()).count("yes") == 3
    fewer = look(tmp_path / "i", options={"birads-cancer": "5,6"})
    assert list(labels(fewer).values()).count("yes") == 2
    # 4a counted by the card and is not named: it is neither.
    assert len(labels(fewer)) == 7
    mapped = look(tmp_path / "v", options={"label-map": "BI-RADS 4=no"})
    assert of(mapped, "s1") == ["no"] * 4
    with pytest.raises(ConfigError, match="not a list of BI-RADS"):
        look(tmp_path / "v", options={"birads-cancer": "high"})


def test_inbreast_patients_come_from_the_names_and_ml_is_mlo(tmp_path: Path) -> None:
    inbreast(tmp_path)
    found = look(tmp_path)
    assert found.table["group"].nunique() == 2
    assert set(found.table["view"]) == {"CC", "MLO"}


def test_embed_findings_meet_images_by_exam_and_side(tmp_path: Path) -> None:
    embed(tmp_path)
    found = look(tmp_path)
    # Left of 501 has invasive cancer; its right is negative, one of its views is a spot view.
    assert of(found, "/501/") == ["yes", "yes", "no"]
    # Right of 502 is BI-RADS 4 without pathology: neither; its left is negative.
    assert of(found, "/502/") == ["no", "no"]
    reasons = set(found.table["reason"])
    assert "is a spot or magnified view" in reasons
    assert found.table["group"].nunique() == 2
    assert any("path_severity" in note and "dropped" in note for note in found.notes)
    assert any("may not be released" in note for note in found.notes)
    assert "path_severity" not in found.table
    mapped = look(tmp_path, options={"label-map": "birads S=yes"})
    assert of(mapped, "/502/") == ["no", "no", "yes", "yes"]


def test_csaw_takes_the_side_and_the_time_of_the_cancer(tmp_path: Path) -> None:
    csaw_cc(tmp_path)
    found = look(tmp_path)
    assert of(found, "00000_") == ["yes", "yes"]
    assert of(found, "00001_") == []
    assert of(found, "00002_") == ["no"] * 4
    assert of(look(tmp_path, options={"label-map": "timing 3=yes"}), "00001_") == ["yes", "yes"]
    assert not any(str(column).startswith(("x_", "rad_")) for column in found.table)


def test_cmmd_rows_are_of_one_breast(tmp_path: Path) -> None:
    cmmd(tmp_path)
    found = look(tmp_path)
    assert sorted(labels(found).values()) == ["no", "no", "yes", "yes"]
    assert set(found.table.loc[found.table["status"] == "ok", "laterality"]) == {"R"}


def test_images_to_score_need_no_table(tmp_path: Path) -> None:
    csaw_cc(tmp_path)
    dicom(tmp_path / "later.dcm", 77, ImageLaterality="L", ViewPosition="CC")
    # CSAW-CC has no density: that must not keep a density model from reading its images.
    source = Source(paths=(tmp_path,), labelled=False, task=APP.task("density"))
    found = APP.index(source).table
    images = found[found["path"].str.endswith(".dcm")]
    assert (len(images), set(images["status"])) == (13, {"ok"})
    source = Source(paths=(tmp_path,), labelled=False, task=APP.task("cancer"))
    found = APP.index(source).table
    assert (len(found), set(found["label"]), set(found["status"])) == (13, {""}, {"ok"})


def test_a_split_or_group_of_the_table_is_taken_with_what_else_the_set_says(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    rows = (tmp_path / "train.csv").read_text().splitlines()
    lines = [f"{row},{'train' if ',10006,' in row else 'val'}" for row in rows[1:]]
    table(tmp_path / "train.csv", f"{rows[0]},split", *lines)
    found = look(tmp_path)
    assert found.table.groupby("patient")["split"].agg(set).to_dict() == {
        **{"10006": {"train"}, "10011": {"val"}}
    }
    source = Source(paths=(tmp_path,), labelled=True, task=APP.task("cancer"), group="machine_id")
    by_machine = index_with_cards(APP, source, None)[0]
    assert by_machine.cards == ("rsna2023",)
    assert set(by_machine.table["group"]) == {"29"}
    assert set(by_machine.table["site"]) == {"2"}
    # The table itself may be named as well as its folder.
    assert labels(look(tmp_path / "train.csv")) == labels(found)


def test_rsna_outcomes_are_dropped_and_said(tmp_path: Path) -> None:
    rsna2023(tmp_path)
    found = look(tmp_path)
    assert {"biopsy", "invasive", "BIRADS"}.isdisjoint(found.table)
    assert any("biopsy, invasive, BIRADS" in note and "dropped" in note for note in found.notes)


@pytest.mark.skipif(not (DATA / "mammo_film").is_dir(), reason="no mini-MIAS here")
def test_the_real_films() -> None:
    found = look(DATA / "mammo_film", "pathology")
    assert found.cards == ("mini_mias",)
    assert found.table["group"].nunique() == 161
    counts = found.table["label"].value_counts().to_dict()
    assert sum(counts.values()) == 322
    assert counts["normal"] > counts["benign"] > counts["malignant"]


@pytest.mark.skipif(not (DATA / "mammo_dicom").is_dir(), reason="no real DICOM mammograms here")
def test_the_real_exam() -> None:
    found = look(DATA / "mammo_dicom")
    assert found.cards == ("cbis_ddsm",)
    ok = found.table[found.table["status"] == "ok"]
    assert (len(ok), ok["exam"].nunique(), set(ok["group"])) == (4, 1, {"P_00820"})
    assert set(found.table["status"]) == {"ok", "skipped"}

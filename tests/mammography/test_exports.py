"""What a prediction writes: the right things, at the right place, and nobody's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from apps.mammography import APP
from core.app import ExportContext, Source
from core.evaluation.doubt import DoubtRule, decide_all
from core.evaluation.doubt_marks import with_far_ones

if TYPE_CHECKING:
    from pathlib import Path

CANARIES = ("CANARYNAME", "CANARYID", "CANARYPRIVATE", "CANARYDOCTOR", "19440404", "CANARYSITE")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight phantom images whose headers are full of canaries."""
    folder = APP.phantom(tmp_path_factory.mktemp("phantom"), 16, 3)
    for path in folder.rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientName = "CANARYNAME^JANE"
        data.PatientID = f"CANARYID-{data.PatientID}"
        data.PatientBirthDate = data.StudyDate = data.AcquisitionDate = "19440404"
        data.ReferringPhysicianName = data.OperatorsName = "CANARYDOCTOR"
        data.InstitutionName = data.StationName = "CANARYSITE"
        data.Manufacturer = f"{data.Manufacturer} CANARYSITE"
        data.ImageComments = data.StudyDescription = "CANARYNAME"
        block = data.private_block(0x0011, "CANARYPRIVATE", create=True)
        block.add_new(0x01, "LO", "CANARYPRIVATE")
        data.save_as(path)
    return folder


def context(phantom: Path, out: Path, **options: Any) -> ExportContext:
    source = Source(paths=(phantom,), labelled=False, task=APP.tasks[0], options=options)
    found = APP.index(source)
    table = found.table.copy()
    table["path"] = [str(found.root / path) for path in table["path"]]
    ok = table[table["status"] == "ok"]
    rows = {row["image_id"]: row for row in ok.to_dict("records")}
    rng = np.random.default_rng(0)
    scores = rng.random(len(ok))
    predictions = ok.drop(columns=["path"]).assign(
        score_no=1 - scores,
        score_yes=scores,
        decision=np.where(scores > 0.5, "yes", "no"),
        model_id="abc",
        quality="",
    )
    exams = predictions.groupby("exam", sort=True).agg(
        score_yes=("score_yes", "max"), n_images=("image_id", "size")
    )
    exams = exams.reset_index().assign(n_failed=0)
    exams["unit"], exams["unit_id"] = "exam", exams["exam"]
    exams["decision"] = np.where(exams["score_yes"] > 0.5, "yes", "no")

    def spot(image_id: str) -> np.ndarray:
        pixels = APP.read(rows[image_id])
        heat = np.zeros(pixels.shape[:2], np.float32)
        top, left = blob(pixels)
        heat[top : top + 40, left : left + 40] = 1.0
        return heat

    return ExportContext(
        out=out,
        predictions=predictions,
        decisions={"exam": exams},
        manifest=table,
        task=APP.tasks[0],
        run={"model_id": "abc"},
        options=options,
        read=lambda image_id: APP.read(rows[image_id]),
        saliency=spot,
    )


def export(name: str, made: ExportContext) -> list[Path]:
    return list(next(e for e in APP.exports if e.name == name).write(made))


def test_no_canary_reaches_the_manifest_or_an_export(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    files = [*export("worklist", made), *export("overlays", made)]
    assert all(path.is_relative_to(tmp_path) for path in files)
    table = made.manifest.drop(columns=["path"]).to_csv().encode()
    for canary in CANARIES:
        assert canary.encode() not in table
        for path in tmp_path.rglob("*"):
            assert canary not in str(path)
            if path.is_file():
                assert canary.encode() not in path.read_bytes()


def test_notes_and_reasons_hold_no_canary(phantom: Path) -> None:
    found = APP.index(Source(paths=(phantom,), labelled=True, task=APP.tasks[0]))
    words = " ".join([*found.notes, found.group_rule, *found.table["reason"]])
    assert not any(canary in words for canary in CANARIES)


def test_the_worklist_is_ordered_and_complete(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False)
    exams = made.decisions["exam"]
    assert sorted(table["exam"]) == sorted(exams["unit_id"])
    assert table["score"].is_monotonic_decreasing
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert (table["triage"] == np.where(table["score"] > 0.5, "priority", "routine")).all()
    # Four exams: (rank from below - 1/2) / 4.
    assert table["percentile"].tolist() == [87.5, 62.5, 37.5, 12.5]


def test_exams_in_doubt_come_first_and_are_no_routine(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    exams = made.decisions["exam"].sort_values("score_yes").reset_index(drop=True)
    exams["doubt"] = ""
    # The highest is unlike the training, the next has no score at all.
    exams = (
        exams[::-1].reset_index(drop=True).assign(n_unfamiliar=[4, 0, 0, 0], n_poor=0, n_images=4)
    )
    exams.loc[0, "doubt"] = "4 of 4 images unlike the training images"
    assert exams["decision"][0] == "yes"
    exams.loc[1, ["score_yes", "decision"]] = [np.nan, "open"]
    exams.loc[1, "doubt"] = "4 of 4 images not read"
    made = ExportContext(**{**made.__dict__, "decisions": {"exam": exams}})
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv")
    assert table["section"].tolist() == ["in doubt", "in doubt", "by score", "by score"]
    assert table["exam"].tolist()[:2] == [exams["exam"][1], exams["exam"][0]]
    # Positive, of images that the model does not know: neither open nor a priority.
    assert table["triage"].tolist()[:2] == ["open", "in doubt"]
    assert set(table["decided"]) == {"no threshold in use: class of the highest score"}
    assert table["doubt"].tolist()[1] == "4 of 4 images unlike the training images"


def test_the_worklist_says_of_an_exam_what_every_table_says(phantom: Path, tmp_path: Path) -> None:
    made = context(phantom, tmp_path)
    # One exam lacks a view, of one an image failed; all scores are low.
    table = made.predictions.assign(
        reason="", score_yes=0.1, score_no=0.9, predicted="no", unfamiliar=False
    )
    exams = sorted(set(table["exam"]))
    table = table.drop(table[table["exam"] == exams[0]].index[0])
    row = table[table["exam"] == exams[1]].index[0]
    table["status"] = table["status"].astype(object)
    table.loc[row, ["status", "reason"]] = ["failed", "cut short"]
    predictions, decisions = decide_all(
        table,
        task=made.task,
        units=APP.units,
        threshold=0.5,
        rule=DoubtRule(),
        withheld="",
    )
    changed = {"predictions": predictions, "decisions": decisions}
    export("worklist", ExportContext(**{**made.__dict__, **changed}))
    listed = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False).set_index("exam")
    known = decisions["exam"].set_index("unit_id")
    for name, row in listed.iterrows():
        assert row["decision"] == known.loc[name, "decision"]
        assert row["doubt"] == known.loc[name, "doubt"]
        assert (row["triage"] == "open") == (row["decision"] == "open")
    assert {name: listed.loc[name, "decision"] for name in exams} == {
        **dict.fromkeys(exams, "no"),
        exams[0]: "open",
        exams[1]: "open",
    }


def test_an_exam_with_a_leaf_is_no_routine_also_where_doubt_is_accepted(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path)
    leaves, leaf, leaves_high, whole = sorted(made.decisions["exam"]["unit_id"])
    table = made.predictions.assign(
        reason="", score_yes=0.1, score_no=0.9, predicted="no", embedding_distance=1.0
    )
    is_leaf = table["exam"].isin([leaves, leaves_high])
    first = table.index[table["exam"] == leaf][0]
    is_leaf[first] = True
    lost = f"{table.loc[first, 'laterality']} {table.loc[first, 'view']}"
    table.loc[is_leaf, "embedding_distance"] = 3.0
    table.loc[table["exam"] == leaves_high, ["score_yes", "predicted"]] = [0.9, "yes"]
    found = {}
    for accept in (False, True):
        predictions, decisions = decide_all(
            with_far_ones(table.assign(unfamiliar=is_leaf), 1.1, accepted=accept),
            task=made.task,
            units=APP.units,
            threshold=0.5,
            rule=DoubtRule(accept=accept),
            withheld="",
        )
        changed = {"predictions": predictions, "decisions": decisions, "accept_doubtful": accept}
        run = {"model_id": "abc", "unfamiliar_above": 1.1}
        export("worklist", ExportContext(**{**made.__dict__, **changed, "run": run}))
        listed = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False).set_index("exam")
        columns = ["section", "decision", "triage"]
        found[accept] = {name: tuple(listed.loc[name, columns]) for name in listed.index}
        word = "perhaps not of the kind" if accept else "of another kind"
        assert [word in listed.loc[name, "doubt"] for name in (leaves, leaf, whole)] == [1, 1, 0]
        # The view that the leaf is called is one that nobody imaged, unless it passes for one.
        missing = {name: view for name, view in listed["missing_views"].items() if view}
        assert missing == ({} if accept else {leaf: lost})
        assert listed.loc[leaf, "n_ungradable"] == (0 if accept else 1)
    no = {leaf: ("in doubt", "open", "open"), whole: ("by score", "no", "routine")}
    held = ("in doubt", "withheld", "withheld")
    assert found[False] == {**no, leaves: held, leaves_high: held}
    # Decided as asked, but never negative, and nobody is called for a leaf.
    assert found[True] == {
        **no,
        leaves: ("in doubt", "open", "open"),
        leaves_high: ("in doubt", "yes", "in doubt"),
    }


def test_a_view_that_is_positive_alone_is_named_beside_the_decision(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path)
    first, *others = sorted(made.decisions["exam"]["unit_id"])
    table = made.predictions.assign(reason="", score_yes=0.1, score_no=0.9, predicted="no")
    # The mean of this breast is (.7 + .1) / 2.
    table.loc[table.index[table["exam"] == first][0], ["score_yes", "predicted"]] = [0.7, "yes"]
    predictions, decisions = decide_all(
        table, task=made.task, units=APP.units, threshold=0.5, rule=DoubtRule(), withheld=""
    )
    changed = {"predictions": predictions, "decisions": decisions}
    export("worklist", ExportContext(**{**made.__dict__, **changed}))
    listed = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False).set_index("exam")
    assert listed["positive_alone"].to_dict() == {
        first: "1 of 4 images is positive on its own",
        **dict.fromkeys(others, ""),
    }
    # A mark and no doubt: the exam has the mean of its views.
    assert listed.loc[first, ["decision", "triage", "doubt"]].tolist() == ["no", "routine", ""]
    breasts = decisions["breast"]
    is_first = breasts["unit_id"].str.startswith(f"{first}/")
    assert sorted(breasts.loc[is_first, "n_positive_alone"]) == [0, 1]
    assert not breasts.loc[~is_first, "n_positive_alone"].any()


def test_an_image_without_an_exam_is_no_routine_in_a_run_that_knows_no_exams(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path)
    alone = made.predictions.drop(columns=["exam", "missing_views"], errors="ignore")
    alone["decision"] = ["yes"] + ["no"] * (len(alone) - 1)
    changed = {"predictions": alone, "decisions": {}}
    export("worklist", ExportContext(**{**made.__dict__, **changed}))
    listed = pd.read_csv(tmp_path / "worklist.csv", keep_default_na=False)
    assert set(zip(listed["decision"], listed["triage"], strict=True)) == {
        ("yes", "priority"),
        ("no", "open"),
    }
    for column in ("doubt", "missing_views"):
        assert set(listed[column]) == {"one image alone: no exam known"}


def test_an_exam_is_named_as_its_reader_knows_it_only_where_asked(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path, **{"keep-identifiers": True})
    export("worklist", made)
    table = pd.read_csv(tmp_path / "worklist.csv", dtype=str)
    of_exam = made.manifest.drop_duplicates("exam").set_index("exam")["path"]
    for row in table.to_dict("records"):
        source = pydicom.dcmread(of_exam[row["exam"]])
        assert row["patient"] == source.PatientID
        assert row["study_date"] == source.StudyDate
    plain = tmp_path / "plain"
    plain.mkdir()
    export("worklist", context(phantom, plain))
    assert "patient" not in pd.read_csv(plain / "worklist.csv").columns


def test_overlays_show_a_blob_where_it_is_and_leave_the_rest_grey(
    phantom: Path, tmp_path: Path
) -> None:
    made = context(phantom, tmp_path)
    files = export("overlays", made)
    listing = pd.read_csv(tmp_path / "overlays" / "overlays.csv")
    assert len(listing) == len(files) - 1 == len(made.predictions)
    for image_id, name in zip(listing["image_id"], listing["file"], strict=True):
        with Image.open(tmp_path / "overlays" / name) as picture:
            shown = np.asarray(picture).astype(int)
        height, width = made.read(image_id).shape[:2]
        # The words stand below the picture, so its places are those of the source.
        assert shown.shape[0] > height
        assert shown.shape[1:] == (width, 3)
        coloured = np.ptp(shown[:height], axis=2) > 12
        top, left = blob(made.read(image_id))
        inner = coloured[top + 8 : top + 32, left + 8 : left + 32]
        assert inner.all()
        coloured[top - 8 : top + 48, left - 8 : left + 48] = False
        assert not coloured.any()


def blob(pixels: np.ndarray) -> tuple[int, int]:
    """Top and left of a square of 40 px in the breast, above and beside its middle."""
    rows, cols = np.nonzero(pixels[..., 0] > np.percentile(pixels[..., 0], 75))
    top = int(np.percentile(rows, 30)) - 20
    at_left = cols.mean() < pixels.shape[1] / 2
    return top, int(np.percentile(cols, 35 if at_left else 65)) - 20

"""Doubt about inputs and units: what is marked, what stays open, when nothing is decided."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest

from core.app import Task, Unit
from core.data.facts import grey_of
from core.evaluation import copies
from core.evaluation.copies import CONTENT, PICTURE, changed_copies, same_pictures, written
from core.evaluation.doubt import DoubtRule, decide_all, decides_nothing, prevailing_doubt
from core.evaluation.doubt_marks import with_far_ones
from core.evaluation.units import decisions_of
from core.verbs.predict import _with_unsaid

if TYPE_CHECKING:
    from pathlib import Path

    from core.runs.run import Run

TASK = Task(name="t", kind="binary", classes=("no", "yes"), positive=("yes",))
GRADES = Task(name="g", kind="ordinal", classes=("0", "1", "2"), positive=("1", "2"))
UNITS = (
    Unit(name="eye", columns=("patient", "eye"), rule="mean"),
    Unit(name="patient", columns=("patient",), rule="max", parts_are="eye", parts=("l", "r")),
)


def table(*rows: tuple[str, str, str, float | None]) -> pd.DataFrame:
    """Predictions from rows (image, patient, eye, score of yes; None failed)."""
    frame = pd.DataFrame(rows, columns=["image_id", "patient", "eye", "score_yes"])
    frame["score_no"] = 1 - frame["score_yes"]
    frame["status"] = ["failed" if pd.isna(s) else "ok" for s in frame["score_yes"]]
    frame["reason"] = ["" if s == "ok" else "cut short" for s in frame["status"]]
    return frame.assign(quality="", unfamiliar=False)


def decided(
    predictions: pd.DataFrame,
    withheld: str = "",
    *,
    task: Task = TASK,
    threshold: float | None = None,
    **rule: Any,
) -> dict[str, pd.DataFrame]:
    marked, found = decide_all(
        predictions,
        task=task,
        units=UNITS,
        threshold=threshold,
        rule=DoubtRule(**rule),
        withheld=withheld,
    )
    levels = {name: level.set_index("unit_id") for name, level in found.items()}
    return {**levels, "predictions": marked.set_index("image_id")}


def test_what_is_missing_or_failed_is_not_negative() -> None:
    found = decided(
        table(
            ("a", "whole", "l", 0.1),
            ("b", "whole", "r", 0.2),
            ("c", "one eye", "l", 0.1),
            ("d", "one eye, bad", "r", 0.9),
            ("e", "failed", "l", 0.1),
            ("f", "failed", "r", None),
            ("g", "unknown eye", "", 0.1),
        )
    )["patient"]
    assert found["decision"].to_dict() == {
        "whole": "no",
        "one eye": "open",
        "one eye, bad": "yes",
        "failed": "open",
        "unknown eye": "open",
    }
    assert found.loc["unknown eye", "doubt"] == "the image does not say which eye"
    assert found.loc["one eye", "missing"] == "r"
    assert found.loc["one eye", "doubt"] == "no image of eye r"
    assert found.loc["failed", "doubt"] == "1 of 2 images not read"
    # The class predicted is never touched.
    assert found.loc["one eye", "predicted"] == "no"


def test_an_exam_lacks_what_a_breast_of_it_lacks() -> None:
    seen = [(e, s, v) for e in ("whole", "three") for s in "LR" for v in ("CC", "MLO")]
    seen = [*seen[:-1], ("one", "L", "CC")]
    rows = pd.DataFrame(seen, columns=["exam", "side", "view"]).assign(
        score_yes=0.1, score_no=0.9, status="ok", reason="", quality="", unfamiliar=False
    )
    rows["image_id"] = [str(i) for i in range(len(rows))]
    units = (
        Unit(name="breast", columns=("exam", "side"), parts_are="view", parts=("CC", "MLO")),
        Unit(name="exam", columns=("exam",), rule="max", parts_are="side", parts=("L", "R")),
    )

    def exams(rows: pd.DataFrame) -> pd.DataFrame:
        _, tables = decide_all(
            rows, task=TASK, units=units, threshold=None, rule=DoubtRule(), withheld=""
        )
        return tables["exam"].set_index("unit_id")

    found = exams(rows)
    assert found["decision"].to_dict() == {"whole": "no", "three": "open", "one": "open"}
    assert found.loc["three", "doubt"] == "no image of R MLO"
    assert found.loc["one", "missing"] == "R|L MLO"
    # Four images that do not say what they show may be four of one view.
    found = exams(rows.assign(view=""))
    assert set(found["decision"]) == {"open"}
    assert found.loc["three", "doubt"] == (
        "L: 2 of 2 images do not say which view; R: the image does not say which view"
    )
    # Where not even the side is known, the view is no better known.
    found = exams(rows.assign(view="", side=""))
    assert found.loc["whole", "doubt"] == (
        "4 of 4 images do not say which side; 4 of 4 images do not say which view"
    )


def test_marks_are_counted_for_each_unit() -> None:
    rows = table(("a", "p", "l", 0.1), ("b", "p", "l", 0.2), ("c", "p", "r", 0.9))
    rows.loc[rows["image_id"] == "a", "unfamiliar"] = True
    rows.loc[rows["image_id"] == "b", "quality"] = "blurred"
    found = decided(rows)
    eye = found["eye"].loc["p/l"]
    assert (eye["n_unfamiliar"], eye["n_poor"], eye["n_failed"]) == (1, 1, 0)
    assert eye["doubt"] == "1 of 2 images unlike the training images; 1 of 2 images: blurred"
    assert found["image"].loc["a", "doubt"] == "unlike the training images"
    assert found["eye"].loc["p/r", "doubt"] == ""


def test_a_negative_decision_in_doubt_is_open_and_a_positive_one_stands() -> None:
    rows = table(("a", "p", "l", 0.1), ("b", "p", "r", 0.2), ("c", "q", "l", 0.9))
    for mark in ({"unfamiliar": True}, {"quality": "blurred"}):
        found = decided(rows.assign(**{name: [value] * 3 for name, value in mark.items()}))
        for level in ("predictions", "image"):
            assert found[level]["decision"].to_dict() == {"a": "open", "b": "open", "c": "yes"}
        assert found["patient"]["decision"].to_dict() == {"p": "open", "q": "yes"}
        stands = decided(rows.assign(**mark), accept=True)["patient"]["decision"]
        assert stands.to_dict() == {"p": "no", "q": "yes"}
    # Accepted or not: an eye without a photograph is not a healthy eye.
    alone = table(("a", "p", "l", 0.1), ("b", "q", "r", None))
    found = decided(alone, accept=True)
    assert set(found["patient"]["decision"]) == {"open"}
    assert found["predictions"].loc["b", "decision"] == "open"


def test_where_no_class_is_the_harmless_one_nothing_unlike_the_training_is_decided() -> None:
    leaves = Task(name="t", kind="multiclass", classes=("no", "yes"))
    rows = table(("a", "p", "l", 0.9), ("b", "p", "r", 0.1), ("c", "q", "l", 0.9))
    rows["unfamiliar"] = [True, False, True]
    found = decided(rows, task=leaves)
    assert list(found["predictions"]["decision"]) == ["open", "no", "open"]
    assert list(found["image"]["predicted"]) == ["yes", "no", "yes"]
    # Of the whole unit one image is like the training.
    assert dict(found["patient"]["decision"]) == {"p": "yes", "q": "open"}
    accepted = decided(rows, task=leaves, accept=True)["predictions"]["decision"]
    assert list(accepted) == ["yes", "no", "yes"]


def test_a_grade_that_the_threshold_decides_against_is_marked_in_every_table() -> None:
    rows = table(("a", "p", "l", 0.1), ("b", "p", "r", 0.2))
    rows = rows.drop(columns=["score_yes", "score_no"]).assign(
        score_0=[0.8, 0.4], score_1=[0.1, 0.45], score_2=[0.1, 0.15]
    )
    found = decided(rows, task=GRADES, threshold=0.7)
    for level, name in (("predictions", "b"), ("image", "b"), ("eye", "p/r"), ("patient", "p")):
        row = found[level].loc[name]
        assert (row["predicted"] if level != "predictions" else "1") == "1"
        assert row["decision"] == "open"
        assert row["doubt"] == "1 predicted, below the threshold"
    assert found["eye"].loc["p/l", "decision"] == "negative"
    # A threshold that refers more than the grade does is what screening asks for: no doubt.
    low = decided(rows, task=GRADES, threshold=0.1)["eye"].loc["p/l"]
    assert (low["predicted"], low["decision"], low["doubt"]) == ("0", "positive", "")


def test_what_says_nothing_of_its_unit_does_not_count_for_it() -> None:
    rows = table(("a", "p", "l", 0.9), ("b", "p", "l", 0.1), ("c", "p", "r", 0.1))
    rows["quality"] = ["ungradable: dark", "", ""]
    found = decided(rows)
    assert found["eye"].loc["p/l", "score_yes"] == 0.1
    assert found["eye"].loc["p/l", "decision"] == "open"
    assert found["predictions"]["decision"].to_dict() == {"a": "open", "b": "no", "c": "no"}


def test_one_image_positive_on_its_own_keeps_a_unit_open_where_the_app_says_so() -> None:
    # The left eye of p: .78 and .02, mean .40; of q both photographs agree.
    rows = table(
        *(("a", "p", "l", 0.78), ("b", "p", "l", 0.02), ("c", "p", "r", 0.1)),
        *(("d", "q", "l", 0.1), ("e", "q", "l", 0.2), ("f", "q", "r", 0.1)),
    )
    heeding = [replace(unit, heeds_each=True) for unit in UNITS]
    for accept, units in itertools.product((False, True), (heeding, UNITS)):
        _, found = decide_all(
            rows,
            task=TASK,
            units=units,
            threshold=0.5,
            rule=DoubtRule(accept=accept),
            withheld="",
        )
        eyes, patients = (found[name].set_index("unit_id") for name in ("eye", "patient"))
        is_heeded = units is heeding
        assert eyes.loc["p/l", "decision"] == ("open" if is_heeded else "no")
        assert patients["decision"].to_dict() == {"p": "open" if is_heeded else "no", "q": "no"}
        for row, of in ((eyes.loc["p/l"], 2), (patients.loc["p"], 3)):
            assert row["doubt"] == (f"1 of {of} images is positive on its own" * is_heeded)
        assert eyes.loc["p/r", "doubt"] == patients.loc["q", "doubt"] == ""


def test_what_is_not_gradable_is_never_decided_and_is_no_failure() -> None:
    rows = table(("a", "p", "l", 0.9), ("b", "p", "r", 0.1), ("c", "q", "l", None))
    rows["quality"] = ["ungradable: dark", "", ""]
    for accept in (False, True):
        found = decided(rows, accept=accept)
        assert found["predictions"].loc["a", "decision"] == "open"
        assert found["image"].loc["a", "decision"] == "open"
        patient = found["patient"].loc["p"]
        assert (patient["decision"], patient["n_images"]) == ("open", 1)
        assert (patient["n_failed"], patient["n_ungradable"], patient["n_poor"]) == (0, 1, 0)
        assert "1 of 2 images not gradable or of another kind" in patient["doubt"]
        failed = found["patient"].loc["q"]
        assert (failed["n_failed"], failed["n_ungradable"]) == (1, 0)
        other = decided(rows.assign(quality=["not an eye", "", ""]), accept=accept)
        assert other["predictions"].loc["a", "decision"] == "withheld"
        assert other["eye"].loc["p/l", "decision"] == "withheld"


def test_one_picture_under_two_names_is_not_negative_even_where_doubt_is_accepted() -> None:
    rows = table(
        *(("a", "p", "l", 0.1), ("b", "p", "r", 0.1), ("c", "q", "l", 0.1), ("d", "q", "l", 0.1)),
        *(("e", "q", "r", 0.2), ("f", "s", "l", 0.9), ("g", "s", "r", 0.9)),
    )
    rows["path"] = rows["image_id"]
    rows[CONTENT] = ["1", "1", "2", "2", "3", "4", "4"]
    same = same_pictures(rows, UNITS)
    # Two photographs of one eye may be one file; nothing is missing then.
    assert same.tolist() == ["b", "a", "", "", "", "g", "f"]
    caution = [f"the same picture as {name}" if name else "" for name in same]
    for accept in (False, True):
        found = decided(rows.assign(same_as=same, caution=caution), accept=accept)
        assert found["patient"]["decision"].to_dict() == {"p": "open", "q": "no", "s": "yes"}
        assert found["predictions"].loc["a", "decision"] == "open"
        assert found["predictions"].loc["a", "doubt"] == "the same picture as b"
    assert found["patient"].loc["p", "doubt"] == (
        "2 of 2 images: the same picture as b, the same picture as a"
    )


def _retina(seed: int) -> np.ndarray:
    """A disc (200, 200, 3) with vessels that branch from one side, as no other seed has them."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(picture, (100, 100), 95, (150, 80, 40), -1)
    for _ in range(14):
        points = [np.array([150.0, 100.0])]
        heading = rng.uniform(0, 2 * np.pi)
        for _ in range(12):
            heading += rng.normal(0, 0.4)
            points.append(points[-1] + 12 * np.array([np.cos(heading), np.sin(heading)]))
        line = np.round(points).astype(np.int32)
        cv2.polylines(picture, [line], isClosed=False, color=(90, 25, 15), thickness=2)
    inside = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 95, 1, -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8) * inside[..., None])


def _as_jpeg(pixels: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


CHANGES = {
    "saved anew": _as_jpeg,
    "resized": lambda p: cv2.resize(p, (130, 130), interpolation=cv2.INTER_AREA),
    "cropped": lambda p: np.ascontiguousarray(p[12:-8, 10:-10]),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "mirrored, cropped, saved": lambda p: _as_jpeg(np.ascontiguousarray(p[8:, ::-1][:, 8:])),
}


def test_a_changed_copy_as_another_eye_is_no_eye_and_a_fellow_eye_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [(name, "l", _retina(i), _retina(i)) for i, name in enumerate(CHANGES)]
    pictures = {f"{name} l": one for name, _, one, _ in rows}
    pictures |= {f"{name} r": CHANGES[name](same) for name, _, _, same in rows}
    # Mirror images in layout, as two eyes are; and two photographs of one eye, one saved anew.
    pictures |= {"two eyes l": _retina(50), "two eyes r": _retina(51)[:, ::-1]}
    pictures |= {"one eye l": _retina(52), "one eye l2": _as_jpeg(_retina(52))}
    frame = table(*((n, n.rsplit(" ", 1)[0], n.rsplit(" ", 1)[1][0], 0.1) for n in pictures))
    frame["path"] = frame["image_id"]
    frame[PICTURE] = [written(grey_of(np.ascontiguousarray(p))) for p in pictures.values()]
    found = dict(zip(frame["image_id"], changed_copies(frame, UNITS), strict=True))
    for name in CHANGES:
        assert (found[f"{name} l"], found[f"{name} r"]) == (f"{name} r", f"{name} l"), name
    assert not any(found[name] for name in pictures if name.startswith(("two", "one")))
    # In another patient: no eye of that patient was photographed.
    pictures["other l"] = CHANGES["mirrored, cropped, saved"](_retina(50))
    frame.loc[len(frame)] = {**frame.iloc[0], "image_id": "other l", "patient": "other", "eye": "l"}
    frame["path"] = frame["image_id"]
    frame[PICTURE] = [written(grey_of(np.ascontiguousarray(p))) for p in pictures.values()]
    between = dict(zip(frame["image_id"], changed_copies(frame, UNITS, workers=2), strict=True))
    assert (between["other l"], between["two eyes l"]) == ("two eyes l", "other l")
    assert {name: between[name] for name in found if name != "two eyes l"} == {
        name: other for name, other in found.items() if name != "two eyes l"
    }
    monkeypatch.setattr(copies, "MOST_COMPARED", len(frame) - 1)
    assert not any(changed_copies(frame, UNITS)[frame["image_id"] == "other l"])
    frame = frame[frame["image_id"] != "other l"]
    patients = decided(frame.assign(same_as=list(found.values())), accept=True)["patient"]
    assert set(patients.loc[list(CHANGES), "decision"]) == {"open"}
    assert patients.loc["two eyes", "decision"] == "no"


def test_a_photograph_that_does_not_say_which_eye_is_not_negative_in_any_table() -> None:
    rows = table(
        ("a", "p", "", 0.1), ("b", "p", "", 0.1), ("c", "q", "l", 0.1), ("d", "q", "r", 0.1)
    )
    found = decided(rows)
    assert found["predictions"]["decision"].to_dict() == {
        "a": "open",
        "b": "open",
        "c": "no",
        "d": "no",
    }
    assert found["predictions"].loc["a", "doubt"] == "the image does not say which eye"
    assert found["eye"]["decision"].to_dict() == {
        "a": "open",
        "b": "open",
        "q/l": "no",
        "q/r": "no",
    }
    assert found["patient"]["decision"].to_dict() == {"p": "open", "q": "no"}
    # Without a column of patients there is none of whom it could be the other eye.
    alone = decided(rows.drop(columns=["patient"]))
    assert set(alone["predictions"]["decision"]) == {"no"}


def test_pictures_that_say_nothing_at_all_are_not_negative_where_the_run_decides_about_units(
    tmp_path: Path,
) -> None:
    loose = table(("a", "", "", 0.1), ("b", "", "", 0.9)).drop(columns=["patient", "eye"])
    run = SimpleNamespace(path=tmp_path)
    for judged, decision in ((["image", "eye", "patient"], "open"), (["image"], "no")):
        (tmp_path / "metrics.json").write_text(json.dumps({"about": {"units": judged}}))
        found = decided(_with_unsaid(cast("Run", run), loose, UNITS))
        assert found["predictions"]["decision"].to_dict() == {"a": decision, "b": "yes"}
        assert found["image"].loc["a", "decision"] == decision
        if decision == "open":
            assert found["patient"]["decision"].to_dict() == {"a": "open", "b": "yes"}
            for level in ("predictions", "eye", "patient"):
                assert found[level].loc["a", "doubt"] == "the image does not say which eye"


def test_a_unit_says_the_faults_of_its_images_in_their_own_words() -> None:
    rows = table(*((name, "p", "l", 0.1) for name in "abcd"), ("e", "p", "r", 0.1))
    rows["quality"] = ["side differs", "blurred; side differs", "", "", "blurred"]
    found = decided(rows)
    assert found["eye"].loc["p/l", "doubt"] == "2 of 4 images: side differs; 1 of 4 images: blurred"
    assert "2 of 5 images: side differs" in found["patient"].loc["p", "doubt"]
    assert found["eye"].loc["p/r", "doubt"] == "blurred"


def test_what_lies_far_from_all_training_images_counts_for_nothing() -> None:
    # A leaf among the eyes, in which the app's own gate found nothing amiss.
    rows = table(("leaf", "p", "l", 0.99), ("eye", "p", "l", 0.2), ("other", "p", "r", 0.1))
    rows["predicted"] = ["yes", "no", "no"]
    rows["embedding_distance"], rows["unfamiliar"] = [4.4, 1.0, 1.0], [True, False, False]
    found = decided(with_far_ones(rows, 1.1))
    leaf = found["predictions"].loc["leaf"]
    assert (leaf["decision"], leaf["predicted"], leaf["score_yes"]) == ("withheld", "", 0.99)
    assert "4.0 times as far" in leaf["doubt"]
    eye = found["eye"].loc["p/l"]
    assert (eye["score_yes"], eye["predicted"], eye["decision"]) == (0.2, "no", "open")
    assert found["patient"].loc["p", "decision"] == "open"


def test_what_lies_far_is_decided_where_accepted_and_never_negative() -> None:
    rows = table(
        *(("leaf", "p", "l", 0.1), ("eye", "p", "r", 0.1)),
        *(("high leaf", "q", "l", 0.9), ("other", "q", "r", 0.1), ("x", "s", "l", 0.1)),
        ("y", "s", "r", 0.1),
    )
    rows["embedding_distance"] = [4.4, 1.0, 4.4, 1.0, 1.2, 1.0]
    rows["unfamiliar"] = rows["embedding_distance"] > 1.1
    found = decided(with_far_ones(rows, 1.1, accepted=True), accept=True)
    # Of s an image is unlike the training, and is decided as asked.
    assert found["patient"]["decision"].to_dict() == {"p": "open", "q": "yes", "s": "no"}
    assert found["predictions"].loc[["leaf", "eye"], "decision"].tolist() == ["open", "no"]
    assert "perhaps not of the kind in training: 4.0 times" in found["patient"].loc["p", "doubt"]
    assert found["eye"].loc["p/l", "score_yes"] == 0.1
    # The app's own gate says it already, and keeps it from being decided.
    gated = with_far_ones(rows.assign(quality="not an eye"), 1.1, accepted=True)
    assert not gated["is_far"].any()


def test_nothing_is_decided_where_every_decision_is_open_or_withheld() -> None:
    blind = table(("a", "p", "l", 0.9), ("b", "p", "r", 0.9))
    blind["quality"] = "not an eye"
    for rule in ({}, {"accept": True}):
        found = decided(blind, **rule)
        assert decides_nothing(found["predictions"], found, TASK)
    found = decided(blind.assign(quality=["", "not an eye"]))
    assert not decides_nothing(found["predictions"], found, TASK)
    # No label at all is a decision where labels do not exclude each other.
    many = Task(name="m", kind="multilabel", classes=("no", "yes"))
    none = decided(table(("a", "p", "l", 0.5)).assign(score_no=0.1, score_yes=0.1), task=many)
    assert not decides_nothing(none["predictions"], none, many)


def test_a_file_that_is_no_picture_has_no_decision_in_any_table_of_images() -> None:
    rows = table(("a", "p", "l", 0.1), ("b", "p", "r", None))
    rows["status"] = ["ok", "skipped"]
    found = decided(rows)
    assert found["predictions"]["decision"].to_dict() == {"a": "no", "b": ""}
    assert found["image"]["decision"].to_dict() == {"a": "no", "b": ""}
    assert found["patient"].loc["p", "decision"] == "open"


def test_views_and_frames_are_told_apart_as_they_should() -> None:
    rows = pd.DataFrame(
        {"image_id": list("abcd"), "path": list("abxx"), "exam": "1", "laterality": "L"}
    )
    rows["view"], rows[CONTENT] = ["CC", "MLO", "CC", "MLO"], ["1", "1", "2", "2"]
    units = [
        Unit(name="breast", columns=("exam", "laterality"), parts_are="view", parts=("CC", "MLO"))
    ]
    # One file cannot be a copy of itself: frames of a volume are often alike.
    assert same_pictures(rows, units).tolist() == ["b", "a", "", ""]
    assert same_pictures(rows, []).tolist() == [""] * 4


def test_abstaining_refers_what_is_in_doubt_and_nothing_else() -> None:
    rows = table(
        ("a", "p", "l", 0.1), ("b", "p", "r", 0.2), ("c", "q", "l", 0.1), ("d", "q", "r", 0.1)
    )
    rows.loc[rows["image_id"] == "a", "unfamiliar"] = True
    found = decided(rows, abstain=True)["patient"]["decision"]
    assert found.to_dict() == {"p": "referred", "q": "no"}


@pytest.mark.parametrize(("n_strange", "refused"), [(0, False), (5, False), (6, True), (10, True)])
def test_nothing_is_decided_where_most_are_of_another_kind(
    n_strange: int, *, refused: bool
) -> None:
    rows = table(*((str(i), str(i), "l", 0.9) for i in range(10)), ("z", "z", "l", None))
    rows["unfamiliar"] = [i < n_strange for i in range(11)]
    sentence = prevailing_doubt(rows)
    assert bool(sentence) == refused
    if refused:
        assert f"{n_strange} of 10 inputs" in sentence
        assert set(decided(rows, withheld=sentence)["patient"]["decision"]) == {"withheld"}
        # Afterwards it follows what was done.
        held = decided(rows, withheld=sentence)["predictions"].reset_index()
        assert prevailing_doubt(held) == sentence
        given = decided(rows, accept=True)["predictions"].reset_index()
        asked = prevailing_doubt(given, accepted=True)
        assert asked.startswith(f"Decisions were given although {n_strange} of 10 inputs")
        assert asked.endswith("as asked by --accept-doubtful.")
        # What is of another kind is decided by nobody's wish.
        other = decided(rows.assign(quality="not a fundus photograph"), accept=True)
        other = prevailing_doubt(other["predictions"].reset_index(), accepted=True)
        assert other.startswith("No decisions are given: 10 of 10")


def test_pictures_of_another_kind_count_like_unfamiliar_ones() -> None:
    rows = table(("a", "a", "l", 0.9), ("b", "b", "l", 0.9), ("c", "c", "l", 0.9))
    rows["quality"] = ["not a fundus photograph: grey", "blurred", ""]
    assert prevailing_doubt(rows) == ""
    # One among others is not decided either; what shares its patient with a real one is.
    assert decided(rows)["image"]["decision"].to_dict() == {"a": "withheld", "b": "yes", "c": "yes"}
    assert decided(rows.assign(patient="p"))["patient"]["decision"].to_dict() == {"p": "yes"}
    rows.loc[1, "unfamiliar"] = True
    assert "1 unlike the training images, 1 not of the kind" in prevailing_doubt(rows)


def test_a_threshold_on_several_classes_names_a_side_and_no_class() -> None:
    rows = pd.DataFrame(
        {"image_id": ["a", "b"], "status": "ok", "score_0": [0.6, 0.25], "score_1": [0.3, 0.35]}
    )
    rows["score_2"] = 1 - rows["score_0"] - rows["score_1"]
    for threshold, sides in ((0.3, ["positive", "positive"]), (0.9, ["negative", "negative"])):
        level = decisions_of(rows, task=GRADES, threshold=threshold)["image"]
        assert level["predicted"].tolist() == ["0", "1"]
        assert level["decision"].tolist() == sides
    assert decisions_of(rows, task=GRADES)["image"]["decision"].tolist() == ["0", "1"]

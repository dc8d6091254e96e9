"""Work list, overlays and letters."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from apps.retinopathy import APP
from apps.retinopathy.letters import FILES, languages, write_letters
from apps.retinopathy.overlays import write_overlays
from apps.retinopathy.screening import UNITS
from apps.retinopathy.worklist import threshold_of, write_worklist
from core.app import ExportContext
from core.errors import ConfigError
from core.evaluation.doubt import DoubtRule, decide_all, prevailing_doubt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    Predicted = Callable[..., pd.DataFrame]
    Made = Callable[..., ExportContext]

BAD = "ungradable: focus: hardly a vessel can be followed"


def changed(base: ExportContext | None = None, **changes: Any) -> ExportContext:
    """A context with its decisions made anew, as a prediction makes them."""
    whole = {**(base.__dict__ if base else {}), **changes}
    predictions, decisions = decide_all(
        whole["predictions"],
        task=whole["task"],
        units=UNITS,
        threshold=threshold_of(whole["run"]),
        rule=DoubtRule(
            abstain=whole.get("abstain", False), accept=whole.get("accept_doubtful", False)
        ),
        withheld=whole.get("withheld", ""),
    )
    return ExportContext(**{**whole, "predictions": predictions, "decisions": decisions})


@pytest.fixture
def context(tmp_path: Path, predicted: Predicted) -> Made:
    """An export context of four patients; one has a hostile name."""

    def made(**options: Any) -> ExportContext:
        table = predicted(
            ("a", "=1+1", "left", 0, "", ""),
            ("b", "=1+1", "right", 1, "", ""),
            ("c", "<b>Bob</b>", "left", 4, "", ""),
            ("d", "../../up", "left", 0, "", BAD),
            ("e", "9", "left", 2, "", ""),
            ("f", "9", "right", 2, "", BAD),
        )
        return changed(
            out=tmp_path,
            predictions=table,
            manifest=table,
            task=APP.task(),
            run={"operating_point": None, "operating_points": []},
            options=options,
            read=lambda _: np.full((40, 60, 3), 120, np.uint8),
            saliency=lambda _: np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60),
        )

    return made


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_work_list_is_in_order_and_safe_for_a_spreadsheet(
    context: Made, tmp_path: Path
) -> None:
    written = write_worklist(context())
    assert [path.name for path in written] == ["worklist.csv", "eyes.csv", "images.csv"]
    found = rows(tmp_path / "worklist.csv")
    assert [row["patient"] for row in found] == ["<b>Bob</b>", "9", "../../up", "'=1+1"]
    assert [row["referred"] for row in found] == ["yes", "yes", "yes", "no"]
    assert found[0]["urgency"] == "proliferative retinopathy"
    assert found[1]["why"] == f"grade 2; right eye: {BAD}"
    assert len(rows(tmp_path / "eyes.csv")) == len(rows(tmp_path / "images.csv")) == 6


def test_the_operating_point_in_force_decides(context: Made, tmp_path: Path) -> None:
    base = context()
    run = {
        "operating_point": "careful",
        "operating_points": [{"name": "careful", "threshold": 0.1}],
    }
    write_worklist(changed(base, run=run))
    assert [row["referred"] for row in rows(tmp_path / "worklist.csv")] == ["yes"] * 4


def at_threshold(base: ExportContext, threshold: float, **changes: Any) -> ExportContext:
    run = {"operating_point": {"name": "x", "threshold": threshold}, "operating_points": []}
    return changed(base, run=run, **changes)


def test_a_letter_says_the_decision_and_no_grade_that_was_not_predicted(
    context: Made, tmp_path: Path
) -> None:
    base = context(letters=True, language="en")
    table = base.predictions[base.predictions["image_id"].isin(["a", "b"])].copy()
    columns = [f"score_{grade}" for grade in "01234"]
    # The left eye is predicted none, the right one moderate; .30 and .55 are referable.
    table.loc[table["image_id"] == "a", columns] = (0.60, 0.10, 0.20, 0.08, 0.02)
    table.loc[table["image_id"] == "b", columns] = (0.25, 0.20, 0.50, 0.04, 0.01)
    write_letters(at_threshold(base, 0.25, predictions=table))
    text = " ".join((tmp_path / "letters" / "letter-0001.html").read_text().split())
    left, right = text.split("Right eye")
    assert "Changes from diabetes cannot be ruled out" in left
    assert "No damage" not in text
    assert "Clear changes from diabetes were seen" in right
    assert "Please see an eye doctor" in right
    # Now the threshold lies above both: a predicted moderate eye is not told to be well.
    high = at_threshold(base, 0.7, predictions=table)
    write_letters(high)
    listed = rows(tmp_path / "letters" / "letters.csv")
    assert [row["letter"] for row in listed] == [""]
    assert "predicted" in listed[0]["withheld"]
    assert "1 of 1 letters was withheld" in high.notes[0]
    write_worklist(high)
    row = rows(tmp_path / "worklist.csv")[0]
    assert (row["grade"], row["decision"], row["referred"]) == ("2", "open", "open")
    assert row["urgency"] == "in doubt, to be looked at"


def test_a_work_list_says_one_thing_of_a_patient_in_every_column(
    context: Made, tmp_path: Path
) -> None:
    base = context()
    whole = {"a", "b", "c"}
    table = base.predictions[base.predictions["image_id"].isin(whole)].copy()
    table["unfamiliar"] = table["image_id"] == "a"
    said = {}
    for name, changes in {
        "marked": {},
        "accepted": {"accept_doubtful": True},
        "withheld": {"withheld": "Most are leaves."},
    }.items():
        write_worklist(changed(base, predictions=table, **changes))
        for row in rows(tmp_path / "worklist.csv"):
            told = (row["section"], row["urgency"], row["decision"], row["referred"])
            said[name, row["patient"]] = told
    looked_at = "in doubt, to be looked at"
    assert said == {
        ("marked", "'=1+1"): ("in doubt", looked_at, "open", "open"),
        ("accepted", "'=1+1"): ("in doubt", "not referred", "1", "no"),
        ("withheld", "'=1+1"): ("in doubt", looked_at, "withheld", "withheld"),
        ("withheld", "<b>Bob</b>"): ("in doubt", looked_at, "withheld", "withheld"),
        # One eye alone, of the highest grade.
        **{
            (name, "<b>Bob</b>"): ("in doubt", "proliferative retinopathy", "4", "yes")
            for name in ("marked", "accepted")
        },
    }


@pytest.mark.parametrize("known", [["patient"], []])
def test_photographs_that_name_no_eye_have_a_list_and_no_letter_that_calls_both_well(
    context: Made, tmp_path: Path, known: list[str]
) -> None:
    base = context(letters=True, language="en")
    table = base.predictions[base.predictions["image_id"].isin(["a", "c"])]
    table = table[[c for c in table if c in known or c not in {"patient", "eye"}]]
    bare = changed(base, predictions=table)
    assert "eye" not in bare.decisions
    write_worklist(bare)
    listed = {row["images"]: row for row in rows(tmp_path / "worklist.csv")}
    assert {name: row["referred"] for name, row in listed.items()} == {
        "a": "open" if known else "no",
        "c": "yes",
    }
    assert len(rows(tmp_path / "eyes.csv")) == 2
    write_letters(bare)
    letters = {row["patient"]: row["letter"] for row in rows(tmp_path / "letters" / "letters.csv")}
    mild = (tmp_path / "letters" / letters[listed["a"]["patient"]]).read_text()
    assert "Nothing needs to be done" not in " ".join(mild.split())


def test_no_letter_for_what_the_model_does_not_know(context: Made, tmp_path: Path) -> None:
    base = context(letters=True, language="en")
    table = base.predictions.copy()
    table["unfamiliar"] = table["image_id"].isin(["a", "b"])
    table.loc[table["image_id"] == "d", "quality"] = "not a fundus photograph: it has no colour"
    strange = changed(base, predictions=table)
    write_letters(strange)
    told = {row["patient"]: row["withheld"] for row in rows(tmp_path / "letters" / "letters.csv")}
    assert told["'=1+1"] == "photographs unlike the training images"
    assert told["../../up"] == "no photograph shows an eye"
    assert [name for name, why in told.items() if not why] == ["<b>Bob</b>", "9"]
    write_worklist(strange)
    first = rows(tmp_path / "worklist.csv")
    assert {row["section"] for row in first} == {"in doubt"}
    # Of a picture of something else nothing is said, and so the eye has to be seen.
    assert {row["patient"]: row["referred"] for row in first}["../../up"] == "yes"
    assert {row["patient"]: row["referred"] for row in first}["'=1+1"] == "open"
    # Asked for in spite of doubt; what is no eye still gets none.
    assert strange.notes[0].endswith("--accept-doubtful writes 1 of them.")
    accepted = changed(strange, accept_doubtful=True, notes=[])
    write_letters(accepted)
    assert not any("--accept-doubtful" in note for note in accepted.notes)
    told = {row["patient"]: row["withheld"] for row in rows(tmp_path / "letters" / "letters.csv")}
    assert [name for name, why in told.items() if why] == ["../../up"]
    # Of the eyes unlike the training the letter says so, and of no other.
    text = " ".join("".join(f.read_text() for f in (tmp_path / "letters").glob("*.html")).split())
    assert text.count("looks different from those the program knows") == 2
    assert text.count("photographs of certain cameras and clinics only") == 3
    abstained = changed(strange, abstain=True)
    write_worklist(abstained)
    found = {row["patient"]: row["referred"] for row in rows(tmp_path / "worklist.csv")}
    assert set(found.values()) == {"yes"}
    nothing = changed(strange, withheld="No decisions are given: all.")
    assert [path.name for path in write_letters(nothing)] == ["letters.csv"]
    write_worklist(nothing)
    found = {row["patient"]: row["referred"] for row in rows(tmp_path / "worklist.csv")}
    # Who cannot be judged has to be seen, whatever is withheld about the others.
    assert found == {
        **dict.fromkeys(found, "withheld"),
        **dict.fromkeys(("../../up", "9"), "yes"),
    }


def test_a_patient_s_row_says_what_speaks_against_an_eye(
    context: Made, predicted: Predicted
) -> None:
    table = in_states(predicted, ("moderate above", "moderate below"), ("none", "none"))
    made = at_threshold(context(letters=True), 0.5, predictions=table)
    write_worklist(made)
    (first, second) = rows(made.out / "worklist.csv")
    patient = made.decisions["patient"].set_index("unit_id").loc[first["patient"]]
    assert patient["doubt"] == first["doubt"] == "right eye: 2 predicted, below the threshold"
    assert (patient["decision"], first["section"], first["referred"]) == (
        *("positive", "in doubt"),
        "yes",
    )
    assert second["doubt"] == ""
    # Each section counts from 1, and each row says for whom it holds.
    assert [first["rank"], second["rank"]] == ["1", "1"]
    assert all(
        "another camera may be called negative" in row["holds_for"] for row in (first, second)
    )
    write_letters(made)
    (why, _) = [row["withheld"] for row in rows(made.out / "letters" / "letters.csv")]
    assert why.startswith("grade 2 was predicted for the right eye, below the threshold")


def test_a_letter_about_one_eye_asks_for_the_other(context: Made, tmp_path: Path) -> None:
    base = context(letters=True, language="en")
    table = base.predictions[base.predictions["image_id"] == "a"]
    write_letters(changed(base, predictions=table))
    text = (tmp_path / "letters" / "letter-0001.html").read_text()
    assert "There is no photograph of this eye." in text
    assert "Please have them looked at again" in text
    assert "Nothing needs to be done now" not in text


def test_every_table_says_the_same_of_a_unit(context: Made, predicted: Predicted) -> None:
    table = predicted(
        *(("a", "one eye", "left", 0, "", ""), ("b", "no eye named", "", 0, "", "")),
        *(("c", "failed", "left", 0, "", ""), ("d", "failed", "right", None, "", "")),
        *(("e", "whole", "left", 0, "", ""), ("f", "whole", "right", 0, "", "")),
        *(("g", "dark", "left", 4, "", BAD), ("h", "dark", "right", 0, "", "")),
        *(("i", "strange", "left", 0, "", ""), ("j", "strange", "right", 0, "", "")),
    )
    table["unfamiliar"] = table["image_id"] == "i"
    for threshold, well in ((None, "0"), (0.5, "negative")):
        base = context(letters=True, language="en")
        made = at_threshold(base, threshold, predictions=table) if threshold else base
        made = changed(made, predictions=table)
        write_worklist(made)
        write_letters(made)
        found = {row["patient"]: row for row in rows(made.out / "worklist.csv")}
        decisions = made.decisions["patient"].set_index("unit_id")
        for name, row in found.items():
            assert row["decision"] == decisions.loc[name, "decision"]
            assert row["doubt"] == decisions.loc[name, "doubt"]
        assert {name: row["decision"] for name, row in found.items()} == {
            **dict.fromkeys(found, "open"),
            "whole": well,
        }
        assert {name: row["referred"] for name, row in found.items()} == {
            **dict.fromkeys(found, "open"),
            **{"whole": "no", "failed": "yes", "dark": "yes"},
        }
        assert found["no eye named"]["doubt"] == "the image does not say which eye"
        assert found["one eye"]["doubt"] == "no image of eye right"
        for name, level in (("images.csv", "image"), ("eyes.csv", "eye")):
            listed = [(row["decision"], row["doubt"]) for row in rows(made.out / name)]
            known = made.decisions[level]
            assert sorted(listed) == sorted(zip(known["decision"], known["doubt"], strict=True))
        letters = rows(made.out / "letters" / "letters.csv")
        said = {
            row["patient"]: (made.out / "letters" / row["letter"]).read_text()
            for row in letters
            if row["letter"]
        }
        assert sorted(said) == ["dark", "no eye named", "one eye", "whole"]
        assert [n for n, text in said.items() if "Nothing needs to be done" in text] == ["whole"]


def test_a_file_that_could_not_be_read_is_not_called_unclear(
    context: Made, predicted: Predicted
) -> None:
    table = predicted(("a", "7", "left", 0, "", ""), ("b", "7", "right", None, "", ""))
    made = changed(context(letters=True, language="en"), predictions=table)
    write_letters(made)
    row = rows(made.out / "letters" / "letters.csv")[0]
    assert (row["letter"], row["withheld"]) == (
        "",
        "failed: 1 of 2 photographs could not be read",
    )
    # Written where somebody asks for it all the same.
    write_letters(changed(made, accept_doubtful=True))
    text = " ".join((made.out / "letters" / "letter-0001.html").read_text().split())
    assert "The file of the photograph could not be read" in text
    assert "not clear enough" not in text
    assert "Nothing needs to be done" not in text
    assert "Please have them looked at again" in text


def test_overlays_are_drawn_for_gradable_photographs_of_referable_eyes(
    context: Made, tmp_path: Path
) -> None:
    write_overlays(context(overlays=True))
    found = rows(tmp_path / "overlays" / "overlays.csv")
    assert [(row["overlay"], row["image_id"]) for row in found] == [
        ("overlay-0001.png", "c"),
        ("overlay-0002.png", "e"),
    ]
    with Image.open(tmp_path / "overlays" / "overlay-0001.png") as image:
        # The photograph and, right of it, the map; below them the words.
        assert image.size[0] == 120
        assert image.size[1] > 40


def test_a_blob_lands_in_the_disc_where_it_is_and_nowhere_else(
    context: Made, draw: Callable[..., Any], tmp_path: Path
) -> None:
    # A disc left of the middle, a blob above its centre, and heat in the dark beside it.
    photo = draw((300, 400), 150, 160, 120)
    heat = np.zeros((300, 400), np.float32)
    heat[70:110, 190:230] = 1.0
    heat[:, 370:] = 1.0
    base = context(overlays=True)
    write_overlays(changed(base, read=lambda _: photo, saliency=lambda _: heat))
    with Image.open(tmp_path / "overlays" / "overlay-0001.png") as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    right = np.ptp(shown[:300, 400:], axis=2) > 12
    assert right[80:100, 200:220].all()
    right[60:120, 180:240] = False
    assert not right.any()


def test_letters_are_plain_and_named_by_number(context: Made, tmp_path: Path) -> None:
    written = write_letters(context(letters=True, language="en"))
    names = sorted(path.name for path in written)
    assert names == [*(f"letter-000{i}.html" for i in range(1, 5)), "letters.csv"]
    first = (tmp_path / "letters" / "letter-0001.html").read_text()
    assert "&lt;b&gt;Bob&lt;/b&gt;" in first
    assert "<b>Bob" not in first
    assert "There is no photograph of this eye." in first
    assert "must be\nconfirmed by a doctor" in first or "must be confirmed by a doctor" in first
    second = (tmp_path / "letters" / "letter-0002.html").read_text()
    assert "Clear changes" in second
    assert "not clear enough" in second
    last = (tmp_path / "letters" / "letter-0004.html").read_text()
    assert "Nothing needs to be done now" in last
    # Nobody should look up what these mean.
    for word in ("ungradable", "score", "grade", "ICDR", "referable"):
        assert word not in first.lower()
    assert not list(tmp_path.parent.glob("up*"))


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_language_is_complete(context: Made, tmp_path: Path, language: str) -> None:
    assert language in languages()
    write_letters(context(letters=True, language=language))
    assert f'lang="{language}"' in (tmp_path / "letters" / "letter-0001.html").read_text()


def test_a_template_of_ones_own_is_used_in_a_sandbox(context: Made, tmp_path: Path) -> None:
    template = tmp_path / "mine.html"
    template.write_text("{{ patient }}: {{ next }} {{ eyes|length }}")
    write_letters(context(letters=True, **{"letter-template": template}))
    text = (tmp_path / "letters" / "letter-0001.html").read_text()
    assert text.startswith("&lt;b&gt;Bob&lt;/b&gt;: Please see an eye doctor")
    template.write_text("{{ patient.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(ConfigError, match="letter-template"):
        write_letters(context(letters=True, **{"letter-template": template}))


def test_words_of_ones_own_must_be_complete(context: Made, tmp_path: Path) -> None:
    words = tmp_path / "fr.yaml"
    words.write_text((FILES / "en.yaml").read_text().replace("language: en", "language: fr"))
    write_letters(context(letters=True, language=str(words)))
    assert 'lang="fr"' in (tmp_path / "letters" / "letter-0001.html").read_text()
    words.write_text("language: fr\ntitle: Lettre\n")
    with pytest.raises(ConfigError, match="missing"):
        write_letters(context(letters=True, language=str(words)))
    with pytest.raises(ConfigError, match="there are: de, en"):
        write_letters(context(letters=True, language="klingon"))
    with pytest.raises(ConfigError, match="cannot be used"):
        write_letters(context(letters=True, **{"letter-template": tmp_path / "none.html"}))


# Scores of the five grades: which is predicted, and whether .5 of referable is reached.
STATES = {
    "none": (0.8, 0.1, 0.05, 0.03, 0.02),
    "mild": (0.1, 0.8, 0.05, 0.03, 0.02),
    "moderate below": (0.3, 0.1, 0.45, 0.01, 0.01),
    "moderate above": (0.1, 0.1, 0.7, 0.06, 0.04),
    "mild above": (0.1, 0.3, 0.2, 0.2, 0.2),
    "unfamiliar": (0.8, 0.1, 0.05, 0.03, 0.02),
    "not gradable": (0.8, 0.1, 0.05, 0.03, 0.02),
    "leaf": (0.1, 0.1, 0.7, 0.06, 0.04),
    "failed": (np.nan,) * 5,
}
NO_CHANGE = ("No damage from diabetes was seen", "A few very small changes")
SEE_A_DOCTOR = ("changes from diabetes were seen. An eye", "cannot be ruled out")


def in_states(made: Predicted, *patients: tuple[str, str]) -> pd.DataFrame:
    """A patient per pair of states of the left and the right eye; ``missing`` has no photograph."""
    there = [
        (f"{left} and {right}", side, state)
        for left, right in patients
        for side, state in (("left", left), ("right", right))
        if state != "missing"
    ]
    table = made(
        *(
            (f"{name} {side}", name, side, None if state == "failed" else 0, "", "")
            for name, side, state in there
        )
    )
    states = [state for _, _, state in there]
    table[[f"score_{grade}" for grade in "01234"]] = [STATES[state] for state in states]
    quality = {"not gradable": BAD, "leaf": "not a fundus photograph: it is green"}
    table["quality"] = [quality.get(state, "") for state in states]
    table["unfamiliar"] = [state == "unfamiliar" for state in states]
    return table


@pytest.mark.parametrize(
    ("accept", "abstain"), [(False, False), (True, False), (False, True), (True, True)]
)
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_what_happens_next_is_what_the_list_says_and_never_milder_than_what_is_said_of_an_eye(
    context: Made, predicted: Predicted, threshold: float | None, *, accept: bool, abstain: bool
) -> None:
    pairs = list(itertools.combinations_with_replacement([*STATES, "missing"], 2))[:-1]
    made = changed(
        context(letters=True, language="en"),
        predictions=in_states(predicted, *pairs),
        run={"operating_point": {"threshold": threshold}} if threshold else {},
        accept_doubtful=accept,
        abstain=abstain,
    )
    write_letters(made)
    write_worklist(made)
    listed = {row["patient"]: row for row in rows(made.out / "letters" / "letters.csv")}
    list_of = {row["patient"]: row for row in rows(made.out / "worklist.csv")}
    n_clear = 0
    for left, right in pairs:
        name = listed[f"{left} and {right}"]["letter"]
        assert not (name and "leaf" in {left, right})
        if not name:
            continue
        text = " ".join((made.out / "letters" / name).read_text().split())
        eyes, following = text.split("What happens next")
        is_mild = "Nothing needs to be done now" in following
        is_strong = "Please see an eye doctor" in following
        said = any(words in eyes for words in SEE_A_DOCTOR)
        assert is_strong >= said if abstain else is_strong == said, (left, right)
        row = list_of[f"{left} and {right}"]
        assert is_mild == (row["referred"] == "no"), (left, right)
        # Who cannot be judged has to be seen: the letter asks to have the eyes looked at again.
        unjudged = "failed" in {left, right} or "not gradable" in {left, right}
        is_yes = row["referred"] == "yes"
        assert (is_yes and not unjudged) <= is_strong <= is_yes, (left, right)
        # Well is only who has two eyes of which each is seen and nothing found.
        well = {"none", "mild"} | ({"unfamiliar"} if accept else set())
        assert is_mild == ({left, right} <= well and row["decision"] != "referred"), (left, right)
        assert is_mild <= (sum(eyes.count(words) for words in NO_CHANGE) == 2)
        n_clear += is_mild
        assert "not a medical device" in text
    assert n_clear == (6 if accept and not abstain else 3)


def test_a_photograph_positive_on_its_own_is_nobody_s_all_clear(
    context: Made, predicted: Predicted
) -> None:
    names = ("a", "b", "c", "well left", "well right")
    table = predicted(
        *((name, "7", "right" if name == "c" else "left", 0, "", "") for name in names[:3]),
        *((name, "8", name.split()[1], 0, "", "") for name in names[3:]),
    )
    # Of a the referable grades have .78; of the eye (.78 + .02) / 2 = .40; c is predicted 2.
    columns = [f"score_{grade}" for grade in "01234"]
    table.loc[table["image_id"] == "a", columns] = (0.21, 0.01, 0.05, 0.05, 0.68)
    table.loc[table["image_id"] == "b", columns] = (0.97, 0.01, 0.01, 0.005, 0.005)
    for accept, c in itertools.product((False, True), (STATES["none"], STATES["moderate below"])):
        table.loc[table["image_id"] == "c", columns] = c
        base = context(letters=True, language="en")
        made = at_threshold(base, 0.5, predictions=table, accept_doubtful=accept)
        write_worklist(made)
        write_letters(made)
        first, last = rows(made.out / "worklist.csv")
        assert (first["patient"], first["decision"], first["referred"]) == ("7", "open", "open")
        # A referable grade counts whatever the threshold says, where the patient's own is none.
        told = "2 of 3 images are positive on their own"
        if c == STATES["none"]:
            told = "1 of 3 images is positive on its own"
        assert told in first["doubt"]
        assert "photograph a: grade 4 predicted, above the threshold" in first["why"]
        assert (last["patient"], last["decision"], last["referred"]) == ("8", "negative", "no")
        eye = next(row for row in rows(made.out / "eyes.csv") if row["images"] == "a|b")
        assert (eye["decision"], eye["referred"]) == ("open", "open")
        assert eye["doubt"] == "1 of 2 images is positive on its own"
        image = next(row for row in rows(made.out / "images.csv") if row["image_id"] == "a")
        assert (image["decision"], image["referred"]) == ("positive", "yes")
        letters = {row["patient"]: row for row in rows(made.out / "letters" / "letters.csv")}
        assert letters["7"]["letter"] == ""
        assert letters["7"]["withheld"]
        assert letters["8"]["letter"]


def test_a_clear_second_photograph_does_not_hide_a_referable_grade(
    context: Made, predicted: Predicted
) -> None:
    table = predicted(
        *((name, "7", "left", 0, "", "") for name in "ab"), ("c", "7", "right", 0, "", "")
    )
    columns = [f"score_{grade}" for grade in "01234"]
    table.loc[table["image_id"] == "a", columns] = STATES["moderate below"]
    table.loc[table["image_id"] != "a", columns] = (0.97, 0.01, 0.01, 0.005, 0.005)
    for accept in (False, True):
        base = context(letters=True, language="en")
        made = at_threshold(base, 0.5, predictions=table, accept_doubtful=accept)
        write_worklist(made)
        write_letters(made)
        (row,) = rows(made.out / "worklist.csv")
        assert (row["decision"], row["referred"]) == ("open", "open")
        (letter,) = rows(made.out / "letters" / "letters.csv")
        assert letter["letter"] == ""


def test_less_evidence_is_never_less_referral(context: Made, predicted: Predicted) -> None:
    black = "not a fundus photograph: nothing is lit"
    eyes = {
        "one black": (0, black, 0, ""),
        "both black": (0, black, 0, black),
        "cut short": (None, "", None, ""),
        "black and cut short": (0, black, None, ""),
        "ungradable": (0, BAD, 0, BAD),
    }
    whole = [(f"well {i}", (0, "", 0, "")) for i in range(9)]
    for others, abstain in itertools.product((whole, []), (False, True)):
        table = predicted(
            *(
                (f"{name} {side}", name, side, cell[2 * i], "", cell[2 * i + 1])
                for name, cell in [*eyes.items(), *others]
                for i, side in enumerate(("left", "right"))
            )
        )
        # With or without others, who would decide whether the batch is of the kind at all.
        told = prevailing_doubt(table)
        assert bool(told) == (not others)
        made = changed(context(), predictions=table, abstain=abstain, withheld=told)
        write_worklist(made)
        found = {row["patient"]: row for row in rows(made.out / "worklist.csv")}
        assert {found[name]["referred"] for name in eyes} == {"yes"}
        assert all(found[name]["why"] for name in eyes)
        assert not {found[name]["decision"] for name in eyes} - {"open", "withheld", "referred"}
        by_eye = {row["images"]: row["referred"] for row in rows(made.out / "eyes.csv")}
        assert by_eye["one black left"] == by_eye["cut short left"] == "yes"


def test_one_photograph_given_as_both_eyes_is_nobody_s_all_clear(
    context: Made, predicted: Predicted
) -> None:
    table = in_states(predicted, ("none", "none"))
    table["same_as"] = ["right", "left"]
    table["caution"] = ["the same picture as right", "the same picture as left"]
    for accept in (False, True):
        made = changed(context(letters=True), predictions=table, accept_doubtful=accept)
        assert made.decisions["patient"]["decision"].tolist() == ["open"]
        assert made.decisions["eye"]["decision"].tolist() == ["open", "open"]
        write_letters(made)
        row = rows(made.out / "letters" / "letters.csv")[0]
        assert (row["letter"], row["withheld"]) == (
            "",
            "the same picture stands for another eye or patient as well",
        )


def test_a_letter_about_an_eye_that_is_not_named_says_so(
    context: Made, predicted: Predicted
) -> None:
    table = predicted(("a", "7", "", 0, "", ""))
    made = changed(context(letters=True, language="en"), predictions=table)
    write_letters(made)
    text = (made.out / "letters" / "letter-0001.html").read_text()
    assert "does not say whether it is the left or the right one" in text
    assert "Nothing needs to be done" not in text


def test_what_shows_no_eye_or_is_not_gradable_has_one_decision_in_every_table(
    context: Made, predicted: Predicted
) -> None:
    for state, decision in (("leaf", "withheld"), ("not gradable", "open")):
        table = in_states(predicted, (state, "missing"))
        for threshold, accept in itertools.product((None, 0.01), (False, True)):
            run = {"operating_point": {"threshold": threshold}} if threshold else {}
            made = changed(
                context(letters=True), predictions=table, run=run, accept_doubtful=accept
            )
            write_worklist(made)
            found = [made.predictions["decision"].tolist()]
            found += [made.decisions[name]["decision"].tolist() for name in made.decisions]
            found += [
                [row["decision"] for row in rows(made.out / name)]
                for name in ("worklist.csv", "eyes.csv", "images.csv")
            ]
            assert found == [[decision]] * len(found)
            patient = made.decisions["patient"].iloc[0]
            counted = patient[["n_images", "n_failed", "n_ungradable"]].tolist()
            assert counted == [0, 0, 1]

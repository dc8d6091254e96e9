"""Data cards: the schema, the commands, the terms that travel, and a card of one's own."""

from __future__ import annotations

import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from core.app import Source, find_app
from core.cards.card import FOLDER, HEADINGS, QUESTION, all_cards, card_named, read_card, schema
from core.cards.croissant import croissant_text
from core.cards.licence_terms import (
    joined_terms,
    may_release,
    summary_of_terms,
    terms_of,
    terms_of_weights,
    union_of_terms,
)
from core.cli.cards import BEGIN, END, markdown_table
from core.cli.main import build
from core.data.recognition import index_with_cards
from core.errors import CardError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.testing import Result

    from core.app import Manifest
    from core.cards.card import Card

ROOT = Path(__file__).resolve().parent.parent
NAMED = (
    *("cbis_ddsm", "vindr_mammo", "rsna2023", "embed", "inbreast", "mini_mias", "csaw_cc", "cmmd"),
    *("aptos2019", "eyepacs", "messidor2", "idrid", "ddr", "deepdrid", "odir5k", "retinamnist"),
    *("plantvillage", "plantdoc", "cassava2020", "plant_pathology2020", "plant_pathology2021"),
    *("paddy_doctor", "ibean", "bracol"),
)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build(), ["cards", *map(str, words)])


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "My Leaves"
    find_app("crop_disease").phantom(folder, 12, 3)
    return folder


def with_front(path: Path, **changes: object) -> Path:
    """The EMBED card with other front matter, as a file of one's own."""
    front = yaml.safe_load((FOLDER / "embed.md").read_text(encoding="utf-8").split("---\n")[1])
    front.update(changes)
    path.write_text(f"---\n{yaml.safe_dump(front)}---\n\n## Motivation\nx\n", encoding="utf-8")
    return path


def test_every_set_has_a_card_that_validates() -> None:
    assert set(NAMED) == set(all_cards())


@pytest.mark.parametrize("name", NAMED)
def test_a_card_is_complete(name: str) -> None:
    file = read_card(FOLDER / f"{name}.md")
    assert file.card.name == name
    assert tuple(file.prose) == HEADINGS
    assert all(file.prose.values())
    assert not file.card.questions()
    assert file.card.pretty_name == file.card.title
    assert file.card.adapter == f"apps.{file.card.app}.layouts"
    # A release that is allowed rests on the licence, so both are marked or neither.
    if file.card.weights_release == "allowed":
        assert bool(file.card.mark("licence")) == bool(file.card.mark("weights_release"))
    counts = file.card.counts
    sizes = {"n<1K": 1e3, "1K<n<10K": 1e4, "10K<n<100K": 1e5, "100K<n<1M": 1e6}
    if counts.images:
        fits = next(size for size, limit in sizes.items() if counts.images < limit)
        assert file.card.size_categories == [fits]
    if counts.classes and counts.images:
        assert sum(counts.classes.values()) == counts.images


def test_the_schema_and_the_table_are_current() -> None:
    stored = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    assert stored == schema()
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = readme.partition(BEGIN + "\n")[2].partition(END)[0]
    assert table == markdown_table(), "run: resight cards table --into data_cards/README.md"


def test_the_schema_itself_accepts_every_card() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    for file in all_cards().values():
        jsonschema.validate(file.card.model_dump(), schema())


def test_cards_are_part_of_the_wheel() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert "data_cards*" in tool["setuptools"]["packages"]["find"]["include"]
    # Cards and their schema are no Python files; test_package.py reads the list of the wheel.
    patterns = tool["setuptools"]["package-data"]
    patterns = {*patterns.get("*", ()), *patterns.get("data_cards", ())}
    files = [path.name for path in FOLDER.iterdir() if path.is_file()]
    assert "schema.json" in files
    assert [name for name in files if not any(fnmatch(name, given) for given in patterns)] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights_release": "yes"}, "weights_release"),
        ({"colour": "blue"}, "colour"),
        ({"name": "With Space"}, "name"),
        ({"unchecked": {"counts.horses": "knowledge"}}, "counts.horses"),
        ({"known_issues": [{"kind": "odd", "text": "", "source": "", "severity": "low"}]}, "kind"),
    ],
)
def test_a_card_that_breaks_the_schema_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(CardError, match=words):
        read_card(with_front(tmp_path / "card.md", **changes))


def test_a_file_without_front_matter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# Notes\n", encoding="utf-8")
    with pytest.raises(CardError, match="front matter"):
        read_card(tmp_path / "card.md")


def test_names_are_found_however_spelled() -> None:
    assert card_named("mini-MIAS").card.name == "mini_mias"
    assert card_named("EyePACS", app="retinopathy").card.name == "eyepacs"
    with pytest.raises(CardError, match="Did you mean 'plantvillage'"):
        card_named("plantvilage")
    with pytest.raises(CardError, match="is of mammography"):
        card_named("embed", app="retinopathy")


def test_marks_name_what_was_not_checked() -> None:
    card = card_named("aptos2019").card
    assert "general knowledge" in card.mark("counts.classes")
    assert card.mark("counts.images") == ""
    # A part that is unchecked marks everything in it.
    assert "secondary" in card_named("inbreast").card.mark("layout.tables.0")


def terms(*names: str) -> list[dict[str, object]]:
    return terms_of(card_named(name).card for name in names)


@pytest.mark.parametrize(
    ("names", "release", "begins"),
    [
        ((), "unknown", "No data card says"),
        (("cmmd",), "allowed", "By the data card of CMMD"),
        (("cmmd", "rsna2023"), "unclear", "Whether these weights may be released is unclear"),
        (("cmmd", "embed", "rsna2023"), "forbidden", "These weights may not be released"),
    ],
)
def test_the_strictest_term_decides(names: Sequence[str], release: str, begins: str) -> None:
    mine = terms(*names)
    assert union_of_terms(mine)["weights_release"] == release
    assert may_release(mine).startswith(begins)
    assert summary_of_terms({"terms": mine})["cards"] == list(names)


def test_the_union_holds_every_condition_and_licence() -> None:
    union = union_of_terms(terms("plantvillage", "plantdoc", "rsna2023"))
    assert union["conditions"] == [
        "attribution",
        "no-redistribution",
        "non-commercial",
        "share-alike",
    ]
    assert len(union["licences"]) == 3
    assert union_of_terms(terms("cmmd"))["licences"] == ["CC BY 4.0 (unchecked)"]


def test_terms_of_several_runs_are_joined(tmp_path: Path) -> None:
    one, other = terms("cmmd", "embed"), terms("embed", "rsna2023")
    joined = joined_terms(one, other)
    assert [term["card"] for term in joined] == ["cmmd", "embed", "rsna2023"]
    # Weights that a training starts from bring their terms along.
    (tmp_path / "run.json").write_text(json.dumps({"terms": one}), encoding="utf-8")
    assert terms_of_weights(str(tmp_path / "model.safetensors")) == one
    assert terms_of_weights("hub") == terms_of_weights("none") == []
    (tmp_path / "run.json").write_text("[1]", encoding="utf-8")
    assert terms_of_weights(str(tmp_path / "model.safetensors")) == []


def test_listing_searching_showing() -> None:
    everything = run()
    assert everything.exit_code == 0
    assert all(name in everything.output for name in NAMED)
    found = json.loads(run("list", "coffee", "leaf", "--json").output)
    assert [card["name"] for card in found] == ["bracol"]
    assert "PlantDoc" not in run("list", "--app", "mammography").output
    shown = run("show", "embed").output
    assert "may not be released" in shown
    assert "(unchecked: general knowledge)" in shown
    wrong = run("show", "embedd")
    assert (wrong.exit_code, "Did you mean 'embed'" in wrong.output) == (2, True)


def test_croissant_says_what_the_card_says(tmp_path: Path) -> None:
    out = tmp_path / "eyepacs.json"
    assert run("export", "eyepacs", "--croissant", "--out", out).exit_code == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["@type"] == "sc:Dataset"
    assert record["conformsTo"].endswith("croissant/1.0")
    assert {row["classes/name"]: row["classes/images"] for row in record["recordSet"][1]["data"]}[
        "4"
    ] == 708
    assert any("one person" in text for text in record["rai:dataBiases"])
    assert "Not checked against a primary source: modality, licence" in record["description"]
    assert run("export", "eyepacs").exit_code == 2


def test_croissant_is_valid(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant is not installed: it is built from source only"
    )
    for name, card in all_cards().items():
        file = tmp_path / f"{name}.json"
        file.write_text(croissant_text(card), encoding="utf-8")
        assert not mlcroissant.Dataset(str(file)).metadata.ctx.issues.errors


def test_a_card_of_ones_own_counts_and_asks(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.md"
    done = run("new", "crop_disease", leaves, "--out", out)
    assert done.exit_code == 0, done.output
    card = read_card(out).card
    assert (card.name, card.app, card.weights_release) == ("my_leaves", "crop_disease", "unclear")
    assert card.counts.images == 12 == sum(card.counts.classes.values())
    assert len(card.audit["data_sha256"]) == 64
    assert QUESTION in card.licence
    assert len(card.questions()) >= 4
    # Nothing of the files' names, and no question where an answer is expected.
    assert ".jpg" not in out.read_text()
    assert QUESTION not in may_release(terms_of([card]))
    assert terms_of([card])[0]["licence"] == "not stated"
    assert f"{len(out.read_text().split(QUESTION)) - 1} questions" in done.output
    # Answers may stand in it.
    assert run("new", "crop_disease", leaves, "--out", out).exit_code == 2


def look(folder: Path, card: str | None = None) -> tuple[Manifest, tuple[Card, ...]]:
    app = find_app("crop_disease")
    return index_with_cards(app, Source(paths=(folder,), labelled=True, task=app.task()), card)


def test_a_card_in_the_folder_or_named_is_linked(leaves: Path, tmp_path: Path) -> None:
    folder = tmp_path / "leaves"
    find_app("crop_disease").phantom(folder, 12, 3)
    assert look(folder)[1] == ()
    run("new", "crop_disease", leaves, "--out", tmp_path / "elsewhere.md")
    manifest, cards = look(folder, str(tmp_path / "elsewhere.md"))
    assert manifest.cards == ("my_leaves",)
    assert any("question(s) open" in note for note in manifest.notes)
    (folder / "leaves.md").write_text((tmp_path / "elsewhere.md").read_text(), encoding="utf-8")
    assert look(folder)[1] == cards
    manifest, cards = look(folder, "none")
    assert (manifest.cards, cards) == ((), ())
    # A page of notes beside the images is no card.
    (folder / "leaves.md").write_text("# Notes\nSome leaves.\n", encoding="utf-8")
    assert look(folder)[1] == ()


def test_a_card_of_another_app_is_refused(leaves: Path, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="of the app mammography"):
        look(leaves, str(with_front(tmp_path / "card.md")))
    with pytest.raises(CardError, match="is of mammography"):
        look(leaves, "embed")


def test_data_a_model_is_only_judged_on_do_not_bind_it(tmp_path: Path) -> None:
    folder = tmp_path / "leaves"
    find_app("crop_disease").phantom(folder, 12, 3)
    with_front(folder / "card.md", name="bound", app="crop_disease")
    app = find_app("crop_disease")
    source = Source(paths=(folder,), labelled=True, task=app.task())
    learning, _ = index_with_cards(app, source, None)
    judging, cards = index_with_cards(app, source, None, trains=False)
    assert any("may not be released" in note for note in learning.notes)
    assert not any("released" in note for note in judging.notes)
    assert [card.name for card in cards] == ["bound"]


def test_terms_of_a_public_set_travel_with_its_images_in_another_layout(tmp_path: Path) -> None:
    folder = tmp_path / "leaves"
    find_app("crop_disease").phantom(folder, 12, 3)
    with pytest.raises(
        ManifestError, match=r"not those of the data card 'ibean'.*--card \S+ibean.md"
    ):
        look(folder, "ibean")
    manifest, cards = look(folder, str(FOLDER / "ibean.md"))
    assert [card.name for card in cards] == ["ibean"]
    assert any("named by its file" in note for note in manifest.notes)

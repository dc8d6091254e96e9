"""The whole path on drawn leaves: train, evaluate, predict, and what goes wrong on the way."""

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.metrics import f1_score
from typer.testing import CliRunner

import core.prediction.scorer
from core.app import find_app
from core.base.outputs import is_complete
from core.cards.card import FOLDER
from core.cards.licence_terms import may_release
from core.cli.main import build
from core.errors import ConfigError, ManifestError, OutputError, RunError
from core.testing import SETTINGS
from core.verbs.evaluate import evaluate
from core.verbs.predict import predict
from core.verbs.train import train


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    folder = tmp_path_factory.mktemp("path")
    phantom = find_app("crop_disease").phantom
    phantom(folder / "leaves", 80, 1)
    phantom(folder / "elsewhere", 40, 2)
    # A card that forbids the release of weights, as of the user's own data.
    text = (FOLDER / "embed.md").read_text(encoding="utf-8")
    text = text.replace("name: embed", "name: bound").replace(
        "app: mammography", "app: crop_disease"
    )
    (folder / "leaves" / "card.md").write_text(text, encoding="utf-8")
    train("crop_disease", folder / "leaves", folder / "run", flags=SETTINGS)
    return folder


@pytest.fixture
def messy(tmp_path: Path, place: Path) -> Path:
    """A folder with every kind of file that people have."""
    folder = tmp_path / "messy"
    folder.mkdir()
    good = sorted((place / "elsewhere").rglob("*.jpg"))[:3]
    for file in good:
        shutil.copy(file, folder / file.name)
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (folder / "truncated.jpg").write_bytes(good[0].read_bytes()[:900])
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.jpg").write_bytes(b"")
    Image.fromarray(photo).save(folder / "animated.gif")
    Image.fromarray(photo).convert("CMYK").save(folder / "cmyk.jpg")
    deep = np.linspace(0, 65535, 90 * 120).reshape(90, 120).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(photo).save(folder / "=cmd.png")
    (folder / "loop").symlink_to(folder)
    (folder / "folder.png").mkdir()
    return folder


def test_run_holds_what_it_promises(place: Path) -> None:
    run = place / "run"
    assert is_complete(run)
    named = set(json.loads((run / "MANIFEST.json").read_text())["files"])
    wanted = {"run.json", "model.safetensors", "plan.yaml", "manifest.parquet", "metrics.json"}
    assert wanted | {"predictions.csv", "report.html", "audit.json", "log.csv"} <= named
    assert not (run / "checkpoints").exists()


def test_tensorboard_reads_the_learning_curves_of_a_run(place: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator  # noqa: PLC0415  (slow)

    folder = place / "run" / "tensorboard" / "member-0"
    # Their names are ours: TensorBoard's hold the name of the machine.
    assert [file.name for file in folder.iterdir()] == ["events.out.tfevents.0"]
    read = event_accumulator.EventAccumulator(str(folder))
    read.Reload()
    assert read.Tags()["scalars"]
    assert all(len(read.Scalars(tag)) for tag in read.Tags()["scalars"])


def test_the_snippet_of_the_model_card_runs(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (place / "run" / "model_card.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "resight"
    snippet = card.partition("```python\n")[2].partition("```")[0]
    shutil.copytree(place / "run", tmp_path / "RUN")
    (tmp_path / "IMAGES").mkdir()
    for file in sorted((place / "elsewhere").rglob("*.jpg"))[:2]:
        shutil.copy(file, tmp_path / "IMAGES" / file.name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(snippet, "model_card.md", "exec"), names)
    assert names["summary"]["n_ok"] == len(pd.read_csv("PREDICTIONS/predictions.csv")) == 2


def test_terms_of_the_data_reach_run_report_model_card_and_prediction(
    place: Path, tmp_path: Path
) -> None:
    run = place / "run"
    content = json.loads((run / "run.json").read_text())
    assert content["cards"] == ["bound"]
    assert content["terms"][0]["weights_release"] == "forbidden"
    sentence = may_release(content["terms"])
    assert sentence.startswith("These weights may not be released")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.index("These weights may not be released") < page.index("Operating points and use")
    model_card = (run / "model_card.md").read_text(encoding="utf-8")
    assert "license_name: release-forbidden" in model_card
    assert "May these weights be released?** These weights may not" in model_card
    predict(run, sorted((place / "elsewhere").rglob("*.jpg"))[:2], tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["terms"]["may_release_weights"] == sentence
    # The card is about the images, not one of them.
    assert "card.md" not in (run / "predictions.csv").read_text()


def test_groups_never_straddle_the_splits_of_a_run(place: Path) -> None:
    table = pd.read_parquet(place / "run" / "manifest.parquet")
    assert set(table["split"]) == {"train", "val", "test"}
    pairs = table[["group", "split"]].drop_duplicates()
    assert pairs["group"].is_unique


def test_headline_recomputes_from_the_predictions(place: Path) -> None:
    table = pd.read_csv(place / "run" / "predictions.csv", keep_default_na=False)
    table = table[table["split"] == "test"]
    metrics = json.loads((place / "run" / "metrics.json").read_text())["metrics"]
    stored = [
        row["value"]
        for row in metrics
        if row["name"] == "macro_f1" and row["unit"] == "image" and not row["subgroup"]
    ]
    expected = f1_score(table["label"], table["predicted"], average="macro", zero_division=0)
    assert stored[0] == pytest.approx(expected, abs=1e-12)


def test_scores_of_the_run_are_those_of_prediction(place: Path, tmp_path: Path) -> None:
    # One preparation and one reader: the held-out images predicted again give the same scores.
    before = pd.read_parquet(place / "run" / "predictions.parquet").set_index("image_id")
    predict(place / "run", [place / "leaves"], tmp_path / "out")
    after = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("image_id")
    scores = [c for c in before.columns if c.startswith("score_")]
    np.testing.assert_allclose(before[scores], after.loc[before.index, scores], atol=1e-5)


def test_same_command_again_does_nothing_and_another_is_refused(
    place: Path, tmp_path: Path
) -> None:
    before = (place / "run" / "run.json").read_bytes()
    train("crop_disease", place / "leaves", place / "run", flags=SETTINGS)
    # Where files lie and how many processes read them makes no other training.
    moved = Path(shutil.copytree(place / "leaves", tmp_path / "moved"))
    first, second, *_ = sorted(moved.rglob("*.jpg"))
    os.utime(first)
    train("crop_disease", moved, place / "run", flags={**SETTINGS, "workers": 3})
    assert (place / "run" / "run.json").read_bytes() == before
    first.write_bytes(second.read_bytes())
    with pytest.raises(RunError, match=first.name):
        train("crop_disease", moved, place / "run", flags=SETTINGS)
    with pytest.raises(RunError, match="epochs was 2, is 3"):
        train("crop_disease", place / "leaves", place / "run", flags={**SETTINGS, "epochs": 3})


@pytest.mark.slow
def test_plan_file_gives_the_same_weights_again(place: Path, tmp_path: Path) -> None:
    train(None, None, tmp_path / "again", plan_file=place / "run" / "plan.yaml")
    first, second = (r / "model.safetensors" for r in (place / "run", tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_refused_command_leaves_the_place_free(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty"):
        train("crop_disease", tmp_path / "empty", out, flags=SETTINGS)
    assert not out.exists()
    # Refused after the data were looked at: 49 training images are fewer than 400.
    with pytest.raises(ConfigError, match="--batch"):
        train("crop_disease", place / "leaves", out, flags={**SETTINGS, "batch": 400})
    assert not out.exists()


def test_run_is_never_written_into_the_data(place: Path) -> None:
    with pytest.raises(OutputError, match="inside the data"):
        train("crop_disease", place / "leaves", place / "leaves" / "run", flags=SETTINGS)
    assert not (place / "leaves" / "run").exists()


def test_two_files_are_enough_to_predict(place: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("run.json", "model.safetensors"):
        shutil.copy(place / "run" / name, bare / name)
    done = predict(bare, [place / "elsewhere"], tmp_path / "out")
    assert done["n_ok"] == done["n_inputs"] == 40


def test_changed_weights_are_refused(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "run", copy)
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    with pytest.raises(RunError, match="not the file"):
        predict(copy, [place / "elsewhere"], tmp_path / "out")


def test_every_input_ends_in_one_row(place: Path, messy: Path, tmp_path: Path) -> None:
    done = predict(place / "run", [messy], tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert table["image_id"].is_unique
    status = dict(zip(table["image_id"], table["status"], strict=True))
    for name in ("cmyk.jpg", "deep.png", "=cmd.png"):
        assert status[name] == "ok", name
    for name in ("truncated.jpg", "text.jpg", "empty.jpg"):
        assert status[name] == "failed", name
    assert status["animated.gif"] in {"failed", "skipped"}
    bad = table[table["status"] != "ok"]
    assert (bad["reason"].str.len() > 5).all()
    assert bad.filter(like="score_").isna().all(axis=None)
    assert done["n_ok"] == 6
    text = (tmp_path / "out" / "predictions.csv").read_text()
    assert "'=cmd.png" in text


def test_prediction_opens_no_socket(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to this machine; the readers talk through pipes."""

    def refuse(*_: Any, **__: Any) -> Any:
        pytest.fail("a socket was made")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    done = predict(place / "run", [place / "elsewhere" / "rust"], tmp_path / "out")
    assert done["n_ok"] == done["n_inputs"] > 0


def test_bad_image_does_not_change_its_neighbours(place: Path, messy: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    for file in messy.glob("leaf*.jpg"):
        shutil.copy(file, clean / file.name)
    tables = []
    for name, folder in (("a", messy), ("b", clean)):
        predict(place / "run", [folder], tmp_path / name)
        table = pd.read_parquet(tmp_path / name / "predictions.parquet").set_index("image_id")
        tables.append(table.loc[sorted(f.name for f in clean.iterdir())].filter(like="score_"))
    pd.testing.assert_frame_equal(*tables, atol=1e-6)


def test_killed_prediction_ends_with_the_same_bytes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.prediction.scorer.Scorer, "block", 8)
    predict(place / "run", [place / "elsewhere"], tmp_path / "whole")
    score = core.prediction.scorer.Scorer.score
    calls = []

    def dies(self: Any, rows: Any) -> pd.DataFrame:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, rows)

    monkeypatch.setattr(core.prediction.scorer.Scorer, "score", dies)
    with pytest.raises(KeyboardInterrupt):
        predict(place / "run", [place / "elsewhere"], tmp_path / "killed")
    assert not is_complete(tmp_path / "killed")
    journal = tmp_path / "killed" / "journal.jsonl"
    # A power cut can also tear the last line.
    journal.write_bytes(journal.read_bytes() + b'[2, 123, "half')
    predict(place / "run", [place / "elsewhere"], tmp_path / "killed")
    # Two blocks were kept, so three of five are scored again, and one call died.
    assert len(calls) == 2 + 1 + 3
    for name in ("predictions.csv", "predictions.parquet", "summary.json"):
        whole, killed = (tmp_path / d / name for d in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), name


def test_other_inputs_do_not_mix_into_an_output(place: Path, tmp_path: Path) -> None:
    predict(place / "run", [place / "elsewhere" / "rust"], tmp_path / "out")
    with pytest.raises(RunError, match=r"inputs: .* differ"):
        predict(place / "run", [place / "elsewhere"], tmp_path / "out")


def test_new_labelled_data_are_judged_by_the_stored_classes(place: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(place / "elsewhere", fewer)
    shutil.rmtree(fewer / "miner")
    table = pd.read_csv(fewer / "labels.csv")
    table[table["label"] != "miner"].to_csv(fewer / "labels.csv", index=False)
    done = evaluate(place / "run", fewer, tmp_path / "out")
    assert done["metrics"]["about"]["classes"] == ["healthy", "miner", "rust", "spot"]
    assert any("miner" in caution for caution in done["metrics"]["cautions"])
    rows = [r for r in done["metrics"]["metrics"] if r["name"] == "recall" and r["of"] == "miner"]
    assert rows
    assert all(row["value"] is None and row["reason"] for row in rows)


def test_unknown_class_in_new_data_is_refused(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(place / "elsewhere" / "rust", other / "rustt")
    with pytest.raises(ManifestError, match="Did you mean 'rust'"):
        evaluate(place / "run", other, tmp_path / "out")


def test_report_does_not_go_into_a_folder_of_others(place: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        evaluate(place / "run", None, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: None, "no such"),
        (lambda d: d.mkdir(), "it is empty"),
        (lambda d: (d / "rust").mkdir(parents=True), "it is empty"),
    ],
    ids=["missing folder", "empty folder", "empty class folder"],
)
def test_wrong_folder_ends_in_a_message_and_exit_code_2(
    tmp_path: Path, make: Any, said: str
) -> None:
    make(tmp_path / "data")
    done = CliRunner().invoke(
        build(),
        [
            "train",
            "crop_disease",
            str(tmp_path / "data"),
            "-o",
            str(tmp_path / "run"),
            "--weights",
            "none",
        ],
    )
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.lower().split())
    assert "Traceback" not in done.output


def test_one_class_and_tiny_classes_are_refused(place: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    shutil.copytree(place / "leaves" / "rust", only / "rust")
    with pytest.raises(ManifestError, match="at least two"):
        train("crop_disease", only, tmp_path / "run1", flags=SETTINGS)
    tiny = tmp_path / "tiny"
    shutil.copytree(place / "leaves" / "rust", tiny / "rust")
    (tiny / "spot").mkdir()
    for file in sorted((place / "leaves" / "spot").iterdir())[:2]:
        shutil.copy(file, tiny / "spot" / file.name)
    with pytest.raises(ManifestError, match="spot"):
        train("crop_disease", tiny, tmp_path / "run2", flags=SETTINGS)


def test_prediction_with_failures_exits_3_and_one_without_exits_0(
    place: Path, messy: Path, tmp_path: Path
) -> None:
    runner = CliRunner()
    run = str(place / "run")
    failed = runner.invoke(build(), ["predict", run, str(messy), "-o", str(tmp_path / "a")])
    assert failed.exit_code == 3, failed.output
    assert "failed" in failed.output
    fine = runner.invoke(
        build(), ["predict", run, str(place / "elsewhere"), "-o", str(tmp_path / "b"), "--json"]
    )
    assert fine.exit_code == 0, fine.output
    assert json.loads(fine.stdout)["n_ok"] == 40

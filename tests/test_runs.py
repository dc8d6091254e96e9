"""What can be done with finished runs: set a threshold, look, judge; on drawn leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from core.app import find_app
from core.base.outputs import is_complete, seal, sha256_file, unseal, write_json
from core.base.tables import logits_in
from core.cli.main import build
from core.data.scored_tables import read_foreign
from core.errors import ConfigError, LeakageError, OutputError
from core.evaluation.delivered import delivered_rates
from core.evaluation.summary import EvaluationPlan, summarise
from core.runs.run import load_run, task_from_dict
from core.runs.run_metrics import compute_metrics
from core.runs.table_files import write_table
from core.statistics.operating_points import choose_threshold
from core.testing import SETTINGS
from core.verbs.compare import compare
from core.verbs.ensemble import ensemble
from core.verbs.evaluate import evaluate
from core.verbs.predict import predict
from core.verbs.threshold import set_threshold
from core.verbs.train import train

# Two runs are trained for them, and an ensemble made.
pytestmark = pytest.mark.slow

PROBE: dict[str, Any] = {**SETTINGS, "epochs": 0}
ASKED: dict[str, Any] = {"task": "binary", "label": "sick"}


def labelled(folder: Path, n: int, seed: int) -> Path:
    """Drawn leaves with one more column: sick or not; the table to train on."""
    find_app("crop_disease").phantom(folder, n, seed)
    table = pd.read_csv(folder / "labels.csv")
    table["sick"] = np.where(table["label"] == "healthy", "no", "yes")
    table.to_csv(folder / "sick.csv", index=False)
    return folder / "sick.csv"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data = labelled(folder / "leaves", 64, 1)
    labelled(folder / "elsewhere", 40, 2)
    train("crop_disease", data, folder / "run", flags=PROBE, rules={"leaf": "max"}, **ASKED)
    train("crop_disease", data, folder / "folds", flags={**PROBE, "folds": 2}, **ASKED)
    return folder


@pytest.fixture(scope="module")
def other(place: Path) -> Path:
    """Another network for the same split: the first with a changed head, scored anew."""
    folder = Path(shutil.copytree(place / "run", place / "other"))
    weights = load_file(folder / "model.safetensors")
    rng = torch.Generator().manual_seed(0)
    head = next(name for name in weights if name.endswith("head.weight"))
    noise = torch.randn(weights[head].shape, generator=rng)
    weights[head] = weights[head] + 0.5 * weights[head].std() * noise
    save_file(weights, folder / "model.safetensors")
    content = json.loads((folder / "run.json").read_text())
    content["members"][0]["sha256"] = sha256_file(folder / "model.safetensors")
    content["model_id"] = content["members"][0]["sha256"][:12]
    write_json(folder / "run.json", content)
    seal(folder)
    predict(folder, [place / "leaves"], place / "scored")
    new = pd.read_parquet(place / "scored" / "predictions.parquet").set_index("image_id")
    table = pd.read_parquet(folder / "predictions.parquet")
    for column in (*logits_in(table), "score_no", "score_yes", "predicted", "decision"):
        table[column] = new.loc[table["image_id"], column].to_numpy()
    table.to_parquet(folder / "predictions.parquet", index=False)
    seal(folder)
    return folder


@pytest.mark.parametrize("absent", [None, np.nan, ""])
def test_an_empty_decision_is_an_empty_string_in_both_files(absent: Any, tmp_path: Path) -> None:
    table = pd.DataFrame({"image_id": ["a", "b"], "decision": ["rust", absent]})
    for rows, expected in ((table, ["rust", ""]), (table[1:], [""])):
        write_table(tmp_path / "t", rows)
        binary = pd.read_parquet(tmp_path / "t.parquet")
        text = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
        assert binary["decision"].tolist() == text["decision"].tolist() == expected


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def test_the_rule_of_a_unit_is_kept_and_used(place: Path) -> None:
    content = json.loads((place / "run" / "run.json").read_text())
    assert content["units"] == [{"name": "leaf", "columns": ["leaf"], "rule": "max"}]
    images = pd.read_parquet(place / "run" / "predictions.parquet")
    images = images[images["split"] == "test"]
    leaves = pd.read_parquet(place / "run" / "decisions_leaf.parquet").set_index("unit_id")
    worst = images.groupby("leaf")["score_yes"].max()
    np.testing.assert_allclose(leaves.loc[worst.index, "score_yes"], worst)


def test_an_unknown_unit_or_rule_is_refused(place: Path, tmp_path: Path) -> None:
    data, out = place / "leaves" / "sick.csv", tmp_path / "run"
    for rules, said in (({"tree": "max"}, "no unit 'tree'"), ({"leaf": "sum"}, "is no rule")):
        with pytest.raises(ConfigError, match=said):
            train("crop_disease", data, out, flags=PROBE, rules=rules, **ASKED)


def test_a_threshold_is_chosen_on_validation_stored_and_used(
    place: Path, run: Path, tmp_path: Path
) -> None:
    weights = (run / "model.safetensors").read_bytes()
    done = set_threshold(run, target="sensitivity=0.95", unit="image")
    point = done["operating_point"]
    table = pd.read_parquet(run / "predictions.parquet")
    val = table[table["split"] == "val"]
    truth = (val["label"] == "yes").to_numpy().astype(int)
    by_hand = choose_threshold(truth, val["score_yes"], target="sensitivity=0.95")
    assert point["threshold"] == pytest.approx(by_hand.threshold, abs=1e-9)
    assert (point["split"], point["n"], point["active"]) == ("val", len(val), True)
    assert is_complete(run)
    assert load_run(run).threshold == point["threshold"]
    assert (run / "model.safetensors").read_bytes() == weights
    predict(run, [place / "elsewhere"], tmp_path / "out")
    made = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    made = made[made["status"] == "ok"]
    called = np.where(made["score_yes"].round(12) >= point["threshold"], "yes", "no").astype("<U4")
    # A negative that is in doubt stays open.
    called[(called == "no") & (made["doubt"] != "").to_numpy()] = "open"
    # Far from all training images: of another kind, whatever its score.
    called = called.astype(object)
    limit = 1.5 * load_run(run).content["unfamiliar_above"]
    called[made["embedding_distance"] > limit] = "withheld"
    assert list(made["decision"]) == list(called)
    assert {"yes", "no"} <= set(called)
    with pytest.raises(OutputError, match="is a prediction"):
        evaluate(run, None, tmp_path / "out")
    judged = evaluate(run, None, tmp_path / "judged")["metrics"]
    assert judged["about"]["threshold"] == point["threshold"]
    assert judged["operating_points"][-1]["counts"]
    set_threshold(run, off=True)
    assert load_run(run).threshold is None


def test_shuffled_test_labels_leave_the_runs_threshold_unchanged(run: Path) -> None:
    before = set_threshold(run, target="youden")["operating_point"]["threshold"]
    table = pd.read_parquet(run / "predictions.parquet")
    test = (table["split"] == "test").to_numpy()
    table.loc[test, "label"] = np.random.default_rng(0).permutation(table.loc[test, "label"])
    table.to_parquet(run / "predictions.parquet", index=False)
    assert set_threshold(run, target="youden")["operating_point"]["threshold"] == before


def test_evaluation_refuses_to_choose_and_marks_what_is_only_looked_at(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="never chooses a threshold"):
        evaluate(run, None, tmp_path / "a", targets=["youden"])
    looked = evaluate(run, None, tmp_path / "a", targets=["youden"], exploratory=True)
    point = looked["metrics"]["operating_points"][-1]
    assert point["exploratory"]
    assert not point["active"]
    assert "Exploratory" in (tmp_path / "a" / "report.html").read_text()
    assert json.loads((run / "run.json").read_text())["operating_points"] == []


def test_the_command_lists_and_sets(run: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(build(), ["threshold", str(run), "--target", "cost=5:1"])
    assert done.exit_code == 0, done.output
    assert "In force: cost=5:1" in done.output
    listed = runner.invoke(build(), ["threshold", str(run), "--json"])
    assert json.loads(listed.stdout)["operating_point"]["target"] == "cost=5:1"
    wrong = runner.invoke(build(), ["threshold", str(run), "--target", "accuracy"])
    assert wrong.exit_code == 2


def test_an_ensemble_averages_its_runs_and_predicts_what_it_reports(
    place: Path, other: Path, tmp_path: Path
) -> None:
    runs = [place / "run", other]
    done = ensemble(runs, tmp_path / "both")
    tables = [pd.read_parquet(r / "predictions.parquet").set_index("image_id") for r in runs]
    made = pd.read_parquet(tmp_path / "both" / "predictions.parquet").set_index("image_id")
    columns = logits_in(made)
    heat = [load_run(r).temperature for r in runs]
    mean = sum(t.loc[made.index, columns] / h for t, h in zip(tables, heat, strict=True)) / 2
    np.testing.assert_allclose(made[columns], mean, atol=1e-9)
    # The weights that were copied give the scores that were reported.
    predict(tmp_path / "both", [place / "leaves"], tmp_path / "out")
    again = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("image_id")
    scores = ["score_no", "score_yes"]
    np.testing.assert_allclose(again.loc[made.index, scores], made[scores], atol=1e-5)
    test = made[made["split"] == "test"]
    rows = done["metrics"]["metrics"]
    stored = next(r["value"] for r in rows if r["name"] == "auroc" and r["unit"] == "image")
    expected = roc_auc_score(test["label"] == "yes", test["score_yes"])
    assert stored == pytest.approx(expected)
    assert [m["title"].split()[0] for m in done["metrics"]["members"]] == ["test_resnet"] * 2
    assert [row["run"] for row in done["members"]] == [*map(str, runs), "average"]
    assert done["gain"]["n"] == test["leaf"].nunique()
    assert done["gain"]["run"] in map(str, runs)
    over = {row["run"]: row["gain"]["difference"] for row in done["members"] if "gain" in row}
    assert list(over) == [str(run) for run in runs]
    assert over[done["gain"]["run"]] == done["gain"]["difference"]
    assert "Members of the ensemble" in (tmp_path / "both" / "report.html").read_text()


def test_an_ensemble_that_was_killed_goes_on_among_what_it_left(
    run: Path, other: Path, tmp_path: Path
) -> None:
    ensemble([run, other], tmp_path / "out")
    # Killed before the manifest, and with a page yet to be written.
    unseal(tmp_path / "out")
    (tmp_path / "out" / "report.html").unlink()
    ensemble([run, other], tmp_path / "out")
    assert is_complete(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_runs_that_were_split_otherwise_are_no_ensemble(place: Path, tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="not split alike"):
        ensemble([_with_mean(place, tmp_path), place / "folds"], tmp_path / "both")
    with pytest.raises(ConfigError, match="named twice"):
        ensemble([place / "run", place / "run"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def _with_mean(place: Path, tmp_path: Path) -> Path:
    """The run with the rule of the other one."""
    folder = Path(shutil.copytree(place / "run", tmp_path / "mean"))
    content = json.loads((folder / "run.json").read_text())
    content["units"][0]["rule"] = "mean"
    write_json(folder / "run.json", content)
    seal(folder)
    return folder


def test_runs_are_compared_on_cases_that_neither_was_trained_on(
    place: Path, other: Path, tmp_path: Path
) -> None:
    done = compare(place / "run", other, tmp_path / "cmp")
    rows = {(r["name"], r["unit"]): r for r in done["rows"]}
    for i, which in enumerate(("first", "second")):
        table = pd.read_parquet((place / "run", other)[i] / "predictions.parquet")
        test = table[table["split"] == "test"]
        expected = roc_auc_score(test["label"] == "yes", test["score_yes"])
        assert rows["auroc", "image"][which] == pytest.approx(expected)
    side = pd.read_csv(tmp_path / "cmp" / "cases_image.csv", keep_default_na=False)
    flipped = side["decision_first"] != side["decision_second"]
    moved = (side["score_yes_first"] - side["score_yes_second"]).abs()
    assert done["agreement"]["image"]["flipped"] == flipped.sum()
    assert done["agreement"]["image"]["flipped_near"] == (flipped & (moved <= 0.05)).sum()
    page = (tmp_path / "cmp" / "report.html").read_text()
    assert "Second minus first" in page
    assert is_complete(tmp_path / "cmp")
    # Against a cross-validation only the first run's test images can be shared.
    mixed = compare(place / "run", place / "folds", tmp_path / "mixed")
    table = pd.read_parquet(place / "run" / "predictions.parquet")
    assert mixed["agreement"]["image"]["n"] == (table["split"] == "test").sum()
    assert any("left out" in note for note in mixed["notes"])
    assert any(row["what"] == "folds" for row in mixed["changed"])
    # A threshold that one alone has is not held against none.
    one = Path(shutil.copytree(place / "run", tmp_path / "one"))
    set_threshold(one, target="sensitivity=0.95")
    alone = compare(place / "run", one, tmp_path / "alone")
    assert any("Only the second run has an operating point" in note for note in alone["notes"])
    assert all(row["difference"] in {0, None} for row in alone["rows"])
    assert alone["changed"][0]["what"] == "operating point"
    assert alone["counted_at"][1] in (tmp_path / "alone" / "report.html").read_text()


def test_a_cross_validated_run_holds_its_folds(place: Path) -> None:
    run = place / "folds"
    table = pd.read_parquet(run / "predictions.parquet")
    assert set(table["split"]) == {"out-of-fold"}
    assert set(table["fold"]) == {"0", "1"}
    assert table[["group", "fold"]].drop_duplicates()["group"].is_unique
    content = json.loads((run / "run.json").read_text())
    assert len(content["members"]) == 2
    metrics = json.loads((run / "metrics.json").read_text())
    spread = metrics["folds"]
    assert sum(v["n"] for v in spread["rows"][0]["values"]) == table["leaf"].nunique()
    page = (run / "report.html").read_text()
    assert "Spread over folds" in page
    assert "each scored by networks that had not seen its leaf" in page
    point = set_threshold(_copy(run), target="youden")["operating_point"]
    assert point["split"] == "out-of-fold"
    assert set(point["fold_thresholds"]) == {"0", "1"}


def _copy(run: Path) -> Path:
    """A run that may be changed."""
    folder = run.with_name(f"{run.name}-copy")
    return folder if folder.exists() else Path(shutil.copytree(run, folder))


def test_new_data_are_compared_with_the_runs_own(place: Path, tmp_path: Path) -> None:
    dark = tmp_path / "dark"
    shutil.copytree(place / "elsewhere", dark)
    for file in sorted(dark.rglob("*.jpg")):
        with Image.open(file) as image:
            darker = image.point(lambda value: value // 3)
        darker.save(file, quality=95)
    # One image of the training is smuggled in.
    table = pd.read_parquet(place / "run" / "manifest.parquet")
    known = table[(table["split"] == "train") & (table["status"] == "ok")].iloc[0]
    shutil.copy(place / "leaves" / known["path"], dark / "known.jpg")
    rows = pd.read_csv(dark / "sick.csv")
    first = {**rows.iloc[0].to_dict(), rows.columns[0]: "known.jpg", "sick": known["label"]}
    pd.concat([rows, pd.DataFrame([first])]).to_csv(dark / "sick.csv", index=False)
    done = evaluate(place / "run", dark / "sick.csv", tmp_path / "out", label="sick")
    found = done["metrics"]["external"]
    inputs = {row["name"]: row for row in found["inputs"]}
    assert set(inputs) >= {"brightness", "contrast", "height", "width", "embedding_distance"}
    assert inputs["brightness"]["words"] == "lower than in training"
    assert inputs["brightness"]["outside"]["low"] > 0.5
    assert inputs["height"]["words"] == "as in training"
    assert found["copies"]["n"] == 1
    told = " ".join(done["metrics"]["cautions"])
    assert "Brightness is lower than in training" in told
    assert "hold the pixels of a training image (first: known.jpg)" in told
    names = [row["name"] for row in found["numbers"]]
    assert names[0] == done["metrics"]["about"]["headline"]
    assert {"accuracy", "brier", "in_the_large"} & set(names)
    page = (tmp_path / "out" / "report.html").read_text()
    for heading in ("Here against the run&#39;s own test", "New data beside those of training"):
        assert heading in page, heading
    assert "Expected gain from recalibration on local cases" in page
    note = page.split("Difference: here minus the run&#39;s own test; its interval: ")[1][:400]
    assert "resamples" not in note
    assert "each other number is called only where one of these differs" in note
    # Baselines and copies were looked at in the run's own data.
    assert "shortcuts" not in {entry["question"] for entry in done["metrics"]["verdicts"]}


def test_every_number_recomputes_from_predictions_csv(place: Path) -> None:
    run = place / "run"
    content = json.loads((run / "run.json").read_text())
    stored = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "predictions.csv", dtype={"fold": str})
    again, decisions = compute_metrics(table, run=content, split="test")
    tables = {"image": table[table["split"] == "test"], **decisions}
    again["delivered"] = delivered_rates(again, tables, task_from_dict(content["task"]))
    assert again["delivered"] is not None
    # Drawn from these numbers, from the probe's and from the other partitions.
    missing = {"probe", "without", "verdicts", "against_probe", "characteristics"}
    assert set(stored) == set(again) | missing
    compared = _same(stored, again, "metrics.json")
    assert compared > 500
    # The test can fail: one label less right changes the numbers.
    rows = table.index[(table["split"] == "test") & (table["label"] == "yes")]
    table.loc[rows[0], "label"] = "no"
    changed, _ = compute_metrics(table, run=content, split="test")
    with pytest.raises(AssertionError):
        _same(stored, changed, "metrics.json")


def _same(stored: Any, again: Any, where: str) -> int:
    """Compare what both hold; the number of numbers compared."""
    if isinstance(stored, dict):
        return sum(_same(v, again[k], f"{where}.{k}") for k, v in stored.items() if k in again)
    if isinstance(stored, list):
        assert len(stored) == len(again), where
        return sum(
            _same(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(stored, again, strict=True))
        )
    if isinstance(stored, float) and isinstance(again, float):
        assert again == pytest.approx(stored, abs=2e-6), where
        return 1
    assert stored == again, where
    return 1


def test_our_own_table_can_be_judged_without_the_run(place: Path) -> None:
    read = read_foreign(place / "run" / "predictions.csv")
    assert read.task.classes == ("no", "yes")
    content, _ = summarise(
        read.predictions[read.predictions["split"] == "test"],
        EvaluationPlan(task=read.task, split="test", resamples=50),
    )
    stored = json.loads((place / "run" / "metrics.json").read_text())
    values = [
        next(r["value"] for r in m["metrics"] if r["name"] == "auroc" and r["unit"] == "image")
        for m in (content, stored)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-9)

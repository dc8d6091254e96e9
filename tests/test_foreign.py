"""A table made elsewhere gives the whole report, or says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from core.base.outputs import is_complete
from core.cli.main import build
from core.data.scored_tables import read_foreign
from core.errors import ConfigError, ManifestError
from core.evaluation.summary import EvaluationPlan, summarise
from core.verbs.from_table import evaluate_table, points_of


def table(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two images of each patient; yes patients score higher."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // 2
    yes = patient % 3 == 0
    score = 1 / (1 + np.exp(-(2 * yes - 1 + rng.normal(size=n))))
    return pd.DataFrame(
        {
            "id": [f"i{i:03d}" for i in range(n)],
            "group": [f"p{p}" for p in patient],
            "label": np.where(yes, "yes", "no"),
            "score": score.round(6),
            "site": np.where(patient % 2, "north", "south"),
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scores.csv"
    table().to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_the_whole_report_is_made_without_a_model_twice_the_same(
    file: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    settings: dict[str, Any] = {"units": {"patient": "group"}, "subgroups": ["site"]}
    done = evaluate_table(file, out, **settings)
    assert is_complete(out)
    rows = table()
    by_patient = rows.groupby("group").agg({"score": "mean", "label": "first"})
    expected = roc_auc_score(by_patient["label"] == "yes", by_patient["score"])
    first = done["metrics"]["metrics"][0]
    assert (first["name"], first["unit"], first["n"]) == ("auroc", "patient", 60)
    assert first["value"] == pytest.approx(expected, abs=1e-9)
    assert {row["subgroup"] for row in done["metrics"]["metrics"]} >= {"site=north", "site=south"}
    evaluate_table(file, again, **settings)
    for name in ("report.html", "metrics.json", "model_card.md", "predictions.csv"):
        assert (out / name).read_bytes() == (again / name).read_bytes(), name


def test_raw_scores_are_judged_for_discrimination_only_and_that_is_said(tmp_path: Path) -> None:
    raw = table()
    # Log odds: another scale, the same order.
    raw["score"] = np.log(raw["score"] / (1 - raw["score"]))
    given = tmp_path / "raw.csv"
    raw.to_csv(given, index=False)
    done = evaluate_table(given, tmp_path / "out", positive=["yes"], subgroups=["site"])["metrics"]
    area = next(r for r in done["metrics"] if r["name"] == "auroc" and not r["subgroup"])
    assert area["value"] == pytest.approx(roc_auc_score(raw["label"] == "yes", raw["score"]))
    assert {r["name"] for r in done["metrics"]} == {"auroc", "average_precision"}
    assert done["calibration"] is None
    assert done["curves"]["decision"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "judged for discrimination only" in page
    for word in ("Brier", "Log-loss", "Confusion matrix", "Net benefit", "Decision curve"):
        assert word not in page.split("<section")[1], word
        assert f">{word}" not in page, word
    kept = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert kept["score_given"].to_numpy() == pytest.approx(raw["score"].to_numpy())
    with pytest.raises(ConfigError, match="discrimination only"):
        evaluate_table(given, tmp_path / "b", positive=["yes"], threshold=0.5)


def logits(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Three classes with logits in columns of another scale each, and the logits (n, 3)."""
    rng = np.random.default_rng(3)
    y = np.arange(n) // 2 % 3
    z = 2 * np.eye(3)[y] + rng.normal(size=(n, 3)) * [1, 2, 3] + [0, 5, -5]
    rows = pd.DataFrame(z, columns=["a", "b", "c"]).add_prefix("score_")
    return rows.assign(
        id=[f"i{i}" for i in range(n)], group=np.arange(n) // 2, label=np.array(list("abc"))[y]
    ), z


def test_columns_of_several_raw_scores_are_each_judged_for_discrimination(tmp_path: Path) -> None:
    rows, z = logits()
    rows.to_csv(tmp_path / "raw.csv", index=False)
    done = evaluate_table(tmp_path / "raw.csv", tmp_path / "out", positive=["b", "c"])["metrics"]
    areas = {r["of"]: r["value"] for r in done["metrics"] if r["name"] == "auroc"}
    for i, name in enumerate("abc"):
        assert areas[name] == pytest.approx(roc_auc_score(rows["label"] == name, z[:, i]))
    # What would put columns of no common scale on one is left out.
    names = {r["name"] for r in done["metrics"]}
    assert names == {"auroc", "average_precision", "macro_auroc", "macro_average_precision"}
    assert {curve["of"] for curve in done["curves"]["roc"]} == set("abc")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "judged for discrimination only" in page
    assert "the order of its own column" in page
    kept = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert kept["score_given_b"].to_numpy() == pytest.approx(z[:, 1])


def test_logits_that_are_said_to_be_logits_become_probabilities(tmp_path: Path) -> None:
    rows, z = logits()
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    named = rows.rename(columns=lambda name: name.replace("score_", "logit_"))
    for table_, more in ((rows, {"columns": {"scores": "logits"}}), (named, {})):
        table_.to_csv(tmp_path / "t.csv", index=False)
        found = read_foreign(tmp_path / "t.csv", **more)
        assert found.raw is None
        assert found.task.kind == "multiclass"
        assert any("softmax" in note for note in found.notes)
        scores = found.predictions[["score_a", "score_b", "score_c"]].to_numpy()
        assert scores == pytest.approx(expected)
    words = ["evaluate", "--predictions", str(tmp_path / "raw.csv"), "--scores", "logits"]
    rows.to_csv(tmp_path / "raw.csv", index=False)
    done = CliRunner().invoke(build(), [*words, "-o", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout)["metrics"]["metrics"]
    accuracy = next(r["value"] for r in numbers if r["name"] == "accuracy")
    assert accuracy == pytest.approx((expected.argmax(1) == np.arange(120) // 2 % 3).mean())


@pytest.mark.parametrize("kind", ["multilabel", "binary"])
def test_logits_of_labels_and_of_two_classes(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 2)) * 4
    label = np.where(z[:, 1] > z[:, 0], "b", "a")
    if kind == "multilabel":
        label = np.where(np.arange(60) % 3 == 0, "a|b", label)
    rows = pd.DataFrame({"label": label, "score_a": z[:, 0], "score_b": z[:, 1]})
    rows.to_csv(tmp_path / "t.csv", index=False)
    ranks = read_foreign(tmp_path / "t.csv")
    assert ranks.task.kind == kind
    assert ranks.raw is not None
    scores = ranks.predictions[["score_a", "score_b"]].to_numpy()
    # Of two classes the difference ranks; labels rank by their own column.
    order = z[:, 1] - z[:, 0] if kind == "binary" else z[:, 1]
    assert (scores[:, 1].argsort() == order.argsort()).all()
    known = read_foreign(tmp_path / "t.csv", columns={"scores": "logits"})
    link = 1 / (1 + np.exp(-order))
    assert known.predictions["score_b"].to_numpy() == pytest.approx(link)


def test_a_table_of_failures_alone_gives_a_report_that_says_so(tmp_path: Path) -> None:
    given = tmp_path / "failed.csv"
    rows = table(6).drop(columns="score")
    failed = rows.assign(score_no="", score_yes="", status="failed", reason="the file is cut off")
    failed.to_csv(given, index=False)
    words = ["evaluate", "--predictions", str(given), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(build(), words)
    # 3: done, but some inputs failed.
    assert done.exit_code == 3, done.output
    assert "0 of 6 images were scored" in done.output
    assert "label column" not in done.output
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["metrics"] == []
    assert "the file is cut off" in (tmp_path / "out" / "report.html").read_text()


def test_a_threshold_comes_from_validation_rows_or_not_at_all(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no validation rows"):
        evaluate_table(file, tmp_path / "a", targets=["youden"])
    every = read_foreign(file)
    (point,) = points_of(
        every.predictions,
        every.predictions,
        EvaluationPlan(task=every.task, split="predictions"),
        threshold=None,
        targets=["youden"],
        exploratory=True,
    )
    assert point["exploratory"]
    assert point["name"] == "youden (exploratory)"
    split = table().assign(split=["val"] * 60 + ["test"] * 60)
    mixed = split.copy()
    test = mixed["split"] == "test"
    mixed.loc[test, "label"] = mixed.loc[test, "label"].to_numpy()[::-1]
    found = []
    for rows in (split, mixed):
        rows.to_csv(tmp_path / "split.csv", index=False)
        read = read_foreign(tmp_path / "split.csv")
        judged = read.predictions[read.predictions["split"] == "test"]
        found += points_of(
            read.predictions,
            judged,
            EvaluationPlan(task=read.task, split="test"),
            threshold=None,
            targets=["youden"],
            exploratory=False,
        )
    assert found[0] == found[1]
    assert (found[0]["split"], found[0]["n"]) == ("val", 60)
    assert not found[0].get("exploratory")


def test_classes_come_from_columns_so_an_absent_one_keeps_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5), 40).round(3)
    rows = pd.DataFrame({"id": range(40), "label": rng.integers(0, 4, 40)})
    for k in (3, 0, 4, 1, 2):
        rows[f"score_{k}"] = scores[:, k]
    rows.to_csv(tmp_path / "t.csv", index=False)
    found = read_foreign(tmp_path / "t.csv", kind="ordinal")
    assert found.task.classes == ("0", "1", "2", "3", "4")
    given = found.predictions[[f"score_{k}" for k in range(5)]].to_numpy()
    np.testing.assert_allclose(given, scores / scores.sum(axis=1, keepdims=True))
    assert any("divided by their sum" in note for note in found.notes)


def test_rows_without_a_score_are_failures_and_counted(tmp_path: Path) -> None:
    rows = table()
    rows["score"] = rows["score"].astype(object)
    rows.loc[0, "score"], rows.loc[1, "score"], rows.loc[2, "label"] = "", "n/a", ""
    rows.to_csv(tmp_path / "t.csv", index=False)
    read = read_foreign(tmp_path / "t.csv")
    assert list(read.predictions["status"][:3]) == ["failed", "failed", "ok"]
    content, _ = summarise(
        read.predictions, EvaluationPlan(task=read.task, split="predictions", resamples=50)
    )
    steps = {step["step"]: step["n"] for step in content["flow"]}
    assert steps["Images given"] == 120
    assert steps["Failed: no score"] == 2
    assert steps["Without a label"] == 1
    assert steps["Images evaluated"] == 117
    assert content["failures"]["n_failed"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="label"), "no column 'label'"),
        (lambda t: t.drop(columns="score"), "no column of scores"),
        (lambda t: t.assign(id="same"), "repeat"),
        (lambda t: t.assign(label="yes"), "single column of scores but 1 classes"),
        (lambda t: t.assign(score_a=0.5, score_b=0.9), "do not add up to 1"),
        (lambda t: t.iloc[:0], "holds no row"),
    ],
    ids=["no label", "no score", "repeated id", "one class", "sums", "empty"],
)
def test_a_table_that_cannot_be_judged_says_why(tmp_path: Path, change: Any, said: str) -> None:
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ManifestError, match=said):
        read_foreign(tmp_path / "t.csv", kind="binary" if "add up" in said else None)


def test_the_command_takes_a_table_in_place_of_a_run(file: Path, tmp_path: Path) -> None:
    runner, out = CliRunner(), str(tmp_path / "out")
    done = runner.invoke(build(), ["evaluate", "--predictions", str(file), "-o", out, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metrics"]["about"]["headline"] == "auroc"
    neither = runner.invoke(build(), ["evaluate", "-o", out])
    assert neither.exit_code == 2
    assert "Neither a run nor --predictions" in neither.output


def test_scores_that_rank_the_classes_the_wrong_way_round_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(80) % 2
    score = (truth * 0.5 + rng.uniform(0, 0.5, 80)).clip(0.01, 0.99)
    # The higher score is of the other class.
    frame = {"id": range(80), "label": np.where(truth, "b", "a"), "score_a": score}
    pd.DataFrame(frame).assign(score_b=1 - score).to_csv(tmp_path / "s.csv", index=False)
    cautions = evaluate_table(tmp_path / "s.csv", tmp_path / "out")["metrics"]["cautions"]
    assert any("surely below 0.5" in words and "--positive" in words for words in cautions)


def page_of(rows: pd.DataFrame, place: Path, **settings: Any) -> tuple[dict[str, Any], str]:
    """The numbers and the page of a table."""
    place.mkdir(exist_ok=True)
    rows.to_csv(place / "rows.csv", index=False)
    done = evaluate_table(place / "rows.csv", place / "out", **settings)["metrics"]
    return done, (place / "out" / "report.html").read_text()


def test_groups_that_stand_in_several_splits_are_counted_and_told(tmp_path: Path) -> None:
    rows = table()
    rows["split"] = np.where(np.arange(120) % 2, "val", "test")
    rows.loc[rows["group"].isin(["p0", "p1", "p2"]), "split"] = "test"
    done, page = page_of(rows, tmp_path / "shared", targets=["sensitivity=0.9"])
    assert any("57 of 60 groups of the test rows stand in more" in c for c in done["cautions"])
    first = page.split("<section")[1]
    assert "57 of 60 groups of the test rows stand in more than one split (val 57)" in first
    # What was held out, only the maker of the table knows.
    assert "rows that the table calls test, 63 images</h1>" in page
    assert "held-out test" not in page.split("<footer")[0].split("Glossary")[0].lower()
    assert "the data do not say" not in page
    assert "the table holds no training rows" in page
    assert "which share 57 groups with the test" in page.replace("\u00a0", " ")
    assert "on other data." not in page.split("Threshold set in advance")[1][:400]
    assert "that the table calls test" in first
    assert "never used for training" not in page
    assert "Internal test" not in page
    rows["split"] = np.where(np.arange(120) // 2 % 2, "val", "test")
    rows.loc[110:, "split"] = "train"
    done, page = page_of(rows, tmp_path / "apart", targets=["sensitivity=0.9"])
    assert not any("more than one split" in caution for caution in done["cautions"])
    assert "Chosen before the test, on other data." in page
    assert "cannot be checked: the" not in page
    _, page = page_of(rows.drop(columns="group"), tmp_path / "none")
    assert "the data do not say which images belong to one" in page


def test_a_page_says_the_rule_that_decides_and_no_scaling_that_was_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scores = pd.DataFrame(rng.dirichlet([1, 1, 1], 60), columns=[f"score_{i}" for i in range(3)])
    rows = pd.concat([pd.DataFrame({"label": rng.integers(0, 3, 60)}), scores], axis=1)
    _, page = page_of(rows, tmp_path / "grades", kind="ordinal")
    assert "No operating point: the median grade" in page
    assert "temperature scaling" not in page.split("<main")[-1].split("Reliability.")[1][:6000]
    raw = table()
    raw["score"] = 9 * raw["score"] - 4
    _, page = page_of(raw, tmp_path / "raw", positive=["yes"])
    assert "highest score is decided" not in page
    assert "so decisions are left out" in page
    rows["label"] = rng.choice(["0", "1;2", "0, 1", "2/0", "2"], 60)
    done, page = page_of(rows, tmp_path / "labels", kind="multilabel")
    assert "each label with a score of 0.5 or more is decided" in page
    assert done["about"]["n_images"] == 60
    for mark in ("a semicolon", "a comma", "a slash"):
        assert any(f"separated by {mark}" in caution for caution in done["cautions"]), mark


def test_a_unit_with_one_positive_image_is_positive_where_the_user_says_which(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(2)
    scores = rng.dirichlet([1, 1, 1], 90)
    rows = pd.DataFrame(scores, columns=["score_normal", "score_benign", "score_cancer"])
    rows["label"] = ["cancer", "normal", "normal"] * 15 + ["benign", "normal", "normal"] * 15
    rows["group"] = [f"w{i // 3}" for i in range(90)]
    settings: dict[str, Any] = {"units": {"woman": "group"}, "positive": ["cancer"]}
    done, _ = page_of(rows, tmp_path / "units", **settings)
    called = pd.read_csv(tmp_path / "units" / "out" / "decisions_woman.csv")
    assert called["label"].value_counts().to_dict() == {"cancer": 15, "normal": 15}
    assert any("positive (cancer) if any of its images is" in c for c in done["cautions"])

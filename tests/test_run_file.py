"""A run that a stranger made decides about its network and nothing else."""

import json
import lzma
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel
from safetensors.numpy import load_file, save_file

from core.app import find_app
from core.base import outputs
from core.base.options import resolve_options
from core.base.outputs import is_complete, seal, sha256_file
from core.base.parsing import ParsingError, parse_json, parse_yaml
from core.cards.card import read_card
from core.errors import CardError, OutputError, RunError
from core.prediction.certificate import compare_paths
from core.prediction.scorer import NO_NUMBER, Scorer
from core.runs.run import copy_sealed, load_run
from core.runs.run_file import RunFile, parse_run
from core.verbs import threshold
from core.verbs.predict import predict
from core.verbs.threshold import set_threshold

OLD = Path(__file__).parent / "fixtures" / "run_of_0_1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(OLD / "run" / "run.json", folder)
    packed = (OLD / "run" / "model.safetensors.xz").read_bytes()
    (folder / "model.safetensors").write_bytes(lzma.decompress(packed))
    content = json.loads((folder / "run.json").read_text())
    content["model_id"] = sha256_file(folder / "model.safetensors")[:12]
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def edited(*path: str | int, to: Any) -> bytes:
    """``run.json`` with one value changed."""
    content = json.loads((OLD / "run" / "run.json").read_text())
    part = content
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "data",
    [
        edited("members", 0, "weights", to="../../../../etc/passwd"),
        edited("members", 0, "weights", to="/etc/passwd"),
        edited("members", 0, "weights", to="C:model.safetensors"),
        edited("members", 0, "weights", to=".model.safetensors"),
        edited("members", 0, "network", "backbone", to="hf-hub:someone/network"),
        edited("members", 0, "network", "backbone", to="local-dir:/tmp"),
        edited("members", 0, "network", "mean", to=[0.5]),
        edited("members", 0, "network", "std", to=[0.0, 0.5, 0.5]),
        edited("members", 0, "network", "channels", to=10**9),
        edited("members", 0, "preparation", "size_px", to=[10**6, 10**6]),
        edited("members", 0, "preparation", "app", to="mammography"),
        edited("members", to=[]),
        edited("members", to={"0": 1}),
        edited("task", "classes", to=["a", "a", "b", "c"]),
        edited("task", "classes", to=[1, 2, 3, 4]),
        edited("task", "positive", to=["x"]),
        edited("task", "kind", to="binary"),
        edited("task", "cuts", to=[2.0, 1.0, 0.0]),
        edited("temperature", to=0.0),
        edited("temperature", to="1"),
        edited("units", to=[{"name": "leaf", "columns": [], "rule": "mean"}]),
        edited("units", to=[{"name": "leaf", "columns": ["leaf"], "rule": "os.system"}]),
        edited("operating_point", to={"name": "x", "unit": "image", "threshold": None}),
        edited("options", to={"a": {"b": 1}}),
        edited("facts", to={"tile_m": "wide"}),
        edited("facts", to={"tile_px": -3}),
        edited("facts", to={"gsd_m": 1e300}),
        edited("task", "truths", to={"leaf": "sometimes"}),
        edited("task", "truths", to=["worst"]),
        edited("terms", to=[{"card": "x"}]),
        edited("model_id", to="../../etc"),
        edited("schema", to="1"),
        edited("versions", to=[]),
        edited("schema", to=99),
        b"[]",
        b"null",
        b"",
        b"\xff\xfe",
        b'{"schema": NaN}',
        b'{"schema":' * 5_000,
        b"[" * 200_000,
    ],
)
def test_what_no_run_may_hold_is_refused_in_words(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json|newer than this one"):
        parse_run(data, tmp_path / "run.json")


def whole_run() -> dict[str, Any]:
    """``run.json`` in which every field is given."""
    content: dict[str, Any] = json.loads((OLD / "run" / "run.json").read_text())
    content["members"][0] |= {"sha256": "0" * 64, "temperature": 1.0, "weight": 1.0}
    content["members"][0]["network"] |= {"attention": "", "flips": "none"}
    content["task"] |= {"truths": {}, "positive_title": "", "fold_cuts": {}}
    content["task"]["cuts"] = [float(k) for k in range(len(content["task"]["classes"]) - 1)]
    point = {"name": "youden", "unit": "image", "threshold": 0.5}
    content |= {"operating_points": [point], "operating_point": {**point, "split": "val"}}
    words = ("card", "title", "licence", "weights_release_source", "homepage", "citation")
    marks = {"licence_unchecked": False, "weights_release_unchecked": False, "conditions": []}
    content["terms"] = [{**dict.fromkeys(words, "a"), **marks, "weights_release": "allowed"}]
    content |= {"licences": {}, "ensemble_of": []}
    content["export"] = {"engine": "ort", "precision": "fp32"}
    return content


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The parts that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def places_of(model: type[BaseModel], content: Any) -> Iterator[tuple[str | int, ...]]:
    """The place of every field, and of the first of several numbers.

    ``KeyError`` for a field that ``whole_run`` does not give.
    """
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield (key,)
        if isinstance(content[key], list) and isinstance(next(iter(content[key]), None), float):
            yield (key, 0)
        for inner in models_in(field.annotation):
            is_list = isinstance(content[key], list)
            here = (key, 0) if is_list else (key,)
            for place in places_of(inner, content[key][0] if is_list else content[key]):
                yield (*here, *place)


def test_no_field_of_a_run_goes_unchecked(tmp_path: Path) -> None:
    whole = whole_run()
    assert parse_run(json.dumps(whole).encode(), tmp_path / "run.json") == whole
    places = list(places_of(RunFile, whole))
    assert len(places) > 70
    for *above, last in places:
        # Of no field's kind; and a number beyond all, where a number is meant.
        for odd in ('[{"odd": 1}]', "-1e999"):
            content = whole_run()
            part: Any = content
            for step in above:
                part = part[step]
            is_number = type(part[last]) in {int, float}
            if odd == "-1e999" and not is_number:
                continue
            part[last] = "ODD"
            data = json.dumps(content).replace('"ODD"', odd).encode()
            with pytest.raises(RunError, match=rf"run\.json.*\b{last}\b"):
                parse_run(data, tmp_path / "run.json")


def test_a_run_cannot_switch_on_what_only_the_user_may(caplog: pytest.LogCaptureFixture) -> None:
    app = find_app("mammography")
    stored = {"keep-identifiers": True, "identity-key": "/etc/passwd", "dicom": True, "voi": "lut"}
    stored |= {"include-skipped": True, "spacing-mm": "0.1; rm"}
    with caplog.at_level("WARNING", logger="resight"):
        values = resolve_options(app, "predict", {}, stored=stored)
    assert values == {**resolve_options(app, "predict", {}), "voi": "lut"}
    assert "keep-identifiers" in caplog.text
    # The person at the keyboard may.
    assert resolve_options(app, "predict", {"keep-identifiers": True})["keep-identifiers"] is True


def test_a_threshold_that_cannot_be_written_leaves_the_run_complete(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(run)
    point = {"name": "youden", "unit": "image", "split": "val", "threshold": 0.4}
    monkeypatch.setattr(threshold, "_chosen", lambda *_: point)

    def full(path: Path, _: Any) -> None:
        raise OutputError(str(path))

    with monkeypatch.context() as patch:
        # A kill at the same place leaves the same files.
        patch.setattr(outputs, "write_json", full)
        with pytest.raises(OutputError):
            set_threshold(run, target="youden")
    assert is_complete(run)
    assert load_run(run).threshold is None
    set_threshold(run, target="youden")
    assert load_run(run).threshold == 0.4


def test_a_link_in_a_run_of_a_stranger_is_not_copied(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    (run / "log.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=r"log\.csv is a link"):
        copy_sealed(run, "log.csv", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    # A user's own store may hold linked files: what the manifest lists is what was trained.
    seal(run)
    copy_sealed(run, "log.csv", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "of this machine"


def test_weights_must_be_those_that_run_json_names(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="resight"):
        load_run(run)
    assert "has no MANIFEST.json" in caplog.text
    weights = load_file(run / "model.safetensors")
    weights["head.bias"] = weights["head.bias"] + 1
    save_file(weights, run / "model.safetensors")
    with pytest.raises(RunError, match="are not those"):
        load_run(run)
    seal(run)
    content = json.loads((run / "run.json").read_text())
    content["members"][0]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(content))
    seal(run)
    assert is_complete(run)
    with pytest.raises(RunError, match="not the file"):
        load_run(run)


@pytest.mark.parametrize(
    "content",
    [
        {"about": 5},
        {"about": {"units": 3, "headline": []}, "metrics": [{"name": {}}]},
        {"about": {"headline": "accuracy"}, "verdicts": [{"question": {}}], "metrics": "none"},
    ],
)
def test_what_a_run_says_of_itself_costs_no_prediction(
    content: dict[str, Any], run: Path, tmp_path: Path
) -> None:
    (run / "metrics.json").write_text(json.dumps(content))
    one = min((OLD / "inputs").iterdir())
    assert predict(run, [one], tmp_path / "out")["n_ok"] == 1


def test_a_run_whose_training_has_not_ended_is_not_used(run: Path) -> None:
    (run / "checkpoints").mkdir()
    with pytest.raises(RunError, match="has not ended"):
        load_run(run)


def test_weights_that_give_no_number_give_failed_rows(run: Path, tmp_path: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights["head.bias"] = np.full_like(weights["head.bias"], np.nan)
    save_file(weights, run / "model.safetensors")
    content = json.loads((run / "run.json").read_text())
    content["model_id"] = sha256_file(run / "model.safetensors")[:12]
    (run / "run.json").write_text(json.dumps(content))
    done = predict(run, [OLD / "inputs"], tmp_path / "out")
    assert (done["n_failed"], done["n_ok"]) == (6, 0)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert set(table["status"]) == {"failed"}
    assert set(table["reason"]) == {NO_NUMBER}
    one = min((OLD / "inputs").iterdir())
    row = {"image_id": "a", "path": str(one), "shown": "a.jpg", "status": "ok"}
    scorer = Scorer(load_run(run), options={})
    with pytest.raises(RunError, match="gives none of 1 held-out images a score"):
        compare_paths(scorer, scorer, [row])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 100_000, "nested more than 40"),
        ("\n".join(" " * n + "- " for n in range(500)) + "x", "nested more than 40|not YAML"),
        ("a: &a [1]\nb: [*a, *a]", "alias"),
        ("a: !!python/object/apply:os.system [id]", "not YAML"),
        ("a: [1", "not YAML"),
    ],
)
def test_yaml_of_strangers_ends_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ParsingError, match=said):
        parse_yaml(text)
    card = tmp_path / "card.md"
    card.write_text(f"---\n{text}\n---\n")
    with pytest.raises(CardError, match=said):
        read_card(card)


def test_json_within_the_limits_is_read_as_it_is() -> None:
    assert parse_json("[" * 40 + "]" * 40) == json.loads("[" * 40 + "]" * 40)
    with pytest.raises(ParsingError, match="nested"):
        parse_json("[" * 42 + "]" * 42)

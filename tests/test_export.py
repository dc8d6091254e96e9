"""An exported run gives the scores of the run, without torch, and says so with numbers."""

import json
import lzma
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import timm
import torch
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

import core.verbs.export
from apps.images.phantom import write_phantom
from core.base.jobs import differences
from core.base.outputs import is_complete, seal
from core.errors import RunError
from core.model.network import Network
from core.prediction.engines import Engine, open_engine
from core.runs.networks import load_networks
from core.runs.run import load_run
from core.verbs.export import ExportSettings, export
from core.verbs.predict import begin, predict
from core.verbs.train import train

# Whole trainings, each of which is of use to a test; `make test-slow`.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
OLD = Path(__file__).parent / "fixtures" / "run_of_0_1"
# What a light environment does not have, and scipy, whose loading a start does without.
HEAVY = "scipy torch monai timm pytorch_lightning lightning sklearn albumentations torchvision"
WITHOUT_TORCH = textwrap.dedent(
    f"""
    import sys
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {HEAVY.split()!r}:
                raise ModuleNotFoundError(name, name=name)
    sys.meta_path.insert(0, Absent())
    from core.cli.main import main
    sys.argv[0] = "resight"
    main()
    """
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, and noise under the names of the images that it held out."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(OLD / "run", folder / "run")
    packed = folder / "run" / "model.safetensors.xz"
    (folder / "run" / "model.safetensors").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    random = np.random.default_rng(0)
    for name in pd.read_parquet(folder / "run" / "manifest.parquet")["path"]:
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (80, 96, 3), dtype=np.uint8)).save(file)
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    out = run.parent / "exported"
    export(run, out, ExportSettings(data=run.parent / "images"))
    return out


def without_torch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd)},
    )


def test_the_certificate_counts_the_held_out_images(run: Path, exported: Path) -> None:
    assert is_complete(exported)
    held = json.loads((exported / "certificate.json").read_text())["held_out"]
    manifest = pd.read_parquet(run / "manifest.parquet")
    assert held["n_images"] == held["n_held_out"] == (manifest["split"] == "test").sum()
    assert held["largest_difference"] < 1e-4
    assert held["changed_decisions"] == 0
    # The file is what the independent checker of the format calls valid.
    model = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [o.name for o in model.graph.output] == ["logits", "embedding"]


def test_prediction_without_torch_writes_the_same_tables(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    done = without_torch(
        "predict", str(exported), str(OLD / "inputs"), "--out", "light", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    predict(run, [OLD / "inputs"], tmp_path / "full")
    for name in ("predictions.parquet", "decisions_leaf.parquet"):
        light = pd.read_parquet(tmp_path / "light" / name)
        full = pd.read_parquet(tmp_path / "full" / name)
        assert list(light) == list(full)
        for column in full:
            if full[column].dtype.kind == "f":
                np.testing.assert_allclose(light[column], full[column], rtol=1e-4, atol=1e-5)
            else:
                assert list(light[column]) == list(full[column]), column


def test_mirrored_views_are_part_of_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIGHT_HOME", str(tmp_path / "home"))
    data = write_phantom(tmp_path / "cells", 45, 1)
    flags = {"backbone": "test_resnet", "weights": "none", "size_px": (64, 64), "epochs": 1}
    train("images", data, tmp_path / "run", flags={**flags, "flips": "both", "workers": 0})
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "averaged over the picture and its three mirror images" in report
    export(tmp_path / "run", tmp_path / "onnx", ExportSettings())
    pictures = sorted(path for path in data.rglob("*") if path.suffix in {".png", ".jpg"})[:4]
    for path in pictures:
        file = tmp_path / "mirrored" / path.name
        file.parent.mkdir(exist_ok=True)
        ImageOps.mirror(Image.open(path)).save(file.with_suffix(".png"))
        (tmp_path / "plain").mkdir(exist_ok=True)
        Image.open(path).save((tmp_path / "plain" / path.name).with_suffix(".png"))
    scores = []
    for model, folder in (("run", "plain"), ("onnx", "plain"), ("onnx", "mirrored")):
        out = tmp_path / f"{model}-{folder}"
        predict(tmp_path / model, [tmp_path / folder], out)
        table = pd.read_parquet(out / "predictions.parquet").sort_values("image_id")
        scores.append(table.filter(like="score_").to_numpy(float))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    np.testing.assert_allclose(scores[1], scores[2], atol=1e-4)


def test_what_needs_torch_says_where_it_runs(tmp_path: Path) -> None:
    done = without_torch("doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "this needs the package torch, which the small environment" in done.stderr


def test_an_export_decides_nothing_about_what_its_run_does_not_know(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    noise = sorted((run.parent / "images").rglob("*.*"))[:6]
    for name, model in (("run", run), ("export", exported)):
        told = predict(model, noise, tmp_path / name, allow_outside=True)
        assert "No decisions are given: 6 of 6" in told["decisions_withheld"]
        table = pd.read_parquet(tmp_path / name / "predictions.parquet")
        assert set(table["decision"]) == {"withheld"}


def test_the_small_program_gives_the_scores_of_the_export(exported: Path, tmp_path: Path) -> None:
    photos = sorted((OLD / "inputs").iterdir())
    noise = sorted((exported.parent / "images").rglob("*.*"))
    noise = [file for file in noise if file.name not in {photo.name for photo in photos}]
    images = [*photos, *noise[:2]]
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.full((40, 40), 40_000, np.uint16))
    done = subprocess.run(
        [sys.executable, "-I", exported / "predict_minimal.py", deep, *images],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    # What it would read otherwise than the command does is left to the command.
    assert "deep.png not scored: I;16 pixels are read by `resight predict` alone" in done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    predict(exported, images, tmp_path / "out", allow_outside=True)
    table = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    names = [Path(line[0]).name for line in lines[1:]]
    table = table.set_index(table["path"].map(lambda path: Path(path).name)).loc[names]
    wanted = table[[f"score_{name}" for name in lines[0][1:-1]]].to_numpy()
    found = np.array([[float(v) for v in line[1:-1]] for line in lines[1:]])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    # Scores of what the model does not know are marked here, too.
    assert [line[-1] == "yes" for line in lines[1:]] == table["unfamiliar"].tolist()
    assert [line[-1] for line in lines[-2:]] == ["yes", "yes"]
    code = (exported / "predict_minimal.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) <= 50


def test_an_export_that_is_not_the_run_is_not_sealed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = core.verbs.export.export_onnx

    def wrong(network: Network, *arguments: object, **more: object) -> None:
        # As a forgotten normalisation would: every picture a little brighter.
        network.mean.sub_(10.0)
        right(network, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(core.verbs.export, "export_onnx", wrong)
    settings = ExportSettings(data=run.parent / "images")
    with pytest.raises(RunError, match="does not pass its certificate at fp32: a score differs"):
        export(run, tmp_path / "out", settings)
    assert not is_complete(tmp_path / "out")


def test_on_another_processor_the_probe_pictures_decide(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "moved")
    (tmp_path / "moved" / "MANIFEST.json").unlink()
    file = tmp_path / "moved" / "certificate.json"
    certificate = json.loads(file.read_text())
    certificate["processor"] = "another one"
    file.write_text(json.dumps(certificate))
    predict(tmp_path / "moved", [OLD / "inputs"], tmp_path / "same")
    certificate["probe_scores"][0][0][0] += 0.01
    file.write_text(json.dumps(certificate))
    with pytest.raises(RunError, match="on this processor the exported model differs"):
        predict(tmp_path / "moved", [OLD / "inputs"], tmp_path / "other")


def test_less_precision_falls_back_to_fp32_in_words(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(exported, moved)
    (moved / "MANIFEST.json").unlink()
    content = json.loads((moved / "run.json").read_text())
    content["export"] = {"engine": "openvino", "precision": "bf16"}
    (moved / "run.json").write_text(json.dumps(content))
    opened = []

    # A processor with bfloat16 that is far off; this one may have none.
    def far_off(path: Path, *, engine: str, precision: str) -> Engine:
        opened.append(precision)
        found = open_engine(path, engine=engine, precision=precision)
        if precision == "bf16":
            run = found.run
            monkeypatch.setattr(
                found,
                "run",
                lambda pixels: replace(
                    run(pixels), logits=np.add(run(pixels).logits, [2, 0, 0, 0])
                ),
            )
        return found

    monkeypatch.setattr("core.prediction.exported.open_engine", far_off)
    predict(moved, [OLD / "inputs"], tmp_path / "fallen")
    assert opened == ["bf16", "fp32"]
    assert "more than 0.05. Going on in fp32." in caplog.text
    predict(exported, [OLD / "inputs"], tmp_path / "same")
    fallen, same = (
        pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("fallen", "same")
    )
    scores = [name for name in same if name.startswith("score_")]
    np.testing.assert_allclose(fallen[scores], same[scores], atol=1e-4)


def test_engines_compute_as_they_were_told_and_tell_nobody(exported: Path, tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import numpy as np, pathlib, psutil
        from core.prediction.engines import open_engine
        model = pathlib.Path({str(exported / "model.onnx")!r})
        ov = open_engine(model, engine="openvino", precision="fp32")
        ort = open_engine(model, engine="ort", precision="fp32")
        pixels = np.random.default_rng(0).integers(0, 255, (3, 3, 64, 64), dtype=np.uint8)
        gap = np.abs(ov.run(pixels).logits - ort.run(pixels).logits).max()
        print(ov.describe()["precision"], gap)
        print(psutil.Process().children(), list(pathlib.Path.home().iterdir()))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        # Continuous integration silences some libraries by itself; a user has no CI variable.
        env={
            **{k: v for k, v in os.environ.items() if k not in {"CI", "XDG_CACHE_HOME"}},
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
    )
    first, second = done.stdout.splitlines()
    precision, difference = first.split()
    assert precision == "fp32"
    assert float(difference) < 1e-5
    assert second == "[] []"


def test_timm_loads_the_backbone_that_was_fine_tuned(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "timm", ExportSettings(form="timm"))
    backbone = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    (_, network, _), *_ = load_networks(load_run(run))
    pixels = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    cfg = backbone.pretrained_cfg
    mean, std = (torch.tensor(cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        found = backbone.forward_features((pixels / 255 - mean) / std)
        wanted = network.eval().backbone.forward_features((pixels - network.mean) / network.std)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert is_complete(tmp_path / "timm")


def test_for_the_hub_is_made_only_what_may_be_given_away(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "hub", ExportSettings(data=run.parent / "images", form="hf"))
    names = {path.relative_to(tmp_path / "hub").as_posix() for path in tmp_path.rglob("*.*")}
    assert names >= {"README.md", "model.onnx", "certificate.json", "backbone/config.json"}
    # A run of the first version has no card of its own.
    assert "whether these weights may be released" in (tmp_path / "hub" / "README.md").read_text()
    shutil.copytree(run, tmp_path / "bound")
    content = json.loads((run / "run.json").read_text())
    terms = [
        {
            "title": "a set",
            "licence": "own",
            "weights_release": "forbidden",
            "card": "a",
            "weights_release_source": "its terms",
            "conditions": [],
            "citation": "none",
        }
    ]
    (tmp_path / "bound" / "run.json").write_text(json.dumps({**content, "terms": terms}))
    seal(tmp_path / "bound")
    with pytest.raises(RunError, match="terms of its data forbid"):
        export(tmp_path / "bound", tmp_path / "no", ExportSettings(form="hf"))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("engine", ["ort", "openvino"])
def test_a_damaged_file_is_refused(engine: str, exported: Path, tmp_path: Path) -> None:
    whole = (exported / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="cannot be loaded"):
        open_engine(tmp_path / "model.onnx", engine=engine, precision="fp32")


def test_what_an_export_scored_is_not_joined_with_what_its_run_did(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    asked = [
        begin(place, [OLD / "inputs"], tmp_path / "out", allow_outside=True).asked
        for place in (run, exported)
    ]
    assert differences(*asked) == ["engine was None, is 'ort fp32'"]


@pytest.mark.parametrize(
    "name", ["model.familiarity.safetensors", "certificate.json", "run.json", "MANIFEST.json"]
)
def test_an_export_that_somebody_edited_is_refused(
    name: str, exported: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    if name.endswith(".safetensors"):
        tensors = load_file(copy / name)
        # The file by which decisions are withheld.
        save_file({**tensors, "rest_scale": 100 * tensors["rest_scale"]}, copy / name)
    elif name == "MANIFEST.json":
        listed = json.loads((copy / name).read_text())["files"]
        listed.pop("run.json")
        (copy / name).write_text(json.dumps({"files": listed}))
    else:
        (copy / name).write_text((copy / name).read_text() + "\n")
    with pytest.raises(RunError, match=name):
        predict(copy, sorted((OLD / "inputs").iterdir())[:1], tmp_path / "out", allow_outside=True)

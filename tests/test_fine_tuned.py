"""A run in which fine-tuning won: what its page says of it beside the probe is true.

The direction of faint stripes is the class, at any phase and in any colour: random features
of frozen layers hold little of it, and a few epochs find it.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from core.verbs.train import train

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "size_px": (32, 32),
    "device": "cpu",
    "workers": 0,
    "augment": False,
    "lr_backbone": 0.003,
    "lr_head": 0.01,
    "stage_decay": 1.0,
    "freeze_stages": 0,
}


def striped(folder: Path, n: int = 400) -> Path:
    """A table of leaves of which every fourth is tested."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    y, x = np.mgrid[:32, :32]
    for i in range(n):
        sick = rng.random() < 0.5
        wave = 18 * np.sin((x + y if sick else x - y) * 1.1 + rng.uniform(0, 6))
        pixels = 128 + rng.normal(0, 40, 3) + wave[..., None] + rng.normal(0, 20, (32, 32, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")
        split = ("train", "train", "val", "test")[i % 4]
        sick_word = "yes" if sick else "no"
        rows.append({"path": f"{i:03}.png", "leaf": f"l{i}", "sick": sick_word, "split": split})
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.mark.slow
def test_the_page_tells_by_how_much_fine_tuning_beat_the_probe(tmp_path: Path, quick: None) -> None:
    table = striped(tmp_path / "leaves")
    decided = {}
    for name, epochs in (("tuned", 10), ("probe", 0)):
        out = tmp_path / name
        flags = {**SETTINGS, "epochs": epochs}
        train("crop_disease", table, out, task="binary", label="sick", flags=flags)
        rows = pd.read_csv(out / "predictions.csv")
        decided[name] = rows[rows["split"] == "test"].sort_values("image_id")
    run = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert run["members"][0]["kept"] == "fine-tuned"
    stored = json.loads((tmp_path / "tuned" / "metrics.json").read_text())
    told = stored["against_probe"]
    # By another library, and for the probe from a run that kept it.
    y = decided["tuned"]["label"].to_numpy()
    assert (y == decided["probe"]["label"].to_numpy()).all()
    ours, theirs = (decided[name]["predicted"].to_numpy() for name in ("tuned", "probe"))
    values = [f1_score(y, one, average="macro") for one in (theirs, ours)]
    assert told["name"] == "macro_f1"
    assert [told["first"], told["second"]] == pytest.approx(values)
    assert told["difference"] == pytest.approx(values[1] - values[0])
    assert told["difference"] > 0.1
    # The interval, by a plain bootstrap of cases, for each is a leaf of its own.
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(300):
        some = rng.integers(0, len(y), len(y))
        pair = [f1_score(y[some], one[some], average="macro") for one in (theirs, ours)]
        drawn.append(pair[1] - pair[0])
    half = 1.984 * float(np.std(drawn))
    assert told["low"] == pytest.approx(told["difference"] - half, abs=0.25 * half)
    assert told["high"] == pytest.approx(told["difference"] + half, abs=0.25 * half)
    page = html.unescape((tmp_path / "tuned" / "report.html").read_text())
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    said = re.search(
        r"Macro-F1 by leaf, this model minus the probe on the same cases: (.*?)\.\s", words
    )
    assert said is not None
    numbers = [float(told[key]) for key in ("difference", "low", "high")]
    assert re.findall(r"\d\.\d{3}", said[1])[:3] == [f"{value:.3f}" for value in numbers]
    assert "higher than the probe" in said[1]
    verdict = next(v for v in stored["verdicts"] if v["question"] == "probe")
    assert verdict["answer"] == "yes"

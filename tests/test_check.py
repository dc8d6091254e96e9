"""The verb ``check``: what it writes, where it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.base.outputs import claim, is_complete, sha256_file
from core.errors import AppError, LockedError, ManifestError, OutputError
from core.verbs.check import check


def leaves(root: Path, n: int = 16, *, size: int = 48) -> Path:
    """Two classes of plain noise pictures."""
    for i in range(n):
        path = root / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return root


def state(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


def test_it_writes_a_page_json_and_the_rejected_and_changes_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = leaves(tmp_path / "leaves")
    (data / "a" / "<b>cut.png").write_bytes((data / "a" / "0.png").read_bytes()[:300])
    (data / "a" / "=1+1.txt").write_text("words")
    (data / "b" / "again.png").write_bytes((data / "a" / "2.png").read_bytes())
    before = state(data)
    out = tmp_path / "out"
    result = check("crop_disease", data, out)
    assert state(data) == before
    assert set(state(out)) == {
        *("audit.html", "audit.json", "rejected.csv", "job.json", "MANIFEST.json")
    }
    assert is_complete(out)
    assert capsys.readouterr().out == ""
    stored = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert {**stored, "out": str(out)} == result
    assert result["n_failed"] == 1
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as stream:
        rejected = list(csv.DictReader(stream))
    assert [(row["image_id"], row["status"]) for row in rejected] == [
        ("a/=1+1.txt", "skipped"),
        ("a/<b>cut.png", "failed"),
    ]
    page = (out / "audit.html").read_text(encoding="utf-8")
    # A file name is text on the page and never part of it.
    assert "&lt;b&gt;cut.png" in page
    assert "<b>cut.png" not in page
    assert "No photo twice" in page
    assert "data:image/jpeg;base64," in page
    # The same data give the same bytes.
    first = state(out)
    check("crop_disease", data, out)
    assert state(out) == first


def test_the_default_output_lies_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = leaves(tmp_path / "data" / "leaves")
    monkeypatch.chdir(tmp_path)
    result = check("crop_disease", Path("data/leaves"))
    assert result["out"] == str(tmp_path / "leaves-check")
    assert not list(data.glob("*check*"))


def test_it_writes_neither_into_the_data_nor_among_strange_files(tmp_path: Path) -> None:
    data = leaves(tmp_path / "leaves", 4)
    with pytest.raises(OutputError, match="inside the data"):
        check("crop_disease", data, data / "a" / "out")
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(OutputError, match="inside the data"):
        check("crop_disease", data, tmp_path / "link" / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("words")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        check("crop_disease", data, tmp_path / "mine")
    (tmp_path / "file").write_text("words")
    with pytest.raises(OutputError, match="in the way"):
        check("crop_disease", data, tmp_path / "file")


def test_an_output_that_is_held_is_refused_and_left_alone(tmp_path: Path) -> None:
    data, out = leaves(tmp_path / "leaves", 4), tmp_path / "out"
    with claim(out), pytest.raises(LockedError, match="is writing here"):
        check("crop_disease", data, out)
    assert not (out / "audit.json").exists()


def test_data_that_cannot_be_used_leave_no_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="it is empty"):
        check("crop_disease", tmp_path / "empty", out)
    with pytest.raises(ManifestError, match="no such file"):
        check("crop_disease", tmp_path / "nowhere", out)
    with pytest.raises(AppError, match="Did you mean 'crop_disease'"):
        check("crop_diseases", leaves(tmp_path / "leaves", 4), out)
    assert not out.exists()


def test_an_audit_that_stops_leaves_the_output_marked_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = leaves(tmp_path / "leaves", 8), tmp_path / "out"
    check("crop_disease", data, out)
    assert is_complete(out)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("core.data.audit.measure_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        check("crop_disease", data, out)
    assert not is_complete(out)
    monkeypatch.undo()
    check("crop_disease", data, out)
    assert is_complete(out)


def test_a_label_column_and_a_group_can_be_named(tmp_path: Path) -> None:
    data = leaves(tmp_path / "leaves", 12)
    rows = ["path,label,stage,farm"]
    rows += [f"{'ab'[i % 2]}/{i}.png,x,{i % 3},f{i // 2}" for i in range(12)]
    (data / "labels.csv").write_text("\n".join(rows))
    result = check("crop_disease", data, tmp_path / "out", label="stage", group="farm")
    assert list(result["classes"]) == ["0", "1", "2"]
    groups = next(c for c in result["checks"] if c["name"] == "groups_across")
    assert groups["verdict"] == "passed"
    assert "6 groups of 12 images" in result["group_rule"]


def test_listed_file_that_is_not_there_counts_as_failed(tmp_path: Path) -> None:
    data = leaves(tmp_path / "leaves")
    rows = [f"{p.parent.name}/{p.name},{p.parent.name}" for p in sorted(data.rglob("*.png"))]
    table = data / "labels.csv"
    table.write_text("\n".join(["path,label", *rows, "a/gone.png,a"]))
    result = check("crop_disease", table, tmp_path / "out")
    assert result["n_failed"] == 1
    (bad,) = result["unreadable"]
    assert bad["image_id"] == "a/gone.png"
    assert "no such file" in bad["reason"]

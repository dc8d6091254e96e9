"""What the audit finds: each defect is planted, and the sound data set passes."""

from __future__ import annotations

import gc
import json
import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from apps.crop_disease import APP
from core.app import Manifest, Source, Task
from core.data.audit import audit, image_facts_of, joined_groups, merge_duplicates
from core.data.duplicates import NearPair, exact_copies, near_copies, of_whole_files
from core.data.facts import Facts, grey_of, measure, measure_all
from core.data.images import read_image
from core.data.manifest import index_images
from core.data.moved_copies import moved_copies
from core.data.shortcuts import shortcuts
from core.data.split import draw_split

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
TASK = Task(name="t", kind="multiclass", classes=("a", "b"))


def leaf(seed: int, *, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A leaf-like picture: the same layout for all, texture of its own on the leaf."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width] / [[[height]], [[width]]] - 0.5
    noise = Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8))
    veins = np.asarray(noise.filter(ImageFilter.GaussianBlur(2)), dtype=float) - 127
    is_leaf = (rows / 0.35) ** 2 + (cols / 0.45) ** 2 < 1
    grey = np.where(is_leaf, 90 + 2.5 * veins, 225.0)
    colour = np.stack([grey * 0.6, grey, grey * 0.5], axis=2)
    return np.where(is_leaf[:, :, None], colour, 225).clip(0, 255).astype(np.uint8)


def write(root: Path, name: str, pixels: NDArray[np.uint8], **options: Any) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def sound(root: Path, n: int = 24) -> Path:
    """Two classes that differ in nothing."""
    for i in range(n):
        write(root, f"{'ab'[i % 2]}/{i}.png", leaf(i))
    return root


def manifest_of(root: Path, **options: Any) -> Manifest:
    return index_images(Source(paths=(root,), labelled=True, task=TASK, **options))


def audited(root: Path, **options: Any) -> dict[str, Any]:
    # Forests for the question of shortcuts, which is asked further down, take most of the time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.data.shortcuts.TREES", 3)
        content = audit(manifest_of(root, **options), app=APP, task=TASK, workers=2)
    json.dumps(content, allow_nan=False)
    return content


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in content["checks"]}


def words(content: dict[str, Any], name: str) -> str:
    return next(check["words"] for check in content["checks"] if check["name"] == name)


def facts(pixels: dict[str, NDArray[np.uint8]], folder: Path) -> list[Facts]:
    found = []
    for name, values in pixels.items():
        path = write(folder, f"{name}.png", values)
        found.append(measure(name, path, read_image(path)))
    return found


def test_a_sound_data_set_passes_but_leakage_without_groups_cannot_be_checked(
    tmp_path: Path,
) -> None:
    content = audited(sound(tmp_path))
    found = verdicts(content)
    assert found.pop("groups_across") == "cannot be checked"
    assert set(found.values()) == {"passed"}
    assert content["counts"] == {"rows": 24, "ok": 24, "skipped": 0, "unreadable": 0}
    table = image_facts_of(content)
    assert set(table["height"]) == {96}
    assert set(table["width"]) == {128}
    assert set(table["dtype"]) == {"uint8"}
    assert set(table["format"]) == {"PNG"}
    assert table["bytes"].tolist() == [
        (tmp_path / name).stat().st_size for name in table["image_id"]
    ]
    # The mean of one image, by hand.
    first = table.set_index("image_id").loc["a/0.png"]
    assert first["brightness"] == pytest.approx(leaf(0).mean() / 255, abs=2e-3)


def test_unreadable_files_are_named_and_the_others_still_audited(tmp_path: Path) -> None:
    sound(tmp_path)
    cut = tmp_path / "a" / "cut.png"
    cut.write_bytes((tmp_path / "a" / "0.png").read_bytes()[:900])
    (tmp_path / "b" / "text.jpg").write_text("not a picture at all, only some words in a file")
    content = audited(tmp_path)
    assert verdicts(content)["readable"] == "warning"
    assert "2 of 26 images" in words(content, "readable")
    assert {entry["image_id"] for entry in content["unreadable"]} == {"a/cut.png", "b/text.jpg"}
    assert all("\n" not in entry["reason"] for entry in content["unreadable"])
    assert len(content["images"]["image_id"]) == 24


def test_where_nothing_can_be_read_no_check_has_passed(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not a picture at all, only some words in a file")
    content = audited(tmp_path)
    assert "None of 4 images can be read" in words(content, "readable")
    assert set(verdicts(content).values()) == {"warning", "cannot be checked"}
    assert words(content, "forms") == "Not asked: no image can be read."


def test_a_reader_that_fails_in_any_way_ends_no_audit(tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    def broken(row: Any) -> Any:
        if row["image_id"] == "a/0.png":
            msg = "maximum depth\nexceeded"
            raise RecursionError(msg)
        return read_image(Path(row["path"]))

    app = replace(APP, read=broken)
    content = audit(manifest_of(sound(tmp_path)), app=app, task=TASK)
    assert content["unreadable"] == [
        {"image_id": "a/0.png", "reason": "RecursionError: maximum depth exceeded"}
    ]


# --- copies ------------------------------------------------------------------------------------


def test_equal_pixels_are_found_in_whatever_file(tmp_path: Path) -> None:
    sound(tmp_path)
    write(tmp_path, "b/again.bmp", leaf(0))
    content = audited(tmp_path)
    assert content["exact"] == [["a/0.png", "b/again.bmp"]]
    assert content["near"] == []
    assert verdicts(content)["exact"] == "warning"
    # One picture, two classes.
    assert verdicts(content)["labels"] == "warning"
    assert "a/0.png is a, b/again.bmp is b" in words(content, "labels")
    assert content["conflicts"][0]["labels"] == ["a", "b"]


def test_the_shape_counts_in_a_copy(tmp_path: Path) -> None:
    flat = np.zeros((8, 4, 3), np.uint8)
    found = facts({"tall": flat, "wide": flat.reshape(4, 8, 3)}, tmp_path)
    assert exact_copies(found) == []


def _as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def _cropped(picture: Image.Image, *shares: float) -> Image.Image:
    left, top, right, bottom = shares
    width, height = picture.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(map(round, box)))  # type: ignore[arg-type]


def _with_text(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    ImageDraw.Draw(marked).text((12, 160), "PLANT LAB 2019", fill=(255, 255, 255), font_size=18)
    return marked


def _with_noise(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def _with_patch(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    ImageDraw.Draw(marked).rectangle((80, 60, 130, 95), fill=0)
    return marked


FLIP = Image.Transpose
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90": lambda p: p.transpose(FLIP.ROTATE_90),
    "turned by 180": lambda p: p.transpose(FLIP.ROTATE_180),
    "turned by 270": lambda p: p.transpose(FLIP.ROTATE_270),
    "transposed": lambda p: p.transpose(FLIP.TRANSPOSE),
    "turned by 5": lambda p: p.rotate(5, Image.Resampling.BICUBIC, fillcolor=(225,) * 3),
    "turned by 15": lambda p: p.rotate(15, Image.Resampling.BICUBIC, fillcolor=(225,) * 3),
    "cropped by 5 % a side": lambda p: _cropped(p, 0.05, 0.05, 0.05, 0.05),
    "cropped by 10 % a side": lambda p: _cropped(p, 0.1, 0.1, 0.1, 0.1),
    "cropped by 20 % on two sides": lambda p: _cropped(p, 0, 0, 0.2, 0.2),
    "framed": lambda p: ImageOps.expand(p, 16, (0, 0, 0)),
    "padded to a square": lambda p: ImageOps.pad(p, (256, 256), color=(0, 0, 0)),
    "shifted": lambda p: ImageChops.offset(p, 14, 9),
    "halved": lambda p: p.resize((128, 96)),
    "doubled": lambda p: p.resize((512, 384), Image.Resampling.BICUBIC),
    "stretched by 20 %": lambda p: p.resize((307, 192)),
    "JPEG of quality 50": lambda p: _as_jpeg(p, 50),
    "JPEG of quality 90": lambda p: _as_jpeg(p, 90),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "brighter": lambda p: p.point(lambda value: min(255, int(value * 1.25))),
    "darker": lambda p: p.point(lambda value: int(value * 0.7)),
    "more contrast": lambda p: ImageEnhance.Contrast(p).enhance(1.4),
    "other gamma": lambda p: p.point(lambda value: int(255 * (value / 255) ** 0.6)),
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(1)),
    "sharpened": lambda p: p.filter(ImageFilter.UnsharpMask(2, 150)),
    "with noise": _with_noise,
    "inverted": ImageOps.invert,
    "red and blue swapped": lambda p: Image.merge("RGB", p.split()[::-1]),
    "with text on it": _with_text,
    "with a patch on it": _with_patch,
    "equalised": ImageOps.equalize,
    "inverted and mirrored": lambda p: ImageOps.invert(ImageOps.mirror(p)),
    "mirrored, halved, JPEG of 60": lambda p: _as_jpeg(ImageOps.mirror(p).resize((128, 96)), 60),
}


def large_leaf(seed: int) -> Image.Image:
    """A leaf whose structure is as coarse as that of a photo."""
    return Image.fromarray(leaf(seed)).resize((256, 192), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> list[Facts]:
    folder = tmp_path_factory.mktemp("leaves")
    return facts({f"leaf{i}": np.asarray(large_leaf(i)) for i in range(12)}, folder)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_any_kind_is_found_and_no_other_pair(
    tmp_path: Path, leaves: list[Facts], kind: str
) -> None:
    copy = COPIES[kind](large_leaf(7))
    found = [*leaves, *facts({"copy": np.asarray(copy)}, tmp_path)]
    pairs, is_complete = near_copies(found)
    moved, are_all = moved_copies(found, known={(pair.first, pair.second) for pair in pairs})
    assert [(pair.first, pair.second) for pair in (*pairs, *moved)] == [("copy", "leaf7")]
    assert is_complete
    assert are_all


def test_pictures_are_looked_up_in_blocks_and_give_the_same_pairs(
    tmp_path: Path, leaves: list[Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ["mirrored", "turned by 90"]
    copies = {f"copy{i}": np.asarray(COPIES[kind](large_leaf(i))) for i, kind in enumerate(kinds)}
    found = [*leaves, *facts(copies, tmp_path)]
    whole, _ = moved_copies(found)
    assert {(pair.first, pair.second) for pair in whole} == {("copy0", "leaf0"), ("copy1", "leaf1")}
    monkeypatch.setattr("core.data.local_features._BLOCK", 3)
    assert moved_copies(found, workers=2)[0] == whole


def test_what_is_kept_of_many_images_lies_in_a_file_and_not_in_memory(tmp_path: Path) -> None:
    pictures = {f"{i:03d}": leaf(i % 12) for i in range(300)}
    for name, pixels in pictures.items():
        write(tmp_path, f"a/{name}.png", pixels)
    table = manifest_of(tmp_path).table
    # What only the first image costs, imports and tables of decoders, is no growth.
    measure_all(table[:2], tmp_path, read=APP.read, workers=1, done=lambda _: None)
    gc.collect()
    tracemalloc.start()
    try:
        measured = measure_all(table, tmp_path, read=APP.read, workers=2, done=lambda _: None)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        pairs, _ = moved_copies(measured[:12])
    finally:
        tracemalloc.stop()
    assert held < 5_000 * len(measured)
    assert not pairs
    assert np.asarray(measured[5].grey).tolist() == grey_of(pictures["005"]).tolist()


def test_a_copy_that_only_the_embedding_calls_alike_is_found(
    tmp_path: Path, leaves: list[Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if no local feature met, which is so of a third of copies equalised locally.
    monkeypatch.setattr("core.data.moved_copies.pairs_that_share", lambda *_, **__: {})
    copy = facts({"copy": np.asarray(ImageOps.mirror(large_leaf(7)))}, tmp_path)

    def embed(pictures: Any) -> NDArray[np.float32]:
        # By brightness, which a mirror leaves; many that are no copies are near as well.
        level = np.array([float(np.mean(picture)) for picture in pictures])
        around = np.stack([np.cos(level), np.sin(level)], axis=1)
        return np.asarray(around, np.float32)

    assert moved_copies([*leaves, *copy]) == ([], True)
    found, _ = moved_copies([*leaves, *copy], embed=embed)
    assert [(pair.first, pair.second) for pair in found] == [("copy", "leaf7")]


def test_an_embedding_is_of_length_one_and_the_same_twice() -> None:
    from core.model.embedding import frozen_embedding  # noqa: PLC0415

    pictures = [np.asarray(large_leaf(i).convert("L").resize((96, 64 + 8 * i))) for i in range(3)]
    torch.manual_seed(0)
    one = frozen_embedding("test_resnet", "none")(pictures)
    torch.manual_seed(0)
    assert np.array_equal(one, frozen_embedding("test_resnet", "none")(pictures))
    assert np.linalg.norm(one, axis=1) == pytest.approx(1, abs=1e-5)


def test_alike_is_not_the_same(tmp_path: Path) -> None:
    # Same layout, other leaf: hashes lie close, detail does not agree.
    found = facts({f"leaf{i}": leaf(i) for i in range(40)}, tmp_path)
    assert near_copies(found) == ([], True)


def test_images_without_any_structure_are_no_near_copies(tmp_path: Path) -> None:
    blank = {f"blank{i}": np.full((20, 20, 3), 40 + i, np.uint8) for i in range(5)}
    assert near_copies(facts(blank, tmp_path)) == ([], True)


def test_many_hashes_are_looked_up_and_no_close_one_is_missed() -> None:
    import time  # noqa: PLC0415

    from core.data.duplicates import _candidates  # noqa: PLC0415

    rng = np.random.default_rng(0)
    phash, dhash = rng.integers(0, 2**64, (2, 5_000), dtype=np.uint64)
    for k in range(300):
        bits = rng.choice(64, rng.integers(0, 14), replace=False)
        phash[4_999 - k] = phash[k] ^ np.uint64(sum(1 << int(bit) for bit in bits))
        dhash[4_999 - k] = dhash[k] ^ np.uint64(0b11)
    first, second, is_complete = _candidates(phash, dhash)
    # Every pair, compared one by one.
    near = np.triu(np.bitwise_count(phash[:, None] ^ phash[None]) <= 11, 1)
    near &= np.bitwise_count(dhash[:, None] ^ dhash[None]) <= 16
    rows, cols = np.nonzero(near)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == set(
        zip(rows.tolist(), cols.tolist(), strict=True)
    )
    assert len(first) > 200
    assert is_complete
    # Ten times the hashes take about ten times as long, and not a hundred.
    many = rng.integers(0, 2**64, (2, 50_000), dtype=np.uint64)
    began = time.process_time()
    _candidates(*many)
    assert time.process_time() - began < 15


def test_copies_in_two_given_splits_are_a_warning_and_stay_together_in_a_drawn_one(
    tmp_path: Path,
) -> None:
    for i in range(12):
        write(tmp_path, f"train/{'ab'[i % 2]}/{i}.png", leaf(i))
        write(tmp_path, f"test/{'ab'[i % 2]}/{i}.png", leaf(100 + i))
    write(tmp_path, "test/a/leak.jpg", leaf(2), quality=85)
    content = audited(tmp_path)
    assert verdicts(content)["copies_across"] == "warning"
    assert "in the given test" in words(content, "copies_across")
    assert "in the given train" in words(content, "copies_across")
    # Without the given split the copies are one group and cannot be separated.
    table = manifest_of(tmp_path).table.assign(split="")
    for seed in range(5):
        drawn, said = draw_split(merge_duplicates(table, content), task=TASK, seed=seed)
        split = dict(zip(drawn["image_id"], drawn["split"], strict=True))
        assert split["test/a/leak.jpg"] == split["train/a/2.png"]
        assert any("Copies of one image stay together" in sentence for sentence in said)
        assert any("cannot be checked" in sentence for sentence in said)


# --- groups, classes, kinds --------------------------------------------------------------------


def test_groups_in_two_given_splits_are_a_warning(tmp_path: Path) -> None:
    sound(tmp_path)
    rows = ["path,label,group,split"]
    rows += [f"{'ab'[i % 2]}/{i}.png,{'ab'[i % 2]},g{i // 4},train" for i in range(24)]
    (tmp_path / "t.csv").write_text(
        "\n".join(rows).replace("23.png,b,g5,train", "23.png,b,g5,test")
    )
    content = audited(tmp_path / "t.csv")
    assert verdicts(content)["groups_across"] == "warning"
    assert "'g5'" in words(content, "groups_across")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    kept = audited(tmp_path / "t.csv")
    assert verdicts(kept)["groups_across"] == "passed"
    assert "6 leaves of 24 images" in words(kept, "groups_across")


def test_small_and_absent_classes_are_named(tmp_path: Path) -> None:
    sound(tmp_path)
    write(tmp_path, "c/1.png", leaf(200))
    task = Task(name="t", kind="multiclass", classes=("a", "b", "c", "d"))
    content = audit(manifest_of(tmp_path), app=APP, task=task)
    assert verdicts(content)["classes"] == "warning"
    assert "No image of d." in words(content, "classes")
    assert "c (1)" in words(content, "classes")
    assert content["classes"]["a"] == {"": 12}
    # With one image no class can be predicted on groups not seen.
    assert verdicts(content)["shortcut_border"] == "cannot be checked"


def test_mixed_depths_are_a_warning(tmp_path: Path) -> None:
    sound(tmp_path)
    deep = np.random.default_rng(0).integers(0, 60_000, (96, 128)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a" / "deep.png")
    content = audited(tmp_path)
    assert verdicts(content)["forms"] == "warning"
    assert "1 channel of uint16" in words(content, "forms")


def test_twelve_bits_in_sixteen_are_a_warning(tmp_path: Path) -> None:
    from core.data.audit_checks import forms  # noqa: PLC0415

    rng = np.random.default_rng(0)
    for top, verdict in ((4_096, "warning"), (65_536, "passed")):
        deep = {f"{top}-{i}": rng.integers(0, top, (96, 128)).astype(np.uint16) for i in range(3)}
        check = forms(facts(deep, tmp_path))
        assert check.verdict == verdict
        assert ("as values of 12 bits have. An app that stretches" in check.words) == (top == 4_096)


def test_masks_that_count_as_images_are_a_warning(tmp_path: Path) -> None:
    # A JPEG photo and a PNG mask under one name: no word tells which is the mask.
    sound(tmp_path, 20)
    for i in range(3):
        mask = (leaf(i)[:, :, :1] > 120).astype(np.uint8) * 255
        write(tmp_path, f"a/mark{i}.png", mask[:, :, 0])
    said = words(audited(tmp_path), "forms")
    assert "3 images hold two values and no other" in said
    assert "a/mark0.png" in said


# --- shortcuts ---------------------------------------------------------------------------------


def asked(root: Path, task: Task = TASK) -> dict[str, Any]:
    manifest = manifest_of(root)
    rows = manifest.table[manifest.table["status"] == "ok"]
    found = {
        image_id: measure(image_id, root / image_id, read_image(root / image_id))
        for image_id in rows["image_id"]
    }
    return {entry.name: entry for entry in shortcuts(rows, found, task)}


def test_a_class_with_files_of_its_own_is_found_out(tmp_path: Path) -> None:
    for i in range(40):
        name = f"a/{i}.jpg" if i % 2 else f"b/{i}.png"
        write(tmp_path, name, leaf(i))
    found = asked(tmp_path)
    assert found["file"].value == 1.0
    assert found["file"].is_warning


def test_a_class_with_a_background_of_its_own_is_found_out(tmp_path: Path) -> None:
    for i in range(40):
        pixels = leaf(i)
        if i % 2:
            pixels[:8] = pixels[:8] // 2
        write(tmp_path, f"{'ab'[i % 2]}/{i}.png", pixels)
    found = asked(tmp_path)
    assert found["border"].value == 1.0
    assert found["border"].is_warning
    assert found["border"].chance == 0.5


def test_random_labels_score_at_chance(tmp_path: Path) -> None:
    found = asked(sound(tmp_path, 60))
    for entry in found.values():
        assert not entry.is_warning
        assert entry.low <= 0.5 + 0.12
        assert entry.low <= entry.value <= entry.high


def test_a_group_is_never_asked_about_after_it_was_seen(tmp_path: Path) -> None:
    # Ten backgrounds, one per group, and the label is the group's: only who has
    # seen the group could tell it, so grouped folds must end near chance.
    rows = ["path,label,group"]
    for i in range(80):
        group = i % 10
        pixels = leaf(i)
        pixels[:12] = np.random.default_rng(group).integers(0, 255, 3)
        write(tmp_path, f"{i}.png", pixels)
        rows.append(f"{i}.png,{'ab'[group % 2]},g{group}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    manifest = manifest_of(tmp_path / "t.csv")
    found = {
        i: measure(i, tmp_path / i, read_image(tmp_path / i)) for i in manifest.table["image_id"]
    }
    grouped = {e.name: e for e in shortcuts(manifest.table, found, TASK)}["border"]
    alone = manifest.table.assign(group=manifest.table["image_id"])
    leaking = {e.name: e for e in shortcuts(alone, found, TASK)}["border"]
    assert leaking.value > 0.95
    assert grouped.value < 0.8


def test_several_labels_are_asked_one_by_one(tmp_path: Path) -> None:
    many = Task(name="m", kind="multilabel", classes=("p", "q"))
    rows = ["path,label"]
    for i in range(48):
        pixels = leaf(i)
        if i % 2:
            pixels[:8] = 60
        write(tmp_path, f"{i}.png", pixels)
        labels = [name for name, has in (("p", i % 2), ("q", i % 3 == 0)) if has]
        rows.append(f"{i}.png,{'|'.join(labels) or '|'}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    manifest = index_images(Source(paths=(tmp_path / "t.csv",), labelled=True, task=many))
    found = {
        i: measure(i, tmp_path / i, read_image(tmp_path / i)) for i in manifest.table["image_id"]
    }
    border = {e.name: e for e in shortcuts(manifest.table, found, many)}["border"]
    # p is told by the border, q is not: about (1 + 0.5) / 2.
    assert border.chance == 0.5
    assert 0.6 < border.value < 0.9


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_the_same_real_leaf_photographed_twice_is_found_and_no_other() -> None:
    folder = REAL / "coffee_leaves"
    names = ["rust/1022", "rust/813", "rust/760", "rust/764", "phoma/469", "phoma/471"]
    paths = {name: folder / f"{name}.jpg" for name in names}
    paths |= {f"other{i}": p for i, p in enumerate(sorted(folder.glob("healthy/*.jpg"))[:60])}
    found = [measure(name, path, read_image(path)) for name, path in paths.items()]
    pairs, _ = near_copies(found)
    assert {(pair.first, pair.second) for pair in pairs} >= {
        ("rust/1022", "rust/813"),
        ("rust/760", "rust/764"),
        ("phoma/469", "phoma/471"),
    }
    assert len(pairs) <= 4


def test_copies_that_join_given_groups_are_named() -> None:
    names = ["a", "b", "c"]
    table = pd.DataFrame({"image_id": names, "path": names, "group": ["1", "2", "3"]})
    table = table.assign(status="ok", label="x", split="")
    audited = {"exact": [["a", "b"]], "near": []}
    words = joined_groups(table, merge_duplicates(table, audited), audited, "patient")
    assert "3 patients became 2 (first: a and b look the same)" in words
    apart = {"exact": [], "near": []}
    assert joined_groups(table, merge_duplicates(table, apart), apart, "patient") == ""


def test_parts_that_look_alike_make_no_copy_of_their_files() -> None:
    # Three volumes of four slices; the ends of all are empty.
    file = {f"{name}{k}": name for name in "abc" for k in range(4)}
    empty = [f"{name}{k}" for name in "abc" for k in (0, 3)]
    near = [NearPair("a1", "b1", 0.9)]
    assert of_whole_files([["a0", "b0", "c0"]], [], file) == ([], [])
    # Half of a volume that is in another makes it a copy, whichever half.
    exact, pairs = of_whole_files([["a0", "b0"], ["b2", "c2"]], near, file)
    assert (exact, pairs) == ([["a0", "b0"]], near)
    # The empty ends alone are half of each.
    exact, _ = of_whole_files([empty], [], {**file, **{f"{n}{k}": n for n in "abc" for k in "xy"}})
    assert exact == []
    # Pictures that are files stay as they are, however many are equal.
    many = [str(k) for k in range(80)]
    whole = {name: name for name in many}
    assert of_whole_files([many], [], whole) == ([many], [])
    assert of_whole_files([many], [], {**whole, **file}) == ([many], [])


@pytest.mark.parametrize(("differing", "kept"), [(1, 12), (6, 0)])
def test_pairs_that_differ_in_class_as_any_two_images_do_are_no_copies(
    differing: int, kept: int
) -> None:
    from core.data.audit import _trusted  # noqa: PLC0415

    pairs = [NearPair(f"a{i}", f"b{i}", 0.9) for i in range(12)]
    label = {f"a{i}": "p" for i in range(12)}
    label |= {f"b{i}": "q" if i < differing else "p" for i in range(12)}
    label |= {f"c{i}": "q" for i in range(12)}
    near, told = _trusted(pairs, label)
    assert len(near) == kept
    assert (told is None) == (kept > 0)
    if told:
        assert "alike, and no copies" in told.words
        assert "50 % of them are of different classes" in told.words.replace("\xa0", " ")

"""From what the user points at to a manifest: layouts, tables, groups, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.app import Manifest, Source, Task, find_app
from core.base.tables import check_manifest
from core.data.groups import RESERVED, GroupRule, Input, set_groups
from core.data.manifest import index_images, locate
from core.data.scan import natural_key
from core.errors import ManifestError

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
CLASSES = Task(name="classes", kind="multiclass")


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path, format="PNG")
    return path


def images(root: Path, *names: str) -> Path:
    for name in names:
        image(root / name)
    return root


def index(
    *paths: Path, labelled: bool = True, task: Task = CLASSES, rules: Any = (), **asked: Any
) -> Manifest:
    source = Source(paths=paths, labelled=labelled, task=task, **asked)
    return index_images(source, group=rules)


def column(manifest: Manifest, name: str) -> dict[str, str]:
    return dict(zip(manifest.table["image_id"], manifest.table[name], strict=True))


def refusal(*paths: Path, **options: object) -> str:
    with pytest.raises(ManifestError) as caught:
        index(*paths, **options)  # type: ignore[arg-type]
    return str(caught.value)


# --- folders -----------------------------------------------------------------------------------


def test_class_folders_give_labels_in_natural_order(tmp_path: Path) -> None:
    images(tmp_path, "rust/10.png", "rust/9.png", "healthy/1.png", "healthy/deep/2.png")
    manifest = index(tmp_path)
    check_manifest(manifest.table, labelled=True)
    assert column(manifest, "label") == {
        "healthy/1.png": "healthy",
        "healthy/deep/2.png": "healthy",
        "rust/9.png": "rust",
        "rust/10.png": "rust",
    }
    assert list(manifest.table["image_id"]) == sorted(manifest.table["image_id"], key=natural_key)
    assert list(manifest.table["path"]) == list(manifest.table["image_id"])
    assert manifest.root == tmp_path
    assert manifest.group_rule == ""
    assert manifest.split_rule == ""


def test_split_folders_by_all_their_names(tmp_path: Path) -> None:
    images(tmp_path, "training/a/1.png", "training/b/2.png", "Valid/a/3.png", "testing/b/4.png")
    manifest = index(tmp_path)
    assert column(manifest, "split") == {
        "training/a/1.png": "train",
        "training/b/2.png": "train",
        "Valid/a/3.png": "val",
        "testing/b/4.png": "test",
    }
    assert column(manifest, "label")["Valid/a/3.png"] == "a"
    assert "Valid" in manifest.split_rule


def test_a_class_called_test_is_a_class(tmp_path: Path) -> None:
    images(tmp_path, "test/1.png", "control/2.png")
    assert set(index(tmp_path).table["label"]) == {"test", "control"}


def test_what_is_no_image_is_one_skipped_row_with_a_reason(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png", "loose.png", ".hidden.png", "a/.cache/3.png")
    (tmp_path / "a" / "notes.txt").write_text("words")
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "b" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "b" / "pipe.png")
    (tmp_path / "b" / "dead.png").symlink_to("nowhere")
    manifest = index(tmp_path)
    table = manifest.table
    assert set(table["image_id"]) == {
        *("a/1.png", "b/2.png", "loose.png", "a/notes.txt"),
        *("b/folder.png", "b/pipe.png", "b/dead.png"),
    }
    reasons = column(manifest, "reason")
    assert reasons["a/1.png"] == ""
    assert "outside of the class folders" in reasons["loose.png"]
    assert "not an image (.txt)" in reasons["a/notes.txt"]
    assert "not a regular file" in reasons["b/pipe.png"]
    assert "folder" in reasons["b/folder.png"]
    assert (table["status"] == "ok").sum() == 2
    assert any("notes.txt" in note for note in manifest.notes)
    check_manifest(table, labelled=True)


def test_an_image_without_a_telling_name_is_found_by_its_content(tmp_path: Path) -> None:
    images(tmp_path, "a/one", "a/two.dat", "b/3.png")
    assert (index(tmp_path).table["status"] == "ok").all()


def test_a_symlink_loop_ends_and_no_image_counts_twice(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "b")
    manifest = index(tmp_path)
    assert list(manifest.table.query("status == 'ok'")["image_id"]) == ["a/1.png", "b/2.png"]
    assert "already read" in column(manifest, "reason")["a/loop"]


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    images(tmp_path / "disk", "x/1.png", "x/2.png")
    images(tmp_path / "data", "b/2.png")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "disk" / "x")
    assert index(tmp_path / "data").table["label"].value_counts().to_dict() == {"a": 2, "b": 1}


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    assert any("no class: c" in note for note in index(tmp_path).notes)


def test_a_name_that_is_not_utf8_is_escaped_and_found_again(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png", "b/50%25.png")
    odd = os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\xfe.png")
    os.rename(tmp_path / "a" / "1.png", odd)  # noqa: PTH104  (bytes)
    image(tmp_path / "a" / "line\nbreak.png")
    table = index(tmp_path).table
    assert set(table["image_id"]) == {
        *("a/%FF%FE.png", "a/line%0Abreak.png", "b/2.png", "b/50%25.png"),
    }
    assert all(locate(tmp_path, path).is_file() for path in table["path"])
    table.to_parquet(tmp_path / "manifest.parquet")


@pytest.mark.parametrize("what", ["missing", "empty", "no_images", "flat", "one_class", "file"])
def test_folders_that_cannot_be_used_say_what_to_do(tmp_path: Path, what: str) -> None:
    data = tmp_path / "leaves"
    data.mkdir()
    if what == "missing":
        message = refusal(tmp_path / "leafs")
        assert "Did you mean 'leaves'?" in message
    elif what == "empty":
        assert "it is empty" in refusal(data)
    elif what == "no_images":
        (data / "a.txt").write_text("words")
        assert "none of its 1 files is an image" in refusal(data)
    elif what == "flat":
        assert "nothing says their class" in refusal(images(data, "1.png", "2.png"))
    elif what == "one_class":
        message = refusal(images(data, "rust/1.png", "rust/2.png"))
        assert "one class ('rust')" in message
    else:
        assert "neither a folder nor a table" in refusal(image(data / "1.png"))


def test_one_class_is_enough_where_the_run_names_the_others(tmp_path: Path) -> None:
    known = Task(name="t", kind="multiclass", classes=("a", "b"))
    assert len(index(images(tmp_path, "a/1.png"), task=known).table) == 1


def test_one_class_spelled_in_two_ways_is_refused(tmp_path: Path) -> None:
    message = refusal(images(tmp_path, "Leaf Rust/1.png", "Leaf Rust/2.png", "leaf_rust/3.png"))
    assert "'Leaf Rust' (2 images), 'leaf_rust' (1 images)" in message
    assert "Did you mean 'Leaf Rust'" in message


# --- tables ------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_table_names_files_classes_groups_and_splits(tmp_path: Path) -> None:
    images(tmp_path, "x/1.png", "x/2.png", "3.png")
    table = write(
        tmp_path / "list.csv",
        "Image Path,Class,Group,SPLIT,age\n"
        "x/1.png,a,g1,Train,007\nx/2.png,b,g2,dev,8\n3.png,a,g3,test,9\n",
    )
    manifest = index(table)
    check_manifest(manifest.table, labelled=True)
    assert column(manifest, "label") == {"3.png": "a", "x/1.png": "a", "x/2.png": "b"}
    assert column(manifest, "split") == {"3.png": "test", "x/1.png": "train", "x/2.png": "val"}
    assert column(manifest, "group")["x/2.png"] == "g2"
    assert column(manifest, "age")["x/1.png"] == "007"
    assert "column SPLIT of list.csv" in manifest.split_rule
    assert "3 groups of 3 images" in manifest.group_rule


def test_parquet_tsv_semicolons_and_windows_tables_are_read_alike(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    rows = pd.DataFrame({"path": ["1.png", "2.png"], "label": [0.0, 1.0]})
    rows.to_parquet(tmp_path / "a.parquet")
    rows.to_csv(tmp_path / "b.tsv", sep="\t")
    rows.to_csv(tmp_path / "c.csv", sep=";", encoding="utf-16")
    (tmp_path / "d.csv").write_bytes("path,label,où\r\n1.png,0,é\r\n2.png,1,ü\r\n".encode("cp1252"))
    (tmp_path / "e.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\n1.png,0\r\n2.png,1.0\r\n")
    for name in ("a.parquet", "b.tsv", "c.csv", "d.csv", "e.csv"):
        assert column(index(tmp_path / name), "label") == {"1.png": "0", "2.png": "1"}, name


def test_ids_without_extension_are_found_in_sub_folders(tmp_path: Path) -> None:
    images(tmp_path, "train/10_left.jpeg", "train/10_right.jpeg", "test/11_left.jpeg")
    table = write(tmp_path / "trainLabels.csv", "image,level\n10_left,0\n10_right,4\n")
    for path in (tmp_path, table):
        labels = index(path).table.query("status == 'ok'")
        assert list(labels["image_id"]) == ["train/10_left.jpeg", "train/10_right.jpeg"]
        assert list(labels["label"]) == ["0", "4"]
    unlisted = column(index(tmp_path), "reason")["test/11_left.jpeg"]
    assert "trainLabels.csv does not list it" in unlisted


def test_a_table_in_the_folder_outweighs_the_folders_and_is_told(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png")
    write(tmp_path / "labels.csv", "path,label,severity\na/1.png,sick,0\nb/2.png,well,3\n")
    manifest = index(tmp_path)
    assert set(manifest.table["label"]) == {"sick", "well"}
    assert any("labels.csv" in note for note in manifest.notes)
    severity = index(tmp_path, label="Severity")
    assert column(severity, "label") == {"a/1.png": "0", "b/2.png": "3"}
    assert column(severity, "label_given")["a/1.png"] == "sick"


def test_a_table_without_classes_adds_its_columns_to_class_folders(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png", "b/2.png", "b/3.png")
    write(tmp_path / "meta.csv", "file,plant\na/1.png,p1\nb/2.png,p1\nb/3.png,p2\n")
    manifest = index(tmp_path, rules=(GroupRule(words="the plant", columns=("plant",)),))
    assert column(manifest, "label")["b/3.png"] == "b"
    assert column(manifest, "group") == {"a/1.png": "p1", "b/2.png": "p1", "b/3.png": "p2"}


def test_two_tables_that_list_the_images_are_a_question(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    for name in ("one.csv", "two.csv"):
        write(tmp_path / name, "path,label\n1.png,a\n2.png,b\n")
    # They agree, so there is nothing to ask.
    assert any("two.csv says the same" in note for note in index(tmp_path).notes)
    write(tmp_path / "two.csv", "path,label\n1.png,a\n2.png,a\n")
    message = refusal(tmp_path)
    assert "2.png is 'b' in one.csv and 'a' in two.csv" in message
    assert len(index(tmp_path / "one.csv").table) == 2


def test_a_wrong_column_is_answered_with_those_there_are(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    table = write(tmp_path / "t.csv", "path,labell,x\n1.png,a,1\n2.png,b,2\n")
    message = refusal(table)
    assert "no column 'label'" in message
    assert "path, labell, x" in message
    assert "Did you mean 'labell'?" in message
    assert "no column 'severity'" in refusal(table, label="severity")
    nowhere = refusal(write(tmp_path / "u.csv", "picture,label\n8.png,a\n9.png,b\n"))
    assert "no column 'path'" in nowhere
    assert "--path-column" in nowhere


def test_few_missing_files_fail_when_read_and_many_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    few = write(tmp_path / "few.csv", "path,label\n1.png,a\n2.png,b\n3.png,b\n4.png,a\n")
    manifest = index(few)
    assert column(manifest, "status")["4.png"] == "ok"
    assert any("4.png" in note for note in manifest.notes)
    many = write(tmp_path / "many.csv", "path,label\n1.png,a\n8.png,b\n9.png,b\n")
    message = refusal(many)
    assert "2 of the 3 files" in message
    assert "'8.png'" in message


def test_rows_without_a_class_are_skipped_and_counted(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    manifest = index(write(tmp_path / "t.csv", "path,label\n1.png,a\n2.png,b\n3.png,\n"))
    assert "gives no class" in column(manifest, "reason")["3.png"]
    check_manifest(manifest.table, labelled=True)


def test_a_table_may_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    images(tmp_path, "secret.png", "data/1.png")
    for row in ("../secret.png", str(tmp_path / "secret.png"), "../nowhere.png"):
        table = write(tmp_path / "data" / "t.csv", f"path,label\n1.png,a\n{row},b\n")
        message = refusal(table)
        assert "1 of 2 rows point outside" in message
        assert "--allow-outside" in message
    table = write(tmp_path / "data" / "t.csv", "path,label\n1.png,a\n../secret.png,b\n")
    assert set(index(table, allow_outside=True).table["status"]) == {"ok"}


def test_repeated_rows_count_once_and_contradictions_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    manifest = index(write(tmp_path / "t.csv", "path,label\n1.png,a\n2.png,b\n./1.png,a\n"))
    assert len(manifest.table) == 2
    assert any("repeat" in note for note in manifest.notes)
    message = refusal(write(tmp_path / "t.csv", "path,label\n1.png,a\n2.png,b\n1.png,b\n"))
    assert "1 rows name a file that another row names" in message


def test_an_unknown_split_and_broken_tables_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    table = tmp_path / "t.csv"
    message = refusal(write(table, "path,label,split\n1.png,a,0\n2.png,b,2\n"))
    assert "first: '0'; in all: 0, 2" in message
    assert "--split-column none" in message
    assert "no rows" in refusal(write(table, "path,label\n"))
    assert "cannot be read as a table" in refusal(write(table, ""))
    assert "more cells" in refusal(write(table, "path,label\n1.png,a,b\n2.png,b,c\n"))
    broken = tmp_path / "t.parquet"
    broken.write_bytes(b"PAR1 but not really")
    assert "cannot be read as a table" in refusal(broken)


def test_several_labels_stand_in_one_cell_or_one_column_each(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    many = Task(name="stress", kind="multilabel")
    table = write(
        tmp_path / "t.csv",
        "path,label,rust,miner\n1.png,rust | miner,1,1\n2.png,miner,0,1\n3.png,rust,0,0\n",
    )
    assert column(index(table, task=many), "label")["1.png"] == "rust|miner"
    flags = index(table, task=many, label="rust,miner")
    # Neither: known to be none of them, which an empty label would not say.
    assert column(flags, "label") == {"1.png": "rust|miner", "2.png": "miner", "3.png": "|"}
    assert "2 label columns" in refusal(table, label="rust,miner")
    check_manifest(flags.table, labelled=True)


# --- groups ------------------------------------------------------------------------------------

PATIENT = GroupRule(
    words="the patient: the number in the file name", pattern=r"^(\d+)_(?:left|right)"
)


def test_the_group_comes_from_the_file_name(tmp_path: Path) -> None:
    images(tmp_path, "a/10_left.png", "a/10_right.png", "b/11_left.png", "b/x.png")
    manifest = index(tmp_path, rules=(PATIENT,))
    assert column(manifest, "group") == {
        "a/10_left.png": "10",
        "a/10_right.png": "10",
        "b/11_left.png": "11",
        "b/x.png": "",
    }
    assert "the patient" in manifest.group_rule
    assert "2 groups of 4 images" in manifest.group_rule
    assert any("first: b/x.png" in note for note in manifest.notes)


def test_a_rule_that_fits_few_names_is_not_used(tmp_path: Path) -> None:
    images(tmp_path, "a/10_left.png", "a/x.png", "b/y.png")
    assert index(tmp_path, rules=(PATIENT,)).group_rule == ""


def test_the_group_comes_from_the_folder_below_the_class(tmp_path: Path) -> None:
    images(tmp_path, "a/p1/1.png", "a/p1/2.png", "b/p1/3.png")
    parent = GroupRule(words="the folder", parent=True)
    groups = column(index(tmp_path, rules=(parent,)), "group")
    assert groups["a/p1/1.png"] == groups["a/p1/2.png"] == "a/p1"
    flat = index(images(tmp_path / "flat", "a/1.png", "b/2.png"), rules=(parent,))
    assert flat.group_rule == ""


def test_the_user_outweighs_the_rule(tmp_path: Path) -> None:
    images(tmp_path, "10_left.png", "10_right.png", "11_left.png")
    table = write(
        tmp_path / "t.csv",
        "path,label,Farm ID\n10_left.png,a,1.0\n10_right.png,b,1.0\n11_left.png,b,2.0\n",
    )
    farm = index(table, rules=(PATIENT,), group="farm_id")
    assert list(farm.table["group"]) == ["1", "1", "2"]
    alone = index(table, rules=(PATIENT,), group="image_id")
    assert list(alone.table["group"]) == list(alone.table["image_id"])
    named = index(table, group=r"name:^\d+")
    assert list(named.table["group"]) == ["10", "10", "11"]
    assert "no column 'field'" in refusal(table, group="field")
    assert "there is no table here" in refusal(
        images(tmp_path / "d", "a/1.png", "b/2.png"), group="field"
    )
    told = refusal(table, group="name:(")
    assert "no regular expression" in told
    assert r"--group 'name:part\d+'" in told


def test_folders_below_the_classes_are_offered_as_groups(tmp_path: Path) -> None:
    names = {"benign": ("TCGA-AB-1234", "anna"), "malignant": ("TCGA-XX-9", "fritz")}
    files = [f"{c}/{who}/{k}.png" for c, people in names.items() for who in people for k in "12"]
    said = " ".join(index(images(tmp_path / "d", *files)).notes)
    assert "4 folders of 2 images (benign/TCGA-AB-1234, benign/anna" in said
    assert "--group parent: it makes 4 groups of 8 images" in said
    assert "4 groups of 8 images" in index(tmp_path / "d", group="parent").group_rule
    # A name below both classes may be one patient or two.
    images(tmp_path / "d", "malignant/anna/1.png")
    assert "1 of the names lie in several places (anna)" in " ".join(index(tmp_path / "d").notes)
    # Nothing is offered where some images lie in the class folder, or the folders hold masks.
    images(tmp_path / "d", "malignant/1.png")
    assert "--group parent" not in " ".join(index(tmp_path / "d").notes)
    kept = index(images(tmp_path / "e", *(f"{c}/images/{k}.png" for c in "ab" for k in "12")))
    assert "--group parent" not in " ".join(kept.notes)


def test_gaps_in_a_group_column_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png", "3.png")
    table = write(tmp_path / "t.csv", "path,label,group\n1.png,a,\n2.png,b,\n3.png,b,g\n")
    message = refusal(table)
    assert "2 of 3 rows have no group (first: 1.png)" in message
    assert "--group image_id" in message
    assert (index(table, labelled=False).table["status"] == "ok").all()


def grouped(
    names: list[str],
    *rules: GroupRule,
    columns: dict[str, list[str]] | None = None,
    wish: str | None = None,
    labelled: bool = True,
    root: Path = Path("/r"),
    depth: int = 0,
    options: dict[str, str] | None = None,
) -> tuple[list[str], str, list[str]]:
    """The group of each of these files, the sentence and the notes; columns are of a table."""
    inputs = [(name, Input(path=Path("/r") / name, depth=depth)) for name in names]
    listings = []
    if columns:
        listings = [SimpleNamespace(file=Path("/r/t.csv"), table=pd.DataFrame(columns))]
        for k, (_, entry) in enumerate(inputs):
            # As the manifest keeps them: what it has itself stands under another name.
            entry.extras = {
                f"{name}_given" if name in RESERVED else name: cells[k]
                for name, cells in columns.items()
            }
    source = Source(
        paths=(root,), labelled=labelled, task=CLASSES, group=wish, options=options or {}
    )
    notes: list[str] = []
    words = set_groups(inputs, rules, source=source, listings=listings, root=root, notes=notes)
    return [entry.group for _, entry in inputs], words, notes


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a_0_0_64_64.png", "a_64_0_64_64.png", "b-0-0-64-64.jpg"], ["a", "a", "b"]),
        (["a_x0_y0_w6_h6.png", "a_x6_y0_w6_h6.png", "b_x0_y0_w6_h6.png"], ["a", "a", "b"]),
        (["leaf1_tile_1.png", "leaf1_tile_2.png", "leaf2_tile_1.png"], ["leaf1", "leaf1", "leaf2"]),
        (["s1-Patches-07.tif", "s1_crop3_4.tif", "s2_slice12.tif"], ["s1", "s1", "s2"]),
        (["f_x_0_y_64.png", "f-x8-y64_b.png", "g_x_0_y_0.png"], ["f", "f", "g"]),
        (
            ["a_jpg.rf.0123abcd.jpg", "a_jpg.rf.4567abcd.jpg", "b_png.rf.89abcdef.jpg"],
            ["a", "a", "b"],
        ),
        (["a.rf.0123abcd.jpg", "a.rf.4567abcd.jpg", "b.rf.89abcdef.jpg"], ["a", "a", "b"]),
        (["a_flip.png", "a_rot90.png", "b_aug_1.png", "b-brightness.png"], ["a", "a", "b", "b"]),
        (["p 1_new30degFlipLR.jpg", "p 1_zoom2.jpg", "q_hflip.jpg"], ["p 1", "p 1", "q"]),
    ],
)
def test_pictures_cut_or_made_from_one_are_one_group(names: list[str], wanted: list[str]) -> None:
    found, words, notes = grouped(names)
    assert found == wanted
    assert f"{len(set(wanted))} groups of {len(names)} images" in words
    # It is a guess, which can be refused.
    assert words.endswith("Pass --group image_id if that is not so.")
    assert notes == []
    refused, words, _ = grouped(names, wish="image_id")
    assert refused == names
    assert words.startswith("Each image is its own group")


def test_a_guess_of_names_that_groups_nothing_or_nearly_all_is_none() -> None:
    assert grouped(["a_tile_1.png", "b_tile_1.png", "c_tile_1.png"])[:2] == ([""] * 3, "")
    assert grouped(["a_tile_1.png", "a_tile_2.png", "a_tile_3.png"])[:2] == ([""] * 3, "")
    # Sixty pictures of one may be; one more is as many as the rest can bear, unless all are so.
    most = [f"a_tile_{k}.png" for k in range(60)] + [f"b_tile_{k}.png" for k in range(2)]
    assert set(grouped(most)[0]) == {"a", "b"}
    assert set(grouped([*most, "a_tile_60.png"])[0]) == {""}
    # 70 of 350 are a fifth.
    many = [f"{name}_tile_{k}.png" for name in "abcde" for k in range(70)]
    assert set(grouped(many)[0]) == set("abcde")
    assert set(grouped([*many, "a_tile_70.png"])[0]) == {""}


def test_half_of_the_names_must_fit_a_rule() -> None:
    found, words, notes = grouped(["1_left.png", "1_right.png", "x.png", "y.png"], PATIENT)
    assert found == ["1", "1", "", ""]
    assert "1 groups of 4 images" in words
    assert "2 of 4 images have no group by the rule (first: x.png)" in notes[0]
    assert grouped(["1_left.png", "1_right.png", "x.png", "y.png", "z.png"], PATIENT)[1] == ""
    # The next rule is tried; a name that a pattern fits without its group has none.
    optional = GroupRule(words="the rest", pattern=r"(\d)?\.png")
    assert grouped(["1.png", "2.png", "x.png"], PATIENT, optional)[0] == ["1", "2", ""]


ROWS = ["1.png", "2.png", "3.png", "4.png"]
SITE = GroupRule(words="the farm", columns=("farm", "site"))


def test_a_column_that_says_what_it_is_goes_before_a_word_of_the_app() -> None:
    columns = {"site": list("aabb"), "Patient-ID": ["1.0", "2.0", " 2 ", "x.0"]}
    found, words, _ = grouped(ROWS, SITE, columns=columns)
    assert found == ["1", "2", "2", "x.0"]
    assert (
        words == "The group is as the table says, in the column Patient-ID: 3 groups of 4 images."
    )
    # The app's own name of a patient goes before the general ones, and a plain group before all.
    own = GroupRule(words="the eye", columns=("eye_id",))
    columns["eye_id"] = list("ccdd")
    assert grouped(ROWS, SITE, own, columns=columns)[0] == list("ccdd")
    columns["group"] = list("efef")
    assert grouped(ROWS, own, columns=columns)[0] == list("efef")
    assert grouped(ROWS, SITE, columns={"site": list("aabb")})[0] == list("aabb")
    # Without a column of a name, its rule is passed over.
    assert grouped(ROWS, SITE, columns={"age": list("1234")})[1] == ""


def test_a_column_that_a_user_names_is_taken() -> None:
    columns = {"site": list("aabb"), "patient_id": list("1123"), "split": list("ttvv")}
    assert grouped(ROWS, columns=columns, wish="site")[0] == list("aabb")
    asked = {"group-column": " site "}
    assert grouped(ROWS, columns=columns, options=asked, wish="patient_id")[0] == list("aabb")
    found, words, _ = grouped(ROWS, columns=columns, wish="split")
    assert found == list("ttvv")
    assert "as asked, in the column split: 2 groups of 4 images" in words
    with pytest.raises(ManifestError, match=r"t.csv.*no column 'clinic'"):
        grouped(ROWS, columns=columns, wish="clinic")
    with pytest.raises(ManifestError, match=r"--group clinic: there is no table.*--group 'name:"):
        grouped(ROWS, wish="clinic")


def test_a_wish_that_says_nothing_of_the_images_is_refused() -> None:
    for wish in ("name:patient_([0-9]+)", "parent", "folder"):
        with pytest.raises(ManifestError, match=r"says nothing of most of the 4 images"):
            grouped(ROWS, wish=wish)
    assert grouped(ROWS, wish=r"name:^\d")[0] == ["1", "2", "3", "4"]
    words = grouped(ROWS, wish=r"name:(\d)\.")[1]
    assert (
        words == r"The group is what (\d)\. finds in the file name, as asked: 4 groups of 4 images."
    )


def test_the_folder_of_a_file_is_its_group_if_it_is_asked_for() -> None:
    names = ["a/p1/1.png", "a/p1/2.png", "b/p2/3.png", "b/4.png"]
    found, words, notes = grouped(names, wish="parent", depth=1)
    assert found == ["a/p1", "a/p1", "b/p2", ""]
    assert "the folder of the file, as asked: 2 groups of 4 images" in words
    assert "first: b/4.png" in notes[0]
    # Files that lie elsewhere have their whole folder.
    assert grouped(names, wish="parent", root=Path("/elsewhere"))[0][0] == "/r/a/p1"
    above = {"folder": ["x", "x", "y", "y"]}
    inputs = [
        (n, Input(path=Path(n), extras={"folder": above["folder"][k]})) for k, n in enumerate(ROWS)
    ]
    source = Source(paths=(Path("/r"),), labelled=True, task=CLASSES, group="folder")
    words = set_groups(inputs, (), source=source, listings=[], root=Path("/r"), notes=[])
    assert [entry.group for _, entry in inputs] == ["x", "x", "y", "y"]
    assert "the folder above the class folders, as asked: 2 groups" in words
    # Unasked, that folder is no column of another name.
    plain = Source(paths=(Path("/r"),), labelled=False, task=CLASSES)
    assert set_groups(inputs, (SITE,), source=plain, listings=[], root=Path("/r"), notes=[]) == ""


def test_files_that_are_skipped_have_no_group() -> None:
    inputs = [(n, Input(path=Path("/r") / n)) for n in ("1_left.png", "1_right.png", "2_left.png")]
    inputs[2][1].reason = "damaged"
    source = Source(paths=(Path("/r"),), labelled=True, task=CLASSES)
    words = set_groups(inputs, (PATIENT,), source=source, listings=[], root=Path("/r"), notes=[])
    assert [entry.group for _, entry in inputs] == ["1", "1", ""]
    assert "1 groups of 2 images" in words


def test_few_huge_groups_of_a_guess_are_questioned() -> None:
    def asked(n_groups: int, each: int, **options: str) -> list[str]:
        cells = [f"s{k}" for k in range(n_groups) for _ in range(each)]
        names = [f"{k}.png" for k in range(len(cells))]
        notes = grouped(names, SITE, columns={"site": cells, "group_of_mine": cells}, **options)[2]
        return [note for note in notes if note.startswith("Is ")]

    (note,) = asked(3, 40)
    assert "Is site what images share? It makes 3 groups of 40 images each" in note
    assert "--group site" in note
    assert "--group image_id" in note
    assert len(asked(30, 40)) == len(asked(2, 40)) == 1
    assert asked(3, 39) == asked(31, 40) == asked(1, 40) == []
    # What a user names is no guess, and neither is a column of that name.
    assert asked(3, 40, wish="site") == []
    cells = [f"s{k % 3}" for k in range(120)]
    names = [f"{k}.png" for k in range(120)]
    for name in ("group", "patient_id"):
        assert grouped(names, SITE, columns={name: cells})[2] == []


def test_one_group_for_all_is_told_unless_it_was_asked_for() -> None:
    columns = {"patient_id": ["ANON"] * 4}
    (note,) = grouped(ROWS, columns=columns)[2]
    assert "All 4 images carry one patient_id (ANON)" in note
    assert "--group image_id" in note
    assert grouped(ROWS, columns=columns, wish="patient_id")[2] == []
    assert grouped(ROWS, columns=columns, labelled=False)[2] == []
    assert len(grouped(ROWS[:2], columns={"patient_id": ["ANON"] * 2})[2]) == 1
    assert grouped(ROWS[:1], columns={"patient_id": ["ANON"]})[2] == []


def test_gaps_of_a_column_are_refused_to_train_and_counted_to_predict() -> None:
    columns = {"patient_id": ["1", "", "", "2"]}
    with pytest.raises(
        ManifestError, match=r"t.csv: 2 of 4 rows have no patient_id \(first: 2.png"
    ):
        grouped(ROWS, columns=columns)
    found, _, notes = grouped(ROWS, columns=columns, labelled=False)
    assert found == ["1", "", "", "2"]
    assert "2 of 4 images have no group by the rule (first: 2.png)" in notes[0]
    # A column without any cell is none.
    assert grouped(ROWS, columns={"patient_id": [""] * 4})[1] == ""


def test_column_of_another_task_is_never_taken_for_the_class(tmp_path: Path) -> None:
    images(tmp_path, *(f"{k}.png" for k in range(4)))
    rows = "".join(f"{k}.png,{k % 2}\n" for k in range(4))
    table = write(tmp_path / "t.csv", "path,grade\n" + rows)
    manifest = index(table)
    assert "The class is the column grade of t.csv." in manifest.notes
    app = find_app("crop_disease")
    source = Source(paths=(table,), labelled=True, task=app.task("disease"))
    assert set(app.index(source).table["label"]) == {"0", "1"}
    write(table, "path,severity\n" + rows)
    with pytest.raises(ManifestError, match="no column 'label'"):
        app.index(source)


# --- prediction --------------------------------------------------------------------------------


def test_for_prediction_files_and_folders_mix_and_nothing_has_a_label(tmp_path: Path) -> None:
    images(tmp_path, "f/1.png", "f/2.png", "g/3.png")
    odd = write(tmp_path / "g" / "text.jpg", "words")
    manifest = index(
        tmp_path / "f", tmp_path / "g" / "3.png", odd, tmp_path / "g" / "gone.png", labelled=False
    )
    assert manifest.root == tmp_path
    assert column(manifest, "status") == {
        "f/1.png": "ok",
        "f/2.png": "ok",
        "g/3.png": "ok",
        # It was asked for by name, so it is an input, and fails when it is read.
        "g/gone.png": "ok",
        "g/text.jpg": "ok",
    }
    assert set(manifest.table["label"]) == {""}


def test_for_prediction_a_table_adds_columns_and_unlisted_images_stay(tmp_path: Path) -> None:
    images(tmp_path, "1.png", "2.png")
    write(tmp_path / "t.csv", "path,label,site\n1.png,a,north\n")
    manifest = index(tmp_path, labelled=False)
    assert column(manifest, "status") == {"1.png": "ok", "2.png": "ok"}
    assert column(manifest, "site") == {"1.png": "north", "2.png": ""}
    assert set(manifest.table["label"]) == {""}


def test_a_path_that_is_not_there_is_an_error_if_it_is_the_only_one(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "x.png", labelled=False)
    assert "it is empty" in refusal(tmp_path, labelled=False)


def test_the_same_folder_gives_the_same_table(tmp_path: Path) -> None:
    images(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(20)))
    pd.testing.assert_frame_equal(index(tmp_path).table, index(tmp_path).table)


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not on this machine")
def test_real_data_sets_are_understood() -> None:
    leaves = index(REAL / "coffee_leaves")
    assert leaves.table.query("status == 'ok'")["label"].value_counts().to_dict() == {
        "healthy": 232,
        "miner": 329,
        "rust": 458,
        "phoma": 288,
        "cercospora": 126,
    }
    assert set(leaves.table["split"]) == {"train", "val"}
    eyes = index(REAL / "fundus_grades", rules=(PATIENT,))
    assert eyes.table["group"].nunique() == 439

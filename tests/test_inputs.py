"""Every layout and format that people bring: read as they mean it, or refused with the way out.

Each case builds its input by a few lines and says what must come of it. The table in
``docs/inputs.md`` is made from these cases and what the program answers to them:
``python tests/test_inputs.py > docs/inputs.md``.
"""

from __future__ import annotations

import gzip
import json
import struct
import sys
import tempfile
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from apps.crop_disease import layouts as crop_disease
from apps.mammography import layouts as mammography
from apps.retinopathy import layouts as retinopathy
from core.app import Source, Task
from core.cards.card import all_cards
from core.data.image_files import EXTENSIONS
from core.data.images import read_image
from core.data.manifest import GroupRule, index_images
from core.data.published_tables import known_of
from core.data.scan import scan
from core.data.scored_tables import read_foreign
from core.data.tables_in import read_cells
from core.errors import ResightError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.app import Manifest
    from core.data.layouts import Layout

PAGE = Path(__file__).resolve().parent.parent / "docs" / "inputs.md"
ONE = Task(name="disease", kind="multiclass")
MANY = Task(name="symptoms", kind="multilabel", label="symptoms")
KNOWN = Task(name="disease", kind="multiclass", classes=("01", "02", "10"))
FARM = GroupRule(words="the farm or site", columns=("farm", "site"))
PATIENT = GroupRule(words="the patient: the number before _left or _right", pattern=r"^(\d+)_")


@dataclass(frozen=True)
class Case:
    """One input.

    ``classes`` counts the labels that must come out; ``says`` must stand in the answer: its
    rules, its notes, its reasons, or its refusal where ``classes`` is empty.
    """

    name: str
    build: Callable[[Path], Path | None]
    classes: Mapping[str, int] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    task: Task = ONE
    splits: Mapping[str, int] = field(default_factory=dict)
    groups: int = 0
    label: str | None = None
    group: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[GroupRule, ...] = ()


def put(root: Path, *names: str) -> Path:
    """Images under these names, each with pixels of its own."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        value = sum(map(ord, name)) % 256
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(path, format="PNG")
    return root


def folders(*names: str, n: int = 2) -> Callable[[Path], None]:
    """Builds ``n`` images in each of these folders."""

    def build(root: Path) -> None:
        put(root, *(f"{name}/{k}.png" for name in names for k in range(n)))

    return build


def table(
    text: str | bytes, name: str = "labels.csv", *, at: bool = True, n: int = 4, sub: str = ""
) -> Callable[[Path], Path | None]:
    """Builds images ``0.png`` ... and a table; ``at`` points at the table, else at the folder."""

    def build(root: Path) -> Path | None:
        put(root, *(f"{sub}{k}.png" for k in range(n)))
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file if at else None

    return build


ROWS = "path,label\n0.png,rust\n1.png,healthy\n2.png,rust\n3.png,healthy\n"
TWO = {"rust": 2, "healthy": 2}
CUB = ("001.X", "001.X", "002.Y", "002.Y")
TABLE = dict.fromkeys(("0.png", "1.png", "2.png", "3.png"))


def parquet(frame: Mapping[str, Any]) -> Callable[[Path], Path]:
    """Builds four images and a Parquet table."""

    def build(root: Path) -> Path:
        put(root, *TABLE)
        pd.DataFrame({"path": list(TABLE), **frame}).to_parquet(root / "t.parquet")
        return root / "t.parquet"

    return build


def excel(rows: list[list[Any]], pattern: str = "") -> Callable[[Path], Path]:
    """Builds images and a workbook; ``pattern`` is the number format of its first column."""

    def build(root: Path) -> Path:
        from openpyxl import Workbook  # noqa: PLC0415

        put(root, "0001.png", "0002.png", "0.png", "1.png")
        book = Workbook()
        for row in rows:
            book.active.append(row)
        for cell in next(book.active.columns) if pattern else ():
            cell.number_format = pattern
        book.save(root / "labels.xlsx")
        return root / "labels.xlsx"

    return build


SHEET = [["path", "label"], ["0.png", "rust"], ["1.png", "healthy"]]


def workbook(sheets: Mapping[str, list[list[Any]]]) -> Callable[[Path], Path]:
    """Builds images and a workbook of several sheets."""

    def build(root: Path) -> Path:
        from openpyxl import Workbook  # noqa: PLC0415

        put(root, "0.png", "1.png")
        book = Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        book.save(root / "labels.xlsx")
        return root / "labels.xlsx"

    return build


def several(*files: tuple[str, str], images: tuple[str, ...] = tuple(TABLE)) -> Callable[..., None]:
    """Builds images and several tables."""

    def build(root: Path) -> None:
        put(root, *images)
        for name, text in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)

    return build


def both(*builders: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Builds one thing after the other; the last says where to point."""

    def build(root: Path) -> Any:
        return [builder(root) for builder in builders][-1]

    return build


def accents(root: Path) -> None:
    """One class folder in each of the two ways to write an accent."""
    put(root, unicodedata.normalize("NFC", "café") + "/0.png", "rust/1.png")
    put(root, unicodedata.normalize("NFD", "café") + "/2.png")


def rows_of(heading: str, *cells: str) -> str:
    """A table of the four images."""
    return heading + "\n" + "".join(f"{k}.png,{cell}\n" for k, cell in enumerate(cells))


EXCEL = [["path", "label"], ["0.png", "rust"], ["1.png", "healthy"], [None, None]]
SPLIT_TABLES = (
    ("train_1.csv", "id,label\n0,rust\n1,healthy\n"),
    ("valid.csv", "id,label\n2,rust\n"),
    ("test.csv", "id,label\n3,healthy\n"),
)
SHEETS = "{0}/_classes.csv"
ROBOFLOW = tuple(
    (f"{split}/_classes.csv", f"filename, healthy, rust\n{k}a.png,1,0\n{k}b.png,0,1\n")
    for k, split in enumerate(("train", "valid", "test"))
)
ROBOFLOW_IMAGES = tuple(
    f"{s}/{k}{x}.png" for k, s in enumerate(("train", "valid", "test")) for x in "ab"
)

FOLDERS = (
    Case("one folder per class", folders("rust", "healthy"), TWO, ("classes: 2 folders",)),
    Case(
        "class folders in one folder of any name",
        folders("PlantVillage/rust", "PlantVillage/healthy"),
        TWO,
        ("below PlantVillage/",),
    ),
    Case(
        "train, val, test with class folders",
        folders("train/rust", "train/healthy", "val/rust", "val/healthy"),
        {"rust": 4, "healthy": 4},
        ("folders train, val",),
        splits={"train": 4, "val": 4},
    ),
    Case(
        "train/ with class folders, flat unlabelled test/ (Kaggle)",
        both(folders("train/rust", "train/healthy"), folders("test", n=3)),
        TWO,
        ("test/ has 3 unlabelled images, left out",),
    ),
    Case(
        "train_images/, test_images/",
        folders("train_images/rust", "train_images/healthy", "test_images/rust"),
        {"rust": 4, "healthy": 2},
        ("below test_images/ and train_images/",),
        splits={"train": 4, "test": 2},
    ),
    Case(
        "seg_train/, seg_test/, seg_pred/",
        both(folders("seg_train/a", "seg_train/b", "seg_test/a", "seg_test/b"), folders("seg_x")),
        {"a": 4, "b": 4},
        splits={"train": 4, "test": 4},
    ),
    Case(
        "splits below the classes",
        folders("rust/train", "rust/test", "healthy/train", "healthy/test"),
        {"rust": 4, "healthy": 4},
        splits={"train": 4, "test": 4},
    ),
    Case(
        "only flat folders called like splits",
        folders("train", "test"),
        says=("called like splits", "--label-column folder"),
    ),
    Case(
        "class folders beside a flat test/",
        folders("rust", "healthy", "test"),
        says=("--label-map 'test='", "--label-map 'test=test'"),
    ),
    Case(
        "the same, settled",
        folders("rust", "healthy", "test"),
        TWO,
        options={"label-map": "test="},
    ),
    Case(
        "years above class folders",
        folders("2023/rust", "2023/healthy", "2024/rust", "2024/healthy"),
        {"rust": 4, "healthy": 4},
        ("2023, 2024 lie above them",),
    ),
    Case(
        "farms above class folders, kept whole",
        folders("farm_a/rust", "farm_a/mild", "farm_b/rust", "farm_b/mild"),
        {"rust": 4, "mild": 4},
        groups=2,
        group="folder",
    ),
    Case(
        "equal names below folders that could be classes as well",
        folders("tomato/spot", "tomato/wilt", "potato/spot", "potato/wilt"),
        says=("--label-column parent", "--label-column folder"),
    ),
    Case(
        "the same, settled",
        folders("tomato/spot", "tomato/wilt", "potato/spot", "potato/wilt"),
        {"spot": 4, "wilt": 4},
        label="parent",
    ),
    Case(
        "flat folders of years",
        folders("2022", "2023"),
        says=("times, places or numbers", "--label-column folder"),
    ),
    Case(
        "leaves with equal names below the classes",
        folders("rust/leaf1", "rust/leaf2", "healthy/leaf1", "healthy/leaf2"),
        {"rust": 4, "healthy": 4},
    ),
    Case(
        "versions of pictures without class folders",
        folders("original", "augmented"),
        says=("are called after versions of pictures", "--label-column folder"),
    ),
    Case(
        "folders called after a split and a class at once",
        folders("train_rust", "train_healthy", "test_rust", "test_healthy"),
        says=("after a split and a class at once", "train/CLASS/ and test/CLASS/"),
    ),
    Case(
        "the same, with the split behind or one letter for the class",
        folders("trainA", "trainB", "testA", "testB"),
        says=("after a split and a class at once",),
    ),
    Case(
        "the parts in which a set is loaded down",
        folders("part1", "part2", "images_003"),
        says=("are called like times, places or numbers",),
    ),
    Case(
        "colour, grey and segmented versions of the same pictures",
        folders("color/a", "color/b", "grayscale/a", "grayscale/b"),
        says=("versions of the same pictures", "color"),
    ),
    Case(
        "images/ with class folders beside masks/",
        folders("images/rust", "images/healthy", "masks/rust", "masks/healthy"),
        TWO,
        ("masks/ has 4 masks, left out",),
    ),
    Case(
        "images/ and masks/ in each class folder",
        folders("rust/images", "rust/masks", "healthy/images", "healthy/masks"),
        TWO,
        ("4 masks below them, left out",),
    ),
    Case(
        "*_mask.png beside each image (BUSI)",
        lambda root: put(
            root, *(f"{c}/{k}{m}.png" for c in "ab" for k in "12" for m in ("", "_mask"))
        ),
        {"a": 2, "b": 2},
        ("called like the mask of another image",),
    ),
    Case(
        "system folders with pictures",
        folders("rust", "healthy", "$RECYCLE.BIN", "__MACOSX", "@eaDir"),
        TWO,
    ),
    Case("an accent written in two ways", accents, {"café": 2, "rust": 1}),
    Case(
        "one class spelled in two ways",
        folders("Leaf Rust", "leaf_rust"),
        says=("spelled in several ways", "--label-map"),
    ),
    Case(
        "train/ with class folders, test/ with one folder that is none of them",
        folders("train/rust", "train/healthy", "test/unknown"),
        TWO,
        ("test/ has 2 unlabelled images, left out", "none of the class folders of train/"),
    ),
    Case(
        "splits in another language",
        folders("treino/sadio", "treino/oídio", "validação/sadio", "validação/oídio"),
        {"sadio": 4, "oídio": 4},
        ("2 folders below treino/ and validação/",),
        splits={"train": 4, "val": 4},
    ),
    Case(
        "a flat test/ beside a folder of class folders under any name",
        folders("material/rust", "material/healthy", "test"),
        TWO,
        ("2 folders below material/", "test/ has 2 unlabelled images, left out"),
    ),
    Case(
        "folds with train and val, each with the same class folders",
        folders(*(f"{k}/{s}/{c}" for k in "12" for s in ("train", "val") for c in "ab")),
        says=("--label-column parent (the classes are a, b)",),
    ),
    Case(
        "hospitals above splits above class folders",
        folders(*(f"hosp_{k}/{s}/{c}" for k in "AB" for s in ("train", "val") for c in "ab")),
        {"a": 8, "b": 8},
        ("hosp_A, hosp_B lie above them",),
        splits={"train": 8, "val": 8},
    ),
    Case(
        "crops above diseases of their own",
        folders("apple/scab", "apple/rot", "grape/esca", "grape/mould"),
        says=(
            "several folders (esca, mould, rot, scab) lie below apple, grape",
            "--label-column parent (the classes are esca, mould, rot, scab)",
        ),
    ),
    Case(
        "numbered folders of their own below each class",
        folders(*(f"{c}/scan_{c[-1]}{k}" for c in ("thick", "thin") for k in range(3))),
        {"thick": 6, "thin": 6},
    ),
    Case(
        "folders below each class that could be classes, called groups",
        folders("apple/anna", "apple/bert", "grape/carl", "grape/dora"),
        {"apple": 4, "grape": 4},
        ("4 groups of 8 images",),
        groups=4,
        group="parent",
    ),
    Case(
        "a flat folder beside one of class folders",
        folders("photos/scab", "photos/rot", "preview"),
        says=("--label-column folder (the classes are photos, preview)",),
    ),
    Case(
        "a class with kinds of its own beside a flat one",
        folders("benign/cyst", "benign/adenoma", "malignant"),
        {"benign": 4, "malignant": 2},
        ("classes: 2 folders (benign, malignant).",),
    ),
    Case(
        "one folder per patient",
        folders("P001", "P002", "P003"),
        says=("called like times, places or numbers", "--label-column folder"),
    ),
    Case(
        "images without a label in a folder called so",
        folders("rust", "healthy", "unlabeled"),
        TWO,
        ("unlabeled/ has 2 unlabelled images, left out",),
    ),
    Case(
        "images that wait for a prediction (Br35H: yes, no, pred)",
        folders("yes", "no", "pred"),
        {"yes": 2, "no": 2},
        ("pred/ has 2 unlabelled images, left out",),
    ),
    Case(
        "a class folder beside its copy",
        folders("rust", "healthy", "healthy - Copy"),
        says=("spelled in several ways", "--label-map"),
    ),
    Case(
        "masks called mask_NAME, in another language, in Masken/",
        lambda root: (
            put(
                root,
                *(f"a/{m}{k}.png" for m in ("", "mask_") for k in "01"),
                *(f"b/{k}{m}.png" for m in ("", "_maske") for k in "01"),
                "b/Masken/2.png",
            )
            and None
        ),
        {"a": 2, "b": 2},
        ("4 skipped: it is called like the mask", "1 masks below them, left out"),
    ),
    Case(
        "a test group beside a control group",
        folders("control", "test"),
        {"control": 2, "test": 2},
        ("classes: 2 folders (control, test).",),
    ),
    Case(
        "train and validation in one folder, train_val/, beside test/",
        folders("train_val/a", "train_val/b", "test/a", "test/b"),
        {"a": 4, "b": 4},
        ("folders test, train_val",),
        splits={"train": 4, "test": 4},
    ),
    Case(
        "what trains under a name that says nothing, beside test/ with the same classes",
        folders("development/a", "development/b", "test/a", "test/b"),
        says=("no folder is called like the training split", "Rename development"),
    ),
    Case(
        "a download packed twice, with test/test/ beside it (New Plant Diseases)",
        folders(
            *(f"Plants/Plants/{s}/{c}" for s in ("train", "valid") for c in ("rust", "scab")),
            "test/test",
        ),
        {"rust": 4, "scab": 4},
        ("test/ has 2 unlabelled images",),
        splits={"train": 4, "val": 4},
    ),
    Case(
        "a download that holds itself (chest X-ray pneumonia)",
        folders(*(f"{b}{s}/{c}" for b in ("", "x/") for s in ("train", "test") for c in "ab")),
        {"a": 4, "b": 4},
        ("x/ has 8 images, left out",),
        splits={"train": 4, "test": 4},
    ),
    Case(
        "images and masks in each class, a workbook for each class (COVID radiography)",
        folders("COVID/images", "COVID/masks", "Normal/images", "Normal/masks"),
        {"COVID": 2, "Normal": 2},
        ("4 masks below them",),
    ),
    Case(
        "magnifications above the classes (BreakHis)",
        folders(*(f"{m}/{c}" for m in ("40X", "100X") for c in ("benign", "malignant"))),
        {"benign": 4, "malignant": 4},
        ("40X lie above them",),
    ),
    Case(
        "boxes of a detector (YOLO)",
        both(
            folders("images/train", "images/val"),
            lambda root: _written(root / "train.txt", "0 .5 .5 .2 .2\n") and None,
        ),
        says=("no class folders lie in them",),
    ),
    Case(
        "pictures and masks of the same names (Medical Segmentation Decathlon)",
        folders("imagesTr", "labelsTr", "imagesTs"),
        says=("imagesTr/ and labelsTr/: 2 images with a mask", "is segmentation"),
    ),
    Case(
        "the same in folders of splits",
        folders("train/images", "train/annotations", "val/images", "val/annotations"),
        says=("train/images/ and train/annotations/: 4 images with a mask",),
    ),
    Case(
        "the same, with channels numbered and masks named so (nnU-Net)",
        lambda root: put(root, "img/a_0000.png", "img/b_0000.png", "masks/a_mask.png"),
        says=("a mask per picture is segmentation, not classification",),
    ),
    Case(
        "the same beside a table of classes",
        lambda root: (
            put(root, "images/0.png", "images/1.png", "masks/0.png", "masks/1.png")
            and (root / "labels.csv").write_text("path,label\nimages/0.png,a\nimages/1.png,b\n")
            and None
        ),
        {"a": 1, "b": 1},
    ),
    Case(
        "films",
        lambda root: [(root / f"{k}.mp4").write_bytes(b"film") for k in "12"] and None,
        says=("first: 1.mp4, a film (.mp4); save its frames)", "WEBP, HEIC, AVIF, PPM)"),
    ),
    Case(
        "a flat folder without a table",
        lambda root: put(root, "0.png", "1.png"),
        says=("nothing says their class",),
    ),
)

TABLES = (
    Case("CSV, path and label", table(ROWS), TWO, ("column label of labels.csv",)),
    Case("semicolons", table(ROWS.replace(",", ";")), TWO),
    Case("tabs in a .csv", table(ROWS.replace(",", "\t")), TWO),
    Case("pipes", table(ROWS.replace(",", "|")), TWO),
    Case("sep=; in the first line (Excel)", table("sep=;\n" + ROWS.replace(",", ";")), TWO),
    Case("comment lines above", table("# made by us\n#\n" + ROWS), TWO),
    Case("a heading behind #", table("#" + ROWS), TWO),
    Case("UTF-8 with a mark at its beginning", table(b"\xef\xbb\xbf" + ROWS.encode()), TWO),
    Case("UTF-16", table(ROWS.replace(",", "\t").encode("utf-16")), TWO),
    Case(
        "cp1252",
        table(ROWS.replace("rust", "f\xe4ule").encode("cp1252")),
        {"f\xe4ule": 2, "healthy": 2},
        ("read as Windows (cp1252)",),
    ),
    Case("empty rows at the end (Excel)", table(ROWS + ",\n,\n,\n"), TWO),
    Case("a row with a label and no path", table(ROWS + ",rust\n"), TWO, ("names no file",)),
    Case(
        "no row of headings",
        table(ROWS.partition("\n")[2]),
        TWO,
        ("has no row of headings", "path, label"),
    ),
    Case(
        "a list with spaces (train.txt)",
        table(ROWS.partition("\n")[2].replace(",", " "), "train.txt"),
        TWO,
        ("spaces between its columns",),
    ),
    Case("Excel", excel(EXCEL), {"rust": 1, "healthy": 1}),
    Case(
        "Excel with a title above and numbers shown as 0000",
        excel([["Our set"], ["id", "label"], [1, "rust"], [2, "healthy"]], "0000"),
        {"rust": 1, "healthy": 1},
    ),
    Case(
        "an old .xls",
        lambda root: put(root, "0.png") and _written(root / "t.xls", "x"),
        says=("a spreadsheet of a kind that is not read", "neither a folder nor a table"),
    ),
    Case(
        "a title and a remark above the headings",
        table("Leaves of 2024,\n// by lab 3\n" + ROWS),
        TWO,
        ("the first 2 line(s) stand above the headings",),
    ),
    Case(
        "every cell in single quotes",
        table("".join(f"'{a}','{b}'\n" for a, b in (x.split(",") for x in ROWS.split()))),
        TWO,
    ),
    Case(
        "no row of headings, names without extension",
        table(ROWS.partition("\n")[2].replace(".png", ""), at=False),
        TWO,
        ("has no row of headings",),
    ),
    Case(
        "a list train.txt in the folder", table(ROWS.replace(",", " "), "train.txt", at=False), TWO
    ),
    Case(
        "GBK, an encoding that nothing names",
        table(ROWS.replace("rust", "锈病").encode("gbk")),
        says=("neither UTF-8 nor Western European", "Save it as CSV in UTF-8"),
    ),
    Case(
        "Cyrillic in Windows-1251",
        table(ROWS.replace("rust", "ржавчина").encode("cp1251")),
        says=("neither UTF-8 nor Western European",),
    ),
    Case(
        "JSON beside images",
        table('{"0.png": "rust"}', "labels.json", at=False),
        says=("labels.json is no table", "save it as CSV"),
    ),
    Case(
        "a class under a heading of another language beside class folders",
        both(
            folders("x", "y"),
            lambda root: (
                _written(
                    root / "t.csv", "bild,Befund\nx/0.png,a\nx/1.png,b\ny/0.png,b\ny/1.png,a\n"
                )
                and None
            ),
        ),
        says=("its column Befund could be the class", "--label-column folder"),
    ),
    Case(
        "a class under a heading that says nothing, no folders",
        table(ROWS.replace("label", "foo").replace("healthy", "wilt"), at=False),
        says=("no column of it is called like a class (it has: foo)", "--label-column foo"),
    ),
    Case(
        "columns marked with x",
        table("path,MEL,NV\n0.png,x,\n1.png,,x\n2.png,x,\n3.png,,x\n"),
        {"MEL": 2, "NV": 2},
    ),
    Case(
        "a set column with train and test",
        table(
            rows_of("path,label,Usage", "a,Training", "b,Training", "a,PublicTest", "b,PublicTest")
        ),
        {"a": 2, "b": 2},
        ("The split is the column Usage",),
        splits={"train": 2, "test": 2},
    ),
    Case(
        "lists as numpy writes them",
        table(rows_of("path,symptoms", "['a' 'b']", "['a']", "set()", "['b']")),
        {"a|b": 1, "a": 1, "|": 1, "b": 1},
        task=MANY,
    ),
    *(
        Case(
            f"several classes with {name}",
            table(rows_of("path,symptoms", f"a{mark}b", "a", "b", "a")),
            {"a|b": 1, "a": 2, "b": 1},
            ("several classes of an image are separated by",),
            task=MANY,
        )
        for name, mark in {"a dash": "-", "the word and": " and ", "a wide comma": "\uff0c"}.items()
    ),
    Case(
        "Excel with notes on the first sheet and titles above",
        workbook({"read me": [["key", "meaning"]], "labels": [["Study", "A"], [], *SHEET]}),
        {"rust": 1, "healthy": 1},
        ("the sheet labels is read, and not read me",),
    ),
    Case(
        "Excel with a sheet for each split",
        workbook({"train": SHEET[:2], "test": [SHEET[0], SHEET[2]]}),
        {"rust": 1, "healthy": 1},
        ("The sheets train, test",),
        splits={"train": 1, "test": 1},
    ),
    Case("Parquet", parquet({"label": ["rust", "healthy"] * 2}), TWO),
    Case(
        "JSON lines (metadata.jsonl of a hub)",
        table(
            "".join(
                json.dumps({"file_name": f"{k}.png", "label": "ab"[k % 2]}) + "\n" for k in range(4)
            ),
            "metadata.jsonl",
            at=False,
        ),
        {"a": 2, "b": 2},
    ),
    Case(
        "whole numbers with a decimal point",
        table(rows_of("path,label", "0.0", "1.0", "1.0", "0.0")),
        {"0": 2, "1": 2},
    ),
    Case(
        "zero-padded classes",
        table(rows_of("path,label", "01", "02", "10", "01")),
        {"01": 2, "02": 1, "10": 1},
    ),
    Case(
        "classes that lost their zeros, judged by a run that knows them",
        table(rows_of("path,label", "1", "2", "10", "1")),
        {"01": 2, "02": 1, "10": 1},
        ("'1' as '01'",),
        task=KNOWN,
    ),
    Case(
        "ids that lost their zeros",
        lambda root: _written(put(root, "0007.png", "0012.png") / "t.csv", "id,label\n7,a\n12,b\n"),
        {"a": 1, "b": 1},
        ("lost its zeros",),
    ),
    Case(
        "paths of another machine, equal names in both folders",
        lambda root: _written(
            put(root, "images/a/0.png", "images/b/0.png") / "t.csv",
            "path,label\n/home/me/images/a/0.png,x\nC:\\me\\images\\b\\0.png,y\n",
        ),
        {"x": 1, "y": 1},
        ("path of another place",),
    ),
    Case(
        "the folder in a column of its own",
        several(
            ("t.csv", "folder,file,label\np1,1.png,x\np2,1.png,y\n"),
            images=("p1/1.png", "p2/1.png"),
        ),
        {"x": 1, "y": 1},
        ("the columns folder and file of t.csv together",),
    ),
    Case(
        "names that several files have",
        several(
            ("t.csv", "file,label\n1.png,x\n2.png,y\n"),
            images=("p1/1.png", "p2/1.png", "p1/2.png", "p2/2.png"),
        ),
        says=("2 of the 2 names in its column 'file' fit several files", "--label-column folder"),
    ),
    Case(
        "packed by gzip",
        lambda root: (
            (
                put(root, *TABLE)
                and (root / "labels.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
            )
            and root / "labels.csv.gz"
        ),
        TWO,
    ),
    Case(
        "paths out of the folder",
        table("path,label\n0.png,a\n../x.png,b\n"),
        says=("point outside", "--allow-outside"),
    ),
    Case(
        "names with another extension than the files",
        table(ROWS.replace(".png", ".jpg")),
        TWO,
        ("another format",),
    ),
    Case(
        "a column of paths under an unknown name",
        table(ROWS.replace("path", "scan", 1), at=False),
        TWO,
        ("named by the column scan",),
    ),
    Case(
        "a table that names no image",
        table("code,label\nx1,a\nx2,b\n"),
        says=("none of its columns names them", "--path-column", "--id-column"),
    ),
    Case(
        "a class under an unknown name",
        table(rows_of("path,state", "a", "b", "a", "b")),
        says=("no column 'label'", "--label-column"),
    ),
    Case(
        "the same, settled",
        table(rows_of("path,state", "a", "b", "a", "b")),
        {"a": 2, "b": 2},
        label="state",
    ),
    Case(
        "class folders beside a table whose column could be the class",
        both(
            folders("x", "y"),
            lambda root: (
                _written(
                    root / "t.csv",
                    "path,plant_condition\nx/0.png,a\nx/1.png,b\ny/0.png,a\ny/1.png,b\n",
                )
                and None
            ),
        ),
        says=("--label-column plant_condition", "--label-column folder"),
    ),
    Case(
        "class folders and a table of further columns",
        both(
            folders("x", "y"),
            lambda root: _written(root / "t.csv", "path,plant\nx/0.png,p\ny/0.png,q\n") and None,
        ),
        {"x": 2, "y": 2},
        ("adds its columns",),
    ),
    Case("a label map", table(ROWS), {"R": 2, "H": 2}, options={"label-map": "rust=R,healthy=H"}),
    Case(
        "a label map that leaves a class out",
        table(rows_of("path,label", "a", "b", "c", "c")),
        {"a": 1, "b": 1},
        ("left out, as asked",),
        options={"label-map": "c="},
    ),
    Case(
        "a label map for class folders",
        folders("R0", "R1"),
        {"no": 2, "yes": 2},
        options={"label-map": "R0=no,R1=yes"},
    ),
    Case(
        "one column of 0 and 1 per class (ISIC, HAM10000)",
        table(rows_of("image,MEL,NV", "1.0,0.0", "0.0,1.0", "1.0,0.0", "1.0,0.0")),
        {"MEL": 3, "NV": 1},
        ("the column that holds the 1",),
    ),
    Case(
        "the same with several 1 in a row, one class per image",
        table(rows_of("path,a,b", "1,1", "0,1", "1,0", "1,0")),
        says=("have a 1 in several", "--task"),
        label="a,b",
    ),
    Case(
        "the same for a multi-label task",
        table(rows_of("path,a,b", "1,1", "0,1", "1,0", "0,0")),
        {"a|b": 1, "b": 1, "a": 1, "|": 1},
        task=MANY,
    ),
    Case(
        "blanks and -1 (CheXpert)",
        table(rows_of("path,a,b", "1,", "-1,1", "1,0", "0,0")),
        says=("'blank=0,-1=0'", "'blank='"),
        task=MANY,
        label="a,b",
    ),
    Case(
        "the same, settled",
        table(rows_of("path,a,b", "1,", "-1,1", "1,0", "0,0")),
        {"a": 2, "a|b": 1, "|": 1},
        task=MANY,
        label="a,b",
        options={"label-map": "blank=0,-1=1"},
    ),
    Case(
        "several classes with commas",
        table(rows_of("path,symptoms", '"a, b"', "a", "b", '"a, b"')),
        {"a|b": 2, "a": 1, "b": 1},
        ("separated by a comma",),
        task=MANY,
    ),
    Case(
        "several classes with spaces",
        table(rows_of("path,symptoms", "a b", "a", "b", "c")),
        {"a|b": 1, "a": 1, "b": 1, "c": 1},
        ("separated by a space",),
        task=MANY,
    ),
    Case(
        "the word none in a task of several classes",
        table(rows_of("path,symptoms", "none", "a", "a|b", "b")),
        {"none": 1, "a": 1, "a|b": 1, "b": 1},
        ("none counts as a class of its own", "--label-map 'none=|'"),
        task=MANY,
    ),
    Case(
        "the same, settled",
        table(rows_of("path,symptoms", "none", "a", "a|b", "b")),
        {"|": 1, "a": 1, "a|b": 1, "b": 1},
        task=MANY,
        options={"label-map": "none=|"},
    ),
    Case(
        "a class that a spreadsheet made a date of",
        table(rows_of("path,label", "2024-03-01", "5-10", "5-10", "2024-03-01")),
        {"2024-03-01": 2, "5-10": 2},
        ("2 classes are dates",),
    ),
    Case(
        "a comma that belongs to the name",
        table(rows_of("path,symptoms", '"pepper, bell"', "rust", "rust", "spot")),
        {"pepper, bell": 1, "rust": 2, "spot": 1},
        task=MANY,
    ),
    Case(
        "lists as Python writes them",
        table(rows_of("path,symptoms", "\"['a', 'b']\"", "['a']", "[]", "['b']")),
        {"a|b": 1, "a": 1, "|": 1, "b": 1},
        ("a list in brackets",),
        task=MANY,
    ),
    Case(
        "lists of Parquet",
        parquet({"symptoms": [["a", "b"], ["a"], ["b"], []]}),
        {"a|b": 1, "a": 1, "b": 1, "|": 1},
        task=MANY,
    ),
    Case(
        "a table for each split (APTOS copy)",
        several(*SPLIT_TABLES),
        TWO,
        ("The split is that of the",),
        splits={"train": 2, "val": 1, "test": 1},
    ),
    Case(
        "a table in each split folder (Roboflow)",
        several(*ROBOFLOW, images=ROBOFLOW_IMAGES),
        {"healthy": 3, "rust": 3},
        splits={"train": 2, "val": 2, "test": 2},
    ),
    Case(
        "two tables that agree",
        several(("a.csv", ROWS), ("b.csv", "," + ROWS.replace("\n", "\n1,", 4))),
        TWO,
        ("b.csv says the same classes",),
    ),
    Case(
        "two tables that contradict each other",
        several(("a.csv", ROWS), ("b.csv", ROWS.replace("0.png,rust", "0.png,healthy"))),
        says=("say different classes of 1 images",),
    ),
    Case(
        "a list of names for each split beside a table of classes (NIH chest X-ray)",
        several(
            ("t.csv", ROWS),
            ("train_val_list.txt", "0.png\n1.png\n"),
            ("test_list.txt", "2.png\n3.png\n"),
        ),
        TWO,
        ("The split is that of the tables test_list.txt, train_val_list.txt",),
        splits={"train": 2, "test": 2},
    ),
    Case(
        "a list of names for each split beside class folders",
        both(
            folders("a", "b"),
            lambda root: _written(root / "train.txt", "a/0.png\nb/0.png\n") and None,
            lambda root: _written(root / "test.txt", "a/1.png\nb/1.png\n") and None,
        ),
        {"a": 2, "b": 2},
        splits={"train": 2, "test": 2},
    ),
    Case(
        "a table of patients, a folder for each",
        both(
            folders("P001", "P002", "P003"),
            lambda root: _written(root / "t.csv", "patient_id,label\nP001,a\nP002,b\nP003,a\n"),
        ),
        {"a": 4, "b": 2},
        ("3 row(s) of t.csv name folders by patient_id",),
        groups=3,
    ),
    Case(
        "a table of studies, a folder for each, no headings (MURA)",
        both(
            folders("train/XR/p1/s1", "train/XR/p2/s1"),
            lambda root: _written(root / "t.csv", "M/train/XR/p1/s1/,0\nM/train/XR/p2/s1/,1\n"),
        ),
        {"0": 2, "1": 2},
        ("name folders",),
    ),
    Case(
        "a table that describes the class folders",
        both(
            folders("x", "y"),
            lambda root: _written(root / "t.csv", "name,label\nx,0\ny,1\n") and None,
        ),
        {"x": 2, "y": 2},
        ("none of its columns names them",),
    ),
    Case(
        "a table of the images in val/ beside class folders in train/",
        both(
            folders("train/a", "train/b"),
            lambda root: put(root, "val/0.png", "val/1.png") and None,
            lambda root: _written(root / "val.csv", "file,label\n0.png,a\n1.png,b\n") and None,
        ),
        says=("does not list 4 images", "--label-column folder"),
    ),
    Case(
        "the same, settled",
        both(
            folders("train/a", "train/b"),
            lambda root: put(root, "val/0.png", "val/1.png") and None,
            lambda root: _written(root / "val.csv", "file,label\n0.png,a\n1.png,b\n"),
        ),
        {"a": 1, "b": 1},
    ),
    Case(
        "rows of training images, of which only those of test are there",
        both(
            lambda root: put(root, "test/1.png", "test/2.png") and None,
            lambda root: _written(root / "t.csv", "path,label\ntrain/1.png,a\ntrain/2.png,b\n"),
        ),
        says=("are not there",),
    ),
    Case(
        "rows with a number and a name, no headings (CUB)",
        both(
            folders("images/001.X", "images/002.Y"),
            lambda root: (
                _written(
                    root / "images.txt",
                    "".join(f"{k} {c}/{k % 2}.png\n" for k, c in enumerate(CUB, 1)),
                )
                and None
            ),
        ),
        {"001.X": 2, "002.Y": 2},
    ),
    Case(
        "marks in a label that nobody sees",
        table(rows_of("path,label", "rust", "rust\u200b", "ok\u00a0", "\u2060ok")),
        {"rust": 2, "ok": 2},
    ),
    Case(
        "a class that is not known",
        table(rows_of("path,label", "rust", "unknown", "ok", "?")),
        {"rust": 1, "unknown": 1, "ok": 1, "?": 1},
        ("--label-map '?=,unknown='",),
    ),
    Case(
        "the paths of a bucket, one JSON object a line (AWS .manifest)",
        table(
            "".join(f'{{"source-ref":"s3://b/{k}.png","class":{k % 2}}}\n' for k in range(4)),
            "t.manifest",
        ),
        {"0": 2, "1": 2},
        ("hold the path of another place",),
    ),
    Case(
        "split, path and label without headings (AutoML)",
        table(
            "".join(
                f"{'TRAIN' if k < 2 else 'TEST'},gs://b/{k}.png,{'ab'[k % 2]}\n" for k in range(4)
            )
        ),
        {"a": 2, "b": 2},
        splits={"train": 2, "test": 2},
    ),
    Case(
        "a web page in place of the table",
        table("<!DOCTYPE html><html><body>Sign in</body></html>"),
        says=("it is a web page",),
    ),
    Case(
        "a pointer of Git LFS in place of the table",
        table("version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n"),
        says=("git lfs pull",),
    ),
    Case(
        "a workbook that a password protects",
        table(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "t.xlsx"),
        says=("one that a password protects",),
    ),
    Case(
        "lines that end as on old Macs",
        table(ROWS.replace("\n", "\r")),
        TWO,
    ),
    Case(
        "a form for answers (sample_submission.csv)",
        several(("train.csv", ROWS), ("sample_submission.csv", ROWS.replace("rust", "healthy"))),
        TWO,
        ("form for answers",),
    ),
    Case(
        "class folders with a table of boxes",
        both(
            folders("x", "y"),
            lambda root: (
                _written(
                    root / "t.csv", "filename,class,xmin\nx/0.png,a,1\nx/0.png,b,2\ny/0.png,b,3\n"
                )
                and None
            ),
        ),
        {"x": 2, "y": 2},
        ("boxes are not read",),
    ),
    Case(
        "a split column",
        table(rows_of("path,label,split", "a,train", "b,valid", "a,holdout", "b,train")),
        {"a": 2, "b": 2},
        splits={"train": 2, "val": 1, "test": 1},
    ),
    Case(
        "is_valid (True, False)",
        table(rows_of("path,label,is_valid", "a,False", "b,True", "a,True", "b,False")),
        {"a": 2, "b": 2},
        splits={"train": 2, "val": 2},
    ),
    Case(
        "a column for each split (is_train, is_val, is_test)",
        table(
            rows_of(
                "path,label,is_train,is_val,is_test", "a,1,0,0", "b,0,1,0", "a,0,0,1", "b,1,0,0"
            )
        ),
        {"a": 2, "b": 2},
        splits={"train": 2, "val": 1, "test": 1},
    ),
    Case(
        "the same, two of them in a row",
        table(rows_of("path,label,train,test", "a,1,0", "b,1,1", "a,0,1", "b,1,0")),
        says=("1 rows are of several of the splits train, test", "--split-column none"),
    ),
    Case(
        "is_training_image (CUB)",
        table(rows_of("path,label,is_training_image", "a,1", "b,1", "a,0", "b,0")),
        {"a": 2, "b": 2},
        ("1 is train, 0 is test",),
        splits={"train": 2, "test": 2},
    ),
    Case(
        "a split in a column of any name",
        table(rows_of("path,label,use", "a,train", "b,train", "a,test", "b,test")),
        {"a": 2, "b": 2},
        ("The split is the column use",),
        splits={"train": 2, "test": 2},
    ),
    Case(
        "a split of 0, 1, 2",
        table(rows_of("path,label,split", "a,0", "b,1", "a,2", "b,0")),
        says=("name a split that is not known", "--split-column none"),
    ),
    Case(
        "the same, settled",
        table(rows_of("path,label,split", "a,0", "b,1", "a,2", "b,0")),
        {"a": 2, "b": 2},
        options={"split-column": "none"},
    ),
    Case(
        "a column of folds",
        table(rows_of("path,label,fold", "a,0", "b,1", "a,2", "b,0")),
        {"a": 2, "b": 2},
        ("fold of labels.csv is not used as a split",),
    ),
)

GROUPS = (
    Case(
        "group beside a site of the body",
        table(rows_of("path,label,group,site", "a,g1,arm", "b,g2,arm", "a,g3,leg", "b,g4,leg")),
        {"a": 2, "b": 2},
        groups=4,
        rules=(FARM,),
    ),
    Case(
        "lesion_id beside a site of the body (HAM10000)",
        table(rows_of("path,dx,lesion_id,site", "a,g1,arm", "b,g2,arm", "a,g3,leg", "b,g4,leg")),
        {"a": 2, "b": 2},
        groups=4,
        rules=(FARM,),
    ),
    Case(
        "the patient in the file name",
        lambda root: (
            put(root, "a/1_left.png", "a/2_left.png", "b/1_right.png", "b/3_left.png") and None
        ),
        {"a": 2, "b": 2},
        groups=3,
        rules=(PATIENT,),
    ),
    Case(
        "the patient as MRN",
        table(rows_of("path,label,MRN", "a,1", "b,2", "a,1", "b,3")),
        {"a": 2, "b": 2},
        ("in the column MRN",),
        groups=3,
    ),
    Case(
        "one patient id for all",
        table(rows_of("path,label,patient_id", *(f"{c},ANON" for c in "abab"))),
        {"a": 2, "b": 2},
        ("All 4 images carry one patient_id",),
        groups=1,
    ),
    Case(
        "crops named leaf_x_y_w_h",
        lambda root: (
            put(
                root,
                *(f"{c}/{leaf}_{x}_2_30_40.png" for c, leaf in ("a1", "a2", "b3") for x in (1, 9)),
            )
            and None
        ),
        {"a": 4, "b": 2},
        ("leaf_x_y_w_h", "--group image_id"),
        groups=3,
    ),
    Case(
        "copies of Roboflow (.rf.)",
        lambda root: (
            put(
                root, *(f"{c}/{k}_jpg.rf.{x}00000.png" for c, k in ("a1", "a2", "b3") for x in "cd")
            )
            and None
        ),
        {"a": 4, "b": 2},
        (".rf.",),
        groups=3,
    ),
    Case(
        "a group column with gaps",
        table(rows_of("path,label,group", "a,1", "b,", "a,2", "b,3")),
        says=("1 of 4 rows have no group", "--group image_id"),
    ),
)

CASES = {"Folders": FOLDERS, "Tables": TABLES, "Groups": GROUPS}
ALL = [case for cases in CASES.values() for case in cases]


def _written(path: Path, text: str) -> Path:
    """A file with this text."""
    path.write_text(text)
    return path


def answer(case: Case, root: Path) -> Manifest | str:
    """What the program says to a case: a manifest, or the words of a refusal."""
    where = case.build(root) or root
    source = Source(
        paths=(where,),
        labelled=True,
        task=case.task,
        label=case.label,
        group=case.group,
        options=dict(case.options),
    )
    try:
        return index_images(source, group=case.rules)
    except ResightError as error:
        return str(error)


def words_of(found: Manifest | str) -> str:
    """Everything that is said of an input."""
    if isinstance(found, str):
        return found
    rules = (found.class_rule, found.split_rule, found.group_rule, *found.notes)
    return " ".join((*rules, *found.table["reason"]))


def case_id(case: Case) -> str:
    """A name for a test, unique."""
    return f"{[c.name for c in ALL].index(case.name)}-{case.name}"


@pytest.mark.parametrize("case", ALL, ids=[f"{k:02d}-{c.name}" for k, c in enumerate(ALL)])
def test_an_input_is_read_as_meant_or_refused_with_the_way_out(case: Case, tmp_path: Path) -> None:
    found = answer(case, tmp_path)
    said = words_of(found)
    for words in case.says:
        assert words in said
    if not case.classes:
        assert isinstance(found, str), found
        return
    assert not isinstance(found, str), found
    ok = found.table[found.table["status"] == "ok"]
    present = ok[ok["label"] != ""] if len(ok) else ok
    assert dict(Counter(present["label"])) == dict(case.classes)
    assert Counter(s for s in present["split"] if s) == Counter(case.splits)
    if case.groups:
        assert present["group"].nunique() == case.groups


# --- what no manifest shows ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("x.jxl", b"\xff\x0a" + b"\0" * 300, "JPEG XL"),
        ("x.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 300, "JPEG 2000"),
        ("x.heic", b"\0\0\0\x18ftypheic" + b"\0" * 300, "HEIC"),
        ("x.cr3", b"\0\0\0\x18ftypcrx " + b"\0" * 300, "camera's raw file"),
        ("x.raf", b"FUJIFILMCCD-RAW 0201" + b"\0" * 300, "camera's raw file"),
        ("x.orf", b"IIRO\x08\0\0\0" + b"\0" * 300, "camera's raw file"),
        ("x.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "git lfs pull"),
        ("x.png", b"<!DOCTYPE html><html><body>sign in</body></html>", "web page"),
    ],
)
def test_a_format_that_is_not_read_is_refused_by_name(
    tmp_path: Path, name: str, head: bytes, said: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(head)
    with pytest.raises(ResightError, match=said):
        read_image(tmp_path / "a" / name)
    put(tmp_path, "a/0.png", "b/1.png")
    # In a folder it is an input that fails, and not passed over as something else.
    assert len(answer(Case("", lambda _: None), tmp_path).table) == 3  # type: ignore[union-attr]


def test_a_picture_that_is_not_read_is_passed_over_by_name(tmp_path: Path) -> None:
    for name in ("x.psd", "x.mp4", "x.svs"):
        (tmp_path / name).write_bytes(b"8BPS" + bytes(99))
    found = {entry.path.name: entry.reason for entry in scan(tmp_path, extensions=EXTENSIONS)}
    assert "export it as PNG" in found["x.psd"]
    assert "film" in found["x.mp4"]
    assert "slide" in found["x.svs"]


def test_dicom_called_by_a_uid_alone_counts_where_dicom_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.2.840.113619.2.7").write_bytes(bytes(128) + b"DICM" + bytes(99))
    assert [f.reason for f in scan(tmp_path, extensions={".png"})] == ["not an image (.7)"]
    assert [f.reason for f in scan(tmp_path, extensions={".png", ".dcm"})] == [""]


def test_a_heic_photograph_is_read() -> None:
    # Written by libheif's heif-enc: black, 20 red rows, and 10 columns with blue.
    read = read_image(Path(__file__).parent / "fixtures" / "photo.heic")
    assert (read.shape, read.dtype) == ((64, 48, 3), np.uint8)
    assert [tuple(read[place]) for place in ((5, 30), (40, 30), (40, 3))] == [
        (200, 0, 0),
        (0, 0, 0),
        (0, 0, 150),
    ]


def test_an_avif_photograph_is_read_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    rows = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.repeat(np.tile(rows[:, None], (1, 48))[..., None], 3, axis=2)
    Image.fromarray(pixels).save(tmp_path / "x.avif", quality=90)
    read = read_image(tmp_path / "x.avif")
    assert read.shape == pixels.shape
    assert np.abs(read.astype(int) - pixels).mean() < 3
    (tmp_path / "y.avif").write_bytes((tmp_path / "x.avif").read_bytes()[:150])
    with pytest.raises(ResightError, match="AVIF"):
        read_image(tmp_path / "y.avif")


@pytest.mark.parametrize("kind", ["dng", "preview with a SubIFD"])
def test_the_preview_of_a_camera_raw_file_is_never_taken_for_the_photo(
    tmp_path: Path, kind: str
) -> None:
    # Two pages by hand, each of 2 x 2 pixels: the preview, and sensor values in its SubIFD.
    def page(place: int, extra: list[tuple[int, int, int, int]]) -> bytes:
        common = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1)]
        common += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 4)]
        tags = sorted([*common, *extra])
        body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return struct.pack("<H", len(tags)) + body + b"\0\0\0\0"

    version = [(50706, 1, 4, 0x401)] if kind == "dng" else []
    first = page(12, [(254, 4, 1, 1), (262, 3, 1, 1), (330, 4, 1, 0), *version])
    first = page(12, [(254, 4, 1, 1), (262, 3, 1, 1), (330, 4, 1, 12 + len(first)), *version])
    sensor = page(0, [(254, 4, 1, 0), (262, 3, 1, 32803)])
    path = tmp_path / "x.nef"
    path.write_bytes(b"II*\0" + struct.pack("<I", 12) + b"\1\2\3\4" + first + sensor)
    with pytest.raises(ResightError, match="camera's raw file"):
        read_image(path)


@pytest.mark.parametrize(
    "text",
    [
        b"id;group;label;score_a;score_b\n1;g;a;0,75;0,25\n2;h;b;0,125;0,875\n",
        "id,group,label,score_a,score_b\n1,g,a,.75,.25\n2,h,b,.125,.875\n,,,,\n".encode("utf-16"),
        b"# model 3\nid\tlabel\tscore_a\tscore_b\n1\tA\t0.75\t0.25\n2\tb\t.125\t.875\n",
        b"id,label,score_a,score_b\n1,a,75,25\n2,b,12.5,87.5\n",
    ],
    ids=["decimal comma", "UTF-16 and empty rows", "tabs, comment, another case", "percentages"],
)
def test_scores_made_elsewhere_are_read_like_any_table(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "s.csv").write_bytes(text)
    read = read_foreign(tmp_path / "s.csv")
    assert list(read.predictions["score_b"]) == [0.25, 0.875]
    assert list(read.predictions["label"]) == ["a", "b"]


def test_a_single_score_is_of_the_class_that_the_user_names(tmp_path: Path) -> None:
    rows = "id,label,score\n1,healthy,.1\n2,diseased,.9\n"
    file = _written(tmp_path / "s.csv", rows)
    with pytest.raises(ResightError, match="--positive diseased or --positive healthy"):
        read_foreign(file)
    read = read_foreign(file, positive=["diseased"])
    assert list(read.predictions["score_diseased"]) == [0.1, 0.9]
    zero = _written(tmp_path / "z.csv", rows.replace("healthy", "0").replace("diseased", "1.0"))
    assert list(read_foreign(zero).predictions["score_1"]) == [0.1, 0.9]


def test_labels_that_no_score_knows_are_named_with_the_map_that_settles_it(tmp_path: Path) -> None:
    file = _written(tmp_path / "s.csv", "id,label,score_a,score_b\n1,0,.2,.8\n2,1,.6,.4\n")
    with pytest.raises(ResightError, match="--label-map '0=a,1=b'"):
        read_foreign(file)
    read = read_foreign(file, columns={"label-map": "0=a,1=b"})
    assert list(read.predictions["label"]) == ["a", "b"]


def test_a_cell_is_text_and_empty_in_one_way(tmp_path: Path) -> None:
    file = _written(tmp_path / "t.csv", "id,x,none\n0007,NA,none\n8, nan ,None\n")
    assert read_cells(file).rows == [["0007", "", "none"], ["8", "", "None"]]


# --- the page ------------------------------------------------------------

HEAD = """# What may be brought as input

Made from the cases of `tests/test_inputs.py` and what the program answers to each:
`python tests/test_inputs.py > docs/inputs.md`. `DATA` stands for the folder.

The rule of classes goes down the folders level by level. A level that names splits, masks, years
or places is passed over; where two levels could name the class, or a table and the folders could,
nothing is guessed: the message names the options that settle it. `resight check` prints the answer
as its first line. A table goes before folders, and every table that is not used is named with the
reason.

One reader serves all tables (CSV of any separator, TSV, Parquet, `.xlsx`, JSON lines): cells are
text, ids keep their zeros, `1.0` is `1`, and a cell is empty if it holds nothing, `NaN`, `NA`,
`N/A` or `null`. Several classes in a cell may be joined by `|`, a comma, a semicolon, a space or
as a list; which it was is said. A blank or `-1` in a column of zeros and ones is a question:
`--label-map 'blank=0,-1=1'` answers it.

| input | options | classes | split and group | what is said, or why it is refused |
|---|---|---|---|---|
"""
PUBLIC = (crop_disease.LAYOUTS, mammography.LAYOUTS, retinopathy.LAYOUTS)
PUBLIC_HEAD = """
## Public sets

Recognised by the columns or class folders that every copy has, wherever they lie in the folder; a
copy may have further ones. What they are is in their data cards (`resight cards`). A renamed column
is refused with the difference, a file that is missing is counted, `--card none` reads the folder as
any other.

| set | files | known by | label of each task | group | split |
|---|---|---|---|---|---|
"""
TAIL = """
## Copies

`resight check` finds copies by hashes of the picture and by local features, wherever they lie, and
says which stand in two splits; with `--weights`, and in every training that starts from weights,
also by the embedding of the frozen backbone. They may be mirrored, turned by any angle, cropped,
framed, padded, shifted, resized, stretched, compressed, in grey, brighter or darker, with other
contrast, gamma or colours, blurred, sharpened, noisy, inverted, with text or a patch on it, and
several of these at once. Of 16 leaf photos, fundus photographs, mammograms and chest films each,
copied in 38 ways, 2,347 of 2,432 copies were found without the embedding, where the fine structure
of two pictures laid over each other agrees by .65 or more: all of 34 kinds, 62 of 64 turned by 15
degrees, 56 with equalised grey levels, 53 of a third of the picture (a fifth cut off every side),
and none that was mirrored, stretched to another shape and made very small at once. Of copies
equalised locally the embedding brings together what local features do not: 24 instead of 20 of 24
leaves, 16 instead of 10 of 16 eyes.

A border of one colour and large even areas, such as what surrounds a fundus, are no part of the
picture. In 3,257 real images no pair of different pictures counts as a copy; of the 11,933 pairs
that the embedding of a ResNet-18 adds to those compared, the closest agrees by .62.

## Photos

Read: JPEG, PNG, TIFF (one page, 8 or 16 bits), BMP, WEBP, PPM, AVIF, and HEIC with the extra
`heic`. Refused by name, as inputs that failed: raw files of cameras (DNG, NEF, CR2, CR3, ARW, PEF,
ORF, RW2, RAF ...: only their preview could be read), JPEG XL, JPEG 2000, GIF, PDF, animated or cut
files, web pages and pointers of Git LFS in their place. Passed over by name: layered pictures,
drawings, slides, microscopy, films, and photos that lie in iCloud. Volumes (NIfTI, DICOM of several
frames and series, `.npy`, `.npz`) are read by the app for any images; NRRD, MHA and HDF5 by none.
`check` warns where 16-bit images hold 12 bits, which look nearly black.

## DICOM

An element that is there and empty is an absent one, and of the description of the pixels it is
filled in where it can be but one thing: BitsStored, HighBit, SamplesPerPixel, PixelRepresentation.
A file that is called by a UID alone is found by its content. One that is called `.dcm` or was named
and cannot be read has failed (exit code 3); one that is no mammogram, a cine or a tomosynthesis
volume is skipped with the reason. Two files are one picture only if their SOPInstanceUID and their
pixels agree. The side is read from the table, ImageLaterality, FrameLaterality, the coded anatomy,
Laterality, then words of ViewPosition, SeriesDescription and ProtocolName, the file's name, and
last the pixels; the view from ViewCodeSequence, then the same words. Words are letters (`LMLO`,
`CC_R`), written out (`cranio-caudal`, `oblicua mediolateral`) and sides in six languages. A table
may name files by SOPInstanceUID, StudyInstanceUID, patient and side, or patient.

## Rasters and shapes

GeoTIFF; shapes as GeoPackage (`--layer` where it has several), GeoJSON, shapefile, KML, KMZ or
FlatGeobuf. All rasters of a training must give the same channels in the same depth; a raster of
another depth than the model's needs `--full-scale`. Refused with the way out: ground control points
(gdalwarp), no or a local coordinate reference system, GeoJSON in metres without `crs`, latitude
before longitude, lines, rasters that are no GeoTIFF. A tile on which shapes of several classes
overlap (more than a tenth of it) is left out with their names; shapes without a class are counted.
"""


def row_of(case: Case) -> str:
    """The row of a case in the table of the page."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        found = answer(case, root)
        options = {"label": case.label, "group": case.group, **case.options}
        given = " ".join(f"`--{name} '{value}'`" for name, value in options.items() if value)
        if case.task.kind == "multilabel":
            given = f"multi-label {given}".strip()
        if isinstance(found, str):
            cells = ["refused", "", found]
        else:
            counts = ", ".join(f"{name} {n}" for name, n in case.classes.items())
            known = [found.split_rule, found.group_rule]
            cells = [
                counts,
                " ".join(filter(None, known)),
                " ".join([found.class_rule, *found.notes]),
            ]
        text = [cell.replace(str(root), "DATA").replace("|", "\\|") for cell in (given, *cells)]
        name = case.name.replace("|", "\\|")
        return f"| {name} | {' | '.join(' '.join(cell.split()) for cell in text)} |"


def row_of_layout(layout: Layout) -> str:
    """The row of a published layout: by what it is known, and where it says what."""
    known = known_of(layout)
    files = [f"`{table.file}`" for table in (*known.tables, *([known.join] if known.join else []))]
    names = [layout.lines.shown] if layout.lines else list(known.columns)
    if layout.bases:
        files = [f"class folders below {' or '.join(f'`{base}`' for base in layout.bases)}"]
        names = [*known.folders[:2], f"{len(known.folders)} in all"]
    labels = [f"{task}: {', '.join(at.columns) or '-'}" for task, at in layout.labels.items()]
    made = "of several cells"
    group = layout.group if isinstance(layout.group, str) else made
    group = f"each image is a {layout.group_word}" if layout.is_one_each else group or "by the app"
    split = layout.split if isinstance(layout.split, str) else made
    split = "names of tables and folders" if layout.is_split or layout.splits else split or "none"
    cells = [known.title, ", ".join(files), ", ".join(names), "; ".join(labels), group, split]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page() -> str:
    """The page of inputs."""
    parts = []
    for title, cases in CASES.items():
        parts.append(f"| **{title}** | | | | |")
        parts += [row_of(case) for case in cases]
    public = [row_of_layout(layout) for layouts in PUBLIC for layout in layouts]
    return HEAD + "\n".join(parts) + "\n" + PUBLIC_HEAD + "\n".join(public) + "\n" + TAIL


def test_every_public_set_is_on_the_page() -> None:
    assert {layout.card for layouts in PUBLIC for layout in layouts} == set(all_cards())


def test_the_page_of_inputs_is_what_the_program_answers() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/test_inputs.py > page"


if __name__ == "__main__":
    sys.stdout.write(page())

"""Public sets of leaf photos as their authors publish them: facts in two tables.

Sets with a table say which columns it has, where the photos lie, and what a
label of each task is. Sets without one are recognised by their class folders,
and core reads them. How is the business of ``layout_reader``.

Sources: the sets' own pages and repositories, named in ``data_cards``. The
repositories of PlantVillage, PlantDoc, iBean and BRACOL were read; the layouts of
the Kaggle sets are written from programs that read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOLDER_SETS", "TABLE_SETS", "FolderSet", "TableSet"]


@dataclass(frozen=True, kw_only=True)
class TableSet:
    """A set whose labels stand in a table.

    Attributes:
        card: name of its data card.
        title: what it is called in notes.
        table: regular expression of the table's name.
        columns: headings that the table must have.
        marks: files or folders beside the table that must be there, too: ``train.csv``
            alone could be anybody's.
        images: folder of the photos the table speaks of; empty if they lie anywhere.
        image: column that names the photo.
        labels: by task, the columns that say the label: one column, or one of
            zeros and ones per class.
        names: raw label -> class, for the task ``disease``.
        names_file: JSON file with the same; it goes before ``names``.
        separator: between several labels in one cell.
        keep: further columns that travel along, and may be a group.
        note: what a user must know.
        named_like: regular expression of the photos' names, where table and columns could be
            anybody's.
        is_one_each: every photo shows another leaf, by the data card.
    """

    card: str
    title: str
    table: str
    columns: tuple[str, ...]
    marks: tuple[str, ...] = ()
    images: str = ""
    image: str
    labels: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = field(default_factory=dict)
    names_file: str = ""
    separator: str = ""
    keep: tuple[str, ...] = ()
    note: str = ""
    named_like: str = ""
    is_one_each: bool = False


@dataclass(frozen=True, kw_only=True)
class FolderSet:
    """A set whose labels are its folders.

    Attributes:
        card: name of its data card.
        title: what it is called in notes.
        classes: published names of the class folders; a copy may lack some.
        bases: folders that may hold the class folders, the first that does is used;
            several split folders are written as one, joined by ``+``.
        others: class folders that known copies add.
        leaf_map: file that says which photos show one leaf; empty if there is none.
    """

    card: str
    title: str
    classes: tuple[str, ...]
    bases: tuple[str, ...]
    others: tuple[str, ...] = ()
    leaf_map: str = ""


_STRESSES = ("miner", "rust", "phoma", "cercospora")

TABLE_SETS: tuple[TableSet, ...] = (
    TableSet(
        card="bracol",
        title="BRACOL",
        table=r"dataset\.csv",
        columns=("id", "predominant_stress", *_STRESSES, "severity"),
        images="images",
        image="id",
        labels={
            "disease": ("predominant_stress",),
            "severity": ("severity",),
            "symptoms": _STRESSES,
        },
        names={"0": "healthy", **{str(i): name for i, name in enumerate(_STRESSES, 1)}},
        keep=("severity",),
        is_one_each=True,
        note="A leaf without one predominant stress is not in the table.",
    ),
    TableSet(
        card="bracol",
        title="BRACOL",
        table=r"labels\.csv",
        columns=("path", "label", "severity", *_STRESSES, "split"),
        image="path",
        labels={"disease": ("label",), "severity": ("severity",), "symptoms": _STRESSES},
        keep=("severity",),
        is_one_each=True,
    ),
    TableSet(
        card="cassava2020",
        title="Cassava 2020",
        table=r"train\.csv",
        columns=("image_id", "label"),
        marks=("label_num_to_disease_map.json",),
        images="train_images",
        image="image_id",
        labels={"disease": ("label",)},
        names_file="label_num_to_disease_map.json",
    ),
    TableSet(
        card="plant_pathology2020",
        title="Plant Pathology 2020",
        table=r"train\.csv",
        columns=("image_id", "healthy", "multiple_diseases", "rust", "scab"),
        images="images",
        image="image_id",
        labels={"disease": ("healthy", "multiple_diseases", "rust", "scab")},
    ),
    TableSet(
        card="plant_pathology2021",
        title="Plant Pathology 2021",
        table=r"train\.csv",
        columns=("image", "labels"),
        marks=("train_images",),
        images="train_images",
        image="image",
        labels={"disease": ("labels",), "symptoms": ("labels",)},
        separator=" ",
        named_like=r"[0-9a-f]{16}",
    ),
    TableSet(
        card="paddy_doctor",
        title="Paddy Doctor",
        table=r"(train|metadata)\.csv",
        columns=("image_id", "label", "variety", "age"),
        image="image_id",
        labels={"disease": ("label",)},
        keep=("variety", "age"),
        note="No field is named: photos of one day resemble each other; try --group variety.",
    ),
)

FOLDER_SETS: tuple[FolderSet, ...] = (
    FolderSet(
        card="plantvillage",
        title="PlantVillage",
        bases=("raw/color", "color", "."),
        leaf_map="leaf-map.json",
        others=("Background_without_leaves",),
        classes=(
            *("Apple___Apple_scab", "Apple___Black_rot", "Apple___Cedar_apple_rust"),
            *("Apple___healthy", "Blueberry___healthy", "Cherry_(including_sour)___Powdery_mildew"),
            *("Cherry_(including_sour)___healthy", "Corn_(maize)___Common_rust_"),
            "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot",
            *("Corn_(maize)___Northern_Leaf_Blight", "Corn_(maize)___healthy"),
            *("Grape___Black_rot", "Grape___Esca_(Black_Measles)", "Grape___healthy"),
            "Grape___Leaf_blight_(Isariopsis_Leaf_Spot)",
            *("Orange___Haunglongbing_(Citrus_greening)", "Peach___Bacterial_spot"),
            *("Peach___healthy", "Pepper,_bell___Bacterial_spot", "Pepper,_bell___healthy"),
            *("Potato___Early_blight", "Potato___Late_blight", "Potato___healthy"),
            *("Raspberry___healthy", "Soybean___healthy", "Squash___Powdery_mildew"),
            *("Strawberry___Leaf_scorch", "Strawberry___healthy", "Tomato___Bacterial_spot"),
            *("Tomato___Early_blight", "Tomato___Late_blight", "Tomato___Leaf_Mold"),
            *("Tomato___Septoria_leaf_spot", "Tomato___Target_Spot", "Tomato___healthy"),
            "Tomato___Spider_mites Two-spotted_spider_mite",
            *("Tomato___Tomato_Yellow_Leaf_Curl_Virus", "Tomato___Tomato_mosaic_virus"),
        ),
    ),
    FolderSet(
        card="plantdoc",
        title="PlantDoc",
        bases=("train+test",),
        classes=(
            *("Apple Scab Leaf", "Apple leaf", "Apple rust leaf", "Bell_pepper leaf"),
            *("Bell_pepper leaf spot", "Blueberry leaf", "Cherry leaf", "Corn Gray leaf spot"),
            *("Corn leaf blight", "Corn rust leaf", "Peach leaf", "Potato leaf early blight"),
            *("Potato leaf late blight", "Raspberry leaf", "Soyabean leaf", "Strawberry leaf"),
            *("Squash Powdery mildew leaf", "Tomato Early blight leaf", "Tomato leaf"),
            *("Tomato Septoria leaf spot", "Tomato leaf bacterial spot", "Tomato mold leaf"),
            *("Tomato leaf late blight", "Tomato leaf mosaic virus", "Tomato leaf yellow virus"),
            *("Tomato two spotted spider mites leaf", "grape leaf", "grape leaf black rot"),
        ),
    ),
    FolderSet(
        card="ibean",
        title="iBean",
        bases=("train+validation+test",),
        classes=("angular_leaf_spot", "bean_rust", "healthy"),
    ),
)

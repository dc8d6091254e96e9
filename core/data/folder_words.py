"""Classify folder and table names: split, mask, place or time, or class.

A word is compared without case, and ``train_images``, ``seg-train`` and ``Training set``
all name the training split. Used by the rule that finds the classes, which prints what
it took each level of folders for.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from core.base.words import without_marks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "SPLIT_NAMES",
    "glued_split",
    "is_class_word",
    "is_form",
    "is_image_folder",
    "is_mask_folder",
    "is_neutral",
    "is_person",
    "is_unlabelled",
    "is_version",
    "mask_base",
    "same_name",
    "spelled_alike",
    "split_word",
]

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trainset", "traindata"), "train"),
    **dict.fromkeys(("trainval", "trainvalid"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "valset"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "holdout", "hold out", "eval"), "test"),
    **dict.fromkeys(("evaluation", "heldout", "held out", "hold-out"), "test"),
    # Spanish, Portuguese, French, German, Italian, Dutch, Polish, Turkish, Chinese, Japanese.
    **dict.fromkeys(("entrenamiento", "treino", "treinamento", "entrainement"), "train"),
    **dict.fromkeys(("apprentissage", "trainings", "lern", "addestramento", "egitim"), "train"),
    **dict.fromkeys(("trainingsdaten", "trainingsbilder", "treningowy", "trening"), "train"),
    **dict.fromkeys(("\u8bad\u7ec3", "\u8bad\u7ec3\u96c6", "\u8a13\u7df4"), "train"),
    **dict.fromkeys(("validacion", "validacao", "validierung", "validatie", "validazione"), "val"),
    **dict.fromkeys(("validierungsdaten", "walidacja", "dogrulama"), "val"),
    **dict.fromkeys(("\u9a8c\u8bc1", "\u9a8c\u8bc1\u96c6", "\u691c\u8a3c"), "val"),
    **dict.fromkeys(("prueba", "pruebas", "teste", "testes", "essai", "testdaten"), "test"),
    **dict.fromkeys(("testbilder", "prova", "testy", "testowy"), "test"),
    **dict.fromkeys(("\u6d4b\u8bd5", "\u6d4b\u8bd5\u96c6", "\u30c6\u30b9\u30c8"), "test"),
}
# Words beside that of a split which change nothing about it: seg_train, train_images, val2017.
_FILLERS = frozenset(
    {"images", "image", "imgs", "img", "set", "data", "dataset", "seg", "pred", "pictures"}
    | {"photos", "folder", "split", "sub", "subset", "files", "jpg", "jpeg", "png", "resized"}
    | {"cropped", "the", "of", "all", "labels", "label", "classes", "list", "x", "dir", "part"}
    | {"annotations", "metadata", "df", "table", "new", "final", "raw", "stage", "csv"}
    | {"paths", "path", "names", "ids", "labeled", "labelled", "studies", "cases", "patients"}
    | {"public", "private", "daten", "bilder", "datos", "imagenes", "imagens", "dados", "donnees"}
)
_SHORT = frozenset({"tr", "eval", "dev", "trn", "tst", "evaluation"})
_MASKS = frozenset(
    {"mask", "masks", "annotation", "annotations", "ground truth", "groundtruth", "gt", "label"}
    | {"labels", "segmentation", "segmentations", "segmentation masks", "lesion masks", "annots"}
    | {"ground truths", "segmented masks", "binary masks", "label masks", "mask images", "gts"}
    | {"semantic masks", "instance masks", "masks png", "trainannot", "segmentationclass"}
    | {"segmentationobject", "masken", "maske", "masques", "masque", "mascaras", "mascara"}
    | {"maschere", "segmentations masks", "annotationen", "labelmasks", "img masks", "roi masks"}
)
_IMAGES = frozenset(
    {"image", "images", "img", "imgs", "photos", "pictures", "jpegimages", "pics", "jpg", "jpeg"}
    | {"png", "data", "dataset", "raw images", "all images", "files", "dicom", "dcm", "frames"}
    | {"bilder", "bild", "fotos", "photo", "imagenes", "imagens", "immagini", "daten", "rohdaten"}
)
# Versions of one and the same picture.
_VERSIONS = frozenset(
    {"color", "colour", "grayscale", "greyscale", "gray", "grey", "segmented", "augmented"}
    | {"original", "raw", "rgb", "enhanced", "processed", "preprocessed", "without augmentation"}
    | {"with augmentation", "clahe", "normalized", "normalised", "bw", "aug", "originals"}
)
_PLACES = (
    "farm|field|plot|site|block|season|year|day|week|month|date|session|visit|patient|subject|"
    "person|case|study|exam|camera|device|scanner|machine|phone|vendor|hospital|clinic|center|"
    "centre|region|location|loc|area|orchard|greenhouse|tree|plant|leaf|batch|fold|part|flight|"
    "zone|country|state|district|village|lab|station|trial|replicate|rep|run|group|cohort|room|"
    "finca|fazenda|parcela|campo|hof|feld|champ|ferme|pat|subj|slide|roi|tile|scene|series|"
    "collection|set|volume|box|image|img|picture|photo|data|archive|chunk|shard|folder|dir|user|team|grower|variety|cultivar|eye|side|hosp|krankenhaus|"
    "klinik|clinique|clinica|standort|sitio|lugar|saison|temporada|safra|jahr|annee|ano|anio|parcelle|"
    "acker|schlag|betrieb|granja|finca|patientin|paciente|inst|institution|unit|person"
)
# An s right behind the word is its plural and no letter.
_NUMBERED = re.compile(
    rf"(?:{_PLACES})s?(?: ?(?:no|nr|number|id)\.?)?(?:[a-rt-z]| [a-z]| ?\d+[a-z]?)"
)
_DATES = re.compile(
    r"(?:19|20)\d\d(?:[ ._-]?(?:0?[1-9]|1[0-2]))?(?:[ ._-]?(?:[0-2]?\d|3[01]))?"
    r"|(?:0?[1-9]|[12]\d|3[01])[ .](?:0?[1-9]|1[0-2])[ .](?:19|20)?\d\d"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?: ?(?:19|20)?\d\d)?"
    r"|(?:spring|summer|autumn|fall|winter|dry|wet|rainy)(?: season)?(?: ?(?:19|20)?\d\d)?"
    r"|(?:19|20)\d\d (?:spring|summer|autumn|fall|winter)"
    r"|(?:morning|noon|afternoon|evening|night)"
    r"|(?:north|south|east|west)(?:ern|(?:east|west))?(?: ?(?:farm|field|plot|site))?"
)
_CODES = re.compile(r"[a-z]{1,4} ?\d+[a-z]?|\d{3,}")
# Numbers of people rather than classes: P001, ID_0007, 10034.
_PEOPLE = re.compile(r"(?:p|pt|pat|sub|subj|id|pid|case|patient|proband)[ :]?\d{2,}|\d{4,}")
_UNLABELLED = re.compile(
    r"un ?(?:labell?ed|annotated|classified|sorted)(?: (?:data|images|set))?|not labell?ed"
    r"|to (?:be )?(?:label|sort|annotate|predict|score)(?:led|ed|d)?|no labels?|unbeschriftet"
    r"|sin etiquetar?|pred(?:ict(?:ion|ions)?)?(?: (?:data|images|set))?|inference|unseen|scoring"
)
_CLASSES = frozenset(
    {"healthy", "normal", "control", "controls", "diseased", "sick", "unhealthy", "infected"}
    | {"benign", "malignant", "cancer", "tumor", "tumour", "positive", "negative", "yes", "no"}
    | {"pos", "neg", "mild", "moderate", "severe", "abnormal", "pneumonia", "rust", "blight"}
    | {"uninfected", "healthy leaf", "healthy leaves", "no dr", "others", "other", "no tumor"}
    | {"parasitized", "covid", "tuberculosis", "defect", "good", "bad", "ok", "no finding"}
    | {"uninfected leaf", "non cancer", "with cancer", "sano", "sana", "gesund", "krank", "sain"}
    | {"saine", "malade", "enfermo", "enferma", "sadio", "doente", "saudavel", "roya", "rost"}
    | {"roest", "ferrugem", "rouille", "mehltau", "mildew", "sick", "ill", "healthy plant", "ja"}
    | {"nein", "si", "oui", "non", "norma", "gutartig", "bosartig", "benigno", "maligno", "benin"}
)


def same_name(name: str) -> str:
    """A name as it is compared: one Unicode form, no case, spaces for dashes; ``01`` is ``1``.

    >>> same_name("Leaf_Rust") == same_name("leaf rust"), same_name("01") == same_name("1")
    (True, True)
    """
    text = unicodedata.normalize("NFC", without_marks(name))
    plain = re.sub(r"[\s_-]+", " ", text.strip().casefold())
    return str(int(plain)) if re.fullmatch(r"\d+", plain) and plain.isascii() else plain


def spelled_alike(
    counts: Mapping[str, int], what: str, compared: Callable[[str], str] = same_name
) -> list[tuple[list[str], str]]:
    """Names that are one name in several spellings: each set, the most frequent first, in words.

    >>> spelled_alike({"rust": 2, "Rust": 9, "blight": 1}, "images")
    [(['Rust', 'rust'], "'Rust' (9 images), 'rust' (2 images)")]
    """
    spelled: dict[str, list[str]] = {}
    for name in sorted(counts):
        spelled.setdefault(compared(name), []).append(name)
    several = [sorted(s, key=lambda n: -counts[n]) for s in spelled.values() if len(s) > 1]
    return [(s, ", ".join(f"{name!r} ({counts[name]:,} {what})" for name in s)) for s in several]


def split_word(name: str) -> str:
    """The split that a name says, ``train``, ``val`` or ``test``; empty if it says none.

    >>> [split_word(n) for n in ("seg_train", "Test-Images", "val2017", "trainLabels", "training")]
    ['train', 'test', 'val', 'train', 'train']
    >>> [split_word(n) for n in ("healthy", "test strip", "strain", "train and test")]
    ['', '', '', '']
    >>> split_word("train_val"), split_word("trainval_images")
    ('train', 'train')
    """
    words = _words(name)
    text = " ".join(words)
    if text in SPLIT_NAMES:
        return SPLIT_NAMES[text]
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES and word not in _SHORT}
    rest = [word for word in words if word not in SPLIT_NAMES and word not in _FILLERS]
    # What is neither trained nor validated on is the test: "train_val" is all that trains.
    found = {"train"} if found == {"train", "val"} else found
    return found.pop() if len(found) == 1 and not rest else ""


def glued_split(name: str) -> str:
    """The split that begins or ends a name which says more; empty if none does.

    >>> [glued_split(n) for n in ("train_rust", "rust-test", "trainA", "train", "train images")]
    ['train', 'test', 'train', '', '']
    >>> glued_split("strain_b"), glued_split("rust")
    ('', '')
    """
    if split_word(name):
        return ""
    words = _words(name)
    ends = [words[0], words[-1]] if len(words) > 1 else []
    return next((SPLIT_NAMES[w] for w in ends if w in SPLIT_NAMES and w not in _SHORT), "")


def is_mask_folder(name: str) -> bool:
    """Whether a folder is called as folders of masks are."""
    return _spaced(name) in _MASKS


def is_image_folder(name: str) -> bool:
    """Whether a folder is called after what lies in it: images."""
    return _spaced(name) in _IMAGES


def is_version(name: str) -> bool:
    """Whether a folder holds one version of pictures: in colour, in grey, augmented.

    >>> is_version("grayscale"), is_version("rust")
    (True, False)
    """
    return _spaced(name) in _VERSIONS


def is_neutral(name: str, *, with_codes: bool = True) -> bool:
    """Whether a name says a time, a place or a number of something, and no class.

    >>> [is_neutral(n) for n in ("2023", "Farm_A", "2024-05-01", "patient 12", "north", "P0012")]
    [True, True, True, True, True, True]
    >>> [is_neutral(n) for n in ("rust", "healthy", "3", "class 2", "field pansy", "plants")]
    [False, False, False, False, False, False]
    """
    text = re.sub(r"[\s_-]+", " ", name.strip().casefold())
    rules = (_NUMBERED, _DATES, _CODES) if with_codes else (_NUMBERED, _DATES)
    return any(rule.fullmatch(text) for rule in rules)


def is_person(name: str) -> bool:
    """Whether a name is the number of a person or case: no class is called so.

    >>> is_person("P001"), is_person("ID_0007"), is_person("10034"), is_person("2"), is_person("C1")
    (True, True, True, False, False)
    """
    return _PEOPLE.fullmatch(_spaced(name)) is not None


def is_unlabelled(name: str) -> bool:
    """Whether a folder is called after images that have no label.

    >>> is_unlabelled("unlabeled"), is_unlabelled("to_be_labelled"), is_unlabelled("unknown")
    (True, True, False)
    """
    return _UNLABELLED.fullmatch(_spaced(name)) is not None


def is_class_word(name: str) -> bool:
    """Whether a name is one that classes go by wherever images are sorted.

    >>> is_class_word("Healthy"), is_class_word("No_DR"), is_class_word("2023")
    (True, True, False)
    """
    return _spaced(name) in _CLASSES


def is_form(name: str) -> bool:
    """Whether a table is a form for answers, whose labels are made up.

    >>> is_form("sample_submission.csv"), is_form("labels.csv")
    (True, False)
    """
    return bool(re.search(r"(?i)submission|submit_?example|answer_?form", name))


def mask_base(stem: str) -> str:
    """The name of the picture that a file called so is the mask of; empty if it is none.

    >>> mask_base("benign (1)_mask"), mask_base("benign (1)_mask_1"), mask_base("leaf-seg")
    ('benign (1)', 'benign (1)', 'leaf')
    >>> mask_base("mask"), mask_base("unmasked")
    ('', '')
    >>> mask_base("mask_017"), mask_base("im3_bin_mask")
    ('017', 'im3')
    """
    words = (
        r"(?:(?:bin|binary|lesion|leaf|roi|gt|img)[ ._-])?(?:masks?|maske|masque|mascara|seg|"
        r"segmentation|segmented|annotation|groundtruth|ground[ _-]truth|gt|labels?|anno|matte|"
        r"mask[ _-]overlay|labelids|trimap)"
    )
    behind = re.fullmatch(rf"(?i)(.+?)[ ._-]{words}(?:[ ._-]?\d+)?", stem)
    before = re.fullmatch(rf"(?i){words}[ ._-](.+)", stem)
    return behind[1] if behind else before[1] if before else ""


def _words(name: str) -> list[str]:
    """The words of a name, without accents, case and numbers: ``trainA`` is two."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", bare.strip())
    # Letters of any alphabet, so that a Chinese word beside a Latin one is not lost.
    return re.sub(r"[\W\d_]+", " ", spaced.casefold()).split()


def _spaced(name: str) -> str:
    """A name in lower case with single spaces, without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[\s_.-]+", " ", plain.strip().casefold())

"""From a DICOM tree, a folder of films or a table to the manifest of a mammography task.

Three doors, tried in order: a published layout (``layouts``), else core's own
index of class folders and tables. Whatever came through either, every DICOM file
is then looked up in its header, which says which breast, which view and whose,
and whether it is a mammogram at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.mammography.exams import JOINED, fill_missing_views, part_shared_exams
from apps.mammography.headers import Header, read_header, side_and_view
from apps.mammography.images import CLEAR_SIDE, find_breast, read
from apps.mammography.layouts import LAYOUTS, birads_choice
from apps.mammography.special_layouts import cbis_by_headers
from core.base.attempt import attempt
from core.data.dicom import DICOM_SUFFIXES, is_dicom, open_dicom
from core.data.identity import Pseudonyms
from core.data.manifest import EXTENSIONS as PHOTOS
from core.data.manifest import index_images, locate
from core.data.manifest_tables import LABEL_NAMES
from core.data.published import index_published
from core.data.reading import read_in_subprocess
from core.data.table_paths import FileKey
from core.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.app import Manifest, Source

__all__ = ["COLUMNS", "index"]

# What the manifest says beside core's own columns; nothing else of a header or table stays.
COLUMNS = (
    *("patient", "exam", "laterality", "view", "missing_views", "view_modifiers", "kind"),
    *("intent", "manufacturer", "implant", "age_decade", "density", "tissue", "abnormality"),
    *("lesions", "site", "spacing_mm", "target_spacing_mm", "crop", "voi", "laterality_from"),
    *("biopsy_recommended", "biopsy"),
)
EXTENSIONS = {".dcm", ".dicom", ".dic", ".ima", ""}
# Columns of a user's table that mean what ours do.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "patient": ("patient", "patient_id", "patientid", "client_id", "empi_anon", "anon_patientid"),
    "exam": ("exam", "exam_id", "study", "study_id", "acc_anon", "accession"),
    "laterality": ("laterality", "side", "imagelaterality", "image_laterality", "breast"),
    "view": ("view", "view_position", "viewposition"),
    "density": ("density", "breast_density", "birads_density"),
    "site": ("site", "site_id", "hospital", "center", "centre"),
    "manufacturer": ("manufacturer", "vendor", "machine_id"),
    "implant": ("implant", "breast_implant"),
    "age_decade": ("age_decade",),
    "abnormality": ("abnormality", "finding_type"),
    "lesions": ("lesions",),
    "tissue": ("tissue",),
    "biopsy_recommended": ("biopsy_recommended", "biopsy_recommendation"),
    "biopsy": ("biopsy", "biopsied", "biopsy_done"),
}
# Other spellings of a class, by task.
_SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "cancer": {
        "0": "no",
        "1": "yes",
        "false": "no",
        "true": "yes",
        "negative": "no",
        "positive": "yes",
        "benign": "no",
        "malignant": "yes",
        "normal": "no",
    },
    "density": {"1": "A", "2": "B", "3": "C", "4": "D", "a": "A", "b": "B", "c": "C", "d": "D"},
}


def index(source: Source) -> Manifest:
    """The manifest of mammograms; see ``App.index``.

    Raises:
        ManifestError: the data cannot be indexed.
        ConfigError: options contradict each other or are out of range.
    """
    options = _Options.of(source.options)
    pseudonyms = Pseudonyms.load(key_file=options.identity_key, keep=options.keep_identifiers)
    request = source.group if source.group in COLUMNS else None
    # A column that is made here, from headers, and stands in no table yet.
    asked = replace(source, group=None) if request else source
    base = _by_layout(asked) or _by_core(asked)
    manifest = _with_headers(base, asked, options, pseudonyms)
    if request:
        manifest = _grouped_by(manifest, request)
    notes = (*manifest.notes, *([pseudonyms.note] if pseudonyms.note else []))
    return replace(manifest, notes=notes)


def _grouped_by(manifest: Manifest, name: str) -> Manifest:
    """The manifest grouped by one of our own columns, as ``--group`` asks.

    Raises:
        ManifestError: the column says nothing of some image.
    """
    table = manifest.table
    ok = table["status"] == "ok"
    if name not in table or (table.loc[ok, name].astype(str) == "").any():
        msg = (
            f"--group {name}: neither a header nor a table says it of every image. Choose another "
            "column, or pass --group image_id if every image stands for itself."
        )
        raise ManifestError(msg)
    n = table.loc[ok, name].nunique()
    rule = f"The group is the {name}, as asked: {n:,} groups of {int(ok.sum()):,} images."
    notes = tuple(
        note.replace(JOINED, "") for note in manifest.notes if "carry one patient id" not in note
    )
    grouped = table.assign(group=table[name].astype(str))
    return replace(manifest, table=grouped, group_rule=rule, notes=notes)


@dataclass(frozen=True)
class _Options:
    """The app's own options with their values."""

    voi: str
    voi_index: int
    spacing_mm: float
    crop: str
    keep_identifiers: bool
    include_skipped: bool
    identity_key: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Options:
        """From the command line.

        Raises:
            ConfigError: a value is out of range, or DICOM outputs are asked
                for without the identifiers they cannot do without.
        """
        key = given.get("identity-key")
        options = cls(
            voi=str(given.get("voi") or "auto"),
            voi_index=int(given.get("voi-index") or 0),
            spacing_mm=float(given.get("spacing-mm") or 0.0),
            crop=str(given.get("crop") or "breast"),
            keep_identifiers=bool(given.get("keep-identifiers")),
            include_skipped=bool(given.get("include-skipped")),
            identity_key=Path(key) if key else None,
        )
        msg = ""
        if options.voi not in {"auto", "lut", "window", "range"}:
            msg = f"--voi {options.voi}: is not known. Choose auto, lut, window or range."
        elif options.crop not in {"breast", "none"}:
            msg = f"--crop {options.crop}: is not known. Choose breast or none."
        elif options.voi_index < 0:
            msg = "--voi-index: must be 0 or more; 0 is the first LUT or window of a header."
        elif options.spacing_mm and not 0.02 <= options.spacing_mm <= 5:
            msg = f"--spacing-mm {options.spacing_mm:g}: must lie between 0.02 and 5 mm per pixel."
        elif given.get("dicom") and not options.keep_identifiers:
            msg = (
                "--dicom: DICOM objects join the patient's own study, so they carry the patient's "
                "name and ids as the source does. Pass --keep-identifiers as well to say that "
                "this is wanted."
            )
        if msg:
            raise ConfigError(msg)
        return options


def _by_layout(source: Source) -> Manifest | None:
    """The manifest of a public set; None if the source is no such folder, or is not read as one."""
    path, card = source.paths[0], source.options.get("card")
    if not source.labelled and not path.is_dir():
        return None

    def by_headers(images: Sequence[Path]) -> Manifest | None:
        is_asked = source.labelled and path.is_dir() and card in {None, "", "cbis_ddsm"}
        return cbis_by_headers(path, images) if is_asked else None

    try:
        return index_published(
            source,
            LAYOUTS,
            read=_by_core,
            extensions={*PHOTOS, *EXTENSIONS},
            choose=partial(birads_choice, source),
            otherwise=by_headers,
        )
    except ManifestError:
        if source.labelled:
            raise
        # To score images their table is a help, not a need: whatever it lacks, they are read.
        return None


def _by_core(source: Source) -> Manifest:
    """The manifest of class folders, a table, or unlabelled files."""
    return index_images(
        source,
        extensions={*PHOTOS, *EXTENSIONS},
        label_names=(source.task.name, *LABEL_NAMES),
        keys=_file_keys(),
    )


def _file_keys() -> tuple[FileKey, ...]:
    """What tables may name a mammogram by beside its path: ids that stand in its header."""
    known: dict[Path, Header] = {}

    def header(path: Path) -> Header:
        if path not in known:
            known[path] = read_header(path) if is_dicom(path) else Header()
        return known[path]

    patient, side = _ALIASES["patient"], _ALIASES["laterality"]
    return (
        FileKey(
            words="the SOPInstanceUID of the header",
            columns=(("sopinstanceuid", "sop_instance_uid", "instance_uid", "image_uid", "uid"),),
            of=lambda path: (header(path).instance,),
        ),
        FileKey(
            words="the patient and the side in the header",
            columns=(patient, side),
            of=lambda path: (header(path).patient, header(path).laterality),
        ),
        FileKey(
            words="the StudyInstanceUID of the header",
            columns=(("studyinstanceuid", "study_instance_uid", "study_uid"),),
            of=lambda path: (header(path).study,),
        ),
        FileKey(
            words="the patient in the header",
            columns=(patient,),
            of=lambda path: (header(path).patient,),
        ),
    )


def _with_headers(
    base: Manifest, source: Source, options: _Options, pseudonyms: Pseudonyms
) -> Manifest:
    """The base manifest with what headers, tables and file names say of each image."""
    is_public = bool(base.cards)
    rows: list[dict[str, Any]] = []
    seen: dict[str, list[tuple[Path, str]]] = {}
    label_of = dict(zip(base.table["image_id"], base.table["label"], strict=True))
    counts = dict.fromkeys(("pixels", "text", "burned", "uids"), 0)
    has_group = bool(source.group)
    records: list[dict[str, Any]] = base.table.to_dict("records")  # type: ignore[assignment]
    for row in records:
        path = locate(base.root, str(row["path"]))
        cells = _known_cells(row)
        header = Header()
        is_header = row["status"] == "ok" and is_dicom(path)
        if is_header:
            header = read_header(path, prefer=options.voi, voi_index=options.voi_index)
        elif row["status"] == "ok" and path.suffix.lower() in EXTENSIONS:
            is_meant = path.suffix.lower() in DICOM_SUFFIXES or path in source.paths
            header = Header(reason="is not a DICOM file", is_readable=False, is_broken=is_meant)
        is_wanted = options.include_skipped and header.is_readable
        # What was meant as a picture and cannot be read fails when it is read, as a JPEG does.
        reason = "" if is_wanted or header.is_broken else header.reason
        if is_header and not reason and not header.is_broken and header.instance:
            same = next((p for p in seen.get(header.instance, []) if _are_equal(p[0], path)), None)
            if same:
                reason = _same_as(same[1], label_of[same[1]], row["label"])
            else:
                counts["uids"] += header.instance in seen
                seen.setdefault(header.instance, []).append((path, row["image_id"]))
        side, side_from = _side(cells, header, path, counts, is_usable=not reason)
        view = cells.get("view") or header.view or side_and_view(path.stem)[1]
        patient = _patient(cells, header, pseudonyms, is_public=is_public)
        exam = cells.get("exam") or header.study
        exam = exam if is_public or not exam else pseudonyms.name("exam", exam)
        counts["burned"] += header.may_hold_text
        rows.append(
            {
                **{name: row[name] for name in ("image_id", "path", "label", "split")},
                "label": _spelled(str(row["label"] or ""), source),
                "group": row["group"] if has_group else patient or exam,
                "status": "skipped" if reason else row["status"],
                "reason": reason or row["reason"],
                "patient": patient or exam,
                "exam": exam or patient,
                "laterality": side,
                "laterality_from": side_from,
                "view": view.upper(),
                "view_modifiers": header.modifiers,
                "kind": header.kind if is_header else "",
                "intent": header.intent,
                "manufacturer": header.manufacturer or cells.get("manufacturer", ""),
                "implant": header.implant or _yes_no(cells.get("implant", "")),
                "age_decade": header.age_decade or cells.get("age_decade", ""),
                "density": cells.get("density", ""),
                "tissue": cells.get("tissue", ""),
                "abnormality": cells.get("abnormality", ""),
                "lesions": cells.get("lesions", ""),
                "biopsy_recommended": _yes_no(cells.get("biopsy_recommended", "")),
                "biopsy": _yes_no(cells.get("biopsy", "")),
                "site": cells.get("site", ""),
                "spacing_mm": header.spacing_mm,
                "target_spacing_mm": options.spacing_mm,
                "crop": options.crop,
                "voi": header.voi,
                **_task_column(row, source),
            }
        )
    return _finished(base, rows, counts, source)


def _same_as(kept: str, label: str, label_here: str) -> str:
    """Why a picture that is there twice is left out; that its classes differ is said."""
    odd = (
        f", but {label_here!r} here and {label!r} there: one is wrong"
        if label != label_here
        else ""
    )
    return f"is the same picture as {kept} (duplicate instance){odd}"


def _finished(
    base: Manifest, rows: list[dict[str, Any]], counts: Mapping[str, int], source: Source
) -> Manifest:
    """The manifest with missing views filled in, empty columns dropped and the notes said."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    shared = part_shared_exams(rows, joins_groups=source.labelled and not source.group)
    fill_missing_views(rows)
    table = pd.DataFrame(rows)
    empty = [
        name
        for name in COLUMNS
        if name in table and not table[name].astype(str).isin(["", "0.0", "0"]).eq(False).any()
    ]
    table = table.drop(columns=empty)
    notes = list(base.notes)
    skipped = table[(table["status"] == "skipped") & (base.table["status"] == "ok").to_numpy()]
    for reason, group in skipped.groupby("reason", sort=False):
        notes.append(f"{len(group):,} skipped: {reason} (first: {group['image_id'].iloc[0]}).")
    if counts["text"]:
        notes.append(f"{counts['text']:,} sides are read from text: no header element gives them.")
    if counts["pixels"]:
        notes.append(
            f"{counts['pixels']:,} sides are guessed from the pixels: nothing else says "
            "which breast it is. A mirrored picture would be taken for the other breast."
        )
    if counts["burned"]:
        notes.append(
            f"{counts['burned']:,} headers say that text is burned into the picture; it "
            "may name the patient, and would stay visible in overlays."
        )
    if counts["uids"]:
        notes.append(
            f"{counts['uids']:,} pictures carry the SOPInstanceUID of another although "
            "their pixels differ, so these are not unique; anonymisers do that. All are kept."
        )
    notes += [*shared, *_one_patient(table, source)]
    is_said = source.group or (base.cards and base.group_rule)
    rule = base.group_rule if is_said else _group_rule(table, base)
    if not source.labelled:
        table["label"] = ""
    names = sorted(set(table.loc[table["status"] == "ok", "label"].astype(str)) - {""})
    # The classes as this app spells them, and not the 0 and 1 of the table.
    rule_of_class = re.sub(
        r"^classes: \d+ \(.*?\), as ",
        lambda _: f"classes: {len(names)} ({', '.join(names)}), as ",
        base.class_rule,
    )
    return replace(base, table=table, notes=tuple(notes), group_rule=rule, class_rule=rule_of_class)


def _one_patient(table: pd.DataFrame, source: Source) -> list[str]:
    """A warning where all images carry one patient id though they are of several exams."""
    ok = table[table["status"] == "ok"]
    if not source.labelled or source.group or "patient" not in ok or "exam" not in ok:
        return []
    n_patients, n_exams = ok["patient"].nunique(), ok["exam"].nunique()
    if n_patients != 1 or n_exams < 2:
        return []
    return [
        f"All {len(ok):,} images carry one patient id although they are of {n_exams:,} "
        "exams; anonymisers write one id into all. As one group they cannot be split. Pass --group "
        "exam to keep each exam in one split, or correct the ids."
    ]


def _are_equal(one: Path, other: Path) -> bool:
    """Whether two files that carry one SOPInstanceUID hold the same stored pixels."""

    def compare() -> bool:
        first, second = (open_dicom(path) for path in (one, other))
        return all(first.get(name) == second.get(name) for name in ("PixelData", "Rows", "Columns"))

    are_equal, _ = attempt(compare)
    return bool(are_equal)


def _group_rule(table: pd.DataFrame, base: Manifest) -> str:
    """Where the group comes from, in words; empty if some image has none."""
    ok = table[table["status"] == "ok"]
    if not len(ok) or not (ok["group"] != "").all():
        table["group"] = base.table["group"].to_numpy()
        return base.group_rule
    return "The group is the patient: a keyed hash of the identifier in the header or table."


def _known_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells of a row that mean what our columns do, under our names."""
    plain = {str(name).strip().lower().replace(" ", "_"): value for name, value in row.items()}
    cells = {}
    for name, aliases in _ALIASES.items():
        value = next((plain[alias] for alias in aliases if alias in plain), "")
        cells[name] = "" if value is None or value != value else str(value).strip()  # noqa: PLR0124
    side = cells["laterality"].upper()[:1]
    cells["laterality"] = side if side in {"L", "R"} else ""
    density = cells["density"].upper().removeprefix("DENSITY ")
    cells["density"] = {"1": "A", "2": "B", "3": "C", "4": "D"}.get(density, density)
    return cells


def _side(
    cells: Mapping[str, str],
    header: Header,
    path: Path,
    counts: dict[str, int],
    *,
    is_usable: bool,
) -> tuple[str, str]:
    """Side and where it is said: table, header, its texts, the file's name, last the pixels."""
    if cells.get("laterality"):
        return cells["laterality"], "table"
    if header.laterality:
        counts["text"] += header.laterality_from == "text"
        return header.laterality, header.laterality_from
    side = side_and_view(path.stem)[0]
    if side:
        counts["text"] += 1
        return side, "file name"
    if is_usable and header.instance:
        side = _side_from_pixels(path, header.voi)
        counts["pixels"] += bool(side)
        return side, "pixels" if side else ""
    return "", ""


def _side_from_pixels(path: Path, voi: str) -> str:
    """The side by where the chest wall is; empty where that is unclear or unreadable."""
    row = {"path": str(path), "voi": voi}
    breast, _ = attempt(lambda: find_breast(read_in_subprocess(read, row)))
    if breast is None or breast.certainty < CLEAR_SIDE:
        return ""
    return {"left": "L", "right": "R"}.get(breast.chest_side, "")


def _patient(
    cells: Mapping[str, str], header: Header, pseudonyms: Pseudonyms, *, is_public: bool
) -> str:
    """The patient's name in outputs; a published set's own numbers are no secret."""
    if cells.get("patient"):
        return cells["patient"] if is_public else pseudonyms.name("patient", cells["patient"])
    # An id without its issuer must not become one with another hash when both are empty.
    parts = (header.issuer, header.patient) if header.patient else ("",)
    return pseudonyms.name("patient", *parts)


def _task_column(row: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The column the user named as label, where it is not one of ours."""
    name = source.label or source.task.label
    return {name: row[name]} if name in row and name != "label" and name not in COLUMNS else {}


def _spelled(label: str, source: Source) -> str:
    """The label in the spelling of the task's classes."""
    return _SPELLINGS.get(source.task.name, {}).get(label.strip().lower(), label.strip())


def _yes_no(text: str) -> str:
    """``yes``, ``no`` or empty."""
    return {"1": "yes", "yes": "yes", "true": "yes", "0": "no", "no": "no", "false": "no"}.get(
        text.lower(), ""
    )

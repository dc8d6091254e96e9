"""From a folder or table of leaf photos, or rasters of a field, to a manifest.

Which files there are, and which of them show the same leaf. Public sets are read by their
``layouts``, everything else by core; rasters go the way of ``field``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apps.crop_disease.field.files import is_raster
from apps.crop_disease.field.index import index_field
from apps.crop_disease.layouts import LAYOUTS
from core.base.tables import MANIFEST
from core.data.manifest import GroupRule, index_images
from core.data.manifest_tables import column_named
from core.data.published import index_published
from core.errors import ManifestError

if TYPE_CHECKING:
    from core.app import Manifest, Source

__all__ = ["SAME_LEAF", "index"]

# Options that make no sense without a raster. The others may have come with the run.
OF_RASTERS = ("labels", "within", "rates", "crs", "hold-out")


# A file name that says which leaf it shows and which photo of it this is: leaf12_a.jpg,
# plot3-leaf-12b.png, Leaf 12 (2).jpeg. The photo must be named as well, because a lone
# number, as in leaf_0012.jpg or 1016.jpg, is as likely the camera's counter.
SAME_LEAF = (
    r"(?i)(?:^|[\W_])(leaf[-_ ]?\d{1,6})"
    r"(?:[-_ ]?[a-z]|[-_ ]?\(\d{1,2}\)|[-_ ](?:photo|view|shot)?[-_ ]?\d{1,2})\.[a-z]+$"
)
# What the group is called when it is the leaf; then there is a decision per leaf.
_LEAF = "the leaf"
# Columns that say more than which leaf it is: photos that share them resemble each other, too.
_WIDER = ("plant", "plant_id", "plot", "field", "farm", "site")


# Columns of a user's table that a photo keeps: what the app reads, breaks results down by or
# shows. All others stay where they are.
KEPT = frozenset(
    {
        *(column.name for column in MANIFEST),
        *("leaf", "severity", "symptoms"),
        *("crop", "variety", "site", "camera", "field", "flight"),
    }
)


def index(source: Source) -> Manifest:
    """The manifest of photos or of the tiles of rasters (``field``).

    A GeoTIFF, a folder of them and a WebODM project are rasters; a TIFF without a
    place on the ground is a photo, unless an option of rasters is given or the run
    was trained on tiles.

    Raises:
        ManifestError: both kinds at once, or an option of rasters with photos.
    """
    asked = any(source.options.get(name) for name in OF_RASTERS) or "tile_m" in source.trained
    rasters = [path for path in source.paths if is_raster(path, asked=asked)]
    photos = [path for path in source.paths if path not in rasters]
    if not rasters:
        given = [name for name in OF_RASTERS if source.options.get(name)]
        if given:
            msg = (
                f"--{given[0]}: speaks of a raster of a field, and {photos[0]} is none that is "
                "read. Pass a GeoTIFF, a folder of GeoTIFF, or a WebODM project; gdal_translate "
                "makes a GeoTIFF of a JPEG 2000, VRT, IMG or a picture with a world file."
            )
            raise ManifestError(msg)
        return _photos(source)
    if photos:
        msg = (
            f"{rasters[0]} is a raster of a field and {photos[0]} is not; a model judges "
            "photos of leaves or tiles of fields. Pass them in two commands."
        )
        raise ManifestError(msg)
    return index_field(source)


def _photos(source: Source) -> Manifest:
    """The manifest of leaf photos: a public set as its data card says, else as it lies there."""
    found = None
    if source.labelled:
        found = index_published(source, LAYOUTS, read=_any_photos, keep=KEPT)
    found = found or _any_photos(source)
    # A user's table may hold names and dates of birth; a run must not carry them on.
    return replace(found, table=found.table[[c for c in found.table.columns if c in KEPT]])


def _any_photos(source: Source) -> Manifest:
    """The manifest of leaf photos: class folders, split folders, a table, or plain files.

    The group is the leaf (column ``leaf`` or ``leaf_id``), else the plant, the
    field, the farm or the site (a column of that name), else the leaf that file
    names such as ``leaf12_a.jpg`` and ``leaf12_b.jpg`` share. Where the leaf is
    known the manifest has a column ``leaf``; a photo without one counts as
    a leaf of its own.
    """
    rules = (
        GroupRule(words=_LEAF, columns=("leaf", "leaf_id")),
        GroupRule(words="the plant", columns=("plant", "plant_id")),
        GroupRule(words="the field", columns=("field", "plot")),
        GroupRule(words="the farm or site", columns=("farm", "site")),
        GroupRule(
            words=f"{_LEAF}: photos whose file names share a leaf number, "
            "as leaf12_a.jpg and leaf12_b.jpg do, show the same leaf",
            pattern=SAME_LEAF,
        ),
    )
    # A grade of severity is no disease, whatever else a table lacks.
    manifest = index_images(source, group=rules, other_labels=("severity", "symptoms"))
    table, notes = manifest.table, list(manifest.notes)
    column = column_named(table.columns, "leaf", "leaf_id")
    if column:
        leaf = table[column]
    elif manifest.group_rule.startswith(f"The group is {_LEAF}"):
        leaf = table["group"]
    else:
        return manifest
    known = leaf.notna() & (leaf.astype(str) != "")
    wider = [name for name in _WIDER if column_named(table.columns, name)]
    if source.labelled and source.group is None and wider:
        notes.append(
            f"The table also says the {wider[0]} of each photo. Photos of one {wider[0]} resemble "
            f"each other as well; pass --group {wider[0]} to keep them in one split and learn how "
            "the model does elsewhere."
        )
    table = table.assign(leaf=leaf.where(known, table["image_id"]).astype(str))
    return replace(manifest, table=table, notes=tuple(notes))

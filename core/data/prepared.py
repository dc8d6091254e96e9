"""Decode and prepare once: a memory-mapped store of pixels, shared by epochs, workers and runs.

Every image is read by the app's one reader, put through the app's one
preparation at 1.15 times the training size, and kept in segments under
``RESIGHT_HOME`` (default: the user's cache folder). The key of an image is its
content and the preparation, so a changed file or preparation recomputes what it
must and nothing else. A segment appears whole or not at all; a killed
preparation goes on with the images that are still missing.

This module knows neither splits nor models.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.base.attempt import attempt
from core.base.machine import cache_home
from core.base.options import pixel_options
from core.base.outputs import atomic_file, check_space, plain_json, write_json
from core.base.progress import track
from core.base.regular_files import open_regular
from core.data.facts import grey_of
from core.data.reading import in_threads, read_in_subprocess
from core.data.resizing import resized
from core.errors import ImageError, OutputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from core.app import App

__all__ = [
    "STORE_SCALE",
    "Form",
    "Preparation",
    "Prepared",
    "full_scale",
    "prepare_one",
    "prepare_table",
    "resize_to",
    "store_size",
    "synthetic_pictures",
]

# Stored pixels over training pixels: room for augmentation to zoom without blurring.
STORE_SCALE = 1.15
# Pixels read over stored pixels, at least, where a decoder can shrink on the way.
READ_SCALE = 2
SEGMENT = 256
# Manifest columns that say what an image is called or is, not how it looks.
_NOT_PIXELS = {"image_id", "path", "label", "group", "split", "status", "reason"}


@dataclass(frozen=True)
class Form:
    """Channels and dtype that every prepared image of a run has."""

    channels: int
    dtype: str

    def conform(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Pixels in this form, by one rule.

        Grey is repeated, and taken from colour in which all channels are alike; depth is
        rescaled linearly.

        Raises:
            ImageError: no rule leads from what was read to this form.
        """
        if pixels.ndim != 3:
            msg = f"has {pixels.ndim} axes where rows, columns and channels were expected"
            raise ImageError(msg)
        if pixels.shape[2] == 1 and self.channels == 3:
            pixels = np.repeat(pixels, 3, axis=2)
        elif pixels.shape[2] == 3 and self.channels == 1:
            if _is_coloured(pixels):
                msg = "is in colour, where grey pictures are expected. Save it as a grey picture"
                raise ImageError(msg)
            pixels = pixels[:, :, 1:2]
        if pixels.shape[2] != self.channels:
            msg = (
                f"has {pixels.shape[2]} channels where {self.channels} were expected. Give "
                "pictures with the channels of those that the network was trained on"
            )
            raise ImageError(msg)
        have, want = pixels.dtype.name, self.dtype
        if have == want:
            return pixels
        if (have, want) == ("uint16", "uint8"):
            # 65535 / 255 = 257 exactly, so black and white stay black and white.
            return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if (have, want) == ("uint8", "uint16"):
            return pixels.astype(np.uint16) * 257
        if want == "float32" and have in {"uint8", "uint16"}:
            return pixels.astype(np.float32) / (255 if have == "uint8" else 65535)
        msg = f"holds {have} values where {want} were expected"
        raise ImageError(msg)


def _is_coloured(pixels: NDArray[Any]) -> bool:
    """Whether channels differ by more than the rounding of a JPEG."""
    spread = pixels.max(axis=2).astype(np.float64) - pixels.min(axis=2)
    return bool(spread.max() > 3 / 255 * full_scale(pixels.dtype.name))


@dataclass(frozen=True)
class Preparation:
    """How pixels of a run are made: the app, the size, the form, and proof that it is still so.

    Attributes:
        app: name.
        size_px: (H, W) the network is trained at.
        form: channels and dtype.
        probe: the preparation of three synthetic pictures, averaged to a coarse
            grid: equal grids mean the same recipe, whatever the code looks like.
        options: the app's own options that change pixels, with their values.
        hash: of all of that, and of the exact bytes on this machine.
    """

    app: str
    size_px: tuple[int, int]
    form: Form
    probe: tuple[float, ...]
    hash: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        app: App,
        size_px: tuple[int, int],
        form: Form,
        options: Mapping[str, Any] | None = None,
    ) -> Preparation:
        """The preparation that an app performs now, with these of its own options."""
        chosen = pixel_options(app, options or {})
        parts = [app.name, list(size_px), form.channels, form.dtype, chosen, READ_SCALE]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
        grid: list[float] = []
        transform = app.prepare(store_size(size_px))
        for picture in synthetic_pictures(form):
            pixels = transform({"image": picture})["image"]
            digest.update(np.ascontiguousarray(pixels).tobytes())
            scale = 255.0 / float(full_scale(form.dtype))
            blocks = [
                block.mean() * scale
                for rows in np.array_split(np.asarray(pixels, dtype=np.float64), 6, axis=0)
                for block in np.array_split(rows, 6, axis=1)
            ]
            grid.extend(round(float(value), 2) for value in blocks)
        return cls(app.name, size_px, form, tuple(grid), digest.hexdigest(), chosen)

    def require_same(self, app: App, options: Mapping[str, Any] | None = None) -> None:
        """Refuse to go on when the app prepares pixels otherwise than it did for this run.

        Args:
            app: as installed now.
            options: the app's own, as resolved for this command.

        Raises:
            RunError: an option that changes pixels has another value, or some block
                of the probe differs by more than one grey level.
        """
        now = Preparation.of(app, self.size_px, self.form, options)
        # An option that this run's version did not know yet had its default.
        before = {**pixel_options(app, {}), **self.options}
        for name, value in now.options.items():
            if value != before[name]:
                msg = (
                    f"--{name} {value}: this run was trained with {before[name]}, and its scores "
                    f"would mean something else. Leave --{name} out, or train again with it."
                )
                raise RunError(msg)
        worst = max((abs(a - b) for a, b in zip(self.probe, now.probe, strict=True)), default=0.0)
        if worst > 1.0:
            msg = (
                f"The preparation of {app.name!r} has changed since this run was trained (by up to "
                f"{worst:.0f} of 255 grey levels), so its scores would mean something else. "
                "Install the resight version named in run.json, or train again."
            )
            raise RunError(msg)

    def as_dict(self) -> dict[str, Any]:
        """Plain content for ``run.json``."""
        return {
            "app": self.app,
            "size_px": list(self.size_px),
            "channels": self.form.channels,
            "dtype": self.form.dtype,
            "probe": list(self.probe),
            "options": dict(self.options),
            "hash": self.hash,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preparation:
        """The inverse of ``as_dict``."""
        height, width = content["size_px"]
        return cls(
            content["app"],
            (int(height), int(width)),
            Form(int(content["channels"]), content["dtype"]),
            tuple(content["probe"]),
            content["hash"],
            dict(content.get("options", {})),
        )


@dataclass(frozen=True)
class Prepared:
    """Prepared images, by row.

    Attributes:
        table: one row per manifest row that is ok, in its order: image_id,
            status, reason, quality, affine (nine numbers, row by row), and the
            app's prepared columns.
        shape: (H, W, C) of every image.
        maps: one memory map per segment, (n, H, W, C).
        where: (N, 2) segment and slot of each row; -1 where it failed.
    """

    table: pd.DataFrame
    shape: tuple[int, int, int]
    maps: list[NDArray[Any]] = field(repr=False)
    where: NDArray[np.int_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Pixels (H, W, C) of one row; a view of the file.

        Raises:
            IndexError: the row failed and has no pixels.
        """
        segment, slot = self.where[row]
        if segment < 0:
            msg = f"row {row} has no pixels: {self.table['reason'].iloc[row]}"
            raise IndexError(msg)
        pixels: NDArray[Any] = self.maps[segment][slot]
        return pixels


def store_size(size_px: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of stored images for a training size."""
    return (round(size_px[0] * STORE_SCALE), round(size_px[1] * STORE_SCALE))


def resize_to(pixels: NDArray[Any], size_px: tuple[int, int]) -> NDArray[Any]:
    """The whole stored image at another size; nothing is cut off.

    Args:
        pixels: (H, W, C).
        size_px: (H, W) wanted.
    """
    if pixels.shape[:2] == tuple(size_px):
        return pixels
    shrinks = pixels.shape[0] > size_px[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return resized(pixels, size_px, how)


def prepare_one(
    app: App,
    transform: Any,
    row: Mapping[str, Any],
    preparation: Preparation,
    *,
    with_hash: bool = False,
    with_grey: bool = False,
) -> dict[str, Any]:
    """Read and prepare one image; never raises for a bad one.

    Args:
        app: reads it.
        transform: of the app, for the size to store.
        row: of the manifest.
        preparation: what pixels are stored.
        with_hash: whether the pixels that were read are hashed, to find copies.
        with_grey: whether a small picture of them is made, to find changed copies.

    Returns:
        ``image`` (H, W, C) and the other keys of ``App.prepare``; ``read_px``,
        the (H, W) that ``read`` gave; ``content``, the hash, empty where all pixels are
        of one value; and ``grey`` (h, w), the picture made small (``core.data.facts.grey_of``),
        None where it shows nothing or was not asked for; or ``error`` with a one-line reason.
    """
    height, width = store_size(preparation.size_px)
    wanted = {**row, "at_least": (READ_SCALE * height, READ_SCALE * width)}

    def work() -> dict[str, Any]:
        pixels = preparation.form.conform(read_in_subprocess(app.read, wanted))
        content = _content(pixels) if with_hash else ""
        done = {"read_px": pixels.shape[:2], **transform({**row, "image": pixels})}
        done["content"] = content
        shows = with_grey and bool(content) and np.isfinite(pixels).all()
        done["grey"] = grey_of(pixels) if shows else None
        done["image"] = _checked(np.asarray(done["image"]), preparation)
        return done

    done, reason = attempt(work)
    return {"error": reason} if done is None else done


def _content(pixels: NDArray[Any]) -> str:
    """A hash of the pixels; empty where all are of one value, which shows nothing."""
    if not pixels.size or (pixels == pixels.flat[0]).all():
        return ""
    data = np.ascontiguousarray(pixels)
    digest = hashlib.blake2b(repr((data.shape, data.dtype.str)).encode(), digest_size=16)
    digest.update(data.data)
    return digest.hexdigest()


def _checked(image: NDArray[Any], preparation: Preparation) -> NDArray[Any]:
    """The prepared pixels, if they are what the store and the network expect."""
    expected = (*store_size(preparation.size_px), preparation.form.channels)
    if image.shape != expected or image.dtype.name != preparation.form.dtype:
        msg = f"was prepared as {image.shape} {image.dtype} instead of {expected}"
        raise ImageError(msg)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        msg = "holds values that are not numbers"
        raise ImageError(msg)
    return np.ascontiguousarray(image)


def prepare_table(
    manifest: pd.DataFrame,
    *,
    app: App,
    preparation: Preparation,
    home: Path | None = None,
    workers: int = 2,
    title: str = "preparing",
) -> Prepared:
    """Prepare every row that is ok, taking from the store what it already holds.

    Args:
        manifest: rows with an absolute ``path``; rows that are not ok are left out.
        app: gives ``read`` and ``prepare``.
        preparation: size and form.
        home: folder of the store; default ``cache_home()``.
        workers: threads; decoders release the interpreter lock.
        title: of the progress bar.

    Raises:
        OutputError: the store does not fit on the disk.
    """
    ok = manifest[manifest["status"] == "ok"]
    rows = [{str(k): v for k, v in r.items()} for r in ok.to_dict("records")]
    folder = (home or cache_home()) / "prepared" / preparation.hash[:24]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"{folder}: prepared images cannot be kept there ({error.strerror}). Set RESIGHT_HOME "
            "to a folder that you may write to; nothing in it is ever needed again."
        )
        raise OutputError(msg) from error
    keys = _content_keys(rows, workers)
    shape = (*store_size(preparation.size_px), preparation.form.channels)
    known = _read_index(folder)
    # Images that failed are tried again: a missing codec may be there now.
    held = {key for key, (_, entry) in known.items() if entry["slot"] >= 0}
    missing = [(key, row) for key, row in zip(keys, rows, strict=True) if key not in held]
    fresh = list(dict(missing).items())
    size = int(np.prod(shape)) * np.dtype(preparation.form.dtype).itemsize
    check_space(folder, int(1.05 * size * len(fresh)) + 50_000_000 * bool(fresh))
    with track(title, len(fresh)) as advance:
        for block in _blocks(fresh, SEGMENT):
            _write_segment(folder, block, app, preparation, workers, advance)
    return _open(folder, keys, rows, shape, app)


def _write_segment(
    folder: Path,
    block: Sequence[tuple[str, Mapping[str, Any]]],
    app: App,
    preparation: Preparation,
    workers: int,
    advance: Any,
) -> None:
    """Prepare some images and write them as one segment: pixels first, then the index."""
    transform = app.prepare(store_size(preparation.size_px))

    def work(entry: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
        done = prepare_one(app, transform, entry[1], preparation)
        advance(1)
        return done

    results = in_threads(work, block, workers=workers)
    index: dict[str, dict[str, Any]] = {}
    pixels: list[NDArray[Any]] = []
    for (key, _), done in zip(block, results, strict=True):
        entry: dict[str, Any] = {"slot": -1, "reason": done.get("error", "")}
        if "error" not in done:
            entry["slot"] = len(pixels)
            pixels.append(done["image"])
            affine = np.asarray(done.get("affine", np.eye(3)), dtype=np.float64)
            entry["affine"] = [float(v) for v in affine.ravel()]
            entry["quality"] = str(done.get("quality", ""))
            for column in app.prepared_columns:
                entry[column] = plain_json(done.get(column))
        index[key] = entry
    name = hashlib.sha256("".join(key for key, _ in block).encode()).hexdigest()[:16]
    if pixels:
        with atomic_file(folder / f"{name}.npy") as stream:
            np.lib.format.write_array(stream, np.stack(pixels), allow_pickle=False)
    write_json(folder / f"{name}.json", index)


def _open(
    folder: Path,
    keys: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    shape: tuple[int, int, int],
    app: App,
) -> Prepared:
    """Map the segments that hold these images."""
    import pandas as pd  # noqa: PLC0415  (keeps the module light for workers)

    known = _read_index(folder)
    lost = sum(key not in known for key in keys)
    if lost:
        msg = (
            f"{folder}: {lost:,} of {len(keys):,} prepared images cannot be read back. Repeat the "
            "command; where that does not help the disk fails, so set RESIGHT_HOME to another."
        )
        raise OutputError(msg)
    maps: list[NDArray[Any]] = []
    numbers: dict[str, int] = {}
    where = np.full((len(keys), 2), -1)
    records = []
    for i, (key, row) in enumerate(zip(keys, rows, strict=True)):
        segment, entry = known[key]
        if entry["slot"] >= 0:
            if segment not in numbers:
                numbers[segment] = len(maps)
                maps.append(np.load(folder / f"{segment}.npy", mmap_mode="r", allow_pickle=False))
            where[i] = numbers[segment], entry["slot"]
        record = {
            "image_id": row["image_id"],
            "status": "ok" if entry["slot"] >= 0 else "failed",
            "reason": entry["reason"],
            "quality": entry.get("quality", ""),
            "affine": entry.get("affine", [float("nan")] * 9),
        }
        record.update({column: entry.get(column) for column in app.prepared_columns})
        records.append(record)
    columns = ["image_id", "status", "reason", "quality", "affine", *app.prepared_columns]
    return Prepared(pd.DataFrame(records, columns=columns), shape, maps, where)


def _read_index(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Content key -> (segment, entry) of every complete segment; the latest wins."""
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns):
        with suppress(ValueError, OSError):
            for key, entry in json.loads(file.read_text(encoding="utf-8")).items():
                if entry["slot"] < 0 or file.with_suffix(".npy").is_file():
                    known[key] = (file.stem, entry)
    return known


def _content_keys(rows: Sequence[Mapping[str, Any]], workers: int) -> list[str]:
    """One key per row: the file's bytes and the columns that may change its pixels."""

    def content(path: str) -> str:
        try:
            with open_regular(Path(path)) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            return f"unreadable {error.errno} {path}"

    paths = sorted({str(row["path"]) for row in rows})
    by_path = dict(zip(paths, in_threads(content, paths, workers=workers), strict=True))
    keys = []
    for row in rows:
        extras = {k: str(v) for k, v in sorted(row.items()) if k not in _NOT_PIXELS}
        text = json.dumps([by_path[str(row["path"])], extras], sort_keys=True)
        keys.append(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest())
    return keys


def _blocks(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive blocks of at most ``size`` entries."""
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def full_scale(dtype: str) -> float:
    """The largest value a picture of this dtype has."""
    return {"uint8": 255.0, "uint16": 65535.0}.get(dtype, 1.0)


def synthetic_pictures(form: Form) -> Iterator[NDArray[Any]]:
    """Three small pictures that exercise a preparation: a ramp, a disc, a texture."""
    full = full_scale(form.dtype)
    rows, columns = np.mgrid[0:240, 0:320].astype(np.float64)
    ramp = (rows / 239 + columns / 319) / 2
    disc = ((rows - 120) ** 2 + (columns - 150) ** 2 < 95**2) * (0.3 + 0.5 * columns / 319)
    texture = 0.5 + 0.4 * np.sin(rows / 5.0) * np.cos(columns / 7.0)
    for plane in (ramp, disc, texture):
        tint = np.linspace(1.0, 0.6, form.channels)
        yield (plane[..., None] * tint * full).astype(form.dtype)

"""The verb ``similar``: the training images nearest to an image by what the network sees in it.

Nearness is the cosine between embeddings, each feature standardised over the training images.
It shows what the network takes for alike, which is not why an image has its class. The
embeddings of the training images are computed once, from the data where they lie, and kept
with other things that can be made again; the run does not hold them.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.base.jobs import Job, open_output
from core.base.machine import cache_home
from core.base.options import resolve_options
from core.base.outputs import atomic_file, csv_safe, seal, write_json, write_text
from core.base.progress import track
from core.base.settings import read_plan
from core.blocks import Pictures, Table, Text
from core.data.input_files import absolute_rows, require_apart
from core.errors import ManifestError
from core.prediction.scorer import Scorer
from core.report.html import render_page
from core.runs.results import read_table
from core.runs.run import load_run
from core.training.fingerprint import index_for
from core.verbs.predict import index_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from core.blocks import Block
    from core.runs.run import Run

__all__ = ["nearest", "similar"]

PAGE, TABLE = "similar.html", "similar.csv"
# Images whose neighbours are shown; a table of thousands is no page.
MOST_INPUTS = 50
# Longer side of a picture on the page, in pixels.
_PICTURE_PX = 200


@dataclass(frozen=True)
class _Known:
    """The training images: rows with their files, and (N, D) embeddings."""

    rows: list[dict[str, Any]]
    embeddings: NDArray[np.float32]


def similar(
    run_path: Path, inputs: Sequence[Path], out: Path, *, k: int = 6, device: str = "auto"
) -> dict[str, Any]:
    """Find the training images that a run's network sees as most alike.

    Args:
        run_path: a complete run whose training data are still where they were.
        inputs: images, or folders of them; 50 images at most.
        out: where the page and the table are written.
        k: neighbours of each.
        device: Lightning's accelerator name.

    Returns:
        ``out`` and ``similar``: for each input its ``image_id``, ``predicted`` and
        ``neighbours`` (``image_id``, ``label``, ``similarity`` between -1 and 1, nearest first).

    Raises:
        ManifestError: the training data are gone, or the inputs hold no readable image.
    """
    require_apart(out, [*inputs, run_path])
    run = load_run(run_path)
    options = resolve_options(run.app, "predict", {}, stored=run.options)
    found = index_inputs(run, inputs, options)
    asked = [row for row in absolute_rows(found) if row["status"] == "ok"]
    if not 0 < len(asked) <= MOST_INPUTS:
        msg = (
            f"{inputs[0]}: holds {len(asked):,} images, and neighbours are shown of 1 to "
            f"{MOST_INPUTS}. Name an image, or a folder of a few."
        )
        raise ManifestError(msg)
    scorer = Scorer(run, options=options, device=device)
    with open_output(out, Job("similar", replaces=True)):
        known = _known(run, run_path, scorer)
        theirs, good = _embed(scorer, asked, title="")
        asked = [asked[i] for i in good]
        if not asked:
            msg = f"{inputs[0]}: none of its images can be read. `resight predict` says why."
            raise ManifestError(msg)
        order, cosine = nearest(known.embeddings, theirs, k)
        predicted = list(scorer.score(asked)["predicted"].astype(str))
        entries = [
            {
                "image_id": str(row["image_id"]),
                "predicted": predicted[i],
                "neighbours": [
                    {
                        "image_id": str(known.rows[j]["image_id"]),
                        "label": str(known.rows[j]["label"]),
                        "similarity": round(float(cosine[i, place]), 4),
                    }
                    for place, j in enumerate(order[i])
                ],
            }
            for i, row in enumerate(asked)
        ]
        content = {"similar": entries, "n_training": len(known.rows), "model_id": run.model_id}
        write_json(out / "similar.json", content)
        write_text(out / TABLE, _csv(entries))
        pictures = _pictures(scorer, asked, known.rows, order)
        write_text(out / PAGE, _page(run, entries, len(known.rows), pictures))
        seal(out)
    return {**content, "out": str(out)}


def nearest(
    known: NDArray[np.float32], asked: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """The k rows of ``known`` (N, D) nearest to each row of ``asked`` (M, D).

    Returns:
        (M, k) row numbers, nearest first, and (M, k) cosines between features standardised
        over ``known``; k is at most N.
    """
    mean = known.mean(axis=0, dtype=np.float64)
    # A feature that is the same in every image tells nothing.
    spread = known.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)

    def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        standard = (rows - mean) * scale
        return np.asarray(standard / np.maximum(np.linalg.norm(standard, axis=1), 1e-12)[:, None])

    cosine = unit(asked) @ unit(known).T
    order = np.argsort(-cosine, axis=1, kind="stable")[:, : min(k, len(known))]
    return order, np.take_along_axis(cosine, order, axis=1)


def _known(run: Run, path: Path, scorer: Scorer) -> _Known:
    """The training images that can be read, and their embeddings from the cache or anew.

    Raises:
        ManifestError: their files are gone.
    """
    manifest = read_table(path / "manifest")
    trained = manifest[(manifest["split"] == "train") & (manifest["status"] == "ok")]
    labels = dict(zip(trained["image_id"], trained["label"].astype(str), strict=True))
    try:
        now = index_for(run.app, read_plan(path / "plan.yaml")[0], run.options)
    except ManifestError as error:
        msg = f"The images that {path} was trained on are needed, and are not there: {error}"
        raise ManifestError(msg) from error
    rows = [
        {**row, "label": labels[row["image_id"]]}
        for row in absolute_rows(now)
        if row["image_id"] in labels and Path(row["path"]).exists()
    ]
    if not rows:
        msg = (
            f"None of the {len(labels):,} images that {path} was trained on is where it was "
            f"({now.root}). Put the data back to search in them."
        )
        raise ManifestError(msg)
    rows.sort(key=lambda row: str(row["image_id"]))
    store = cache_home() / "similar" / f"{run.model_id}.npz"
    ids = np.array([str(row["image_id"]) for row in rows])
    if store.is_file():
        with np.load(store, allow_pickle=False) as stored:
            if np.array_equal(stored["ids"], ids):
                kept = [rows[i] for i in stored["good"]]
                return _Known(kept, stored["embeddings"])
    embeddings, good = _embed(scorer, rows, title="training images")
    store.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(store) as stream:
        np.savez(stream, ids=ids, good=good, embeddings=embeddings)
    return _Known([rows[i] for i in good], embeddings)


def _embed(
    scorer: Scorer, rows: Sequence[dict[str, Any]], *, title: str
) -> tuple[NDArray[np.float32], NDArray[np.int_]]:
    """(M, D) embeddings by the run's first network, and which of the rows they are of."""
    parts, good = [], []
    with track(title or "image", len(rows) if title else 0) as advance:
        for start in range(0, len(rows), scorer.block):
            block = rows[start : start + scorer.block]
            done = scorer.forward(block)
            if len(done.good):
                parts.append(done.results[0].embeddings)
                good.append(start + done.good)
            advance(len(block))
    if not parts:
        return np.zeros((0, 1), np.float32), np.zeros(0, int)
    return np.concatenate(parts), np.concatenate(good)


def _csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """One row per neighbour, as CSV that a spreadsheet shows and does not execute."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image_id", "predicted", "rank", "neighbour", "label", "similarity"])
    for entry in entries:
        for rank, other in enumerate(entry["neighbours"], start=1):
            found = (other["image_id"], other["label"], other["similarity"])
            cells = (entry["image_id"], entry["predicted"], rank, *found)
            writer.writerow([csv_safe(cell) for cell in cells])
    return stream.getvalue()


def _pictures(
    scorer: Scorer,
    asked: Sequence[Mapping[str, Any]],
    known: Sequence[Mapping[str, Any]],
    order: NDArray[np.int_],
) -> list[list[bytes]]:
    """Of each input, its picture and those of its neighbours, as JPEG."""
    made: dict[int, bytes] = {}
    for j in {int(j) for row in order for j in row}:
        made[j] = _jpeg(scorer.picture(known[j]))
    return [
        [_jpeg(scorer.picture(row)), *(made[int(j)] for j in order[i])]
        for i, row in enumerate(asked)
    ]


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as a small JPEG."""
    scale = min(1.0, _PICTURE_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def _page(
    run: Run,
    entries: Sequence[Mapping[str, Any]],
    n_training: int,
    pictures: Sequence[Sequence[bytes]],
) -> str:
    """The page to look at."""
    import pandas as pd  # noqa: PLC0415  (0.5 s to import)

    lead = (
        f"Nearest of {n_training:,} training images by the network's embedding (cosine of "
        "standardised features). They show what the network takes for alike, not why an image has "
        "its class."
    )
    sections: list[tuple[str, Sequence[Block]]] = []
    for entry, shown in zip(entries, pictures, strict=True):
        others = entry["neighbours"]
        titles = [run.task.title(other["label"]) for other in others]
        same = sum(other["label"] == entry["predicted"] for other in others)
        captions = [f"this image, predicted {run.task.title(entry['predicted'])}"]
        captions += [
            f"{title}, {other['similarity']:.2f}: {other['image_id']}"
            for title, other in zip(titles, others, strict=True)
        ]
        frame = pd.DataFrame(
            {
                "Training image": [other["image_id"] for other in others],
                "Label": titles,
                "Similarity": [f"{other['similarity']:.3f}" for other in others],
            }
        )
        words = f"{same} of its {len(others)} nearest have the class that is predicted."
        blocks: list[Block] = [
            Text(words),
            Pictures("Nearest training images", list(zip(shown, captions, strict=True))),
            Table(frame=frame, numeric=("Similarity",)),
        ]
        sections.append((str(entry["image_id"]), blocks))
    return render_page(f"{run.app.title}: similar images", lead=lead, sections=sections)

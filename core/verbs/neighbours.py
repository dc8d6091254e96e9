"""The training images nearest to an image by what a run's network sees in it.

Nearness is the cosine between embeddings, each feature standardised over the training images.
The embeddings of the training images are computed once, from the data where they lie, and kept
with other things that can be made again; the run does not hold them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.base.machine import cache_home
from core.base.outputs import atomic_file
from core.base.progress import track
from core.base.settings import read_plan
from core.data.input_files import absolute_rows
from core.data.training_data import index_for
from core.errors import ConfigError, ManifestError
from core.runs.table_files import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.prediction.scorer import Scorer
    from core.report.predictions_page import Thumbnails
    from core.runs.run import Run

__all__ = ["embed", "known_images", "nearest", "on_the_page", "require_training_data"]


@dataclass(frozen=True)
class Known:
    """The training images: rows with their files, and (N, D) embeddings."""

    rows: list[dict[str, Any]]
    embeddings: NDArray[np.float32]


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


def require_training_data(run_path: Path) -> None:
    """Refuse at once where a run does not say what it was trained on.

    Raises:
        ConfigError: it is an exported model.
    """
    if not (run_path / "plan.yaml").is_file():
        msg = (
            f"{run_path}: does not say where its training images are, so no similar ones can be "
            "shown. Pass the run itself, not an exported model, or leave --similar out."
        )
        raise ConfigError(msg)


def on_the_page(
    run: Run,
    scorer: Scorer,
    rows: Sequence[dict[str, Any]],
    thumbnails: Thumbnails,
    *,
    k: int,
) -> dict[str, list[tuple[str, str, float]]]:
    """The nearest training images of every input that has a picture on the predictions page.

    Args:
        run: whose training data are where they were.
        scorer: of the run.
        rows: of the inputs.
        thumbnails: where the pictures of the training images are kept, too.
        k: neighbours of each; 0 asks for none.

    Returns:
        image_id -> (file of the picture, title of the class, cosine), nearest first.

    Raises:
        ManifestError: the training data are gone.
    """
    if not k:
        return {}
    known = known_images(run, run.path, scorer)
    asked = [row for row in rows if row["status"] == "ok" and thumbnails.name(row["image_id"])]
    scorer.keep = None
    theirs, good = embed(scorer, asked, title="similar images")
    if not len(good):
        return {}
    order, cosine = nearest(known.embeddings, theirs, k)
    for place in sorted({int(place) for row in order for place in row}):
        thumbnails.keep_other(place, scorer.picture(known.rows[place]))
    return {
        str(asked[i]["image_id"]): [
            (
                thumbnails.other(int(place)),
                run.task.title(str(known.rows[place]["label"])),
                round(float(cosine[n, rank]), 3),
            )
            for rank, place in enumerate(order[n])
        ]
        for n, i in enumerate(good)
    }


def known_images(run: Run, path: Path, scorer: Scorer) -> Known:
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
                return Known(kept, stored["embeddings"])
    embeddings, good = embed(scorer, rows, title="training images")
    store.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(store) as stream:
        np.savez(stream, ids=ids, good=good, embeddings=embeddings)
    return Known([rows[i] for i in good], embeddings)


def embed(
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

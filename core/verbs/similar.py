"""The verb ``similar``: the training images nearest to an image by what the network sees in it.

It shows what the network takes for alike, which is not why an image has its class.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import cv2

from core.base.jobs import Job, open_output
from core.base.options import resolve_options
from core.base.outputs import csv_safe, seal, write_json, write_text
from core.blocks import Pictures, Table, Text
from core.data.input_files import absolute_rows, require_apart
from core.data.resizing import shrunk
from core.errors import ManifestError
from core.prediction.scorer import Scorer
from core.report.html import render_page
from core.runs.run import load_run
from core.verbs.neighbours import embed, known_images, nearest
from core.verbs.predict import index_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from core.blocks import Block
    from core.runs.run import Run

__all__ = ["similar"]

PAGE, TABLE = "similar.html", "similar.csv"
# Images whose neighbours are shown; a table of thousands is no page.
MOST_INPUTS = 50
# Longer side of a picture on the page, in pixels.
_PICTURE_PX = 200


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
        known = known_images(run, run_path, scorer)
        theirs, good = embed(scorer, asked, title="")
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
    small = shrunk(picture, _PICTURE_PX)
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

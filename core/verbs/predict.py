"""``resight predict``: files, folders, globs, lists in; one row per input out.

Images are read, prepared and scored in blocks of a fixed size, and each block
is appended to a journal that is synced to disk before the next begins. Memory
stays flat whatever the number of inputs; a killed job goes on behind the last
whole block and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import torch

from core.app import ExportContext, Manifest, Source, Unit
from core.base.options import resolve_options
from core.base.outputs import claim, is_complete, seal, write_json
from core.base.progress import amount, log, track
from core.base.tables import check_manifest
from core.cards.licence_terms import summary_of_terms
from core.data.loader import resize_to
from core.data.manifest import locate
from core.data.prepared import Preparation, prepare_one, store_size
from core.data.recognition import index_with_cards
from core.errors import ManifestError, RunError
from core.evaluation.units import decisions_of
from core.model.inference import pick_device, run_batch
from core.runs.predictions import predictions_of
from core.runs.results import read_table, visible, write_table
from core.runs.run import Run, load_run
from core.verbs.evaluate import final_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.model.network import Network
    from core.model.out_of_distribution import Familiarity
    from core.runs.run import Member

__all__ = ["Scored", "predict", "score_labelled"]

# Inputs scored together and appended to the journal at once.
BLOCK = 32
JOURNAL = "journal.jsonl"
NOT_A_DEVICE = (
    "For research. Not a medical device; no decision about a person may rest on it alone."
)


@dataclass(frozen=True)
class Scored:
    """A labelled folder, scored.

    Attributes:
        predictions: one row per input.
        manifest: of the folder.
        root: that its paths start from.
        notes: what was assumed, and which classes are absent.
        picture, saliency: image_id -> what a person can look at.
    """

    predictions: pd.DataFrame
    manifest: pd.DataFrame
    root: Path
    notes: list[str]
    picture: Callable[[str], NDArray[Any]]
    saliency: Callable[[str], NDArray[Any]]


class Scorer:
    """Rows of a manifest -> logits, distances and what the preparation said, block by block.

    Args:
        run: a loaded run.
        options: the app's own, as resolved for the command.
        device: Lightning's accelerator name.
        workers: threads that decode.
    """

    def __init__(
        self,
        run: Run,
        *,
        options: Mapping[str, Any],
        device: str = "auto",
        workers: int | None = None,
    ) -> None:
        self.run = run
        self.device = pick_device(device)
        for member in run.members:
            member.preparation.require_same(run.app, options)
        self.members: list[tuple[Member, Network, Familiarity]] = [
            (member, network.to(self.device), familiarity)
            for member, network, familiarity in run.networks()
        ]
        self.transforms = {
            member.preparation.hash: run.app.prepare(store_size(member.preparation.size_px))
            for member in run.members
        }
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.pool = ThreadPoolExecutor(max_workers=workers or min(8, cores or 1))
        self._begun: dict[tuple[str, str], Future[dict[str, Any]]] = {}

    def prepare(self, row: Mapping[str, Any], preparation: Preparation) -> dict[str, Any]:
        """One input, read and prepared as in training; ``error`` holds the reason if it failed."""
        return prepare_one(self.run.app, self.transforms[preparation.hash], row, preparation)

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start to read rows that will be scored soon, while those before are scored.

        Members that were trained on the same preparation share what is read.
        """
        for row in rows:
            for preparation in {
                m.preparation.hash: m.preparation for m, _, _ in self.members
            }.values():
                key = (preparation.hash, str(row["image_id"]))
                if row["status"] == "ok" and key not in self._begun:
                    self._begun[key] = self.pool.submit(self.prepare, row, preparation)

    def score(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Prediction rows of one block of manifest rows that are ok."""
        logits, distances, attended = [], [], []
        first: list[dict[str, Any]] = []
        self.begin(rows)
        for member, network, familiarity in self.members:
            preparation = member.preparation
            keys = [(preparation.hash, str(row["image_id"])) for row in rows]
            done = [self._begun[key].result() for key in keys]
            first = first or [{k: v for k, v in d.items() if k != "image"} for d in done]
            good = [i for i, d in enumerate(done) if "error" not in d]
            n_out = network.head.bias.numel()
            z, d = np.full((len(rows), n_out), np.nan), np.full(len(rows), np.nan)
            if good:
                pixels = np.stack(
                    [
                        resize_to(done[i]["image"], preparation.size_px).transpose(2, 0, 1)
                        for i in good
                    ]
                )
                z[good], embeddings = run_batch(
                    network, torch.from_numpy(np.ascontiguousarray(pixels))
                )
                d[good] = familiarity.distance(embeddings)
            if network.attention is not None:
                weighed = np.full((len(rows), 1 + n_out), np.nan)
                if good:
                    weighed[good] = network.attention.of_images(embeddings)
                attended.append(weighed)
            logits.append(z / member.temperature)
            distances.append(d)
        for member, _, _ in self.members:
            for row in rows:
                self._begun.pop((member.preparation.hash, str(row["image_id"])), None)
        table = pd.DataFrame(list(rows))
        errors = [done.get("error", "") for done in first]
        table["status"] = ["failed" if error else "ok" for error in errors]
        table["reason"] = errors
        table["quality"] = [str(done.get("quality", "")) for done in first]
        for column in self.run.app.prepared_columns:
            table[column] = [done.get(column) for done in first]
        return predictions_of(
            table,
            np.average(logits, axis=0, weights=[m.weight for m, _, _ in self.members]),
            np.mean(distances, axis=0),
            app=self.run.app,
            task=self.run.task,
            link=self.run.link,
            temperature=self.run.temperature,
            threshold=self.run.threshold,
            unfamiliar_above=float(self.run.content["unfamiliar_above"]),
            model_id=self.run.model_id,
            # Members average what they say of an image, then images are weighted once.
            attended=np.mean(attended, axis=0) if len(attended) == len(self.members) else None,
        )

    def picture(self, row: Mapping[str, Any]) -> NDArray[Any]:
        """Prepared pixels (H, W, 3) uint8 of one input, for a person."""
        preparation = self.members[0][0].preparation
        return visible(resize_to(self.prepare(row, preparation)["image"], preparation.size_px))

    def saliency(self, row: Mapping[str, Any], *, in_source: bool) -> NDArray[np.float32]:
        """(H, W) in [0, 1] of one input, over the prepared picture or over the source's pixels."""
        from core.report.saliency import saliency_map  # noqa: PLC0415  (imports MONAI)

        member, network, _ = self.members[0]
        done = self.prepare(row, member.preparation)
        pixels = resize_to(done["image"], member.preparation.size_px).transpose(2, 0, 1)
        batch = torch.from_numpy(np.ascontiguousarray(pixels))[None].to(self.device)
        heat = saliency_map(network, batch, class_index=None, target_layer=network.last_stage)
        if not in_source:
            return heat
        shape = self.run.app.read(row).shape[:2]
        affine = np.asarray(done.get("affine", np.eye(3)), dtype=np.float64)
        affine = scaled(done["read_px"], shape) @ affine
        return to_source(heat, affine, stored=done["image"].shape[:2], shape=(shape[0], shape[1]))


def predict(
    run_path: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    allow_outside: bool = False,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> dict[str, Any]:
    """Score new images.

    Args:
        run_path: a complete run.
        inputs: files, folders, tables, or globs already expanded.
        out: directory of the outputs; resumed if a job was killed there.
        allow_outside: whether a table may name files outside of its folder.
        options: the app's own; those of the run hold where none is given.
        device: Lightning's accelerator name.
        workers: threads that decode; default one per core.

    Returns:
        the content of ``summary.json`` and ``out``.

    Raises:
        ResightError: the run or the inputs must change.
    """
    run = load_run(run_path)
    own = resolve_options(run.app, "predict", options or {}, stored=run.options)
    found = run.app.index(
        Source(
            paths=tuple(inputs),
            labelled=False,
            task=run.task,
            allow_outside=allow_outside,
            options=own,
            trained=run.content.get("facts", {}),
        )
    )
    table = found.table
    if not len(table):
        msg = (
            f"{', '.join(str(p) for p in inputs[:3])}: holds no input. Pass images, folders or "
            f"tables."
        )
        raise ManifestError(msg)
    with claim(out):
        job = {
            "model_id": run.model_id,
            "threshold": run.threshold,
            "inputs": hashlib.sha256(
                "\n".join(sorted(table["image_id"])).encode("utf-8", "surrogateescape")
            ).hexdigest(),
            "options": {k: str(v) for k, v in sorted(own.items())},
        }
        _same_job(out, job)
        if is_complete(out):
            return {
                **json.loads((out / "summary.json").read_text(encoding="utf-8")),
                "out": str(out),
            }
        write_json(out / "job.json", job)
        rows = absolute(found)
        scorer = Scorer(run, options=own, device=device, workers=workers)
        order = sorted(range(len(rows)), key=lambda i: rows[i]["image_id"])
        ordered = [rows[i] for i in order]
        predictions = _stream(out / JOURNAL, ordered, scorer, extent=found.extent)
        predictions["path"] = [row["shown"] for row in ordered]
        decisions = decisions_of(
            predictions,
            task=run.task,
            units=[
                Unit(name=u["name"], columns=tuple(u["columns"]), rule=u["rule"])
                for u in run.content["units"]
            ],
            threshold=run.threshold,
        )
        write_table(out / "predictions", predictions)
        for unit, level in decisions.items():
            if unit != "image":
                write_table(out / f"decisions_{unit}", level)
        files = _export(out, run, scorer, predictions, decisions, ordered, own)
        summary = _summary(run, predictions, found, files)
        write_json(out / "summary.json", summary)
        (out / JOURNAL).unlink(missing_ok=True)
        seal(out)
    return {**summary, "out": str(out)}


def score_labelled(
    run: Run,
    data: Path,
    *,
    label: str | None,
    group: str | None,
    card: str | None,
    allow_outside: bool,
    options: Mapping[str, Any],
) -> Scored:
    """Score a labelled folder with the classes of the run.

    Raises:
        ManifestError: a label is not a class of the run.
    """
    from dataclasses import replace  # noqa: PLC0415

    task = run.task if label is None else replace(run.task, label=label)
    own = resolve_options(run.app, "evaluate", options, stored=run.options)
    source = Source(
        paths=(data.resolve(),),
        labelled=True,
        task=task,
        label=label,
        group=group,
        allow_outside=allow_outside,
        options=own,
        trained=run.content.get("facts", {}),
    )
    found, _ = index_with_cards(run.app, source, card, trains=False)
    check_manifest(found.table, labelled=True)
    labels = set(found.table.loc[found.table["status"] == "ok", "label"].astype(str))
    run.task.with_classes(sorted(labels))
    notes = list(found.notes)
    absent = [name for name in run.task.classes if name not in labels]
    if absent and run.task.kind != "multilabel":
        notes.append(
            f"The new data hold no image of {len(absent)} class(es) of the run: "
            f"{', '.join(absent)}. "
            "Numbers of these classes are not estimable here."
        )
    table = found.table.assign(split="new data")
    rows = absolute(Manifest(table=table, root=found.root))
    scorer = Scorer(run, options=own)
    by_id = {row["image_id"]: row for row in rows}
    blocks, parts = list(_blocks(rows)), []
    with track("scoring", len(rows)) as advance:
        for number, block in enumerate(blocks):
            _read_ahead(blocks, number, scorer)
            parts.append(_with_missing(block, scorer))
            advance(len(block))
    predictions = pd.concat(parts, ignore_index=True)
    return Scored(
        predictions=predictions,
        manifest=table,
        root=found.root,
        notes=notes,
        picture=lambda image_id: scorer.picture(by_id[image_id]),
        saliency=lambda image_id: scorer.saliency(by_id[image_id], in_source=False),
    )


def to_source(
    heat: NDArray[np.float32],
    affine: NDArray[np.float64],
    *,
    stored: tuple[int, int],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """A map over the network's pixels, laid over the source's.

    Args:
        heat: (H, W) at the size of the network.
        affine: (3, 3), stored (row, col, 1) -> source (row, col, 1), pixel centres.
        stored: (H, W) of the stored image.
        shape: (H, W) of the source.

    Returns:
        (H, W) of the source; 0 where the preparation left the source out.
    """
    to_heat = np.linalg.inv(affine @ scaled(heat.shape, stored))
    # OpenCV counts (x, y), which is (col, row).
    swap = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = (swap @ to_heat @ swap)[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(np.ascontiguousarray(heat), matrix, shape[::-1], flags=flags)
    return np.asarray(laid, dtype=np.float32)


def scaled(small: tuple[int, ...], large: tuple[int, ...]) -> NDArray[np.float64]:
    """(3, 3), (row, col, 1) of one grid -> of another over the same picture, pixel centres.

    >>> [float(v) for v in scaled((2, 2), (4, 8)) @ [0.0, 0.0, 1.0]]
    [0.5, 1.5, 1.0]
    """
    # (r + 0.5) * scale - 0.5
    scale = np.diag([large[0] / small[0], large[1] / small[1], 1.0])
    scale[:2, 2] = 0.5 * np.diag(scale)[:2] - 0.5
    return scale


def absolute(found: Manifest) -> list[dict[str, Any]]:
    """Manifest rows with an absolute ``path``, and the path to show in ``shown``."""
    rows = [{str(k): v for k, v in r.items()} for r in found.table.to_dict("records")]
    for row in rows:
        row["shown"] = row["path"]
        row["path"] = str(locate(found.root, str(row["path"])))
    return rows


def _blocks(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Consecutive blocks; the number of rows before a block fixes what is in it."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _read_ahead(blocks: Sequence[Sequence[dict[str, Any]]], number: int, scorer: Scorer) -> None:
    """Read the next block while this one is scored; no more, so that memory stays flat."""
    for block in blocks[number : number + 2]:
        scorer.begin(block)


def _with_missing(block: Sequence[dict[str, Any]], scorer: Scorer) -> pd.DataFrame:
    """Prediction rows of a block, in its order, skipped inputs among them."""
    ok = [row for row in block if row["status"] == "ok"]
    rest = [row for row in block if row["status"] != "ok"]
    parts = []
    if ok:
        parts.append(scorer.score(ok))
    if rest:
        nothing = np.full((len(rest), scorer.members[0][1].head.bias.numel()), np.nan)
        parts.append(
            predictions_of(
                pd.DataFrame(rest).assign(quality=""),
                nothing,
                nothing[:, 0],
                app=scorer.run.app,
                task=scorer.run.task,
                link=scorer.run.link,
                temperature=1.0,
                threshold=None,
                unfamiliar_above=1.0,
                model_id=scorer.run.model_id,
            )
        )
    table = pd.concat(parts, ignore_index=True).set_index("image_id")
    return table.loc[[row["image_id"] for row in block]].reset_index()


def _stream(
    journal: Path,
    rows: Sequence[dict[str, Any]],
    scorer: Scorer,
    *,
    extent: tuple[str, str] = ("", "images"),
) -> pd.DataFrame:
    """Score what the journal does not hold yet, and return all rows in order.

    Args:
        journal: finished blocks.
        rows: of the manifest, in the order they are read.
        scorer: of the run.
        extent: see ``Manifest.extent``.
    """
    done = _read_journal(journal)
    column, unit = extent
    sizes = [float(row[column] or 0) if column else 1.0 for row in rows]
    start, finished = time.monotonic(), 0.0
    with track("predicting", sum(sizes), unit=unit) as advance, journal.open("ab") as stream:
        blocks = list(_blocks(rows))
        for number, block in enumerate(blocks):
            here = sum(sizes[number * BLOCK : number * BLOCK + len(block)])
            if number < len(done):
                advance(here)
                continue
            _read_ahead(blocks, number, scorer)
            table = _with_missing(block, scorer)
            text = table.to_json(orient="table", index=False, double_precision=15)
            line = json.dumps([number, zlib.crc32(text.encode()), text]).encode()
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
            advance(here)
            finished += here
    minutes = (time.monotonic() - start) / 60
    if column and finished:
        words = (amount(finished), unit, minutes, amount(finished / minutes), unit)
        log.info("predicted %s %s in %.1f min, %s %s a minute", *words)
    frames = [
        pd.read_json(io.StringIO(text), orient="table", precise_float=True)
        for text in _read_journal(journal)
    ]
    return pd.concat(frames, ignore_index=True)


def _read_journal(journal: Path) -> list[str]:
    """The whole blocks of a journal, in order; a torn or damaged tail is cut off."""
    if not journal.is_file():
        return []
    texts: list[str] = []
    good = 0
    for raw in journal.read_bytes().split(b"\n")[:-1]:
        try:
            number, checksum, text = json.loads(raw)
        except ValueError:
            break
        if number != len(texts) or zlib.crc32(text.encode()) != checksum:
            break
        texts.append(text)
        good += len(raw) + 1
    if good != journal.stat().st_size:
        os.truncate(journal, good)
    return texts


def _export(
    out: Path,
    run: Run,
    scorer: Scorer,
    predictions: pd.DataFrame,
    decisions: Mapping[str, pd.DataFrame],
    rows: Sequence[dict[str, Any]],
    options: Mapping[str, Any],
) -> list[str]:
    """Write what the app exports beside the tables; returns the names of the files."""
    by_id = {row["image_id"]: row for row in rows}
    context = ExportContext(
        out=out,
        predictions=predictions,
        decisions=decisions,
        manifest=pd.DataFrame(list(rows)).drop(columns=["shown"]),
        task=run.task,
        run=run.content,
        options=options,
        read=lambda image_id: run.app.read(by_id[image_id]),
        judged=_judged(run),
        saliency=lambda image_id: scorer.saliency(by_id[image_id], in_source=True),
    )
    files: list[str] = []
    for export in run.app.exports:
        if export.option and not options.get(export.option):
            continue
        for path in export.write(context):
            if not path.resolve().is_relative_to(out.resolve()):
                msg = f"the export {export.name!r} of {run.app.name} wrote {path}, outside of {out}"
                raise RuntimeError(msg)
            files.append(path.relative_to(out).as_posix())
    return sorted(files)


def _judged(run: Run) -> pd.DataFrame | None:
    """The run's own predictions of what was held out; None where they are not beside it."""
    if not (run.path / "predictions.parquet").is_file():
        return None
    table = read_table(run.path / "predictions")
    return table[table["split"].fillna("") == final_split(table)].reset_index(drop=True)


def _summary(
    run: Run, predictions: pd.DataFrame, found: Manifest, files: Sequence[str]
) -> dict[str, Any]:
    """What became of the inputs, in numbers and words."""
    status = predictions["status"].value_counts()
    reasons = predictions.loc[predictions["status"] != "ok", "reason"].value_counts()
    ok = predictions[predictions["status"] == "ok"]
    unfamiliar = int(ok["unfamiliar"].sum())
    notes = list(found.notes)
    if len(ok) and unfamiliar > 0.05 * len(ok):
        notes.append(
            f"{unfamiliar} of {len(ok):,} images look unlike those the model was trained on "
            "(another camera, another crop, another kind of picture?). Look at them before you "
            "use the scores."
        )
    return {
        "schema": 1,
        "intended_use": run.content["intended_use"],
        "not_a_medical_device": NOT_A_DEVICE,
        "model_id": run.model_id,
        "app": run.app.name,
        "task": run.content["task"]["name"],
        "cards": run.content.get("cards", []),
        "terms": summary_of_terms(run.content),
        "preparation": run.members[0].preparation.hash,
        "temperature": run.temperature,
        "operating_point": run.content.get("operating_point"),
        "n_inputs": len(predictions),
        "n_ok": int(status.get("ok", 0)),
        "n_failed": int(status.get("failed", 0)),
        "n_skipped": int(status.get("skipped", 0)),
        "n_unfamiliar": unfamiliar,
        "n_quality_flagged": int((ok["quality"].fillna("") != "").sum()),
        "reasons": {str(k): int(v) for k, v in reasons.items()},
        "decisions": {
            str(k): int(v) for k, v in ok["decision"].value_counts().sort_index().items()
        },
        "notes": notes,
        "versions": run.content["versions"],
        "files": list(files),
    }


def _same_job(out: Path, job: Mapping[str, Any]) -> None:
    """Refuse to mix two predictions in one directory."""
    file = out / "job.json"
    others = sorted(f.name for f in out.iterdir() if f.name not in {".lock", "job.json"})
    if not file.is_file():
        if others:
            msg = (
                f"{out}: holds files of something else (first: {others[0]}). Choose another --out."
            )
            raise RunError(msg)
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = [name for name in job if before.get(name) != job[name]]
    if changed:
        msg = (
            f"{out}: holds a prediction that differs in {', '.join(changed)}. Choose another "
            f"--out, "
            "or remove that directory."
        )
        raise RunError(msg)

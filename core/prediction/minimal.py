"""``predict_minimal.py``: file -> scores in some seventy lines, written beside an exported model.

A score without the mark of an image unlike the training would mislead, so the mark is printed
beside it. For apps whose preparation is to fit a photograph into a frame the program needs numpy,
Pillow, OpenCV, safetensors and ONNX Runtime only. Other preparations (a breast, a retina) are
too long to write out; there the program takes them from the installed resight,
which imports no torch for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.data.prepared import store_size

if TYPE_CHECKING:
    from core.runs.run import Run

__all__ = ["minimal_script"]

_HEAD = '''"""Scores of images with {title}: {usage}

Written by `resight export`; model {model_id}. Research only, not a medical device.
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the library is loaded

import numpy as np
import onnxruntime
{imports}
from safetensors.numpy import load_file

CLASSES = {classes!r}
MEMBERS = {members!r}  # file, temperature, weight
TEMPERATURE = {temperature!r}
UNFAMILIAR_ABOVE = {unfamiliar_above!r}
SIZE, STORED = {size!r}, {stored!r}  # (H, W)

{pixels}


def scores(logits):
    """Logits (L,) -> one score per class."""
{link}


def distance(embedding, known):
    """Embedding (D,) -> how far from those of the training images."""
    centred = embedding.astype(np.float64) - known["mean"]
    inside, (rest, scale) = centred @ known["directions"], known["rest_scale"]
    outside = max((centred**2).sum() - (inside**2).sum(), 0.0)
    return np.sqrt((inside**2 / known["variance"]).mean() + outside / rest) / scale


def main():
    sessions = [onnxruntime.InferenceSession(name) for name, _, _ in MEMBERS]
    known = [load_file(name.removesuffix(".onnx") + ".familiarity.safetensors")
             for name, _, _ in MEMBERS]
    print("file", *CLASSES, "unlike the training", sep="\\t")
    for path in sys.argv[1:]:
        image = pixels(path)
        found = [s.run(["logits", "embedding"], {{"pixels": image[None]}}) for s in sessions]
        logits = [z[0] / t for (z, _), (_, t, _) in zip(found, MEMBERS)]
        mean = np.average(logits, axis=0, weights=[w for _, _, w in MEMBERS])
        away = np.mean([distance(e[0], k) for (_, e), k in zip(found, known)])
        mark = "yes" if away > UNFAMILIAR_ABOVE else "no"
        print(path, *(f"{{v:.6f}}" for v in scores(mean / TEMPERATURE)), mark, sep="\\t")


main()
'''

_PHOTO = '''
def fit(image, size):
    """The whole picture, shrunk by averaging or enlarged linearly."""
    how = cv2.INTER_AREA if image.shape[0] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=how)


def pixels(path):
    """File -> (C, H, W) uint8: upright, fitted into the frame, centred, padded."""
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    scale = min(STORED[0] / image.shape[0], STORED[1] / image.shape[1])
    inner = [min(full, max(1, round(side * scale))) for full, side in zip(STORED, image.shape)]
    if tuple(inner) != image.shape[:2]:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (inner[1], inner[0]), interpolation=how)
    top, left = (STORED[0] - inner[0]) // 2, (STORED[1] - inner[1]) // 2
    frame = np.empty((*STORED, 3), np.uint8)
    frame[...] = {padding!r}
    frame[top : top + inner[0], left : left + inner[1]] = image
    return np.ascontiguousarray(fit(frame, SIZE).transpose(2, 0, 1))'''

_ANY = '''
def pixels(path):
    """File -> (C, H, W): read and prepared by the app, without torch."""
    app = find_app({app!r})
    row = {{"path": path, "image_id": path, "status": "ok"}}
    image = Form({channels}, {dtype!r}).conform(app.read(row))
    image = app.prepare(STORED)({{**row, "image": image}})
    return np.ascontiguousarray(resize_to(np.asarray(image["image"]), SIZE).transpose(2, 0, 1))'''

_LINKS = {
    "softmax": "    e = np.exp(logits - logits.max())\n    return e / e.sum()",
    "sigmoid": "    return 1 / (1 + np.exp(-logits))",
    "cumulative": (
        "    above = np.minimum.accumulate(1 / (1 + np.exp(-logits)))\n"
        "    return -np.diff(np.concatenate([[1.0], above, [0.0]]))"
    ),
}


def minimal_script(run: Run) -> str:
    """The text of ``predict_minimal.py`` for a run."""
    first = run.members[0]
    form = first.preparation.form
    frame = run.app.frame_colour if form.channels == 3 and form.dtype == "uint8" else None
    if frame is not None:
        imports, pixels = "import cv2\nfrom PIL import Image, ImageOps", _PHOTO
        pixels = pixels.replace("{padding!r}", repr(tuple(frame)))
    else:
        imports = "from core.app import find_app\nfrom core.data.prepared import Form, resize_to"
        pixels = _ANY.format(app=run.app.name, channels=form.channels, dtype=form.dtype)
    many = len(run.members) > 1
    return _HEAD.format(
        title=run.app.title,
        usage="python predict_minimal.py IMAGE ...",
        model_id=run.model_id,
        imports=imports,
        classes=run.task.classes,
        members=[
            (f"member-{i}.onnx" if many else "model.onnx", m.temperature, m.weight)
            for i, m in enumerate(run.members)
        ],
        temperature=run.temperature,
        unfamiliar_above=float(run.content["unfamiliar_above"]),
        size=tuple(first.preparation.size_px),
        stored=store_size(first.preparation.size_px),
        pixels=pixels.strip("\n"),
        link=_LINKS.get(run.link, _LINKS["softmax"]),
    )

"""``predict_minimal.py``: file -> scores in some forty lines, written beside an exported model.

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

_HEAD = '''"""Scores of images with {title}: python predict_minimal.py IMAGE ...

Model {model_id}, written by `resight export`. Research only, not a medical device.
"""
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the library is loaded

import numpy as np
{imports}
from onnxruntime import InferenceSession
from safetensors.numpy import load_file

CLASSES = {classes!r}
MEMBERS = {members!r}  # file, temperature, share
TEMPERATURE, UNFAMILIAR_ABOVE = {temperature!r}, {unfamiliar_above!r}
SIZE, STORED = {size!r}, {stored!r}  # (H, W)

{pixels}

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
members = [(InferenceSession(here + f), load_file(here + f[:-5] + ".familiarity.safetensors"), *n)
           for f, *n in MEMBERS]
print("file", *CLASSES, "unlike the training", sep="\\t")
for path in sys.argv[1:]:
    try:
        z, far, image = 0, 0, {{"pixels": pixels(path)[None]}}
    except Exception as error:
        print(path, f"not scored: {{error}}", file=sys.stderr)
        continue
    for session, known, temperature, share in members:
        logits, embedding = session.run(["logits", "embedding"], image)
        z = z + logits[0] * share / temperature / TEMPERATURE
        # Distance of the embedding from those of the training images, 1 for the 95th percentile.
        away = embedding[0].astype(np.float64) - known["mean"]
        inside, (rest, scale) = away @ known["directions"], known["rest_scale"]
        outside = max((away**2).sum() - (inside**2).sum(), 0) / rest
        far += np.sqrt((inside**2 / known["variance"]).mean() + outside) / scale / len(members)
    {link}
    print(path, *scores.round(6), "yes" if far > UNFAMILIAR_ABOVE else "no", sep="\\t")
'''

_PHOTO = """
def resized(image, size):  # shrunk by averaging, or enlarged linearly
    how = cv2.INTER_AREA if tuple(size) < image.shape[:2] else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=how)

def pixels(path):  # (C, H, W) uint8: upright, fitted into the frame, centred, padded
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode not in ("L", "RGB"):  # which have more bits, layers or a palette
        raise ValueError(f"{image.mode} pixels are read by `resight predict` alone")
    image = np.asarray(image.convert("RGB"))
    scale = min(full / side for full, side in zip(STORED, image.shape))
    h, w = (min(full, max(1, round(side * scale))) for full, side in zip(STORED, image.shape))
    top, left = (STORED[0] - h) // 2, (STORED[1] - w) // 2
    frame = np.full((*STORED, 3), {padding!r}, np.uint8)
    frame[top : top + h, left : left + w] = resized(image, (h, w))
    return np.ascontiguousarray(resized(frame, SIZE).transpose(2, 0, 1))"""

_ANY = """
def pixels(path):  # (C, H, W): read and prepared by the app, without torch
    app, row = find_app({app!r}), {{"path": path, "image_id": path, "status": "ok"}}
    image = Form({channels}, {dtype!r}).conform(app.read(row))
    image = app.prepare(STORED)({{**row, "image": image}})
    return np.ascontiguousarray(resize_to(np.asarray(image["image"]), SIZE).transpose(2, 0, 1))"""

_LINKS = {
    "softmax": "scores = np.exp(z - z.max()) / np.exp(z - z.max()).sum()",
    "sigmoid": "scores = 1 / (1 + np.exp(-z))",
    "cumulative": ("scores = -np.diff(np.r_[1, np.minimum.accumulate(1 / (1 + np.exp(-z))), 0])"),
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
    many, total = len(run.members) > 1, sum(m.weight for m in run.members)
    return _HEAD.format(
        title=run.app.title,
        model_id=run.model_id,
        imports=imports,
        classes=run.task.classes,
        members=[
            (f"member-{i}.onnx" if many else "model.onnx", m.temperature, m.weight / total)
            for i, m in enumerate(run.members)
        ],
        temperature=run.temperature,
        unfamiliar_above=float(run.content["unfamiliar_above"]),
        size=tuple(first.preparation.size_px),
        stored=store_size(first.preparation.size_px),
        pixels=pixels.strip("\n"),
        link=_LINKS.get(run.link, _LINKS["softmax"]),
    )

"""``resight demo``: the whole path on phantom data, offline, in a minute or two.

The network is tiny and starts from random weights, so the numbers say that the
path works and nothing about what a real training reaches.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.app import find_app
from core.base.extras import advice_for
from core.base.machine import detect
from core.base.outputs import write_text
from core.base.words import quantity
from core.verbs.check import check
from core.verbs.evaluate import evaluate
from core.verbs.predict import predict
from core.verbs.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.app import App, Tour

__all__ = ["demo", "how_long", "summary_rows"]

IMAGES = 240
SEED = 7
# A network for tests that comes with timm; large enough to learn a phantom.
SETTINGS = {
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 20,
    "batch": 8,
    "seed": SEED,
}
# Rows times columns that the tiny network sees where the app asks for more.
PIXELS = 128 * 128


def demo(
    app_name: str, out: Path, *, n_images: int = IMAGES, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Phantom, check, train, evaluate on new data, predict.

    Args:
        app_name: the app.
        out: everything is written below it.
        n_images: of the phantom.
        say: receives one line per step.

    Returns:
        the results of the four commands, by name.
    """
    app = find_app(app_name)
    data, fresh = out / "data", out / "new_site"
    if not (out / "phantom.done").is_file():
        say(f"1/5  {n_images} synthetic images with a known answer")
        path = app.phantom(data, n_images, SEED)
        elsewhere = app.phantom(fresh, max(40, n_images // 3), SEED + 1)
        write_text(out / "phantom.done", f"{path.relative_to(out)}\n{elsewhere.relative_to(out)}\n")
    path, elsewhere = (out / line for line in (out / "phantom.done").read_text().split())
    say("2/5  resight check: looking at the data")
    looked = check(app_name, path, out / "check")
    say("3/5  resight train: probe, fine-tuning, calibration, held-out report")
    trained = train(app_name, path, out / "run", flags={**SETTINGS, **_small(app)})
    say("4/5  resight evaluate: the same model on images from elsewhere")
    judged = evaluate(out / "run", elsewhere, out / "evaluation")
    say("5/5  resight predict: one row per image, and what the app exports")
    predicted = predict(out / "run", [elsewhere], out / "predictions")
    tours = {}
    for tour in app.tours:
        try:
            tours[tour.name] = _tour(app_name, tour, out / tour.name, say)
        except ModuleNotFoundError as error:
            advice = advice_for(error)
            if advice is None:
                raise
            say(f"and {tour.title}: left out; {advice}")
    found = {"check": looked, "train": trained, "evaluate": judged, "predict": predicted}
    return {**found, "tours": tours}


def _tour(app_name: str, tour: Tour, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Train on one phantom of another kind and predict a second."""
    data, fresh = out / "data", out / "new_site"
    if not (out / "phantom.done").is_file():
        path = tour.phantom(data, tour.n_images, SEED)
        elsewhere = tour.phantom(fresh, max(40, tour.n_images // 2), SEED + 1)
        write_text(out / "phantom.done", f"{path.relative_to(out)}\n{elsewhere.relative_to(out)}\n")
    path, elsewhere = (out / line for line in (out / "phantom.done").read_text().split())
    say(f"and {tour.title}: train")
    settings = {**SETTINGS, **tour.settings}
    trained = train(app_name, path, out / "run", flags=settings, options=tour.train_options)
    say(f"and {tour.title}: predict")
    options = {
        name: fresh / value if isinstance(value, Path) else value
        for name, value in tour.predict_options.items()
    }
    predicted = predict(out / "run", [elsewhere], out / "predictions", options=options)
    return {"train": trained, "predict": predicted}


def _small(app: App) -> dict[str, Any]:
    """The app's own size in the same shape with at most ``PIXELS``; nothing if it names none."""
    height, width = app.config.get("size_px") or (0, 0)
    if height * width <= PIXELS:
        return {}
    scale = (PIXELS / (height * width)) ** 0.5
    return {"size_px": tuple(max(32, 32 * round(side * scale / 32)) for side in (height, width))}


def how_long(n_images: int) -> str:
    """What to expect of the demo on this machine, in a sentence."""
    cores = detect().cores
    # Two cores take about five minutes for 240 images; more than eight help little.
    minutes = max(1, round(1 + 8 / min(cores, 8) * n_images / IMAGES))
    return (
        f"About {quantity(minutes, 'minute')} on {quantity(cores, 'core')}, most of it training; "
        "each step says what it does. The same command again goes on where it stopped."
    )


def summary_rows(out: Path) -> pd.DataFrame:
    """What to open, and why."""
    tours = [p.parent for p in sorted(out.glob("*/phantom.done"))]
    rows = [
        (out / "check" / "audit.html", "what is in the data"),
        (out / "run" / "report.html", "how good the model is on what was held out"),
        (out / "run" / "plan.yaml", "every setting and why it has its value"),
        (out / "evaluation" / "report.html", "how good it is on images from elsewhere"),
        (out / "predictions" / "predictions.html", "every new image, to look through and correct"),
        *((tour / "run" / "report.html", f"the same for a {tour.name}") for tour in tours),
        *(
            (page, f"what became of the new {tour.name}")
            for tour in tours
            for page in sorted((tour / "predictions").rglob("*.html"))
        ),
    ]
    return pd.DataFrame(
        [(str(path), why) for path, why in rows if path.exists()], columns=["open", "to see"]
    )

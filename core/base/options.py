"""Which value each of an app's own options has: its default, the run's, or the command line's.

What was given at training is stored in ``run.json``, so that a later command
begins with it. An option that changes pixels belongs to the preparation, and
``core.data.prepared`` refuses another value. This module knows neither the
command line nor what an option means.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.app import Option
from core.base.outputs import sha256_file
from core.base.progress import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import App

__all__ = [
    "DATA_OPTIONS",
    "LABEL_MAP",
    "may_come_from_run",
    "of_value",
    "options_of",
    "pixel_options",
    "plain_options",
    "resolve_options",
    "stored_options",
]


LABEL_MAP = "label-map"
_LABELLED = ("check", "train", "evaluate")
_EVERY = (*_LABELLED, "predict")
# What a user may say of any data, whatever the app: which column is what, what a label means.
DATA_OPTIONS = (
    Option(
        name="path-column",
        help="Column of the table that names the image files.",
        verbs=_EVERY,
        scope="command",
    ),
    Option(
        name="id-column",
        help="Column that names images by an id: of the file's name, or of a DICOM header.",
        verbs=_EVERY,
        scope="command",
    ),
    Option(
        name="label-column",
        help="Column of the table (or of polygons) that holds the class; several of zeros and "
        "ones by commas; folder or parent for the folders above the images.",
        verbs=_LABELLED,
    ),
    Option(
        name="group-column",
        help="Column of what may never straddle a split: patient, plant, field.",
        verbs=_LABELLED,
        scope="command",
    ),
    Option(
        name="split-column",
        help="Column that says train, val or test; none draws a split anew.",
        verbs=_LABELLED,
        scope="command",
    ),
    Option(
        name=LABEL_MAP,
        help="What a label counts as: RAW=CLASS, several separated by commas, or a table of two "
        "columns; RAW= leaves its images out.",
        verbs=_LABELLED,
    ),
    Option(
        name="layer",
        help="Layer of a GeoPackage or KML that holds the polygons.",
        verbs=_EVERY,
        scope="command",
    ),
)


def options_of(app: App, verb: str) -> dict[str, Option]:
    """Options that a command takes for an app, by name: those of any data, and the app's own."""
    return {o.name: o for o in (*DATA_OPTIONS, *app.options) if verb in o.verbs}


def resolve_options(
    app: App,
    verb: str,
    given: Mapping[str, Any],
    *,
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Values of the app's options for one command; those that are off or not set are left out.

    Args:
        app: declares the options.
        verb: the command: ``check``, ``train``, ``evaluate`` or ``predict``.
        given: by the user; ``False`` turns a stored flag off. Names that the app
            does not declare pass through.
        stored: the ``options`` of ``run.json``; those that the command does not
            take are left out.
    """
    known = options_of(app, verb)
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in (stored or {}).items():
        if name not in known:
            continue
        if not may_come_from_run(known[name], value):
            log.warning(
                "the run sets --%s, which only you may; it is left out. Pass it if you mean it.",
                name,
            )
            continue
        values[name] = value
    values.update(given)
    return {
        name: Path(value) if name in known and known[name].type is Path else value
        for name, value in values.items()
        if value is not None and value is not False
    }


def may_come_from_run(option: Option, value: Any) -> bool:
    """Whether a run, which a stranger may have made, decides about this option.

    It does about those that say what a network is shown, given at its training. Whatever
    concerns the command, names a file or shows an identity comes from the person at
    the keyboard.
    """
    if option.scope == "command" or option.type is Path or "train" not in option.verbs:
        return False
    if option.name == LABEL_MAP and "=" not in str(value):
        # A table, which lies on this machine; training stores what it says.
        return False
    if option.type is float:
        return type(value) in {int, float}
    return type(value) is option.type


def of_value(value: Any) -> str:
    """An option's value as text by which a later command is compared; of a file, its content."""
    if isinstance(value, Path):
        return sha256_file(value) if value.is_file() else value.name
    return str(value)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as plan.yaml holds them: paths absolute, so that they mean the same elsewhere."""
    return {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in options.items()
    }


def stored_options(app: App, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the resolved options travels with a run.

    Files are left out, whatever their scope: they belong to the data at hand and
    to this machine, not to the model. See ``may_come_from_run``.
    """
    known = {option.name: option for option in (*DATA_OPTIONS, *app.options)}
    return {
        name: value
        for name, value in sorted(options.items())
        if name in known and may_come_from_run(known[name], value)
    }


def pixel_options(app: App, options: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option that changes pixels, defaults included."""
    return {
        option.name: options.get(option.name, option.default)
        for option in app.options
        if option.scope == "pixels"
    }

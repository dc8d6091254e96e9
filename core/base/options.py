"""Which value each of an app's own options has: its default, the run's, or the command line's.

What was given at training is stored in ``run.json``, so that a later command
begins with it. An option that changes pixels belongs to the preparation, and
``core.data.prepared`` refuses another value. This module knows neither the
command line nor what an option means.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.app import App

__all__ = ["pixel_options", "plain_options", "resolve_options", "stored_options"]


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
    known = {option.name: option for option in app.options if verb in option.verbs}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    values.update({name: value for name, value in (stored or {}).items() if name in known})
    values.update(given)
    return {
        name: Path(value) if name in known and known[name].type is Path else value
        for name, value in values.items()
        if value is not None and value is not False
    }


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as plan.yaml holds them: paths absolute, so that they mean the same elsewhere."""
    return {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in options.items()
    }


def stored_options(app: App, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the resolved options travels with a run.

    Files are left out, whatever their scope: they belong to the data at hand and
    to this machine, not to the model.
    """
    travels = {o.name for o in app.options if o.scope != "command" and o.type is not Path}
    return {name: value for name, value in sorted(options.items()) if name in travels}


def pixel_options(app: App, options: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option that changes pixels, defaults included."""
    return {
        option.name: options.get(option.name, option.default)
        for option in app.options
        if option.scope == "pixels"
    }

"""``resight apps``: the apps, their tasks and units."""

from __future__ import annotations

from core.app import app_names, find_app
from core.cli.shared import JSON, QUIET, guarded, say, show_json, table

__all__ = ["apps"]


def apps(quiet: bool = QUIET, as_json: bool = JSON) -> None:
    """List the apps, what each predicts, and about what it decides."""
    with guarded(quiet=quiet, as_json=as_json):
        found = [find_app(name) for name in app_names()]
        if as_json:
            show_json(
                [
                    {
                        "name": a.name,
                        "title": a.title,
                        "intended_use": a.intended_use,
                        "tasks": [
                            {"name": t.name, "kind": t.kind, "classes": t.classes} for t in a.tasks
                        ],
                        "units": ["image", *(u.name for u in a.units)],
                        "group": a.group,
                    }
                    for a in found
                ]
            )
            return
        rows = [
            (
                a.name,
                a.title,
                ", ".join(f"{t.name} ({t.kind})" for t in a.tasks),
                " > ".join(["image", *(u.name for u in a.units)]),
                a.group,
            )
            for a in found
        ]
        say(table(rows, ("app", "title", "tasks", "units", "group")))

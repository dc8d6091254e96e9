"""One module for each command, with one public function: check, train, evaluate and the others.

``from core import verbs`` imports none of them: ``verbs.train`` is imported when it is first
named, so that ``resight --help`` answers at once and a prediction by an exported run needs no
torch. This is the one place where that is done for the commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from core.verbs import (
        backbones,
        cards,
        check,
        compare,
        demo,
        embedding,
        ensemble,
        evaluate,
        export,
        from_table,
        kit,
        parts,
        predict,
        propose,
        readers,
        similar,
        study_depth,
        threshold,
        train,
    )

__all__ = [
    "backbones",
    "cards",
    "check",
    "compare",
    "demo",
    "embedding",
    "ensemble",
    "evaluate",
    "export",
    "from_table",
    "kit",
    "parts",
    "predict",
    "propose",
    "readers",
    "similar",
    "study_depth",
    "threshold",
    "train",
]


def __getattr__(name: str) -> ModuleType:
    """Import a command's module when it is first named.

    Raises:
        AttributeError: no command has a module of this name.
    """
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return import_module(f"{__name__}.{name}")

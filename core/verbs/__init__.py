"""One module for each command, with one public function: check, train, evaluate and the others.

``from core import verbs`` imports none of them: ``verbs.train`` is imported when it is first
named, so that ``resight --help`` answers at once and a prediction by an exported run needs no
torch. This is the one place where that is done for the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.late import modules_when_named

if TYPE_CHECKING:
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

__getattr__ = modules_when_named(__name__, __all__)

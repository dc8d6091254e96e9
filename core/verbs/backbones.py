"""The verb ``backbones``: every residual network that can be named with ``--backbone``."""

from __future__ import annotations

from typing import Any

from core.errors import ConfigError
from core.model.residual_networks import architectures, families

__all__ = ["backbones"]


def backbones(family: str = "") -> list[dict[str, Any]]:
    """The residual networks timm offers, smallest arithmetic first within a family.

    Args:
        family: ``ResNet``, ``ResNeXt``, ``SE`` ... in any case; empty means all.

    Returns:
        One dictionary per architecture: ``name``, ``family``, ``params_m``, ``gmacs``,
        ``input_px`` and ``weights`` (``tag``, ``licence``, ``input_px``, ``mean``, ``std``,
        ``is_cached``), timm's default weights first.

    Raises:
        ConfigError: there is no such family.
    """
    found = sorted(architectures(family), key=lambda a: (a.family, a.gmacs, a.name))
    if not found:
        names = ", ".join(families())
        msg = f"--family {family}: there is no such family. Choose one of {names}."
        raise ConfigError(msg)
    return [one.as_dict() for one in found]

"""Which optional extra of the project brings a package that is not installed.

The answer is read from the installed project's own metadata, so that it cannot
differ from what ``pip install 'resight[EXTRA]'`` does.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

__all__ = ["advice_for", "extra_of"]

# What predicting with an exported model does without; see core/prediction/light.in.
LEFT_OUT = frozenset(
    {
        *("albumentations", "matplotlib", "monai", "pytorch_lightning", "sklearn"),
        *("statsmodels", "tensorboard", "timm", "torch"),
    }
)


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module, or None if no extra does.

    >>> extra_of("geopandas"), extra_of("pydicom.uid"), extra_of("json")
    ('geo', 'dicom', None)
    """
    name = (module or "").split(".")[0].replace("_", "-").lower()
    try:
        stated = requires("resight") or []
    except PackageNotFoundError:
        return None
    for line in stated:
        found = re.match(r"([\w.-]+).*;.*\bextra == ['\"]([\w-]+)['\"]", line)
        if found and found.group(1).lower() == name:
            return found.group(2)
    return None


def advice_for(error: ModuleNotFoundError) -> str | None:
    """What to install where an extra is wanting; None if the absence is no user's to mend."""
    extra = extra_of(error.name)
    if extra is None and (error.name or "").split(".")[0] in LEFT_OUT:
        return (
            f"this needs the package {error.name}, which the small environment for exported models "
            "does not have. Run it where resight is installed whole: pip install resight"
        )
    if extra is None:
        return None
    return (
        f"this needs the package {error.name}, which only the extra '{extra}' brings. "
        f"Install it: pip install 'resight[{extra}]'"
    )

"""Versions of the libraries that a result depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Versions of everything that touches pixels or numbers."""
    names = (
        "resight",
        "torch",
        "timm",
        "pytorch-lightning",
        "monai",
        "albumentations",
        "numpy",
        "pandas",
        "pillow",
        "opencv-python-headless",
        "scikit-learn",
        "pydicom",
        "rasterio",
    )
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

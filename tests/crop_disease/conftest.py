"""A field for the tests of its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A field of 826 x 826 px, 41 m on a side, with its labels."""
    from apps.crop_disease.field.phantom import write_field_phantom  # noqa: PLC0415  (rasterio)

    return write_field_phantom(tmp_path_factory.mktemp("field"), 300, 3)

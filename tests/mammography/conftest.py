"""Small DICOM files built by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.miniatures.mammography import mammogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydicom.dataset import FileDataset


@pytest.fixture
def make() -> Callable[..., FileDataset]:
    """A dataset with these stored values; further keywords are DICOM elements."""
    return mammogram


@pytest.fixture
def save(tmp_path: Path) -> Callable[[FileDataset, str], Path]:
    """Write a dataset under a name."""

    def write(data: FileDataset, name: str = "image.dcm") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return write

from pathlib import Path

import pytest

from core.app import app_names, find_app
from core.errors import AppError
from core.testing import check_app


@pytest.mark.parametrize("name", app_names())
def test_app_keeps_its_contract(name: str, tmp_path: Path) -> None:
    check_app(find_app(name), tmp_path)


def test_unknown_app_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(AppError, match="Did you mean 'crop_disease'"):
        find_app("crop_diseases")

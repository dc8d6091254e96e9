"""A run that version 0.1 wrote is still read, and predicts what version 0.1 predicted."""

import lzma
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.verbs.predict import predict

OLD = Path(__file__).parent / "fixtures" / "run_of_0_1"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    # The weights are random numbers of a tiny network, kept compressed.
    run = tmp_path / "run"
    shutil.copytree(OLD / "run", run)
    packed = run / "model.safetensors.xz"
    (run / "model.safetensors").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    return run


def test_a_run_of_the_first_version_predicts_the_same(old_run: Path, tmp_path: Path) -> None:
    predict(old_run, [OLD / "inputs"], tmp_path / "out")
    for name in ("predictions.csv", "decisions_leaf.csv"):
        now = pd.read_csv(tmp_path / "out" / name, keep_default_na=False)
        then = pd.read_csv(OLD / "expected" / name, keep_default_na=False)
        # Columns may be added; none may go.
        for column in then:
            if then[column].dtype.kind == "f":
                np.testing.assert_allclose(now[column], then[column], rtol=0, atol=2e-6)
            else:
                assert list(now[column]) == list(then[column]), column

"""The app as a whole: what it states, what it counts, and that it can be sent to a worker."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from apps.crop_disease import APP
from apps.crop_disease.metrics import METRICS, lins_concordance
from core.app import Cases, find_app
from core.errors import MetricError


def cases(y: list[int], scores: list[list[float]], weight: list[float] | None = None) -> Cases:
    s = np.array(scores, dtype=float)
    return Cases(
        y=np.array(y),
        scores=s,
        decided=s.argmax(axis=1),
        weight=np.ones(len(y)) if weight is None else np.array(weight, dtype=float),
    )


def test_it_is_found_by_its_name() -> None:
    assert find_app("crop_disease") is APP


def test_it_pickles() -> None:
    assert pickle.loads(pickle.dumps(APP)).tasks == APP.tasks


def test_describing_it_loads_no_network_library() -> None:
    code = (
        "import sys; from apps.crop_disease import APP; "
        "print([m for m in ('torch', 'monai', 'albumentations', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_macro_f1_is_the_headline() -> None:
    assert METRICS[0].name == "macro_f1"
    # Two classes: F1 of 0 is 2 * 3 / (2 * 3 + 1) = 6/7, of 1 it is 2 * 1 / (2 + 1) = 2/3.
    one_hot = [[1.0, 0.0]] * 4 + [[0.0, 1.0]]
    assert METRICS[0].compute(cases([0, 0, 0, 1, 1], one_hot)) == pytest.approx((6 / 7 + 2 / 3) / 2)


def test_every_metric_counts_a_row_as_often_as_it_weighs() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 20).tolist()
    scores = rng.dirichlet([1, 1, 1], 20).tolist()
    times = rng.integers(0, 3, 20)
    repeated = [i for i, n in enumerate(times) for _ in range(n)]
    for metric in METRICS:
        weighted = metric.compute(cases(y, scores, times.tolist()))
        plain = metric.compute(cases([y[i] for i in repeated], [scores[i] for i in repeated]))
        assert weighted == pytest.approx(plain), metric.name


def test_concordance_sees_the_mean_grade() -> None:
    # Mean grades 0, 1, 2 for the truth 0, 1, 2: agreement. All one grade too high costs
    # the shift: 2 * 2/3 / (2/3 + 2/3 + 1) = 4/7.
    exact = cases([0, 1, 2], [[1, 0, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 1, 0]])
    assert lins_concordance(exact) == pytest.approx(1)
    high = cases([0, 1, 2], [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert lins_concordance(high) == pytest.approx(4 / 7)


def test_concordance_of_symptoms_is_refused() -> None:
    flags = np.ones((3, 2), dtype=int)
    with pytest.raises(MetricError, match="one grade per case"):
        lins_concordance(Cases(flags, flags.astype(float), flags, np.ones(3)))


def test_names_say_what_may_leave_the_manifest() -> None:
    assert set(APP.output_columns) >= {"leaf", "severity"}
    assert APP.group == "leaf"
    assert "replaces neither" in APP.intended_use

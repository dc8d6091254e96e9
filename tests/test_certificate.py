"""What an export must share with its run: scores of images, and what is made of several."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.app import Task, Unit
from core.errors import RunError
from core.evaluation.units import decisions_of
from core.prediction.certificate import Comparison, require_within_limits

TASK = Task(name="cancer", kind="binary", classes=("no", "yes"), positive=("yes",))
BREAST = Unit(name="breast", columns=("exam", "side"), rule="attention", learned=True)


def predictions(*, weight: float = 0.0, score: float = 0.7) -> pd.DataFrame:
    """Two views of two breasts; the second view of each counts by ``weight``."""
    n = 4
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "status": "ok",
            "exam": "e",
            "side": ["L", "L", "R", "R"],
            "score_no": 1 - score,
            "score_yes": score,
            "decision": "yes",
            "predicted": "yes",
            "unfamiliar": False,
            "attention": [0.0, weight] * 2,
            "attention_logit_0": 0.0,
            "attention_logit_1": [1.0, -2.0] * 2,
        }
    )


def facts(run: pd.DataFrame, export: pd.DataFrame) -> dict[str, Any]:
    return Comparison(run, export, 0.0).facts(
        classes=TASK.classes,
        headline=lambda _: None,
        decide=lambda table: decisions_of(table, task=TASK, units=[BREAST], threshold=None),
    )


def test_equal_tables_pass_with_their_units_counted() -> None:
    found = facts(predictions(), predictions())
    assert found["units"] == {"breast": {"n": 2, "largest_difference": 0.0, "changed_decisions": 0}}
    require_within_limits(found, precision="fp32")


def test_weights_of_images_that_differ_are_found_though_no_score_of_an_image_does() -> None:
    found = facts(predictions(), predictions(weight=2.0))
    assert found["largest_difference"] == 0.0
    assert found["changed_decisions"] == 0
    # By hand: logits (1 - 2) / 2 = -0.5 against (1 - 2 e^2) / (1 + e^2), both through a sigmoid.
    weighted = (1 - 2 * np.e**2) / (1 + np.e**2)
    gap = abs(1 / (1 + np.exp(0.5)) - 1 / (1 + np.exp(-weighted)))
    assert found["units"]["breast"]["largest_difference"] == pytest.approx(gap)
    with pytest.raises(RunError, match=r"a score of a breast differs by 0\.\d+ \(0.0001 allowed"):
        require_within_limits(found, precision="fp32")


def test_less_precision_may_change_scores_and_few_decisions() -> None:
    found = facts(predictions(score=0.7), predictions(score=0.6))
    require_within_limits(found, precision="bf16")
    with pytest.raises(RunError, match=r"a score differs by 0\.1 "):
        require_within_limits(found, precision="fp32")
    of_unit = {**found, "units": {"breast": {**found["units"]["breast"], "changed_decisions": 1}}}
    with pytest.raises(RunError, match="1 of 2 decisions by breast change"):
        require_within_limits(of_unit, precision="bf16")

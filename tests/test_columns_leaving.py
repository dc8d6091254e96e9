"""What of a manifest may stand in a table of predictions: what the app allows, and no more."""

from pathlib import Path

import numpy as np
import pandas as pd

from apps.mammography import APP
from core.app import Manifest
from core.runs.predictions import Scoring, predictions_of
from core.training.fingerprint import named_by_app

FILLED = {"image_id": "a", "path": "a.png", "label": "", "group": "p1", "split": "", "fold": ""}


def test_only_listed_columns_leave_the_manifest() -> None:
    allowed = {c for unit in APP.units for c in unit.columns}
    allowed |= {*APP.subgroups, *APP.output_columns, *APP.prepared_columns}
    secret = {"patient_name": "Doe^Jane", "PatientBirthDate": "19600101", "institution": "St. X"}
    assert not allowed & set(secret)
    rows = pd.DataFrame([FILLED | secret | dict.fromkeys(allowed, "1")])
    rows = rows.assign(status="ok", reason="", quality="")
    task = APP.tasks[0].with_classes(APP.tasks[0].classes or ("0", "1"))
    table = predictions_of(
        rows,
        np.zeros((1, len(task.classes))),
        np.zeros(1),
        Scoring(
            app=APP,
            task=task,
            link="softmax",
            temperature=1.0,
            threshold=None,
            unfamiliar_above=1.0,
            model_id="m",
        ),
    )
    made = {"status", "reason", "quality", "predicted", "decision", "embedding_distance"}
    made |= {"unfamiliar", "model_id"}
    others = {c for c in table.columns if not c.startswith(("score_", "logit_"))}
    assert others == set(FILLED) | allowed | made
    assert not table.isin(list(secret.values())).any(axis=None)


def test_what_became_of_a_recall_stays_in_the_run_and_a_name_does_not() -> None:
    table = pd.DataFrame([FILLED | {"biopsy": "1", "patient_name": "Doe^Jane"}])
    found = Manifest(table=table, root=Path(), from_tables=("biopsy", "patient_name"))
    kept = named_by_app(APP, found).table
    assert "biopsy" in kept
    assert "patient_name" not in kept

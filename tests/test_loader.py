"""Batches depend on nothing but their number: not on the order, the worker, or a restart."""

import pickle
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.app import find_app
from core.data.loader import Draw, StepSampler, TrainImages, require_guard, train_loader
from core.data.prepared import Prepared, resize_to
from core.errors import ConfigError


@pytest.fixture(scope="module")
def images() -> TrainImages:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 40, 40, 3), dtype=np.uint8)
    table = pd.DataFrame({"image_id": [f"i{k}" for k in range(8)], "reason": ""})
    where = np.stack([np.zeros(8, int), np.arange(8)], 1)
    store = Prepared(table, (40, 40, 3), [pixels], where)
    app = find_app("crop_disease")
    return TrainImages(store, np.arange(8) % 2, app=app, augment=True, seed=3)


def sampler(step: int, shard: int = 0, shards: int = 1) -> StepSampler:
    return StepSampler(
        np.arange(20),
        batch=4,
        seed=1,
        weights=None,
        size_of=lambda epoch: (32, 32) if epoch else (24, 24),
        step=lambda: step,
        share=(shard, shards),
    )


def test_image_of_an_epoch_is_the_same_in_any_worker_and_order(images: TrainImages) -> None:
    draws = [Draw(row, 1, (32, 32)) for row in range(8)]
    forward = [images[draw]["pixels"].numpy() for draw in draws]
    # What a worker process receives is a pickle.
    worker = pickle.loads(pickle.dumps(images))
    backward = [worker[draw]["pixels"].numpy() for draw in reversed(draws)][::-1]
    np.testing.assert_array_equal(forward, backward)
    other = [images[Draw(row, 2, (32, 32))]["pixels"].numpy() for row in range(8)]
    assert not np.array_equal(forward, other)


def test_processes_that_load_start_afresh(images: TrainImages) -> None:
    sampler = StepSampler(
        np.arange(8), batch=4, seed=0, weights=None, size_of=lambda _: (32, 32), step=lambda: 0
    )
    loader = train_loader(images, sampler, workers=2, pin=False)
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    assert train_loader(images, sampler, workers=0, pin=False).multiprocessing_context is None


def test_a_script_that_loaders_would_run_again_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text("train('leaves')\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    require_guard(0)
    with pytest.raises(ConfigError, match=r"train.py: 2 processes .*if __name__ == \"__main__\""):
        require_guard(2)
    script.write_text("if __name__ == '__main__':\n    train('leaves')\n")
    require_guard(2)
    # In a notebook there is no script.
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    require_guard(2)


def test_epoch_taken_up_in_the_middle_gives_the_rest_of_it() -> None:
    whole, rest = list(sampler(5)), list(sampler(8))
    assert len(whole) == 5
    assert rest == whole[3:]
    assert {draw.epoch for batch in whole for draw in batch} == {1}
    assert sorted(draw.row for batch in whole for draw in batch) == list(range(20))


def test_small_pictures_come_first_where_they_are_asked_for() -> None:
    assert {draw.size_px for batch in sampler(0) for draw in batch} == {(24, 24)}
    assert {draw.size_px for batch in sampler(5) for draw in batch} == {(32, 32)}


def test_processes_that_train_together_share_an_epoch_without_overlap() -> None:
    parts = [[d.row for batch in sampler(0, shard, 2) for d in batch] for shard in (0, 1)]
    assert not set(parts[0]) & set(parts[1])
    assert len(parts[0]) == len(parts[1]) == 8


def test_rare_classes_are_drawn_more_often_by_weight() -> None:
    rows = np.arange(100)
    weights = np.where(rows < 10, 9.0, 1.0)
    drawn = StepSampler(
        rows, batch=10, seed=0, weights=weights, size_of=lambda _: (8, 8), step=lambda: 0
    )
    share = np.mean([d.row < 10 for batch in islice(drawn, 10) for d in batch])
    # Ten rows of weight nine are half of all draws: 90 / (90 + 90).
    assert 0.35 < share < 0.65


def test_resizing_keeps_the_whole_picture() -> None:
    pixels = np.zeros((40, 60, 1), np.uint16)
    pixels[:, -6:] = 60000
    small = resize_to(pixels, (20, 30))
    assert small.shape == (20, 30, 1)
    assert (small[:, -3:] == 60000).all()
    assert (small[:, :-3] == 0).all()

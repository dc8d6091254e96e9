"""What strangers may hand over, changed at random: it is read, or refused in words, never a crash.

Some hundred examples of each kind run with every test; ``make fuzz`` runs 100,000.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.app import App, Source, find_app
from core.base.options import DATA_OPTIONS, resolve_options
from core.base.settings import read_plan
from core.cards.card import read_card
from core.data.manifest import index_images
from core.data.prepared import Preparation
from core.data.reading import in_threads, read_in_subprocess
from core.data.scored_tables import read_foreign
from core.errors import (
    CardError,
    ConfigError,
    ImageError,
    ManifestError,
    MetricError,
    ResightError,
    RunError,
)
from core.runs.run import task_from_dict, units_of_run
from core.runs.run_file import parse_run

N = int(os.environ.get("RESIGHT_FUZZ", "60"))
FUZZ = settings(
    max_examples=N,
    deadline=None,
    database=None,
    derandomize=N < 1000,
    suppress_health_check=list(HealthCheck),
)
# Mutants that a reader process is asked for at once.
BATCH = 250
SLOW = settings(FUZZ, max_examples=max(N // 3, 1) if N < 1000 else N)
OLD = Path(__file__).parent / "fixtures" / "run_of_0_1"
RUN = json.loads((OLD / "run" / "run.json").read_text())
# What newer runs hold, and those on tiles of a raster.
RUN["facts"] = {"tile_m": 1.6, "tile_px": 32, "gsd_m": 0.05, "reading": "R=1", "depth": "uint8"}
RUN["task"] |= {"truths": {"leaf": "worst"}, "positive_title": "sick"}
PLAN = (OLD / "run" / "plan.yaml").read_bytes()
CARD = min((Path(__file__).parent.parent / "data_cards").glob("[a-z]*.md")).read_bytes()
TABLE = b"path,label,leaf,split\na.jpg,rust,1,train\nb.jpg,healthy,2,val\nc.jpg,rust,3,test\n"
SCORES = b"image_id,label,group,score_no,score_yes\na,no,1,0.9,0.1\nb,yes,2,0.2,0.8\nc,yes,3,0,1\n"

APPS = [find_app(name) for name in ("crop_disease", "mammography", "retinopathy")]
TASK = APPS[0].tasks[0]

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "..", "../x", "/etc/passwd", "\x00", "a" * 3000, "leaf", "softmax"])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(content: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a nested value; of long lists the first two entries."""
    found = [here] if here else []
    if isinstance(content, dict):
        for key, value in content.items():
            found += places(value, (*here, key))
    elif isinstance(content, list):
        for number, value in enumerate(content[:2]):
            found += places(value, (*here, number))
    return found


PLACES = places(RUN)
CHANGES = st.lists(
    st.tuples(st.sampled_from(PLACES), st.just("remove") | st.just("set"), VALUES),
    min_size=1,
    max_size=3,
)


def mutated(seed: bytes) -> Any:
    """Bytes with some spans overwritten, cut out, doubled or swapped.

    Hypothesis draws the number from which all changes follow: drawing every byte
    costs ten times as long as reading them.
    """
    return st.integers(0, 2**63).map(lambda number: mutate(seed, random.Random(number)))


def mutate(seed: bytes, rng: random.Random) -> bytes:
    """One change after another, up to six."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(max(len(data), 1))
        length = rng.choice([1, 1, 2, 4, 16, 200])
        how = rng.choice(["set", "flip", "cut", "double", "insert", "swap", "truncate"])
        if how == "set":
            data[at : at + length] = rng.choice(
                [rng.randbytes(length), b"\0" * length, b"\xff" * length]
            )
        elif how == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == "cut":
            del data[at : at + length]
        elif how == "double":
            data[at:at] = data[at : at + length]
        elif how == "insert":
            data[at:at] = rng.choice(
                [b"[" * 60, b"\n", b": ", b'"', b",", b"\x00\xff", b"-", b"1e999"]
            )
        elif how == "swap":
            other = rng.randrange(max(len(data), 1))
            data[at : at + length], data[other : other + length] = (
                data[other : other + length],
                data[at : at + length],
            )
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


@FUZZ
@given(CHANGES)
def test_run_json(changes: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    content = json.loads(json.dumps(RUN))
    for path, how, value in changes:
        part = content
        with suppress(KeyError, IndexError, TypeError):
            for step in path[:-1]:
                part = part[step]
            if how == "set":
                part[path[-1]] = value
            else:
                del part[path[-1]]
    try:
        found = parse_run(json.dumps(content).encode(), Path("run.json"))
    except RunError:
        return
    # What was accepted can be used.
    task_from_dict(found["task"])
    units_of_run(found)
    assert all(found.get("facts", {}).get(name, 1) > 0 for name in ("tile_m", "tile_px", "gsd_m"))
    for member in found["members"]:
        assert "/" not in member["weights"]
        Preparation.from_dict(member["preparation"])


@FUZZ
@given(mutated(json.dumps(RUN).encode()))
def test_bytes_of_run_json(data: bytes) -> None:
    with suppress(RunError):
        parse_run(data, Path("run.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize(
    ("name", "seed", "read", "refusal"),
    [("plan.yaml", PLAN, read_plan, ConfigError), ("card.md", CARD, read_card, CardError)],
)
@FUZZ
@given(drawn=st.data())
def test_plans_and_cards(
    folder: Path, name: str, seed: bytes, read: Any, refusal: Any, drawn: Any
) -> None:
    (folder / name).write_bytes(drawn.draw(mutated(seed)))
    with suppress(refusal):
        read(folder / name)


@SLOW
@given(data=mutated(TABLE), name=st.sampled_from(["t.csv", "t.tsv"]))
def test_tables_of_images(folder: Path, data: bytes, name: str) -> None:
    (folder / name).write_bytes(data)
    for labelled in (True, False):
        with suppress(ManifestError, ConfigError):
            found = index_images(Source(paths=(folder / name,), labelled=labelled, task=TASK))
            assert found.table["image_id"].is_unique


@SLOW
@given(data=mutated(SCORES))
def test_tables_of_scores(folder: Path, data: bytes) -> None:
    (folder / "s.csv").write_bytes(data)
    with suppress(ManifestError, ConfigError, MetricError):
        read_foreign(folder / "s.csv")


NAMES = {o.name: o for app in APPS for o in (*DATA_OPTIONS, *app.options)}


@SLOW
@given(app=st.sampled_from(APPS), stored=st.dictionaries(st.sampled_from(sorted(NAMES)), VALUES))
def test_options_that_a_run_holds(folder: Path, app: App, stored: dict[str, Any]) -> None:
    for verb in ("train", "evaluate", "predict"):
        own = resolve_options(app, verb, {}, stored=stored)
        defaults = resolve_options(app, verb, {})
        for name in (name for name in own if own[name] != defaults.get(name)):
            assert NAMES[name].scope != "command"
            assert not isinstance(own[name], Path)
            assert name != "label-map" or "=" in own[name]
        with suppress(ResightError):
            app.index(Source(paths=(folder / "none",), labelled=False, task=TASK, options=own))


def picture(kind: str) -> bytes:
    """A small image with structure."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (64, 48))
    return bytes(cv2.imencode(kind, pixels)[1])


def read_mutants(row: Any) -> Any:
    """What became of a batch of mutants, (1, N, 1): 1 pixels, 2 a reason, 3 an error of a decoder.

    Called in a reader process, which is asked once for many files: asking costs more than reading.
    """
    seed, file, found = Path(row["seed"]).read_bytes(), Path(row["path"]), []
    for number in range(row["first"], row["last"]):
        file.write_bytes(mutate(seed[:4096], random.Random(number)) + seed[4096:])
        try:
            pixels = find_app(row["app"]).read({"path": str(file), "image_id": "x"})
            found.append(1 if pixels.ndim == 3 else 0)
        except ImageError:
            found.append(2)
        # Decoders raise nearly every type there is, and read_in_subprocess makes a reason of each.
        except Exception:
            found.append(3)
    return np.array(found, np.uint8).reshape(1, -1, 1)


def read_all(folder: Path, app: str, seed: bytes, n: int, suffix: str) -> None:
    """Mutants of a file through the reader processes: pixels, or a reason; number by number."""
    (folder / f"seed{suffix}").write_bytes(seed)
    counts: Counter[int] = Counter()

    def batch(first: int, last: int) -> None:
        file = folder / f"{first}{suffix}"
        row = {"path": str(file), "image_id": "x", "seed": str(folder / f"seed{suffix}")}
        try:
            found = read_in_subprocess(
                read_mutants, {**row, "app": app, "first": first, "last": last}
            )
            counts.update(found.ravel().tolist())
        except ImageError as error:
            if last - first > 1:
                # A reader was lost: one by one, each in a reader of its own if need be.
                for number in range(first, last):
                    batch(number, number + 1)
            else:
                counts[4] += 1
                sys.stderr.write(f"mutant {first}: {error}\n")
        finally:
            file.unlink(missing_ok=True)

    in_threads(lambda at: batch(at, min(at + BATCH, n)), range(0, n, BATCH), workers=2)
    assert counts.total() == n
    assert not counts[0], f"{counts[0]} mutants of {suffix} are read as other than (H, W, C)"
    words = ("read", "refused", "refused after an error in a decoder", "cost a reader")
    told = ", ".join(f"{counts[i]:,} {word}" for i, word in enumerate(words, start=1))
    sys.stderr.write(f"{n:,} mutants of {suffix}: {told}\n")


@pytest.mark.parametrize("kind", [".jpg", ".png", ".tif", ".bmp", ".webp"])
def test_images_in_their_readers(folder: Path, kind: str) -> None:
    read_all(folder, "crop_disease", picture(kind), N if N >= 1000 else max(N // 6, 1), kind)


def test_dicom_in_its_reader(folder: Path, tmp_path: Path) -> None:
    app = find_app("mammography")
    app.phantom(tmp_path / "phantom", 4, 0)
    seed = min((tmp_path / "phantom").rglob("*.dcm"), key=lambda p: (p.stat().st_size, p.name))
    n = N if N >= 1000 else max(N // 3, 1)
    read_all(folder, app.name, seed.read_bytes(), n, ".dcm")

"""What follows from the machine, and that nothing else in the house decides by it."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from core.base import machine
from core.base.machine import (
    Machine,
    cores,
    detect,
    fused,
    loader_workers,
    pick_device,
    precision,
    readers,
    sleeping_threads,
    threads,
)
from core.base.settings import Question, TrainConfig
from core.errors import ConfigError
from core.training.machine_check import check_machine
from core.training.recipe import Facts, resolve

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("device", "has_bf16", "value"),
    [
        ("cpu", False, "32-true"),
        ("cpu", True, "bf16-mixed"),
        ("cuda", True, "bf16-mixed"),
        ("cuda", False, "16-mixed"),
        ("mps", False, "32-true"),
    ],
)
def test_precision_is_what_the_device_multiplies_fast(
    device: str, has_bf16: bool, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESIGHT_PRECISION", raising=False)
    chosen, reason = precision(Machine(device=device, has_bf16=has_bf16, cores=2))
    assert chosen == value
    assert ("processor" in reason) == (device == "cpu")


def test_a_precision_in_the_environment_wins_over_the_machines_and_loses_to_the_flag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Machine(device="cpu", has_bf16=False, cores=2)
    facts = Facts(n_train=100, n_classes=2, rarest=50, size_px=(64, 64), machine=here)
    asked = Question(app="leaves", data="leaves")

    def planned(**flags: str) -> tuple[str | None, str]:
        plan = resolve(asked, facts, app_defaults={}, plan={}, flags=flags)
        return plan.config.precision, plan.reasons["precision"]

    for value in ("32-true", "bf16-mixed"):
        monkeypatch.setenv("RESIGHT_PRECISION", value)
        assert planned() == (value, "RESIGHT_PRECISION")
        assert planned(precision="32-true") == ("32-true", "command line")
    monkeypatch.setenv("RESIGHT_PRECISION", "bf16")
    with pytest.raises(ConfigError, match=r"RESIGHT_PRECISION is 'bf16'.*32-true, bf16-mixed"):
        planned()


def test_float16_is_of_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIGHT_PRECISION", "16-mixed")
    assert precision(Machine(device="mps", has_bf16=False, cores=2))[0] == "16-mixed"
    # Lightning would train in bfloat16 without a word.
    with pytest.raises(ConfigError, match=r"RESIGHT_PRECISION=16-mixed: .*32-true or bf16-mixed"):
        precision(Machine(device="cpu", has_bf16=True, cores=2))
    with pytest.raises(ConfigError, match=r"--precision 16-mixed: a processor"):
        check_machine(TrainConfig(device="cpu", precision="16-mixed"))


@pytest.mark.parametrize(
    ("flags", "instruction", "has_bf16"),
    [("AVX512", True, True), ("AVX512", False, False), ("AVX2", True, False)],
)
def test_a_processor_has_bfloat16_where_it_has_the_instruction(
    flags: str, instruction: bool, has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: flags)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instruction)
    assert detect("cpu").has_bf16 is has_bf16


def test_an_accelerator_is_found_and_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("auto", "gpu", "cuda"):
        assert pick_device(name).type == "cuda"
    assert pick_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert detect() == Machine(device="cuda", has_bf16=True, cores=cores())
    assert not detect("mps").has_bf16


def test_more_images_go_together_on_an_accelerator() -> None:
    assert [machine.scoring_batch(name) for name in ("cpu", "cuda", "mps")] == [8, 32, 32]


def test_pixels_are_channels_last() -> None:
    assert machine.memory_format() is torch.channels_last


def test_only_a_precision_with_a_scaled_loss_has_a_plain_optimiser() -> None:
    assert fused("cpu", "32-true")
    assert fused("cuda", "bf16-mixed")
    assert not fused("cuda", "16-mixed")
    assert not fused("mps", "32-true")


@pytest.mark.parametrize(("n", "workers"), [(1, 0), (2, 1), (4, 3), (64, 8)])
def test_loaders_leave_one_core_to_the_training(n: int, workers: int) -> None:
    assert loader_workers(Machine(device="cuda", has_bf16=True, cores=n))[0] == workers
    assert loader_workers(Machine(device="cpu", has_bf16=True, cores=n))[0] == 0


@pytest.mark.parametrize("name", ["gpu", "cuda:0", "zwei"])
def test_a_device_that_is_not_here_is_refused_with_what_is(name: str) -> None:
    if name == "gpu" and detect().has_gpu:
        pytest.skip("there is an accelerator")
    with pytest.raises(ConfigError, match=r"Pass --device auto, cpu"):
        pick_device(name)
    assert pick_device("cpu").type == "cpu"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is of Linux")
def test_cores_are_those_of_the_affinity_and_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = os.sched_getaffinity(0)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 4)]
)
def test_a_quota_of_a_container_limits_the_cores(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert cores() == expected


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_quota_of_a_container_is_read_in_both_versions(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert machine._cgroup_quota(tmp_path) == quota


@pytest.mark.parametrize(("busy", "expected"), [(0.0, 4), (0.4, 4), (1.0, 3), (3.6, 1), (50.0, 1)])
def test_threads_leave_out_the_cores_that_others_use(
    monkeypatch: pytest.MonkeyPatch, busy: float, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine, "_busy_cores", lambda: busy)
    assert threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3


@pytest.mark.parametrize(
    ("mine", "busy", "expected"), [(1, 0.0, 1), (2, 3.0, 2), (2, 7.0, 1), (2, 40.0, 1)]
)
def test_a_share_of_a_large_machine_is_not_exceeded(
    monkeypatch: pytest.MonkeyPatch, mine: int, busy: float, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(machine, "cores", lambda: mine)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "_busy_cores", lambda: busy)
    assert threads() == expected


@pytest.mark.parametrize(
    ("loads", "busy"),
    [
        # Over the last minute, and processes that run now, this one among them.
        ("3.00 9.00 9.00 9/400 1", 3.0),
        ("9.00 1.00 1.00 3/400 1", 2.0),
        ("5.00 5.00 5.00 1/400 1", 0.0),
    ],
)
def test_cores_are_busy_that_others_use_both_now_and_lately(
    loads: str, busy: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text(loads + "\n")
    monkeypatch.setattr(machine, "LOADS", tmp_path / "loadavg")
    assert machine._busy_cores() == busy


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_memory_is_the_machines_within_the_limit_of_the_container(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    whole = psutil.virtual_memory().total
    (tmp_path / "memory").mkdir()
    for text, expected in (("1000000", 1_000_000), ("max", whole), (str(2**63 - 4096), whole)):
        (tmp_path / name).write_text(text + "\n")
        assert machine.total_memory() == expected


def test_free_disk_is_that_of_the_nearest_folder_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=9, used=2, free=7)
    monkeypatch.setattr(machine.shutil, "disk_usage", {tmp_path: usage}.__getitem__)
    assert machine.free_disk(tmp_path / "not" / "yet") == 7


def test_prepared_pixels_are_kept_where_the_user_or_the_system_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RESIGHT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert machine.cache_home() == Path.home() / ".cache" / "resight"
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert machine.cache_home() == Path("/local/resight")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert machine.cache_home() == Path("/cache/resight")
    monkeypatch.setenv("RESIGHT_HOME", "/mine")
    assert machine.cache_home() == Path("/mine")


def test_few_files_start_few_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    assert [readers(n) for n in (0, 1, 16, 17, 1_000)] == [1, 1, 1, 2, 4]
    assert readers() == 4


def test_a_user_who_sets_how_threads_wait_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", *machine.SLEEPING):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    sleeping_threads()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    sleeping_threads()
    assert os.environ["KMP_BLOCKTIME"] == "7"
    assert os.environ["GOMP_SPINCOUNT"] == machine.SLEEPING["GOMP_SPINCOUNT"]
    monkeypatch.delenv("GOMP_SPINCOUNT")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_that_is_freed_and_taken_again_is_not_cleared_by_the_kernel_each_time() -> None:
    program = """
        import resource
        from contextlib import nullcontext
        import numpy as np
        from core.base.machine import freed_memory_kept
        def faults(how):
            with how:
                np.ones(40_000_000, np.uint8)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                for _ in range(5):
                    np.ones(40_000_000, np.uint8)
                return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(faults(nullcontext()), faults(freed_memory_kept()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        # numpy asks for huge pages where it may, which would hide the faults.
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMPY_MADVISE_HUGEPAGE": "0"},
    )
    usual, kept = map(int, done.stdout.split())
    # 40 MB are 9,766 pages of 4 kB.
    assert usual > 5 * 5_000
    assert kept < usual / 20


def test_no_other_module_looks_at_the_machine() -> None:
    looks = re.compile(
        r"sched_getaffinity|cpu_count|(?<!distributed\.)is_available\(|disk_usage|statvfs|SC_PHYS_PAGES"
        r"|virtual_memory|channels_last|fused=True|is_bf16_supported|_is_avx512"
    )
    wrong = [
        f"{path.relative_to(ROOT).as_posix()}: {found.group()}"
        for path in sorted((ROOT / "core").rglob("*.py"))
        if path.name not in {"machine.py", "doctor.py"}
        for found in looks.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("with_torch", [True, False])
def test_cycles_are_left_at_the_end_unless_torch_would_complain(*, with_torch: bool) -> None:
    program = textwrap.dedent(
        f"""
        import gc, sys
        from core.base.machine import seldom_collected
        if {with_torch}:
            sys.modules["torch"] = sys
        seldom_collected()
        class Ring:
            def __del__(self, write=print):
                write("collected")
        ring = Ring()
        ring.itself = ring
        gc.collect()
        del ring
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == ("collected\n" if with_torch else "")

"""Every command finds an output absent, ours and incomplete, or complete, and nothing else."""

from pathlib import Path

import pytest

from core.base.jobs import JOB_NAME, Job, open_output
from core.base.outputs import is_complete, seal, write_json, write_text
from core.errors import ConfigError, OutputError, RunError

RUN = Job("run", {"epochs": 2, "inputs": {"a.jpg": "10 1"}}, begun_by="plan.yaml")


def make(folder: Path, job: Job, *, upto: str = "end") -> None:
    """A command that may be stopped on its way."""
    with open_output(folder, job) as is_made:
        if is_made or upto == "start":
            return
        write_text(folder / "plan.yaml", "plan")
        if upto == "plan":
            return
        write_text(folder / "result.txt", "right")
        seal(folder)


@pytest.mark.parametrize("upto", ["start", "plan", "end"])
def test_the_same_command_goes_on_wherever_it_stopped(tmp_path: Path, upto: str) -> None:
    make(tmp_path / "out", RUN, upto=upto)
    make(tmp_path / "out", RUN)
    assert is_complete(tmp_path / "out")
    assert (tmp_path / "out" / "result.txt").read_text() == "right"


def test_another_question_is_refused_once_the_work_began(tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = Job("run", {"epochs": 3, "inputs": {"a.jpg": "10 1"}}, begun_by="plan.yaml")
    make(out, RUN, upto="start")
    # Nothing had begun, so a corrected command finds the place free.
    make(out, other, upto="plan")
    with pytest.raises(RunError, match="epochs was 3, is 2"):
        make(out, RUN)
    make(out, other)
    with pytest.raises(RunError, match="epochs was 3, is 2"):
        make(out, RUN)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"a.jpg": "10 2"}, r"inputs: a\.jpg changed \(1 of 1 differ\)"),
        ({"a.jpg": "10 1", "b.jpg": "5 1"}, r"inputs: b\.jpg is new"),
        ({}, r"inputs: a\.jpg is gone"),
    ],
)
def test_other_pictures_under_the_old_names_are_told_by_name(
    tmp_path: Path, now: dict[str, str], said: str
) -> None:
    make(tmp_path / "out", RUN)
    with pytest.raises(RunError, match=said):
        make(tmp_path / "out", Job("run", {"epochs": 2, "inputs": now}, begun_by="plan.yaml"))


def test_one_kind_of_output_is_never_written_into_another(tmp_path: Path) -> None:
    make(tmp_path / "out", RUN)
    with pytest.raises(OutputError, match="is a run"):
        make(tmp_path / "out", Job("report", replaces=True))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        make(tmp_path / "mine", RUN)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_outputs_of_before_there_were_jobs_are_known(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {})
    seal(tmp_path)
    make(tmp_path, Job("report", replaces=True))
    assert is_complete(tmp_path)


def test_a_refused_command_leaves_the_place_free(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError), open_output(out, RUN):
        raise ConfigError
    assert not out.exists()


def test_a_damaged_job_is_said_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / JOB_NAME).write_text("[" * 100_000)
    with pytest.raises(OutputError, match="nested more than"):
        make(tmp_path, RUN)

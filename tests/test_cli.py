import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from core.cli import predict
from core.cli.main import build
from core.cli.shared import guarded, say

HEAVY = (
    "torch",
    "timm",
    "monai",
    "albumentations",
    "pytorch_lightning",
    "pandas",
    "sklearn",
    "numpy",
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from core.cli.main import build\n"
        "assert CliRunner().invoke(build(), ['--help']).exit_code == 0\n"
        f"print([m for m in {(*HEAVY, 'pydantic')!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prediction_starts_without_what_only_training_and_judging_need() -> None:
    heavy = ("pytorch_lightning", "monai", "albumentations", "sklearn", "statsmodels")
    code = (
        "import sys, core.verbs.parts\n"
        # Half a second, of which a prediction needs nothing.
        "print('scipy.optimize' in sys.modules)\n"
        "import core.prediction.torch_engine\n"
        f"print([m for m in {(*heavy, 'scipy.stats')!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is listed, with its words; a group's own are those below it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        elif not command.hidden:
            yield (*before, name), command


def test_every_command_answers_quietly_and_to_programs() -> None:
    found = dict(commands(get_command(build())))
    assert {("train",), ("study", "depth"), ("cards", "new")} <= set(found)
    for words, command in found.items():
        options = {option for p in command.params for option in p.opts}
        assert {"--quiet", "--json"} <= options, words
        told = CliRunner().invoke(build(), [*words, "--help"])
        assert told.exit_code == 0, words
        assert "Usage" in told.output


def test_control_characters_are_made_visible_and_spaces_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("53\xa0% of\x1b[2J.jpg")
    assert capsys.readouterr().out == "53\xa0% of\\x1b[2J.jpg\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_left_out_of_the_files_is_said_under_quiet_too(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    left_out = "field: no ISOXML was written: rates in 'gal/ac' have no one meaning there."
    result: dict[str, Any] = {"n_inputs": 1, "n_ok": 1, "n_failed": 0, "n_skipped": 0, "files": []}
    result |= {"predicted": {}, "decisions": {}, "reasons": {}, "nothing_decided": False}
    result |= {"not_a_medical_device": "", "notes": ["Tiles are 2 m.", left_out]}
    result["warnings"] = [left_out]
    predict.tell(result, Path("out"), quiet=True, as_json=as_json)
    said = capsys.readouterr()
    assert said.err == f"warning: {left_out}\n"
    assert ("Tiles are" in said.out) == as_json


def test_a_warning_passes_quiet_and_neither_progress_nor_a_traceback_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("resight")
    before, handlers = log.level, logging.getLogger().handlers[:]
    try:
        logging.getLogger().handlers.clear()
        with guarded(quiet=True):
            log.warning("the server is gone")
            log.info("half done")
            try:
                [].pop()
            except IndexError:
                # Some libraries tell of an error that they hand on, with its traceback.
                logging.getLogger("of_a_library").exception("a plug-in failed")
    finally:
        log.setLevel(before)
        logging.getLogger().handlers[:] = handlers
    assert capsys.readouterr().err == "the server is gone\na plug-in failed\n"


def test_exit_code_3_has_all_its_reasons_in_the_help() -> None:
    told = " ".join(CliRunner().invoke(build(), ["--help"]).output.split())
    for reason in ("inputs failed", "nothing could be scored", "export", "nothing was decided"):
        assert reason in told


def test_unknown_option_is_answered_in_words() -> None:
    done = CliRunner().invoke(build(), ["check", "crop_disease", ".", "--folds-out", "3"])
    assert done.exit_code == 2
    assert "--folds-out" in done.output
    assert "Traceback" not in done.output


def test_settings_out_of_range_are_all_named() -> None:
    done = CliRunner().invoke(
        build(),
        ["train", "crop_disease", ".", "-o", "never", "--set", "lr_head=-1", "--set", "sizes=3"],
    )
    assert done.exit_code == 2
    assert "lr_head" in done.output
    assert "sizes" in done.output


def test_doctor_and_apps_answer() -> None:
    assert "crop_disease" in CliRunner().invoke(build(), ["apps"]).output
    assert "torch" in CliRunner().invoke(build(), ["doctor"]).output


def test_settings_that_are_unknown_or_wrong_are_each_answered() -> None:
    pairs = ["--set", "lr_hed=3", "--set", "clip=-1"]
    done = CliRunner().invoke(build(), ["train", "crop_disease", ".", "-o", "never", *pairs])
    assert done.exit_code == 2
    words = " ".join(done.output.split())
    assert "there is no setting 'lr_hed'. Did you mean lr_head?" in words
    assert "clip is -1; input should be greater than 0." in words


def test_mistakes_are_told_together_and_before_torch_is_loaded() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from core.cli.main import build\n"
        "words = ['train', 'crop_diseas', '/nowhere', '-o', 'x', '--corrections', '/none.csv']\n"
        "done = CliRunner().invoke(build(), words)\n"
        "print(done.exit_code, done.output.replace('\\n', ' '))\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, loaded = done.stdout.strip().splitlines()
    assert told.startswith("2 ")
    assert "Did you mean 'crop_disease'?" in told
    assert "/nowhere: there is no such file or folder" in told
    assert "/none.csv" in told
    assert loaded == "[]"


def test_a_narrow_terminal_cuts_no_option_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = CliRunner().invoke(build(), ["train", "crop_disease", "--help"]).output
    assert "…" not in told
    assert "--label-column" in told


def test_choices_and_the_options_of_the_app_stand_in_the_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    told = CliRunner().invoke(build(), ["train", "crop_disease", "--help"]).output
    assert "--tile" in told
    assert "Options of crop_disease" in told
    assert "probe" in told
    assert "Example" in told


def test_all_unknown_options_are_told_at_once_each_with_a_suggestion() -> None:
    asked = ["train", "crop_disease", ".", "--presett", "probe", "--sise=64", "--seed", "1"]
    done = CliRunner().invoke(build(), asked)
    assert done.exit_code == 2
    told = " ".join(done.output.replace("│", " ").split())
    assert "--presett (did you mean --preset?), --sise (did you mean --size?)" in told


@pytest.mark.parametrize("unknown", [["--bogus"], ["--bogus", "--letters"]])
def test_a_run_that_is_not_there_is_told_together_with_unknown_options(
    unknown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("predict", "evaluate"):
        done = CliRunner().invoke(build(), [verb, "nowhere", *unknown])
        assert done.exit_code == 2
        told = " ".join(done.output.replace("│", " ").split())
        assert "nowhere: there is no such run" in told
        assert all(option in told.split("No such option")[1] for option in unknown)


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("train crop_disease . --preset fst", "fast"),
        ("train retinopathy . --colours normalized", "normalised"),
    ],
)
def test_a_misspelt_value_gets_the_nearest_choice(line: str, near: str) -> None:
    done = CliRunner().invoke(build(), line.split())
    assert done.exit_code == 2
    told = " ".join(done.output.replace("│", " ").split())
    assert "is not one of" in told
    assert f"Did you mean {near}?" in told


def test_options_of_the_app_are_completed_with_their_choices() -> None:
    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        env = {"_RESIGHT_COMPLETE": "complete_bash", **words}
        return CliRunner().invoke(build(), [], prog_name="resight", env=env).output.split()

    assert completed("resight train retinopathy eyes --col") == ["--colours"]
    assert "equalised" in completed("resight train retinopathy eyes --colours ")

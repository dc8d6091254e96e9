import subprocess
import sys

from typer.testing import CliRunner

from core.cli.main import build

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
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_help() -> None:
    for command in ("apps", "check", "train", "evaluate", "predict", "demo", "doctor"):
        done = CliRunner().invoke(build(), [command, "--help"])
        assert done.exit_code == 0
        assert "Usage" in done.output


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

from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.app import App, Option, find_app
from core.base.options import plain_options, resolve_options, stored_options
from core.cli import own_options
from core.data.prepared import Form, Preparation
from core.errors import RunError

EVERY = ("train", "predict")
OWN = (
    Option(
        name="window", help="How values are shown.", verbs=EVERY, default="auto", scope="pixels"
    ),
    Option(name="edges", help="Use the edges.", verbs=EVERY, type=bool, default=False),
    Option(name="limit", help="A limit.", verbs=EVERY, type=int),
    Option(name="mask", help="A file.", verbs=EVERY, type=Path),
    Option(name="names", help="Show names.", verbs=EVERY, type=bool, scope="command"),
    Option(name="letters", help="Write letters.", verbs=("predict",), type=bool),
)


@pytest.fixture
def app() -> App:
    return replace(find_app("crop_disease"), options=OWN)


def test_later_commands_begin_with_what_training_was_given(app: App) -> None:
    given = {"edges": True, "limit": 3, "mask": Path("m.png"), "names": True}
    stored = stored_options(app, resolve_options(app, "train", given))
    # A file is of this machine, and showing names was asked of that command alone.
    assert stored == {"edges": True, "limit": 3, "window": "auto"}
    assert resolve_options(app, "predict", {}, stored=stored) == stored


def test_command_line_wins_over_the_run(app: App) -> None:
    stored = {"edges": True, "limit": 3}
    given = {"edges": False, "limit": 5, "letters": True}
    values = resolve_options(app, "predict", given, stored=stored)
    assert values == {"window": "auto", "limit": 5, "letters": True}


def test_options_of_other_commands_do_not_arrive(app: App) -> None:
    assert "letters" not in resolve_options(app, "train", {}, stored={"letters": True})


def test_another_value_of_an_option_that_changes_pixels_is_refused(app: App) -> None:
    made = Preparation.of(app, (32, 32), Form(3, "uint8"), {"window": "lut"})
    kept = Preparation.from_dict(made.as_dict())
    kept.require_same(app, {"window": "lut", "edges": True})
    with pytest.raises(RunError, match="--window auto: this run was trained with lut"):
        kept.require_same(app, {"window": "auto"})
    assert made.hash != Preparation.of(app, (32, 32), Form(3, "uint8")).hash


def test_paths_of_a_plan_mean_the_same_from_elsewhere(app: App) -> None:
    plain = plain_options({"mask": Path("m.png"), "limit": 3})
    assert Path(plain["mask"]).is_absolute()
    assert resolve_options(app, "train", plain)["mask"] == Path("m.png").absolute()


def test_the_command_line_reads_the_options_of_the_app_named_on_it(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    cli = typer.Typer(rich_markup_mode=None)

    @cli.command("train", cls=own_options.AppCommand)
    def train(context: typer.Context, name: str) -> None:
        seen.update(own_options.own_options(context))

    @cli.command("predict", cls=own_options.AppCommand)
    def predict(context: typer.Context, name: str) -> None:
        seen.update(own_options.own_options(context))

    monkeypatch.setattr(own_options, "_app_named", lambda _args: app)
    run = CliRunner().invoke
    given = ["crop_disease", "--no-edges", "--limit", "5", "--letters", "--window=lut"]
    assert run(cli, ["predict", *given]).exit_code == 0
    assert seen == {"edges": False, "limit": 5, "letters": True, "window": "lut"}
    told = " ".join(run(cli, ["predict", "crop_disease", "--help"]).output.split())
    assert "How values are shown." in told
    # Of another command, misspelled, of a wrong type: refused with what was meant.
    assert "--letters" in run(cli, ["train", "crop_disease", "--letters"]).output
    assert "--limit" in run(cli, ["train", "crop_disease", "--limt", "5"]).output
    assert "integer" in run(cli, ["train", "crop_disease", "--limit", "x"]).output

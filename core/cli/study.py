"""``resight study depth APP DATA``: studies of what a network's parts do on one's own images."""

from __future__ import annotations

from pathlib import Path

import typer

from core import verbs
from core.cli import shared
from core.cli.complete import apps

__all__ = ["register"]


def register(cli: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Studies of networks on your own images.")
    group.command("depth")(depth)
    cli.add_typer(group, name="study")


def depth(
    app: str = typer.Argument(help="Name of the app; see `resight apps`.", autocompletion=apps),
    data: str = typer.Argument(help="Folder or table of labelled images."),
    out: Path = typer.Option(
        None, "--out", "-o", help="Directory of depth.html; default DATA-depth."
    ),
    task: str = shared.TASK,
    label: str = shared.LABEL,
    group: str = typer.Option(None, help="What may never straddle a fold."),
    minutes: float = typer.Option(5.0, help="That the small trainings may take."),
    steps: int = typer.Option(None, min=10, help="Of each training, in place of minutes."),
    seeds: int = typer.Option(3, min=1, max=20, help="Trainings of each network."),
    weights_folder: Path = typer.Option(
        None, help="NAME.safetensors files of networks of full size."
    ),
    full_size: bool = typer.Option(
        True, "--full-size/--small-only", help="Probe pretrained networks of rising depth."
    ),
    quiet: bool = shared.QUIET,
    as_json: bool = shared.JSON,
) -> None:
    """Does depth help on these images? Residual against plain networks, then ResNet-18 to 101.

    Example: resight study depth crop_disease leaves --minutes 5
    """
    with shared.guarded(quiet=quiet, as_json=as_json):
        shared.known_app(app)
        places = shared.existing([data])
        from core.report import depth_page  # noqa: PLC0415  (imports pandas)

        place = (out or Path.cwd() / f"{places[0].stem}-depth").absolute()
        choice = verbs.study_depth.DepthChoice(
            seeds=seeds,
            steps=steps,
            minutes=minutes,
            weights_folder=weights_folder,
            full_size=full_size,
        )
        result = verbs.study_depth.study_depth(
            app, places[0], place, task=task, label=label, group=group, choice=choice
        )
        if as_json:
            shared.show_json(result)
            return
        frame = depth_page.error_table(result["courses"])
        shared.say(shared.table(frame.to_numpy().tolist(), list(frame.columns)))
        for entry in result["probed"]:
            shared.say(
                f"{entry['name']}: probe {entry['accuracy']:.3f} [{entry['low']:.3f}, "
                f"{entry['high']:.3f}], {1000 * entry['seconds_per_image']:.0f} ms per image"
            )
        if result["left_out"]:
            shared.say(f"no weights on this machine: {', '.join(result['left_out'])}")
        shared.say()
        shared.say(depth_page.short_answer(result["courses"], result["chance"], result["probed"]))
        shared.say(f"open {place / 'depth.html'}")

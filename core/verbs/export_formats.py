"""A run in the form that others load: timm's ``local-dir``, and a folder for Hugging Face's hub.

timm's configuration knows no pooled head of several stages, so what timm loads is the
backbone: features, not scores. Scores come from the ONNX files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.base.outputs import write_json, write_text
from core.cards.licence_terms import may_release, union_of_terms
from core.data.prepared import full_scale
from core.errors import ConfigError, RunError
from core.model.checkpoint import save_backbone
from core.model.volume_backbone import is_volume_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.model.network import Network
    from core.runs.run import Member, Run

__all__ = ["require_releasable", "write_hub", "write_timm"]


def write_timm(run: Run, networks: Sequence[tuple[Member, Network, Any]], out: Path) -> list[str]:
    """Write the backbone of each member as a folder that timm loads.

    Args:
        run: the run.
        networks: its members.
        out: the folder; one below it for each member, if there are several.

    Returns:
        their names below ``out``, ``.`` for itself.
    """
    names = ["."] if len(networks) == 1 else [f"member-{i}" for i in range(len(networks))]
    for name, (member, network, _) in zip(names, networks, strict=True):
        folder = out / name
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", _config(run, member, network))
        save_backbone(folder / "model.safetensors", network)
    text = (
        f"# {run.app.title}: the fine-tuned backbone. It gives features, not scores.\n"
        "from pathlib import Path\n\nfrom timm import create_model\n\n"
        f'folder = Path(__file__).resolve().parent / "{names[0]}"\n'
        'backbone = create_model(f"local-dir:{folder}", pretrained=True).eval()\n'
        "# (N, C, H, W) in [0, 1], prepared as the run prepares its images, less the mean and by\n"
        "# the standard deviation that backbone.pretrained_cfg names.\n"
        "features = backbone.forward_features\n"
    )
    write_text(out / "load.py", text)
    terms = json.dumps(run.content.get("terms") or [], indent=1, ensure_ascii=False)
    write_text(out / "terms.json", terms + "\n")
    return names


def _config(run: Run, member: Member, network: Network) -> dict[str, Any]:
    """The ``config.json`` that timm reads, of a backbone without a classifier."""
    described: Mapping[str, Any] = member.network
    architecture = str(described["backbone"]).split(".", maxsplit=1)[0]
    channels = int(described["channels"])
    if is_volume_network(architecture):
        msg = f"timm has no 3-D networks, and this run is a {architecture}. Pass --format onnx."
        raise ConfigError(msg)
    full = full_scale(str(described["dtype"]))
    width: Any = network.backbone.num_features
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": int(width),
        "global_pool": "avg",
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {
            "architecture": architecture,
            "tag": f"resight_{run.model_id}",
            "custom_load": False,
            "input_size": [channels, *member.preparation.size_px],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            # Of pixels in [0, 1]; the run's own are of stored pixels.
            "mean": (network.mean.flatten() / full).tolist(),
            "std": (network.std.flatten() / full).tolist(),
            "num_classes": 0,
            "license": may_release(run.content.get("terms") or []),
        },
    }


def require_releasable(run: Run) -> None:
    """Refuse to make for the public what the data do not allow to be given away.

    Raises:
        RunError: a data card forbids the release of weights.
    """
    terms = run.content.get("terms") or []
    if union_of_terms(terms)["weights_release"] == "forbidden":
        msg = (
            f"{run.path}: the terms of its data forbid that its weights are given away "
            f"({may_release(terms)}). Export without --format hf, for use where it was made."
        )
        raise RunError(msg)


def write_hub(run: Run, networks: Sequence[tuple[Member, Network, Any]], out: Path) -> None:
    """Add to an exported folder what the hub shows: the card as README.md, and the backbone."""
    card = run.path / "model_card.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8")
    else:
        terms = run.content.get("terms") or []
        text = f"# {run.app.title}\n\n{run.app.intended_use}\n\n{may_release(terms)}\n"
    write_text(out / "README.md", text)
    (out / "backbone").mkdir(exist_ok=True)
    write_timm(run, networks, out / "backbone")

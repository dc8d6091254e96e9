"""``resight doctor``: versions, accelerators, extras, caches, with what to do about each."""

from __future__ import annotations

from pathlib import Path

import typer

from core import verbs
from core.app import app_names
from core.base.machine import cache_home, detect, free_disk, precision, total_memory
from core.base.versions import versions
from core.cli.shared import JSON, QUIET, guarded, say, show_json, table

__all__ = ["doctor"]

# What each extra is for, by a module it brings.
EXTRAS = {
    "dicom": ("pydicom", "DICOM images"),
    "geo": ("rasterio", "orthomosaics and maps"),
    "pdf": ("weasyprint", "PDF copies of reports"),
    "heic": ("pi_heif", "photos as telephones store them"),
    "export": ("onnx", "a run as an ONNX file"),
    "volumes": ("nibabel", "NIfTI volumes"),
    "cloud": ("obstore", "inputs in an object store"),
    "ray": ("ray", "one prediction on a Ray cluster"),
}


def doctor(
    kit: Path = typer.Option(
        None, help="Check every file of a kit, and whether it is for this machine."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Tell what is installed and found, and what to do about what is not.

    Example: resight doctor --json
    """
    with guarded(quiet=quiet, as_json=as_json):
        if kit is not None:
            _check_kit(kit, as_json=as_json)
            return
        import importlib.util  # noqa: PLC0415  (only here)
        import platform  # noqa: PLC0415

        import torch  # noqa: PLC0415

        here = detect()
        home = cache_home()
        used = sum(f.stat().st_size for f in home.rglob("*") if f.is_file()) if home.is_dir() else 0
        rows = [
            ("python", platform.python_version(), ""),
            *((name, number, "") for name, number in versions().items()),
            ("cores", str(here.cores), ""),
            ("memory", f"{total_memory() / 1e9:.0f} GB", ""),
            (
                "accelerator",
                torch.cuda.get_device_name()
                if torch.cuda.is_available()
                else "mps"
                if here.has_gpu
                else "none",
                ""
                if here.has_gpu
                else "training runs on the processor; --preset fast or --minutes N limit its time",
            ),
            ("bfloat16", "yes" if here.has_bf16 else "no", ""),
            ("precision", "{}: {}".format(*precision(here)), ""),
            *_weights(),
            (
                "apps",
                ", ".join(app_names()) or "none",
                ""
                if app_names()
                else "no app is installed; run `make install` in resight's folder",
            ),
            (
                "prepared images",
                f"{used / 1e9:.2f} GB in {home}",
                "may be deleted at any time; RESIGHT_HOME moves it" if used else "",
            ),
            ("free disk", f"{free_disk(home) / 1e9:.0f} GB", ""),
        ]
        for extra, (module, purpose) in EXTRAS.items():
            present = importlib.util.find_spec(module) is not None
            advice = "" if present else _install(extra)
            rows.append(
                (f"extra {extra}", f"{'present' if present else 'absent'}: {purpose}", advice)
            )
        if as_json:
            show_json([{"what": a, "found": b, "advice": c} for a, b, c in rows])
        else:
            say(table(rows, ("what", "found", "what to do")))


def _check_kit(folder: Path, *, as_json: bool) -> None:
    """Say whether a kit is whole, and whether it can be installed here."""
    content = verbs.kit.require_whole_kit(folder)
    reason = verbs.kit.fits_here(content)
    if as_json:
        show_json({"kit": str(folder), "n_files": len(content["sha256"]), "unfit": reason})
        return
    say(f"{folder}: {len(content['sha256']):,} files, each as it was made")
    say(f"{folder}: {reason or 'can be installed here: python install.py'}")


def _install(extra: str) -> str:
    """The command that installs what an extra needs, here and now."""
    import importlib.util  # noqa: PLC0415  (only here)
    import shlex  # noqa: PLC0415
    import shutil  # noqa: PLC0415
    import sys  # noqa: PLC0415
    from importlib.metadata import requires  # noqa: PLC0415

    mark = f"extra == {extra!r}"
    needed = [
        line.partition(";")[0].strip()
        for line in requires("resight") or []
        if mark in line.replace('"', "'")
    ]
    if not needed:
        return f"add the extra {extra} when resight is installed"
    # An environment made by uv holds no pip.
    has_pip = importlib.util.find_spec("pip") is not None
    with_uv = ["uv", "pip", "install", "--python", sys.executable]
    tool = [sys.executable, "-m", "pip", "install"]
    return shlex.join([*(with_uv if not has_pip and shutil.which("uv") else tool), *needed])


def _weights() -> list[tuple[str, str, str]]:
    """Which pretrained weights of timm are on this machine, and whether more can be fetched."""
    from huggingface_hub import constants, scan_cache_dir  # noqa: PLC0415
    from huggingface_hub.errors import CacheNotFound  # noqa: PLC0415

    try:
        held = sorted(r.repo_id for r in scan_cache_dir().repos if r.repo_id.startswith("timm/"))
    except CacheNotFound:
        held = []
    shown = ", ".join(name.removeprefix("timm/") for name in held[:5])
    more = f" and {len(held) - 5} more" if len(held) > 5 else ""
    advice = (
        ""
        if held
        else "the first training with --weights hub fetches them; where there is no network pass "
        "--weights FILE.safetensors, or --weights none"
    )
    return [("pretrained weights", f"{shown or 'none'}{more} in {constants.HF_HUB_CACHE}", advice)]

"""A kit holds what it says, is known when it is damaged, and installs without a network."""

import base64
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import core.verbs.kit
from core.base.outputs import seal, write_json
from core.cli.main import build
from core.errors import ConfigError, OutputError, RunError
from core.runs.run import load_run
from core.verbs.kit import Kit, fits_here, make_kit, requirements_for

OLD = Path(__file__).parent / "fixtures" / "run_of_0_1" / "run"
PYTHON = "{}.{}".format(*sys.version_info)


def wheel_of(name: str, folder: Path) -> Path:
    """A wheel with one module, as PEP 427 describes it."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "VALUE = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{info}/RECORD,,"]
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{path},sha256={digest.decode()},{len(text)}")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": "\n".join(rows) + "\n"}.items():
            archive.writestr(path, text)
    return folder / f"{name}-1.0-py3-none-any.whl"


def line_of(wheel: Path) -> str:
    return f"{wheel.name[:4]}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run."""
    shutil.copytree(OLD, tmp_path / "run")
    packed = tmp_path / "run" / "model.safetensors.xz"
    (tmp_path / "run" / "model.safetensors").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    seal(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def exported(run: Path) -> Path:
    """What a kit takes for an exported model: its run says so, and it is complete."""
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(
        json.dumps({**content, "export": {"engine": "ort", "precision": "fp32", "opset": 18}})
    )
    seal(run)
    return run


def test_conditions_are_those_of_the_other_machine() -> None:
    lock = (
        "# via resight\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:a \\\n"
        "    --hash=sha256:b\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:c\n"
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:d\n"
        "nccl==1 ; platform_machine == 'x86_64' and sys_platform == 'linux' --hash=sha256:e\n"
    )
    assert requirements_for(lock, "windows-x86_64", "3.13").splitlines() == [
        "numpy==2.5.5 --hash=sha256:c",
        "colorama==0.4.6 --hash=sha256:d",
    ]
    assert requirements_for(lock, "linux-x86_64", "3.11").splitlines() == [
        "numpy==2.4.6 --hash=sha256:a --hash=sha256:b",
        "nccl==1 --hash=sha256:e",
    ]
    assert "nccl" not in requirements_for(lock, "linux-aarch64", "3.12")


def test_a_kit_that_could_not_work_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--platform solaris: is not known"):
        make_kit(Kit("predict", "solaris", "3.12", run), tmp_path / "kit")
    with pytest.raises(ConfigError, match=r"--python 3\.9: resight runs on"):
        make_kit(Kit("predict", "linux-x86_64", "3.9", run), tmp_path / "kit")
    # A run needs torch.
    with pytest.raises(RunError, match="holds an exported model, for its environment has no torch"):
        make_kit(Kit("predict", "linux-x86_64", "3.12", run), tmp_path / "kit")
    with pytest.raises(ConfigError, match=r"Pass --weights FILE\.safetensors"):
        make_kit(Kit("train", "linux-x86_64", "3.12"), tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


def test_a_kit_takes_nothing_from_outside_of_the_model(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (exported / "notes.txt").write_text("notes")
    seal(exported)
    kit = Kit("predict", "linux-x86_64", PYTHON, exported)
    # A file that was recorded, and is a link to another now.
    (exported / "notes.txt").unlink()
    (exported / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=r"notes\.txt is not the file"):
        core.verbs.kit._add_contents(kit, load_run(exported), tmp_path / "out")
    for name in ("../secret", str(tmp_path / "secret"), "a/../../secret"):
        write_json(exported / "MANIFEST.json", {"files": {name: "0" * 64}})
        with pytest.raises(OutputError, match="which is not below it"):
            core.verbs.kit._add_contents(kit, load_run(exported), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*secret*"))


@pytest.mark.slow
def test_a_kit_installs_without_a_network_and_says_when_it_is_damaged(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What pip takes from its index otherwise.
    wheels = [wheel_of(name, tmp_path / "index") for name in ("tiny", "more")]
    (tmp_path / "requirements.txt").write_text(line_of(wheels[0]))
    (tmp_path / "more.txt").write_text(line_of(wheels[1]))
    monkeypatch.setattr(core.verbs.kit, "files", lambda name: tmp_path)
    install = Path(core.verbs.kit.__file__).with_name("kit_install.txt")
    shutil.copy(install, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    here = Kit(
        purpose="predict",
        system=next(name for name in core.verbs.kit.PLATFORMS if not fits_here(
            {"system": name, "python": PYTHON}
        )),
        python=PYTHON,
        model=exported,
        requirements=(tmp_path / "more.txt",),
        wheel=wheel_of("self", tmp_path / "own"),
    )  # fmt: skip
    kit = tmp_path / "kit"
    content = make_kit(here, kit)
    assert {path.name for path in (kit / "wheels").iterdir()} == {
        *("tiny-1.0-py3-none-any.whl", "more-1.0-py3-none-any.whl", "self-1.0-py3-none-any.whl")
    }
    assert set(content["sha256"]) >= {"model/run.json", "model/MANIFEST.json", "requirements.txt"}
    told = CliRunner().invoke(build(), ["doctor", "--kit", str(kit)])
    assert "each as it was made" in told.output
    assert "can be installed here" in told.output

    monkeypatch.delenv("PIP_FIND_LINKS")
    cut = ["unshare", "--net", "--map-root-user"]
    is_cut = shutil.which("unshare") and not subprocess.run([*cut, "true"], check=False).returncode
    done = subprocess.run(
        [*(cut if is_cut else []), sys.executable, "install.py", str(tmp_path / "env")],
        cwd=kit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    tried = "import tiny, more, self; print(tiny.VALUE + more.VALUE + self.VALUE)"
    assert subprocess.check_output([python, "-c", tried], text=True) == "126\n"

    damaged = kit / "wheels" / "tiny-1.0-py3-none-any.whl"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    told = CliRunner().invoke(build(), ["doctor", "--kit", str(kit)])
    assert told.exit_code == 2
    assert "tiny-1.0-py3-none-any.whl: is missing or not what it was" in told.output
    done = subprocess.run(
        [sys.executable, "install.py"], cwd=kit, capture_output=True, text=True, check=False
    )
    assert "is missing or damaged. Copy" in done.stderr
    (kit / "kit.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "install.py"], cwd=kit, capture_output=True, text=True, check=False
    )
    assert "kit.json: is missing or damaged" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_kit_that_trains_holds_the_weights_with_their_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_text(line_of(wheel_of("tiny", tmp_path / "index")))
    monkeypatch.setattr(core.verbs.kit, "SOURCE", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    weights = tmp_path / "resnet18.safetensors"
    weights.write_bytes(b"weights")
    wanted = Kit(
        purpose="train",
        system="windows-x86_64",
        python="3.13",
        weights=weights,
        licence="Apache-2.0",
        wheel=wheel_of("self", tmp_path / "own"),
    )
    content = make_kit(wanted, tmp_path / "kit")
    assert content["licence_of_weights"] == "Apache-2.0"
    digest = hashlib.sha256(b"weights").hexdigest()
    assert content["sha256"]["weights/resnet18.safetensors"] == digest
    assert fits_here(content).startswith("is for windows-x86_64 and Python 3.13, not ")

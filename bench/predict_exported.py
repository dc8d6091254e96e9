"""What predicting takes with a run, where torch is, and with its export, where it is not.

Whole commands, in turns, on one core: processor seconds of a command and its children for one
photo and for many, milliseconds of each further photo, and largest memory. Beside them what
the libraries alone take to load, and the network alone to score, for a machine's own speed
changes from hour to hour.

    python bench/predict_exported.py RUN EXPORTED LIGHT_PYTHON PHOTOS [--counts 1 50 800]
        [--torch-counts 1 50] [--rounds 3]

RUN and EXPORTED are one model; LIGHT_PYTHON is of the small environment that docs/export.md makes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

COMMAND = "import sys; from core.cli.main import main; sys.argv[0] = 'resight'; main()"

# The network alone, as the engine of an export is set up.
NETWORK = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
pixels = numpy.zeros((8, *given.shape[1:]), given.type[7:-1].replace("float", "float32"))
for _ in range(int(sys.argv[2]) // 8):
    session.run(None, {given.name: pixels})
"""
# Images that the network alone scores.
ALONE = 96


def take(command: list[str]) -> tuple[float, float]:
    """Processor seconds of a command with its children, and its largest memory in MB."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        # 3: some inputs failed, or nothing was decided.
        if os.waitstatus_to_exitcode(status) not in {0, 3}:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "exported", "light_python", "photos"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 50, 800])
    parser.add_argument("--torch-counts", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["OMP_NUM_THREADS"] = "1"
    files = sorted(asked.photos.iterdir())
    light, full = str(asked.light_python), sys.executable
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        commands = {
            "light: libraries alone": [light, "-c", "import numpy, pandas, cv2, onnxruntime"],
            **{
                f"network: {count} photos": [
                    light,
                    "-c",
                    NETWORK,
                    str(asked.exported / "model.onnx"),
                    str(count),
                ]
                for count in (0, ALONE)
            },
            "torch: libraries alone": [full, "-c", "import numpy, pandas, cv2, torch, timm"],
        }
        for kind, python, model, counts in (
            ("export", light, asked.exported, asked.counts),
            ("torch", full, asked.run, asked.torch_counts),
        ):
            for count in counts:
                folder = place / str(count)
                folder.mkdir(exist_ok=True)
                for number in range(count):
                    shutil.copy(files[number % len(files)], folder / f"{number:05d}.jpg")
                out = str(place / "out")
                call = [
                    python,
                    "-c",
                    COMMAND,
                    "predict",
                    str(model),
                    str(folder),
                    "--out",
                    out,
                ]
                commands[f"{kind}: {count} photos"] = call
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
        for _ in range(asked.rounds):
            for what, command in commands.items():
                shutil.rmtree(place / "out", ignore_errors=True)
                found[what].append(take(command))
                print(what, *(f"{value:.2f}" for value in found[what][-1]), flush=True)
    print("| | processor s, median | largest memory, MB |\n|---|---:|---:|")
    for what, values in found.items():
        seconds, memory = (median(column) for column in zip(*values, strict=True))
        print(f"| {what} | {seconds:.1f} | {memory:.0f} |")
    for kind, counts in (
        ("network", [0, ALONE]),
        ("export", asked.counts),
        ("torch", asked.torch_counts),
    ):
        few, many = (found[f"{kind}: {count} photos"] for count in (counts[0], counts[-1]))
        spent = [b[0] - a[0] for a, b in zip(few, many, strict=True)]
        further = 1000 * median(spent) / max(counts[-1] - counts[0], 1)
        print(f"{kind}: each further photo {further:.0f} ms")


if __name__ == "__main__":
    main()

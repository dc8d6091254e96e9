"""docs/results.md: what the defaults reached on each data set, from the runs themselves."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from statsmodels.stats.meta_analysis import combine_effects

from core.base.outputs import is_complete
from core.base.settings import read_plan
from core.verbs.compare import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PUBLISHED = Path(__file__).with_name("published.csv")
# What was compared by hand, one question at a time; stands below the table.
FURTHER = Path(__file__).with_name("further.md")
# Half the width of a 95 % interval, in standard errors.
Z95 = 1.96


def page(
    runs: Mapping[str, Sequence[Path]],
    *,
    against: Path | None,
    root: Path,
    passed: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        runs: the run of each seed, by ``set/task``; those not complete are said to be so.
        against: runs of another version of the code, in the same folders.
        root: the folder of these runs.
        passed: folders that are no labelled images, and why.
    """
    lines = [
        "# What the defaults reach",
        "",
        "Written by `python -m bench.datasets`: every labelled folder of a folder, trained with "
        "no option but the weights and the seed. The split is the data's own where they name "
        "one, and else drawn by group; numbers are those of the held-out cases, with 95 % "
        "intervals. The probe is the frozen network with a linear head, on the same cases; "
        "where fine-tuning did not pass it on validation, the probe is what the run keeps.",
        "",
        "| data set | task | unit | held out | measure | published | probe | kept | what was kept "
        "| CPU s | memory, MB |",
        "|---" * 11 + "|",
    ]
    absent = []
    notes: dict[str, int] = {}
    for name, paths in runs.items():
        for out in paths:
            if is_complete(out):
                lines += _rows(name, out, notes)
            else:
                absent.append(f"{name} ({out.name}): {_why(out)}")
    lines += ["", *[f"{number}. {words}" for words, number in notes.items()], ""]
    if absent:
        lines += ["Not trained:", "", *[f"- {words}" for words in absent], ""]
    if passed:
        lines += ["Folders that are no labelled images:", ""]
        # Without the place on the machine where this was run.
        lines += [f"- {name}: {re.sub(r'/(?:[^/ :]+/)+', '', why)}" for name, why in passed.items()]
        lines += [""]
    if against is not None:
        lines += _against(runs, against, root)
    return "\n".join([*lines, FURTHER.read_text(encoding="utf-8")])


def _rows(name: str, out: Path, notes: dict[str, int]) -> list[str]:
    """The rows of a run: its headline, and what was published in another measure."""
    data, task = name.split("/")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    cost = json.loads(out.with_name(f"{out.name}.cost.json").read_text(encoding="utf-8"))
    settings = read_plan(out / "plan.yaml")[1]
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    about = metrics["about"]
    known = {
        row["metric"]: row for row in _published() if (row["set"], row["task"]) == (data, task)
    }
    kept = sorted({member["kept"] for member in run["members"]})
    best = ", ".join(str(member["best_epoch"]) for member in run["members"])
    tried = settings.get("epochs") or 0
    what = " and ".join(kept) + (f", epoch {best} of {tried}" if tried else "")
    lines = []
    for measure in dict.fromkeys([about["headline"], *known]):
        row = whole_row(metrics["metrics"], measure, about["unit"])
        if row is None:
            continue
        mark = ""
        if measure in known:
            words = f"{known[measure]['what']}. {known[measure]['source']}."
            number = notes.setdefault(words, len(notes) + 1)
            mark = f"{float(known[measure]['value']):.3f} ({number})"
        cells = [data, task, about["unit"], f"{row['n']:,} of {row['n_groups']:,} groups"]
        cells += [row["title"], mark]
        probe = whole_row(metrics["probe"] or [], measure, about["unit"])
        # Older runs judged the probe by images alone.
        by = f" by {probe['unit']}" if probe and probe["unit"] != about["unit"] else ""
        cells += [f"{with_interval(probe)}{by}", with_interval(row)]
        first = not lines
        part = " (last part of a resumed training)" if cost.get("is_resumed") else ""
        used = [f"{cost['cpu_s']:,.0f}{part}", f"{cost['memory_mb']:,.0f}"]
        cells += [what, *used] if first else [""] * 3
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def whole_row(rows: Sequence[Mapping[str, Any]], name: str, unit: str) -> Mapping[str, Any] | None:
    """The row of a whole number of one unit; of the images where the unit has none."""
    whole = [row for row in rows if row["name"] == name and not (row["of"] or row["subgroup"])]
    return next(iter(sorted(whole, key=lambda row: row["unit"] != unit)), None)


def with_interval(row: Mapping[str, Any] | None) -> str:
    """A number with its interval."""
    if row is None or row["value"] is None:
        return ""
    if row["low"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _published() -> list[dict[str, str]]:
    """What others reached, and on what."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _why(out: Path) -> str:
    """The last words of a run that did not end."""
    log = out.with_name(f"{out.name}.log")
    lines = log.read_text(encoding="utf-8").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else "not started"


def _against(runs: Mapping[str, Sequence[Path]], other: Path, root: Path) -> list[str]:
    """The paired difference of each data set to another version, and all sets together.

    Together is a random-effects mean (DerSimonian and Laird 1986) of the paired differences,
    each on its own scale from 0 to 1, with the limits of Hartung and Knapp.
    """
    lines = ["## Against another version", ""]
    lines += ["| data set and task | measure | then | now | difference |", "|---" * 5 + "|"]
    effects, variances = [], []
    for name, paths in runs.items():
        for out in paths:
            before = other / out.relative_to(root)
            if not (is_complete(out) and is_complete(before)):
                continue
            rows = compare(before, out)["rows"]
            row = next(one for one in rows if one["is_headline"])
            cells = [f"{name}, {out.name}", row["title"]]
            cells += [f"{row[side]:.3f}" for side in ("first", "second")]
            known = row["low"] is not None
            limits = f" [{row['low']:+.3f}, {row['high']:+.3f}]" if known else ""
            cells.append(f"{row['difference']:+.3f}{limits}")
            lines.append(f"| {' | '.join(cells)} |")
            if known:
                effects.append(row["difference"])
                variances.append(((row["high"] - row["low"]) / (2 * Z95)) ** 2)
    if len(effects) > 1:
        # An interval of no width says that no case changed; it may not outweigh all others.
        floor = max(variances) * 1e-3
        together = combine_effects(
            np.array(effects), np.maximum(variances, floor), method_re="dl", use_t=True
        ).summary_frame()
        mean, low, high = together.loc["random effect", ["eff", "ci_low", "ci_upp"]]
        better = sum(effect > 0 for effect in effects)
        worse = sum(effect < 0 for effect in effects)
        lines += ["", f"All together {mean:+.4f} [{low:+.4f}, {high:+.4f}]: {better} better, "]
        lines[-1] += f"{worse} worse, {len(effects) - better - worse} the same."
    return [*lines, ""]

"""The model card: YAML front matter and Markdown, by the conventions of the Hugging Face Hub.

It repeats the report in short for whoever receives the weights. Names from
files enter YAML through its own writer and Markdown escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from core.cards.licence_terms import may_release, union_of_terms
from core.report.html import clean
from core.report.numbers import estimate, level_words, number, pick, sentences
from core.report.verdict import use_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.app import ReportContext, Task

__all__ = ["model_card"]

# Metric types the Hub knows, by our names; any other goes under its own name.
HUB_NAMES = {
    "macro_f1": "f1",
    "auroc": "roc_auc",
    "brier": "brier_score",
    "matthews": "matthews_correlation",
    "mean_absolute_error": "mae",
}
HOW_TO = """Download this repository to a folder `RUN`, then, on a command line or in Python:

```
resight predict RUN IMAGES --out PREDICTIONS
```

```python
from pathlib import Path

from core.verbs.predict import predict

summary = predict(Path("RUN"), [Path("IMAGES")], Path("PREDICTIONS"))
```
"""
STATE = "*To be stated by the user.*"
# What the data's terms leave of the choice of a licence.
RELEASE_NAMES = {
    "allowed": "to-be-stated",
    "unknown": "to-be-stated",
    "unclear": "release-unclear",
    "forbidden": "release-forbidden",
}


def model_card(context: ReportContext, verdict: str, cautions: Sequence[str]) -> str:
    """The card as text.

    Args:
        context: of the report.
        verdict: the result in words.
        cautions: sentences a user must know.
    """
    run, task = context.run, context.task
    title = context.app.title if context.app else str(run.get("title") or "Image classifier")
    use = context.app.intended_use if context.app else str(run.get("intended_use") or "")
    start = run.get("start") or {}
    networks = [
        str((m.get("network") or {}).get("backbone") or "") for m in run.get("members") or []
    ]
    front = yaml.safe_dump(_front(context, title, networks), sort_keys=False, allow_unicode=True)
    rows = _overall(context)
    lines = [
        f"# {plain(title)}",
        "",
        f"> {plain(use_words(context.app, use))}",
        "",
        "## Model details",
        "",
        f"- Network: {plain(', '.join(dict.fromkeys(filter(None, networks))) or 'unknown')}",
        f"- Starting weights: {plain(start.get('source') or 'unknown')}"
        f" (licence: {plain(start.get('licence') or 'not stated')})",
        f"- Task: {plain(task.name)} ({task.kind})",
        f"- Classes: {plain(', '.join(task.classes))}",
        f"- Model id: {plain(run.get('model_id') or 'none')}",
        *_decides(run, task),
        "",
        "## Uses",
        "",
        plain(use) or STATE,
        "",
        "Out of scope: any decision about a person without a qualified reader, and images unlike "
        "those it was trained on.",
        "",
        "## Risks and limits",
        "",
        *([f"- {plain(sentence)}" for sentence in cautions] or [STATE]),
        "",
        "## Training data",
        "",
        plain(sentences(run.get("group_rule"), run.get("split_rule"))) or STATE,
        "",
        *(f"- {_source(term)}" for term in run.get("terms") or []),
        *([""] if run.get("terms") else []),
        f"**May these weights be released?** {plain(may_release(run.get('terms') or []))}",
        "",
        "## Evaluation",
        "",
        plain(verdict),
        "",
        f"| Measure | Counted by | Value ({level_words(rows)}) | Cases |",
        "| --- | --- | ---: | ---: |",
        *(
            f"| {plain(r.get('title') or r['name'])} | {plain(r.get('unit') or '')} "
            f"| {estimate(r)} | {r.get('n', '')} |"
            for r in rows
        ),
        "",
        "Numbers by class and subgroup, calibration and errors stand in `report.html` and "
        "`metrics.json`.",
        "",
        "## How to use",
        "",
        HOW_TO,
    ]
    return f"---\n{front}---\n\n" + "\n".join(lines)


def _decides(run: Mapping[str, Any], task: Task) -> list[str]:
    """At which operating point decisions are made."""
    point = run.get("operating_point")
    if not run.get("members"):
        return []
    if not point:
        if task.cuts:
            return ["- Decides for: each grade as often as the labels have it"]
        usual = {
            "ordinal": "the median grade",
            "multilabel": "every class with a score of 0.5 or more",
        }.get(task.kind, "the class with the highest score")
        return [f"- Decides for: {usual}"]
    basis = {"val": "validation", "out-of-fold": "out-of-fold cases"}.get(point["split"], "")
    return [
        f"- Decides at: {plain(point['name'])}, threshold {number(point['threshold'])}, chosen on "
        f"{basis} by {plain(point['unit'])}"
    ]


def plain(text: object) -> str:
    r"""Words that Markdown shows as they are.

    >>> plain("<b> a_b | *c*")
    '\\<b\\> a\\_b \\| \\*c\\*'
    """
    return re.sub(r"([\\`*_\[\]<>|#~!])", r"\\\1", clean(text).replace("\n", " "))


def _source(term: Mapping[str, Any]) -> str:
    """One data set that the model learned from: title, licence, and how to cite it."""
    mark = " (unchecked)" if term.get("licence_unchecked") else ""
    return plain(f"{term['title']}: {term['licence']}{mark}. Cite: {term['citation']}")


def _overall(context: ReportContext) -> list[Mapping[str, Any]]:
    """The numbers of everybody, as the model is used."""
    rows = pick(context.evaluation.get("metrics") or [], of="", subgroup="")
    return [row for row in rows if not row["name"].endswith("_before")]


def _front(context: ReportContext, title: str, networks: Sequence[str]) -> dict[str, Any]:
    """The metadata that the Hub reads."""
    about = context.evaluation.get("about") or {}
    rows = _overall(context)
    measured = [
        {
            "type": HUB_NAMES.get(row["name"], row["name"]),
            "name": f"{row.get('title') or row['name']}, by {row.get('unit') or 'image'}",
            "value": row["value"],
        }
        for row in rows
        if row.get("value") is not None
    ]
    tags = [
        "image-classification",
        "resight",
        context.task.kind,
        *dict.fromkeys(filter(None, networks)),
    ]
    terms = context.run.get("terms") or []
    front: dict[str, Any] = {
        # Weights are read by this program alone: heads, calibration and preparation are its own.
        "library_name": "resight",
        "pipeline_tag": "image-classification",
        # What the user's data and the starting weights allow, no program can decide.
        "license": "other",
        "license_name": RELEASE_NAMES[union_of_terms(terms)["weights_release"]],
        "tags": tags,
    }
    if terms:
        front["datasets"] = [str(term["card"]) for term in terms]
    if measured:
        front["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "image-classification", "name": context.task.name},
                        "dataset": {
                            "name": ", ".join(map(str, context.run.get("cards") or []))
                            or "private data",
                            "type": "private",
                            "split": str(about.get("split") or "test"),
                        },
                        "metrics": measured,
                    }
                ],
            }
        ]
    return front

"""A letter per patient in plain language, from a template and a file of words.

The template says where things stand, the file of words what they are called; both
can be replaced. A template of somebody else is rendered in a sandbox and
everything put into it is escaped, so that neither a name nor a template can run
anything. A letter never says more than the decision: a grade is a program's opinion
until a doctor has confirmed it, and each letter says so.

No letter is written where the model does not know what it sees: photographs unlike those
of the training, of no eye or that could not be read, one photograph given as two, and, whatever
is accepted, where an eye or a photograph of it would ask for a doctor and the threshold does not.
They are counted, and ``letters.csv`` names the reason. What happens next is what the work list
says (``listed``, see ``screening``), so never milder than what is said of any eye.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.retinopathy.metrics import GRADES
from apps.retinopathy.worklist import decided
from core.base.outputs import csv_text, write_text
from core.base.parsing import parse_yaml
from core.base.regular_files import read_regular
from core.errors import ConfigError
from core.evaluation.doubt import REFERRED
from core.evaluation.doubt_marks import positive_alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from core.app import ExportContext

__all__ = ["languages", "withheld_because", "write_letters"]

FILES = Path(__file__).parent / "letter_files"
# What every file of words must hold; those below ``grades`` are one sentence per grade.
WORDS = (
    *("language", "title", "for", "intro", "left", "right", "eye_not_known", "not_judged"),
    *("not_read", "no_photograph"),
    *(
        "next",
        "next_refer",
        "next_repeat",
        "next_none",
        "not_final",
        "symptoms",
        "contact",
        "checked",
    ),
    *("not_ruled_out", "research", "unlike", "holds_for"),
)


def write_letters(context: ExportContext) -> Sequence[Path]:
    """Write ``letters/letter-0001.html`` and so on, and ``letters/letters.csv`` that names them.

    By urgency. ``--language`` names a language that comes with this
    app or a file of words, ``--letter-template`` a template.

    Raises:
        ConfigError: the template or the words cannot be used.
    """
    import pandas as pd  # noqa: PLC0415  (the app's description must load without it)

    if tuple(context.task.classes) != GRADES:
        msg = (
            f"--letters: the run predicts {', '.join(context.task.classes[:6])}, and letters are "
            "about the grades 0 to 4. Leave --letters out."
        )
        raise ConfigError(msg)
    words = _words(context.options.get("language") or "en")
    template = _template(context.options.get("letter-template"))
    found = decided(context)
    folder = context.out / "letters"
    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    rows: list[dict[str, str]] = []
    n_offered = 0
    for row in found.patients.to_dict("records"):
        patient = {str(key): value for key, value in row.items()}
        eyes = found.eyes[found.eyes["patient"] == patient["patient"]]
        why = withheld_because(patient, eyes, context)
        name = "" if why else f"letter-{len(written) + 1:04d}.html"
        if why and not context.accept_doubtful and not _withheld_always(patient, eyes):
            n_offered += 1
        rows.append({"letter": name, "patient": patient["patient"], "withheld": why})
        if not why:
            write_text(folder / name, _rendered(template, _facts(patient, eyes, words)))
            written.append(folder / name)
    left = len(rows) - len(written)
    more = f"; --accept-doubtful writes {n_offered:,} of them" if n_offered else ""
    if left:
        context.notes.append(
            f"{left:,} of {len(rows):,} letters {'was' if left == 1 else 'were'} withheld; "
            f"letters/letters.csv says why. Look at the photographs{more}."
        )
    table = folder / "letters.csv"
    write_text(table, csv_text(pd.DataFrame(rows, columns=["letter", "patient", "withheld"])))
    return [*written, table]


def withheld_because(patient: Mapping[str, Any], eyes: pd.DataFrame, context: ExportContext) -> str:
    """Why a patient gets no letter; empty if one is written."""
    of = patient["n_images"]
    why = _withheld_always(patient, eyes)
    if why or context.accept_doubtful:
        return why
    if context.withheld:
        return context.withheld
    n = patient["n_failed"]
    reasons = (
        (n, f"failed: {n:,} of {of:,} photographs could not be read"),
        (patient["n_unfamiliar"], "photographs unlike the training images"),
    )
    return "; ".join(words for holds, words in reasons if holds)


def _withheld_always(patient: Mapping[str, Any], eyes: pd.DataFrame) -> str:
    """Why a patient gets no letter whatever was accepted; empty if nothing forbids one."""
    n, of = patient["n_no_eye"], patient["n_images"]
    if n:
        # Nothing makes a letter about eyes out of a picture that shows none.
        return "no photograph shows an eye" if n == of else f"{n:,} of {of:,} show no eye"
    if patient["is_copied"]:
        return "the same picture stands for another eye or patient as well"
    # Else the letter would speak of a finding about which the work list says no.
    if (eyes["is_referable"] & ~eyes["is_called"]).any():
        eye = eyes[eyes["is_referable"] & ~eyes["is_called"]].iloc[0]
        named = f"the {eye['eye']} eye" if eye["eye"] else "an eye"
        return (
            f"grade {eye['grade']} was predicted for {named}, below the threshold: a letter would "
            "say one or the other, and a doctor has to"
        )
    rows: list[Mapping[Any, Any]] = [patient, *eyes.to_dict("records")]
    alone = [row for row in rows if row["n_alone"]]
    return positive_alone(alone[0]["n_alone"], alone[0]["n_images"]) if alone else ""


def languages() -> list[str]:
    """Languages that letters can be written in without a file of one's own.

    >>> "en" in languages()
    True
    """
    return sorted(file.stem for file in FILES.glob("*.yaml"))


def _facts(
    patient: Mapping[str, Any], eyes: pd.DataFrame, words: Mapping[str, Any]
) -> dict[str, Any]:
    """What a template is given."""
    lines = []
    seen = set()
    for eye in eyes.sort_values("eye", kind="stable").to_dict("records"):
        seen.add(eye["eye"])
        lines.append(
            {
                "name": words.get(str(eye["eye"])) or words["eye_not_known"],
                "judged": eye["grade"] != "",
                "grade": eye["grade"],
                "text": " ".join(
                    [_sentence(eye, words), *([words["unlike"]] if eye["n_unfamiliar"] else [])]
                ),
            }
        )
    # Only where the eyes are told apart is it known that one is missing.
    absent = [side for side in ("left", "right") if side not in seen] if "" not in seen else []
    if len(absent) == 1:
        name = words[absent[0]]
        lines.append({"name": name, "judged": False, "grade": "", "text": words["no_photograph"]})
    key = _next_step(patient, is_named="" not in seen)
    return {
        "words": words,
        "patient": patient["patient"],
        "eyes": lines,
        "referred": key != "next_none",
        "next": words[key],
    }


def _next_step(patient: Mapping[str, Any], *, is_named: bool) -> str:
    """What the letter asks for: what the work list says of the patient (``listed``).

    ``next_refer`` for yes, but ``next_repeat`` where that is only because an eye could not be
    judged; ``next_none`` for no, where each photograph says which eye it shows; else
    ``next_repeat``.
    """
    if patient["listed"] == "yes" and (patient["is_called"] or patient["decision"] == REFERRED):
        return "next_refer"
    return "next_none" if patient["listed"] == "no" and is_named else "next_repeat"


def _sentence(eye: Mapping[Any, Any], words: Mapping[str, Any]) -> str:
    """What is said of an eye: its grade, unless the threshold asks for more or there is none."""
    if eye["grade"] == "":
        return str(words["not_read" if eye["n_failed"] == eye["n_images"] else "not_judged"])
    if eye["is_called"] and not eye["is_referable"]:
        return str(words["not_ruled_out"])
    return str(words["grades"][eye["grade"]])


def _words(language: str) -> dict[str, Any]:
    """The words of a language, or of a file."""
    own = FILES / f"{language}.yaml"
    known = language in languages()
    path = own if known else Path(language)
    if not known and path.suffix.lower() not in {".yaml", ".yml"}:
        msg = (
            f"--language {language}: there are no letters in it (there are: "
            f"{', '.join(languages())}). Name one of these, or a YAML file of words."
        )
        raise ConfigError(msg)
    try:
        content = parse_yaml(read_regular(path).decode("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"--language {path}: cannot be read as YAML ({error}). Start from a copy of en.yaml."
        raise ConfigError(msg) from error
    words = content if isinstance(content, dict) else {}
    grades = words.get("grades")
    grades = {str(k): v for k, v in grades.items()} if isinstance(grades, dict) else {}
    missing = [name for name in WORDS if not isinstance(words.get(name), str)]
    missing += [f"grades: {grade}" for grade in GRADES if not isinstance(grades.get(grade), str)]
    if missing:
        msg = (
            f"--language {path}: {len(missing)} entries are missing or no text (first: "
            f"{missing[0]}). A letter would have a hole. Start from a copy of en.yaml."
        )
        raise ConfigError(msg)
    return {**words, "grades": grades}


def _template(path: Path | None) -> Any:
    """A jinja2 template in a sandbox, escaping what is put into it."""
    from jinja2 import StrictUndefined, TemplateError  # noqa: PLC0415  (only letters need it here)
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

    file = FILES / "letter.html" if path is None else Path(path)
    environment = SandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.from_string(read_regular(file).decode("utf-8"))
    except (OSError, UnicodeError, TemplateError) as error:
        msg = (
            f"--letter-template {file}: cannot be used ({error}), so no letter can be written. "
            "Start from a copy of letter.html."
        )
        raise ConfigError(msg) from error


def _rendered(template: Any, facts: Mapping[str, Any]) -> str:
    """A letter as text."""
    from jinja2 import TemplateError  # noqa: PLC0415  (see above)

    try:
        return str(template.render(facts))
    except TemplateError as error:
        msg = (
            f"--letter-template: cannot be filled in ({error}). A template may use words, patient, "
            "eyes, referred and next. Start from a copy of letter.html."
        )
        raise ConfigError(msg) from error

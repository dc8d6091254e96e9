"""The house rules that no linter knows: who may import whom, and what a module may do."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# From the ground up. A room may import what stands on lower floors and itself.
FLOORS = (
    {"app", "blocks", "errors"},
    {"base"},
    {"cards", "statistics"},
    {"data"},
    {"model", "evaluation"},
    {"report"},
    {"runs"},
    {"training", "prediction"},
    {"verbs"},
    {"cli", "testing"},
)
# What is still to be opened: imports that go up or sideways, one line each until it is gone.
KNOWN: set[tuple[str, str]] = set()

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


class Import(NamedTuple):
    """One import of a module of this repository."""

    source: str
    target: str
    line: int
    at_import: bool

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.source}:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "apps").rglob("*.py")])
MODULES = {name_of(path): path for path in SOURCES}


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_type_checking(node: ast.AST) -> bool:
    """Whether this is ``if TYPE_CHECKING:``, whose imports never run."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    }


def walk(node: ast.AST, *, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node that can run, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        yield child, at_import
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, at_import=at_import and not inside)


def imports_of(name: str, tree: ast.Module, modules: set[str]) -> Iterator[Import]:
    """The imports of core and apps in a module; ``from core import run`` is ``core.runs.run``."""
    for node, at_import in walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            targets = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
                for alias in node.names
            ]
        else:
            continue
        for target in targets:
            if target.split(".")[0] in {"core", "apps"}:
                yield Import(name, target, node.lineno, at_import)


def floor_of(module: str) -> int:
    """The floor of core on which a module's room stands; 0 is the ground."""
    room = part_of(module)
    return next((n for n, rooms in enumerate(FLOORS) if room in rooms), 0)


def part_of(module: str) -> str:
    """``data`` for ``core.data.split``, ``train`` for ``core.verbs.train``."""
    return module.split(".")[1] if "." in module else ""


def is_allowed(source: str, target: str) -> bool:
    """Whether one module may import another."""
    if source.startswith("apps"):
        # The package `apps` itself is empty; below it each app keeps to itself.
        return target.startswith("core") or part_of(source) == part_of(target)
    if not target.startswith("core"):
        return False
    if part_of(source) == part_of(target) or (source, target) in KNOWN:
        return True
    here, there = floor_of(source), floor_of(target)
    return there < here or here == there == 0


def all_imports() -> list[Import]:
    """Every import of one module of the house by another."""
    return [
        found
        for name, path in MODULES.items()
        for found in imports_of(name, parse(path), set(MODULES))
    ]


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    """One circle of imports, its first module repeated at the end, or nothing."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        for following in sorted(edges.get(node, ())):
            circle = visit(following, [*trail, node])
            if circle:
                return circle
        done.add(node)
        return []

    for start in sorted(edges):
        circle = visit(start, [])
        if circle:
            return circle
    return []


def runs_code(node: ast.stmt) -> bool:
    """Whether a statement of a module does more than define, assign or import."""
    if isinstance(node, ast.Expr):
        return not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
    return not (
        is_type_checking(node)
        or isinstance(
            node,
            ast.Import
            | ast.ImportFrom
            | ast.Assign
            | ast.AnnAssign
            | ast.FunctionDef
            | ast.AsyncFunctionDef
            | ast.ClassDef,
        )
    )


def tracked_files() -> list[Path]:
    """The files of the repository, also those not yet committed; in a bare copy, all."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        names = [ROOT / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [
            path
            for path in ROOT.rglob("*")
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
        ]
    return [path for path in names if path.is_file()]


def test_there_is_a_house_to_look_at() -> None:
    assert {"core.app", "core.errors"} <= set(MODULES)


def test_imports_point_down() -> None:
    wrong = [str(found) for found in all_imports() if not is_allowed(found.source, found.target)]
    assert not wrong, "\n".join(wrong)


def test_no_import_is_circular() -> None:
    # An import inside a function is not counted: it runs after both modules are loaded.
    edges: dict[str, set[str]] = {}
    for found in all_imports():
        if found.at_import and found.source != found.target:
            edges.setdefault(found.source, set()).add(found.target)
    circle = find_cycle(edges)
    assert not circle, " -> ".join(circle)


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        ("core.base.tables", "core.errors", True),
        ("core.app", "core.blocks", True),
        ("core.app", "core.report.html", False),
        ("core.data.split", "core.base.tables", True),
        ("core.data.split", "core.data.manifest", True),
        ("core.data.split", "core.model.heads", False),
        ("core.evaluation.units", "core.report.html", False),
        ("core.report.html", "core.evaluation.units", True),
        ("core.base.tables", "core.runs.run", False),
        ("core.runs.run", "core.data.prepared", True),
        ("core.verbs.train", "core.verbs.evaluate", True),
        ("core.verbs.train", "core.cli.shared", False),
        ("core.cli.train", "core.verbs.train", True),
        ("core.verbs.train", "apps.crop_disease", False),
        ("apps.crop_disease.images", "core.data.images", True),
        ("apps.crop_disease.images", "apps.crop_disease.phantom", True),
        ("apps.crop_disease.images", "apps.retinopathy.images", False),
    ],
)
def test_the_rule_of_directions_means_what_it_says(
    source: str, target: str, *, allowed: bool
) -> None:
    assert is_allowed(source, target) is allowed


def test_an_import_inside_a_function_counts_and_one_for_types_does_not() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from core.verbs.train import train\n"
        "def late():\n    from core.runs import run\n"
    )
    found = list(imports_of("core.base.tables", tree, {"core.runs.run", "core.verbs.train"}))
    assert [(item.target, item.at_import) for item in found] == [("core.runs.run", False)]


def test_a_circle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_imports_are_absolute() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong


def test_no_module_has_a_name_that_says_nothing() -> None:
    wrong = [
        path.relative_to(ROOT).as_posix()
        for folder in ("core", "apps", "tests", "bench")
        for path in (ROOT / folder).rglob("*")
        if path.stem.removeprefix("test_") in VAGUE and path.suffix in {".py", ""}
    ]
    assert not wrong


def test_no_code_runs_at_import() -> None:
    wrong = [
        f"{name}:{node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for name, path in MODULES.items()
        for node in parse(path).body
        if runs_code(node)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "os.environ.setdefault('A', '1')",
        "warnings.filterwarnings('ignore')",
        "for x in y: pass",
        "if a: b = 1",
        "try:\n    import a\nexcept ImportError:\n    a = None",
    ],
)
def test_code_at_import_is_recognised(line: str) -> None:
    assert runs_code(ast.parse(line).body[0])


def test_nothing_is_printed() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "pprint"}
    ]
    assert not wrong


def test_every_module_says_what_it_answers() -> None:
    wrong = [name for name, path in MODULES.items() if not ast.get_docstring(parse(path))]
    assert not wrong


def test_tests_form_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_file_names_a_package_registry() -> None:
    # In two halves, or this file would name them itself.
    hosts = [
        "".join(halves)
        for halves in (
            ("py", "pi.org"),
            ("pythonhosted", ".org"),
            ("registry.npm", "js.org"),
            ("anaconda", ".org"),
            ("download.py", "torch.org"),
            ("deb.deb", "ian.org"),
        )
    ]
    wrong = [
        f"{path.relative_to(ROOT).as_posix()}: {host}"
        for path in tracked_files()
        for host in hosts
        if host.encode() in path.read_bytes()
    ]
    assert not wrong, "\n".join(wrong)

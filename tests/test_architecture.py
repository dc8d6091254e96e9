"""The house rules that no linter knows: who may import whom, and what a module may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

from core import verbs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

# Modules that import inside a function, each for a reason. A library may be imported late where
# it is slow and seldom needed; a module of the house is imported at the top of its user.
LATE = {
    "apps.*.images": "albumentations takes seconds; an app is described without it",
    "core.cli.complete": "pydantic; cards are read for completion and `resight cards` alone",
    "core.cli.own_options": "pydantic; a plan is read only where one is named",
    "core.cli.size": "scipy; `resight --help` answers without it",
    "core.cli.study": "pandas; `resight --help` answers without it",
    "core.cli.train": "pydantic; `resight --help` answers without it",
    "core.prediction.exported": "an exported run is scored where torch is not installed",
    "core.runs.run": "a run is read, and its options are known, without numpy",
}
MOST_LATE = 12
MOST_ROOMS, MOST_ARROWS = 25, 120
MOST_LINES, MOST_PARAMETERS = 80, 8
# Functions that are longer, or take more, than the rest, each for a reason.
LONG: dict[str, str] = {}
_COMMAND = "a command of the Python interface takes what its command line takes, by name"
MANY = {
    "core.verbs.check.check": _COMMAND,
    "core.verbs.compare.compare": _COMMAND,
    "core.verbs.evaluate.evaluate": _COMMAND,
    "core.verbs.from_table.evaluate_table": _COMMAND,
    "core.verbs.train.train": _COMMAND,
}

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


class Import(NamedTuple):
    """One import of a module of this repository."""

    source: str
    target: str
    line: int
    kind: Literal["top", "late", "types"]

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


Kind = Literal["top", "late", "types"]


def walk(node: ast.AST, kind: Kind = "top") -> Iterator[tuple[ast.AST, Kind]]:
    """Every node, and whether it runs at import, late in a function, or for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        here: Kind = "types" if kind == "types" or is_type_checking(child) else kind
        yield child, here
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, "late" if inside and here == "top" else here)


def imports_of(name: str, tree: ast.Module, modules: set[str]) -> Iterator[Import]:
    """The imports of core and apps in a module; ``from core import run`` is ``core.runs.run``."""
    for node, kind in walk(tree):
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
                yield Import(name, target, node.lineno, kind)


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
    if part_of(source) == part_of(target):
        return True
    here, there = floor_of(source), floor_of(target)
    return there < here or here == there == 0


@cache
def all_imports() -> tuple[Import, ...]:
    """Every import of one module of the house by another."""
    return tuple(
        found
        for name, path in MODULES.items()
        for found in imports_of(name, parse(path), set(MODULES))
    )


def edges_of(imports: Iterable[Import]) -> dict[str, set[str]]:
    """Module -> the modules it imports in any way."""
    edges: dict[str, set[str]] = {}
    for found in imports:
        if found.source != found.target:
            edges.setdefault(found.source, set()).add(found.target)
    return edges


def room_of(module: str) -> str:
    """``core.data`` for ``core.data.split``; of an app its folder, and a folder in that."""
    parts = module.split(".")
    is_nested = parts[0] == "apps" and (len(parts) > 3 or MODULES[module].stem == "__init__")
    return ".".join(parts[:3] if is_nested else parts[:2])


def rooms_and_arrows(imports: Iterable[Import]) -> tuple[set[str], Counter[tuple[str, str]]]:
    """The rooms of the house, and how many imports lead from one to another."""
    rooms = {room_of(name) for name in MODULES}
    pairs = ((room_of(f.source), room_of(f.target)) for f in imports if f.target in MODULES)
    return rooms, Counter(pair for pair in pairs if pair[0] != pair[1])


class Size(NamedTuple):
    """How large a function is."""

    name: str
    lines: int
    parameters: int


def all_sizes() -> Iterator[Size]:
    """Every function and method of the house."""
    for module, path in MODULES.items():
        yield from sizes_in(parse(path), module)


def sizes_in(node: ast.AST, name: str) -> Iterator[Size]:
    """The functions below a node; ``self`` and ``cls`` are no parameters."""
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if hasattr(child, "name") else name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            every = child.args.posonlyargs + child.args.args + child.args.kwonlyargs
            counted = [a.arg for a in every if a.arg not in {"self", "cls"}]
            lines = (child.end_lineno or child.lineno) - child.lineno + 1
            yield Size(inner, lines, len(counted))
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from sizes_in(child, inner)
        else:
            yield from sizes_in(child, name)


def draw_map() -> str:
    """The rooms from the ground up, with what each imports and how often."""
    rooms, arrows = rooms_and_arrows(all_imports())
    late = sum(found.kind == "late" for found in all_imports())
    lines = [f"{len(rooms)} rooms, {len(arrows)} arrows, {late} late imports"]
    for room in sorted(rooms, key=lambda r: (not r.startswith("core"), floor_of(r), r)):
        to = sorted((target, n) for (source, target), n in arrows.items() if source == room)
        lines.append(f"{room:30s} {', '.join(f'{target} {n}' for target, n in to)}")
    return "\n".join(lines)


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
    # Of any kind: one inside a function or for types alone ties two modules together as well.
    circle = find_cycle(edges_of(all_imports()))
    assert not circle, " -> ".join(circle)


def test_few_rooms_and_few_arrows_between_them() -> None:
    rooms, arrows = rooms_and_arrows(all_imports())
    assert len(rooms) <= MOST_ROOMS, sorted(rooms)
    assert len(arrows) <= MOST_ARROWS, len(arrows)


def test_a_late_import_has_a_reason() -> None:
    late = [found for found in all_imports() if found.kind == "late"]
    wrong = [str(f) for f in late if not any(fnmatch(f.source, pattern) for pattern in LATE)]
    assert not wrong, "\n".join(wrong)
    assert len(late) <= MOST_LATE, "\n".join(map(str, late))


def test_a_command_imported_when_named_is_a_module_that_types_know() -> None:
    tree = parse(MODULES["core.verbs"])
    every = imports_of("core.verbs", tree, set(MODULES))
    typed = {found.target for found in every if found.kind == "types"}
    assert typed == {f"core.verbs.{name}" for name in verbs.__all__}
    assert typed <= set(MODULES)


@pytest.mark.parametrize(
    ("measure", "most", "named"),
    [("lines", MOST_LINES, LONG), ("parameters", MOST_PARAMETERS, MANY)],
)
def test_functions_stay_small(measure: str, most: int, named: dict[str, str]) -> None:
    found = {size.name: getattr(size, measure) for size in all_sizes()}
    too_large = {name for name, value in found.items() if value > most}
    # The options of a command are its parameters, a line or more each.
    too_large = {name for name in too_large if not name.startswith("core.cli.")}
    assert too_large == set(named), {n: found.get(n) for n in too_large ^ set(named)}


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


def test_every_kind_of_import_counts() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nfrom core.errors import ConfigError\n"
        "if TYPE_CHECKING:\n    from core.verbs.train import train\n"
        "def late():\n    from core.runs import run\n"
    )
    known = {"core.errors", "core.runs.run", "core.verbs.train"}
    found = list(imports_of("core.base.tables", tree, known))
    assert [(item.target, item.kind) for item in found] == [
        ("core.errors", "top"),
        ("core.verbs.train", "types"),
        ("core.runs.run", "late"),
    ]


def test_sizes_are_measured() -> None:
    source = "class A:\n    def f(self, a, /, b, *, c):\n        def g():\n            pass\n"
    assert list(sizes_in(ast.parse(source), "m")) == [
        Size("m.A.f", 3, 3),
        Size("m.A.f.g", 2, 0),
    ]


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


if __name__ == "__main__":
    sys.stdout.write(draw_map() + "\n")

"""Imports point one way, packages keep their internals to themselves, and files stay short."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.packages import HOME, reference

ROOT = HOME.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOME.rglob("*.py"))
}
LEVELS = [
    {"errors", "event"},
    {"_internal"},
    {"outcome", "addresses"},
    {"balancer", "gate", "load"},
    {"keys"},
    {"membership", "pool", "gates", "loads", "http", "flows", "overload", "proxy_protocol"},
    {"named_membership"},
    {"algorithms", "hashing", "sessions"},
    {"routing", "interop", "subsetting", "gslb", "redundancy"},
    {""},
    {"testing", "quality", "simulation"},
    {"_command_line"},
    {"__main__"},
]
"""From the lowest level to the root: a part imports from lower levels, or from itself."""
LEVEL = {part: number for number, level in enumerate(LEVELS) for part in level}
EXAMPLES = sorted(
    path
    for pattern in (
        "balancers/**/*.py",
        "docs/**/*.py",
        "docs/**/*.md",
        "notebooks/*.ipynb",
        "*.md",
    )
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts and "generated" not in path.parts
)
NUMPY = {"hashing", "interop", "quality", "simulation"}
LINES = 300


def imported(path: Path) -> Iterator[str]:
    """Every module of this package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "balancers":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def part_of(module: str) -> str:
    return [*module.split("."), ""][1]


def package_of(module: str) -> str:
    """The package whose private modules a module may import."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    part = part_of(module)
    for other in imported(MODULES[module]):
        if part_of(other) != part:
            assert LEVEL[part_of(other)] < LEVEL[part], f"{module} imports {other}"


@pytest.mark.parametrize("module", MODULES)
def test_private_modules_are_imported_by_their_own_package_alone(module: str) -> None:
    for other in imported(MODULES[module]):
        private = other.rpartition(".")[2].startswith("_") and other != "balancers._internal"
        if private:
            owner = other.rpartition(".")[0]
            assert f"{package_of(module)}.".startswith(f"{owner}."), f"{module} imports {other}"
        if part_of(other) == "pool" and part_of(module) != "pool":
            assert other == "balancers.pool", f"{module} imports {other}"


def test_no_imports_go_in_circles() -> None:
    """Faces are left out: a module knows modules, and a package's list knows them all."""
    graph = {
        module: {other for other in imported(path) if MODULES[other].name != "__init__.py"}
        for module, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(MODULES)


def test_every_part_has_a_level_and_every_level_exists() -> None:
    parts = {part_of(module) for module in MODULES}
    assert parts == set(LEVEL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_import_what_is_public(path: Path) -> None:
    public = {"balancers", *(f"balancers.{home}" for home in reference.HOMES), "balancers.interop"}
    for line in path.read_text(encoding="utf-8").splitlines():
        if path.suffix == ".py" and HOME in path.parents and ">>>" not in line:
            continue
        words = line.strip().removeprefix(">>> ").removeprefix("... ").strip('"').split()
        if words[:1] == ["from"] and words[1].split(".")[0] == "balancers" and "import" in words:
            program = words[1].startswith("balancers.interop.") and words[1].count(".") == 2
            assert words[1] in public or program, line


@pytest.mark.parametrize("module", MODULES)
def test_numpy_is_loaded_where_it_is_needed(module: str) -> None:
    """Outside hashing and interop, numpy and the other packages are imported inside functions."""
    if part_of(module) in NUMPY:
        return
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            lazy = module.endswith(("._alias_table", "._smooth_scan_numpy"))
            heavy = name.split(".")[0] in {"numpy", "mmh3", "sortedcontainers"}
            assert not heavy or lazy, f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= LINES

"""Simulation and quality do not use the linear algebra of numpy, whose threads spin.

Such a call on a busy machine costs hundreds of times the processor time of the same sum.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import HOME

FORBIDDEN = {
    "convolve", "corrcoef", "correlate", "cov", "dot", "inner", "lstsq", "linalg", "matmul",
    "matvec", "multi_dot", "polyfit", "tensordot", "vdot", "vecdot", "vecmat",
}  # fmt: skip
PATHS = sorted(path for part in ("simulation", "quality") for path in (HOME / part).rglob("*.py"))


def uses(source: str) -> Iterator[str]:
    """Yield every use of linear algebra in a source text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            yield f"@ in line {node.lineno}"
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            yield f"{node.attr} in line {node.lineno}"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names]
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            parts = {part for name in (module, *names) for part in name.split(".")}
            yield from (f"{part} in line {node.lineno}" for part in parts & FORBIDDEN)
        elif isinstance(node, ast.keyword) and node.arg == "optimize":
            yield f"optimize in line {node.lineno}"  # of einsum


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(HOME)))
def test_no_linear_algebra(path: Path) -> None:
    assert list(uses(path.read_text(encoding="utf-8"))) == []


def test_both_packages_are_read() -> None:
    assert {path.relative_to(HOME).parts[0] for path in PATHS} == {"simulation", "quality"}


@pytest.mark.parametrize(
    "source",
    [
        "x @ y",
        "x @= y",
        "x.dot(y)",
        "np.linalg.norm(x)",
        "from numpy import linalg",
        "from numpy.linalg import norm",
        "import numpy.linalg",
        "from numpy import dot as product",
        "product = np.matmul",
        "np.einsum('i,i', x, y, optimize=True)",
    ],
)
def test_each_use_is_found(source: str) -> None:
    assert list(uses(source))


def test_decorators_and_sums_are_allowed() -> None:
    assert not list(uses("@property\ndef f(x): return np.square(x).sum() + np.cumsum(x)[-1]"))

"""The public names: complete, documented, each with a doctest that runs."""

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import balancers
from balancers import BalancersError

HOME = Path(balancers.__file__).parent
CLASSES = [
    name
    for name in balancers.__all__
    if inspect.isclass(getattr(balancers, name))
    and not issubclass(getattr(balancers, name), BalancersError)
]
ERRORS = [
    name
    for name in balancers.__all__
    if name not in CLASSES
    and name not in {"FAILURE", "SUCCESS", "UNKNOWN", "Key"}
    and name[0].isupper()
]
FUNCTIONS = [name for name in balancers.__all__ if name[0].islower()]
NO_EXAMPLE = {
    "Balancer",
    "Gate",
    "HealthRule",
    "Load",
    "Lease",
    "Drained",
    "Probe",
    "Ejection",
    "OutlierRule",
    "Waiting",
    "Binding",
    "ClientAddress",
    "FlowCounts",
    "Match",
    "Path",
    "ReadHeader",
    "SessionShare",
    "SessionSkew",
    "FAILURE",
    "SUCCESS",
    "UNKNOWN",
    "Key",
}
"""Protocols and what a pool makes: their examples are where they are used."""


def test_all_is_what_there_is() -> None:
    in_order = sorted(balancers.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert list(balancers.__all__) == in_order
    assert set(balancers.__all__) <= set(dir(balancers))
    namespace: dict[str, Any] = {}
    exec("from balancers import *", namespace)  # noqa: S102 - the statement under test
    assert set(balancers.__all__) <= set(namespace)
    missing = "nonsense"
    with pytest.raises(AttributeError, match=missing):
        getattr(balancers, missing)


def test_nothing_public_is_hidden_and_nothing_hidden_public() -> None:
    public = {
        name
        for name, value in vars(balancers).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public - {"import_module", "TYPE_CHECKING"} <= set(balancers.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_documented_with_an_example(name: str) -> None:
    subject: Any = getattr(balancers, name)
    assert subject.__doc__, name
    if name not in NO_EXAMPLE:
        assert ">>>" in subject.__doc__, name
    for method_name, method in inspect.getmembers(subject, callable):
        if not method_name.startswith("_"):
            assert inspect.getdoc(method), f"{name}.{method_name}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_documented_with_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(balancers, name)) or ""), name


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_ours_and_the_builtin_that_fits(name: str) -> None:
    error = getattr(balancers, name)
    assert issubclass(error, BalancersError)
    assert error.__doc__
    if error is not BalancersError:
        fitting = (LookupError, ValueError, TypeError, RuntimeError, KeyError)
        assert issubclass(error, fitting)


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_says_what_it_is_and_what_it_gives(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    defined = {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if len(tree.body) > 1:
        assert "__all__" in defined

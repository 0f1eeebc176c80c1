"""The public names: each has one home, is documented, and has a doctest that runs."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import balancers
from balancers import BalancersError
from tests.packages import HOME, HOMES, PUBLIC, ROOT, home_of

NAMES = [(home, name) for home, names in PUBLIC.items() for name in names if "interop" not in home]
NO_EXAMPLE = {
    "Balancer",
    "Gate",
    "HealthRule",
    "Load",
    "Lease",
    "LeaseContext",
    "Drained",
    "Probe",
    "Ejection",
    "OutlierRule",
    "Waiting",
    "Binding",
    "Claim",
    "ClientAddress",
    "FlowCounts",
    "Match",
    "NamedMembership",
    "Path",
    "ReadHeader",
    "SessionShare",
    "SessionSkew",
}
"""Protocols and what other objects make: their examples are where they are used."""


def value_of(home: str, name: str) -> Any:
    return getattr(import_module(home), name)


def test_a_name_has_one_home() -> None:
    homes = [name for home, names in PUBLIC.items() if "interop" not in home for name in names]
    assert sorted(homes) == sorted(set(homes))


def test_the_root_repeats_the_common_names() -> None:
    assert len(ROOT) == 27
    assert set(ROOT) <= set(dir(balancers))
    for name in ROOT:
        assert getattr(balancers, name) is value_of(home_of(name), name)
    missing = "nonsense"
    with pytest.raises(AttributeError, match=missing):
        getattr(balancers, missing)


@pytest.mark.parametrize("home", HOMES)
def test_a_package_lists_what_it_gives_once(home: str) -> None:
    module = import_module(home)
    assert hasattr(module, "__path__") != hasattr(module, "__all__")
    names = PUBLIC[home]
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize(("home", "name"), NAMES)
def test_a_public_name_is_documented_with_an_example(home: str, name: str) -> None:
    subject = value_of(home, name)
    if not inspect.isclass(subject) and not inspect.isfunction(subject):
        return  # an alias or a constant, documented where it is defined
    assert subject.__doc__, name
    if inspect.isclass(subject) and issubclass(subject, BalancersError):
        fitting = (LookupError, ValueError, TypeError, RuntimeError, KeyError)
        assert subject is BalancersError or issubclass(subject, fitting)
        return
    if name not in NO_EXAMPLE:
        assert ">>>" in subject.__doc__, name
    if inspect.isclass(subject):
        for method_name, method in inspect.getmembers(subject, callable):
            inherited = str(getattr(method, "__module__", "")).startswith("hypothesis")
            if not method_name.startswith("_") and not inherited:
                assert inspect.getdoc(method), f"{name}.{method_name}"


@pytest.mark.parametrize(
    "path", sorted(HOME.rglob("*.py")), ids=lambda path: str(path.relative_to(HOME))
)
def test_a_module_says_what_it_is_and_what_it_gives(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    defined = {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if path.name != "__init__.py":
        assert "__all__" in defined

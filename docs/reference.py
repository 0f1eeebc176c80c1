"""The reference page: every public name, from the packages that give it."""

import ast
import inspect
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

__all__ = ["HOMES", "exported", "page", "write"]

HOMES = {
    "pool": "The pool",
    "balancer": "The balancer protocol",
    "gate": "The gate protocol",
    "load": "The load protocol",
    "outcome": "Outcomes",
    "event": "Events",
    "errors": "Errors",
    "algorithms": "Classic algorithms",
    "hashing": "Consistent hashing",
    "gates": "Gates",
    "loads": "Loads",
    "overload": "Overload",
    "sessions": "Sessions",
    "http": "HTTP",
    "routing": "Routing",
    "flows": "Flows",
    "proxy_protocol": "The PROXY protocol",
    "subsetting": "Subsetting",
    "gslb": "Global balancing",
    "redundancy": "Redundant balancers",
    "redundancy.vrrp": "VRRP",
    "quality": "Distribution quality",
    "quality.plots": "Pictures",
    "testing": "Laws, records and replays",
    "testing.strategies": "Strategies for Hypothesis",
    "testing.programs": "What the programs of broken laws import",
    "simulation": "Simulation",
    "keys": "Keys, names and hash functions",
    "addresses": "Addresses",
    "membership": "For authors: members and weights",
    "named_membership": "For authors: members with names",
}
"""Each public package and module, and the title of its section; presets have pages of their own."""


def exported(home: str) -> list[str]:
    """Return the names that a module or package gives: ``__all__``, or its ``X as X`` imports."""
    module = import_module(home)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    listed = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    ]
    return listed or list(module.__all__)


def page() -> str:
    """Return the page, in Markdown."""
    common = ", ".join(f"`{name}`" for name in exported("balancers"))
    lines = [
        "# Reference",
        "",
        "Every public name has one home, the package or module under whose heading it stands.",
        f"`balancers` itself repeats the most common ones: {common}.",
        "The [presets](../interop/index.md) are in `balancers.interop`: `nginx`, `haproxy`,",
        "`envoy`, `caddy` and `ketama`.",
        "",
    ]
    for home, title in HOMES.items():
        names = "\n".join(_directive(f"balancers.{home}", n) for n in exported(f"balancers.{home}"))
        lines += [f"## {title}: `balancers.{home}`", ""]
        lines += [inspect.getdoc(import_module(f"balancers.{home}")) or "", ""]
        lines += ["```{eval-rst}", f".. currentmodule:: balancers.{home}", "", names, "```", ""]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write the page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api.md").write_text(page(), encoding="utf-8")


def _directive(home: str, name: str) -> str:
    value = getattr(import_module(home), name)
    if inspect.isclass(value) and issubclass(value, Exception):
        return f".. autoexception:: {name}\n   :show-inheritance:"
    if inspect.isfunction(value):
        return f".. autofunction:: {name}"
    if not inspect.isclass(value):
        directive = f".. autodata:: {name}\n   :no-value:"
        return _in_its_module(home, name, directive) if isinstance(value, dict) else directive
    lines = [f".. autoclass:: {name}"]
    if any(base.__name__ in {"Balancer", "Gate"} for base in value.__mro__[1:]):
        lines.append("   :inherited-members: Protocol")
    if "__call__" in vars(value):
        lines.append("   :special-members: __call__")
    hidden = _undocumented_fields(value)
    if hidden:
        lines.append(f"   :exclude-members: {', '.join(hidden)}")
    return "\n".join(lines)


def _in_its_module(home: str, name: str, directive: str) -> str:
    """Return the directive in the module that defines the name: a dict has its docstring there."""
    tree = ast.parse(Path(str(import_module(home).__file__)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            module, own = f".. currentmodule:: {node.module}", f".. currentmodule:: {home}"
            return f"\n{module}\n\n{directive}\n\n{own}\n"
    return directive


def _undocumented_fields(value: type) -> list[str]:
    """Return the fields of a named tuple or dataclass that the class describes as a whole."""
    if not (hasattr(value, "_fields") or hasattr(value, "__dataclass_fields__")):
        return []
    node = ast.parse(dedent(inspect.getsource(value))).body[0]
    assert isinstance(node, ast.ClassDef)
    body = [*node.body, None]
    return [
        field.target.id
        for field, after in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]

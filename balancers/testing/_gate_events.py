"""Turns the calls of a gate's own methods into lines of a program.

A call is a function of the gate, a backend and the time.  The body of a lambda that uses nothing
else becomes a line of its own.  Other functions are called by their name in ``events``.
"""

import ast
import builtins
from collections.abc import Callable, Mapping
from inspect import getsource
from textwrap import dedent
from types import FunctionType
from typing import Any

from balancers.testing._source import NoSource, Source

__all__ = ["EventLines"]

_PLACEHOLDER = "gate_of_the_line"


class EventLines:
    """The lines of the calls in ``events``."""

    def __init__(self, events: Mapping[str, Callable[[Any, Any, float], object]]) -> None:
        self.lines: dict[str, str] = {}
        self.timed: list[str] = []
        """The calls that pass the time to methods of the gate, and do nothing else with it."""
        self.single: list[str] = []
        """The calls that call one method of the gate, once."""
        self.others: dict[str, Callable[[Any, Any, float], object]] = {}
        """The calls that a program must define in ``events``."""
        for name, call in events.items():
            function = _function(call)
            if _is_one_call(function):
                self.single.append(name)
            body = _body(call, function)
            if body is None:
                self.others[name] = call
                body = f"events[{name!r}]({_PLACEHOLDER}, backend, now)"
            elif _passes_time(body):
                self.timed.append(name)
            self.lines[name] = body

    def line(self, name: str, gate: str) -> str:
        """Return the line of a call for the gate with this name."""
        return self.lines[name].replace(_PLACEHOLDER, gate)


def _function(call: Any) -> ast.Lambda | ast.FunctionDef | None:
    """Return the source of a function, or None."""
    if not isinstance(call, FunctionType):
        return None
    source = Source()
    try:
        if call.__name__ != "<lambda>":
            tree: ast.AST = ast.parse(dedent(getsource(call))).body[0]
        else:
            source.define("call", call)
            text = "\n".join(source.lines).rpartition("call = ")[2]
            tree = ast.parse(f"({text})", mode="eval").body
    except (NoSource, OSError, TypeError, SyntaxError):
        return None
    return tree if isinstance(tree, ast.Lambda | ast.FunctionDef) else None


def _body(call: Any, function: ast.Lambda | ast.FunctionDef | None) -> str | None:
    """Return the body of a lambda as a line, or None.  The names in ``function`` are changed."""
    if not isinstance(function, ast.Lambda):
        return None
    code = call.__code__
    if code.co_argcount != 3 or call.__defaults__ or code.co_freevars or code.co_flags & 0x0C:
        return None
    names = dict(zip(code.co_varnames, (_PLACEHOLDER, "backend", "now"), strict=False))
    for node in ast.walk(function.body):
        if isinstance(node, ast.Name):
            if node.id in names:
                node.id = names[node.id]
            elif node.id in {"backend", "now"} or (
                isinstance(node.ctx, ast.Load)
                and not hasattr(builtins, node.id)
                and node.id not in _targets(function.body)
            ):
                return None
    return ast.unparse(function.body)


def _is_one_call(function: ast.Lambda | ast.FunctionDef | None) -> bool:
    """Return whether a function is known to use the gate once, and not in a loop."""
    if function is None or not function.args.args:
        return False
    gate = function.args.args[0].arg
    nodes = [*ast.walk(function)]
    uses = sum(isinstance(node, ast.Name) and node.id == gate for node in nodes)
    loops = (ast.For, ast.While, ast.comprehension)
    return uses == 1 and not any(isinstance(node, loops) for node in nodes)


def _passes_time(body: str) -> bool:
    """Return whether each use of the time is the only one in a call of a method of the gate."""
    tree = ast.parse(body, mode="eval")
    uses = sum(isinstance(node, ast.Name) and node.id == "now" for node in ast.walk(tree))
    passed = 0
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner))) if owner == _PLACEHOLDER:
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                times = [a for a in arguments if isinstance(a, ast.Name) and a.id == "now"]
                passed += len(times) == 1
            case _:
                pass
    return uses == passed


def _targets(tree: ast.AST) -> set[str]:
    """Return the variables that an expression defines, for example in a comprehension."""
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }

"""Finds out how a program can make the object that a factory makes.

What another process can import is imported.  The source text of everything else is copied into the
program, together with the imports, functions, classes and constants that it uses.
"""

import ast
import inspect
import sys
from functools import lru_cache, partial
from importlib.machinery import PathFinder
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_origin

from balancers.testing._laboratory import Settings
from balancers.testing._program import written
from balancers.testing._source_text import functions_of, source_text

__all__ = ["NoSource", "Source", "definitions"]


class NoSource(Exception):
    """Raised for an object that a program cannot make."""


def definitions(settings: Settings) -> list[str]:
    """Return the lines that define ``make`` and, if needed, ``key_of`` and ``events``.

    Raises NoSource.
    """
    source = Source()
    source.define("make", settings.factory)
    if callable(settings.keys):
        source.define("key_of", settings.keys)
    if settings.events is not None and settings.events.others:
        source.define("events", settings.events.others)
    return source.lines


class Source:
    """The imports and definitions at the beginning of a program.

    >>> from balancers import RoundRobin
    >>> source = Source()
    >>> source.define("make", RoundRobin)
    >>> source.lines
    ['from balancers import RoundRobin', 'make = RoundRobin']
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[str, object] = {}

    def define(self, name: str, value: Any) -> None:
        """Let the value have this name in the program.  Raises NoSource."""
        expression = self._expression(value)
        if expression != name:
            self._add(f"{name} = {expression}")

    def _expression(self, value: Any) -> str:
        """Return an expression for the value, and add what it needs."""
        if value.__class__ is dict:
            return self._dict_expression(value)
        value = get_origin(value) or value  # Drain of Drain[str]
        if isinstance(value, partial):
            self._add("from functools import partial")
            arguments = [self._expression(part) for part in (value.func, *value.args)]
            arguments += [f"{key}={self._expression(v)}" for key, v in value.keywords.items()]
            return f"partial({', '.join(arguments)})"
        if isinstance(value, type | FunctionType) or inspect.isroutine(value):
            module, name = str(value.__module__), value.__qualname__
            if module == "builtins":
                return name
            if _is_importable(module) and _attribute(sys.modules.get(module), name) is value:
                first = name.split(".")[0]
                self._add(f"from {_face(module, first)} import {first}")
                return name
            if isinstance(value, type | FunctionType):
                return self._copied(value)
        text = written(value)
        try:
            if ast.literal_eval(text) == value:
                return text
        except (ValueError, SyntaxError):
            pass
        raise NoSource(text)

    def _dict_expression(self, values: dict[Any, Any]) -> str:
        items = [f"{written(key)}: {self._expression(values[key])}" for key in values]
        return f"{{{', '.join(items)}}}"

    def _add(self, text: str) -> None:
        lines = text.rstrip().splitlines()
        if len(lines) > 1 or lines[0] not in self.lines:
            self.lines += lines

    def _copied(self, value: type | FunctionType) -> str:
        """Copy the source text of a function or class, and return an expression for it."""
        name = value.__name__
        if name in self._known:
            if self._known[name] is not value:
                raise NoSource(name)
            return name
        try:
            text = source_text(value)
            if name == "<lambda>" and isinstance(value, FunctionType):
                text = _lambda_in(text, value.__code__)
            else:
                self._known[name] = value
            tree = ast.parse(text)
        except (OSError, TypeError, SyntaxError) as error:
            raise NoSource(name) from error
        closure = _closure(value)
        for used in _names(tree):
            if used in closure:
                self.define(used, closure[used])
            elif used != name:
                self._need(used, value)
        if name == "<lambda>":
            return text
        self._add(text)
        return name

    def _need(self, name: str, user: type | FunctionType) -> None:
        """Add what a global name means.  Names of builtins and local variables are ignored."""
        module = sys.modules.get(user.__module__)
        own = (f.__globals__ for f in functions_of(user) if f.__module__ == user.__module__)
        space = next(own, {} if module is None else vars(module))
        if name not in space:
            return
        value = space[name]
        if name in self._known:
            if self._known[name] is not value:
                raise NoSource(name)
            return
        statement = _statement(module, name) if module is not None else None
        if statement is None:
            if isinstance(value, ModuleType):
                self._add(f"import {value.__name__} as {name}")
            else:
                self.define(name, value)
            return
        self._known[name] = value
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for used in _names(statement):
                if used != name:
                    self._need(used, user)
        self._add(ast.unparse(statement))


def _names(tree: ast.AST) -> list[str]:
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def _closure(value: type | FunctionType) -> dict[str, Any]:
    """Return the variables of enclosing functions that a function or a class uses."""
    found: dict[str, Any] = {}
    for function in functions_of(value):
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if name != "__class__" and content is not value:
                found[name] = content
    return found


def _statement(module: ModuleType, name: str) -> ast.stmt | None:
    """Return the statement of a module that binds a name, or None; an import of this name alone."""
    try:
        body = ast.parse(inspect.getsource(module)).body
    except (OSError, TypeError, SyntaxError):
        return None
    for statement in reversed(body):
        match statement:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    if (alias.asname or alias.name).split(".")[0] == name:
                        statement.names = [alias]
                        return statement
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found):
                if found == name:
                    return statement
            case (
                ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found))
            ):
                if found == name:
                    return statement
            case _:
                pass
    return None


def _attribute(module: ModuleType | None, name: str) -> object:
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _face(module: str, name: str) -> str:
    """Return the shortest package from which the same object can be imported."""
    found = _attribute(sys.modules[module], name)
    parts = module.split(".")
    for count in range(1, len(parts)):
        package = ".".join(parts[:count])
        if package in sys.modules and _attribute(sys.modules[package], name) is found:
            return package
    return module


@lru_cache
def _is_importable(module: str) -> bool:
    """Return whether another process with the same path can import the module."""
    if module == "__main__" or module not in sys.modules:
        return False
    if module in sys.builtin_module_names:
        return True
    path, whole, spec = None, "", None
    for part in module.split("."):
        whole = f"{whole}.{part}" if whole else part
        spec = PathFinder.find_spec(whole, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin == getattr(sys.modules[module], "__file__", None)


def _lambda_in(text: str, code: CodeType) -> str:
    """Return the text of the lambda in some lines that has this code.  Raises SyntaxError."""
    start = text.find("lambda")
    while start >= 0:
        for end in range(len(text), start, -1):
            found = text[start:end].strip()
            try:
                tree = ast.parse(found, mode="eval")
            except SyntaxError:
                continue
            if isinstance(tree.body, ast.Lambda) and _same_code(_code_of(found), code):
                return found
        start = text.find("lambda", start + 1)
    raise SyntaxError(text)


def _code_of(text: str) -> CodeType:
    whole = compile(f"({text})", "<lambda>", "eval")
    return next(part for part in whole.co_consts if isinstance(part, CodeType))


def _same_code(ours: CodeType, other: CodeType) -> bool:
    """Return whether two functions do the same, wherever they were written."""
    names = [{*code.co_names, *code.co_freevars} for code in (ours, other)]  # of any scope
    if ours.co_varnames != other.co_varnames or names[0] != names[1]:
        return False
    if len(ours.co_consts) != len(other.co_consts):
        return False
    pairs = zip(ours.co_consts, other.co_consts, strict=True)
    return all(
        _same_code(left, right)
        if isinstance(left, CodeType) and isinstance(right, CodeType)
        else left == right or (isinstance(left, str) and "<lambda>" in left)  # a qualified name
        for left, right in pairs
    )

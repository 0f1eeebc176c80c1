"""Finds the source text of functions and classes, wherever they were written.

``inspect.getsource`` finds no class of a notebook or of a terminal, because their module has no
file.  But the functions of such a class know their text.  That of ``python -c`` is an argument of
the process.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from textwrap import dedent
from types import FunctionType

__all__ = ["functions_of", "source_text"]


def source_text(value: type | FunctionType) -> str:
    """Return the source text of a function or class; for a lambda, that of its statement.

    Raises OSError or SyntaxError if there is none.
    """
    with suppress(OSError, TypeError):
        text = dedent(inspect.getsource(value))
        head = re.compile(rf"^class {value.__name__}\b", re.MULTILINE)
        # since CPython 3.13, the text of a class can be the same lines of another file
        if isinstance(value, FunctionType) or head.search(text):
            return text
    for function in functions_of(value):
        if function is value or function.__qualname__.startswith(f"{value.__qualname__}."):
            whole = _whole_text(function)
            found = _definition(whole, value.__name__, function.__code__.co_firstlineno)
            if found:
                return found
    raise OSError(value.__name__)


def functions_of(value: type | FunctionType) -> Iterator[FunctionType]:
    """Yield the function itself, or the functions in the body of the class."""
    members = [value] if isinstance(value, FunctionType) else list(vars(value).values())
    for member in members:
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        if isinstance(function, FunctionType):
            yield function


def _whole_text(function: FunctionType) -> str:
    """Return the text of the file, the cell or the argument that defines a function."""
    try:
        return "".join(inspect.findsource(function)[0])
    except (OSError, TypeError):
        if function.__code__.co_filename != "<string>" or sys.argv[:1] != ["-c"]:
            raise OSError(function.__name__) from None
    for option, text in zip(sys.orig_argv, sys.orig_argv[1:], strict=False):
        if re.fullmatch("-[A-Za-z]*c", option):
            return dedent(text)
    raise OSError(function.__name__)


def _definition(whole: str, name: str, line: int) -> str:
    """Return the innermost definition of this name around a line, with its decorators, or ""."""
    found: ast.stmt | None = None
    first = 0
    for node in ast.walk(ast.parse(whole)):
        if not isinstance(node, ast.stmt) or (
            name != "<lambda>" and name != getattr(node, "name", None)
        ):
            continue
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        begins = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        if begins <= line <= (node.end_lineno or 0):  # ast.walk yields outer ones first
            found, first = node, begins
    if found is None:
        return ""
    return dedent("".join(whole.splitlines(keepends=True)[first - 1 : found.end_lineno]))

"""Executes a law line by line, and prints the lines as a program.

A law consists of lines of Python with names in place of values, for example
``program.run("lb.put(backend, weight=weight)", backend="a", weight=2)``.  The line that is executed
is the line that is printed, with the values in place of the names.  Therefore the printed program
does what the law did.
"""

import ast
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from math import isfinite
from textwrap import indent
from types import CodeType
from typing import Any

from balancers.testing import gate_programs, plan_programs, programs

__all__ = ["Breach", "Program", "written"]

_MODULES = {
    "Counter": "collections",
    "deepcopy": "copy",
    "iscoroutinefunction": "inspect",
    "inf": "math",
    "isclose": "math",
    "nan": "math",
    "nextafter": "math",
    "Real": "numbers",
    "dumps": "pickle",
    "loads": "pickle",
    "Random": "random",
    "FAILURE": "balancers",
    "SUCCESS": "balancers",
    "UNKNOWN": "balancers",
    "NoBackendAvailable": "balancers",
    "Outcome": "balancers",
    "Pool": "balancers",
    "PowerOfTwoChoices": "balancers",
    "WeightedRoundRobin": "balancers",
    "AlreadyInUse": "balancers.errors",
    "InvalidWeight": "balancers.errors",
    "MissingKey": "balancers.errors",
    **dict.fromkeys(programs.__all__, programs.__name__),
    **dict.fromkeys(gate_programs.__all__, gate_programs.__name__),
    **dict.fromkeys(plan_programs.__all__, plan_programs.__name__),
}
"""The names that lines may use, and the modules that define them."""
_NAMES = {name: getattr(import_module(module), name) for name, module in _MODULES.items()}


class Breach(Exception):
    """Raised when a line of a law shows that the law is broken."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Program:
    """Executes lines in one namespace, and stores their text if ``recording`` is True."""

    def __init__(self, namespace: Mapping[str, Any], *, recording: bool = False) -> None:
        self.namespace: dict[str, Any] = {**_NAMES, **namespace}
        self._given: dict[str, Any] = {**namespace}
        self.recording = recording
        self.lines: list[str] = []

    def give(self, name: str, value: Any) -> None:
        """Let the value have a name that the preamble of the program defines."""
        self._given[name] = self.namespace[name] = value

    def run(self, line: str, /, **values: Any) -> Any:
        """Execute a line, and return its value if it is an expression.

        Raises Breach for every exception of the line.
        """
        return self._execute(line, values, line)

    def let(self, name: str, line: str, /, **values: Any) -> Any:
        """Execute an expression, give its value a name in later lines, and return the value.

        Raises Breach for every exception of the line.
        """
        self.run(f"{name} = {line}", **values)
        return self.namespace[name]

    def check(self, line: str, why: str, /, **values: Any) -> None:
        """Execute an expression that must be true.  Raises Breach otherwise.

        A line that is true and calls no method is left out of the program.
        """
        if not self._execute(line, values, f"assert {line}", why):
            raise Breach(why)
        if self.recording and "." not in line:
            self.lines.pop()

    def read(self, line: str, /, **values: Any) -> Any:
        """Execute an expression that changes nothing, and return its value.

        The program shows it as an assertion about this value.  Raises Breach for every exception.
        """
        value = self._execute(line, values, line)
        if self.recording:
            self.lines.pop()
            self.lines.append(f"assert {_substituted(line, values)} == {written(value)}")
        return value

    def omit_assertions(self, why: str) -> dict[str, Any]:
        """Remove all assertions but the last line, if the rest still shows the same breach.

        They only read.  So the rest shows the breach unless reading has an effect.  Return the
        variables of the program that was executed to find this out.
        """
        rest = [line for line in self.lines[:-1] if not line.startswith("assert ")]
        rest += self.lines[-1:]
        namespace = {**_NAMES, **self._given}
        try:
            exec("\n".join(rest), namespace)  # noqa: S102 - lines of a law
        except Exception as error:  # noqa: BLE001 - the breach, whatever it is
            if str(error) == why or type(error).__name__ in why:
                self.lines = rest
        return namespace

    def check_raises(self, error: str, line: str, why: str, /, **values: Any) -> None:
        """Execute an expression that must raise the error with this name.  Raises Breach."""
        self.check(f"isinstance(raised(lambda: {line}), {error})", why, **values)

    def _execute(self, line: str, values: dict[str, Any], shown: str, why: str = "") -> Any:
        if self.recording:
            text = _substituted(shown, values)
            self.lines.append(f"{text}, {why!r}" if why else text)
        code, is_expression = _compiled(line)
        namespace = self.namespace
        namespace.update(values)
        try:
            if is_expression:
                return eval(code, namespace)  # noqa: S307 - a line of a law
            return exec(code, namespace)  # noqa: S102 - a line of a law
        except Exception as error:
            text = _substituted(line, values)
            message = str(error)
            raise Breach(
                f"{text} raised {type(error).__name__}{': ' if message else ''}{message}"
            ) from error

    def text(self, preamble: list[str]) -> str:
        """Return the program: imports, the definitions of the preamble, and the lines."""
        body = _folded(self.lines)
        is_import = [line.startswith(("from ", "import ")) for line in preamble]
        imports = [line for line, found in zip(preamble, is_import, strict=True) if found]
        definitions = [line for line, found in zip(preamble, is_import, strict=True) if not found]
        tree = ast.parse("\n".join([*definitions, *body]))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        modules: dict[str, set[str]] = {}
        for name in names & set(_MODULES):
            modules.setdefault(_MODULES[name], set()).add(name)
        plain: set[str] = set()
        for line in imports:
            match line.split(" "):
                case "from", module, "import", name:
                    modules.setdefault(module, set()).add(name)
                case _:
                    plain.add(line)
        imports = [
            f"from {module} import {', '.join(sorted(of))}" for module, of in modules.items()
        ]
        imports += plain
        definitions = _with_blank_lines(definitions)
        parts = ["\n".join(part) for part in (sorted({*imports}), definitions, body) if part]
        return "\n\n".join(parts) + "\n"


@lru_cache(maxsize=4096)
def _compiled(line: str) -> tuple[CodeType, bool]:
    try:
        return compile(line, "<law>", "eval"), True
    except SyntaxError:
        return compile(line, "<law>", "exec"), False


class _Values(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._values and isinstance(node.ctx, ast.Load):
            return ast.parse(written(self._values[node.id]), mode="eval").body
        return node


def _substituted(line: str, values: Mapping[str, Any]) -> str:
    return ast.unparse(_Values(values).visit(ast.parse(line)))


_COLLECTIONS: set[object] = {list, tuple, set, frozenset}


def written(value: Any) -> str:
    """Return the Python expression for a value.

    >>> written({"a": float("inf")}), written(set())
    ("{'a': inf}", 'set()')
    """
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    items: Any = value
    kind: object = items.__class__
    if kind is dict:
        pairs = [f"{written(key)}: {written(items[key])}" for key in items]
        return f"{{{', '.join(pairs)}}}"
    if kind not in _COLLECTIONS:
        return repr(value)
    parts = [written(item) for item in items]
    if kind is list:
        return f"[{', '.join(parts)}]"
    if kind is tuple:
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    whole = f"{{{', '.join(sorted(parts))}}}" if parts else ""
    return (whole or "set()") if kind is set else f"frozenset({whole})"


def _with_blank_lines(lines: list[str]) -> list[str]:
    """Return the lines, with two blank lines before and after each class and function."""
    spaced: list[str] = []
    for line in lines:
        opens = line.startswith(("class ", "def ", "@")) and not (
            spaced and spaced[-1].startswith("@")
        )
        closes = spaced and spaced[-1].startswith((" ", ")")) and line[:1] not in {" ", ")", ""}
        if spaced and (opens or closes):
            spaced += ["", ""]
        spaced.append(line)
    return spaced


def _folded(lines: list[str]) -> list[str]:
    """Return the lines, with up to three lines that repeat at once as a loop."""
    folded: list[str] = []
    place = 0
    while place < len(lines):
        width, times = max(
            ((width, _repeats(lines, place, width)) for width in (1, 2, 3)),
            key=lambda found: (found[0] * (found[1] - 1), -found[0]),
        )
        block = lines[place : place + width]
        if times >= 3 or (times == 2 and width == 3):
            folded += [f"for _ in range({times}):", *(indent(line, "    ") for line in block)]
        else:
            width, times = 1, 1
            folded.append(lines[place])
        place += width * times
    return folded


def _repeats(lines: list[str], place: int, width: int) -> int:
    block, times = lines[place : place + width], 1
    while len(block) == width and lines[place + times * width :][:width] == block:
        times += 1
    return times

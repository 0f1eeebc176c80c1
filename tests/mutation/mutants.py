"""Makes the mutants of one source file, as changes of its syntax tree."""

import ast
import builtins
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import cast

__all__ = ["MODULE", "ROOT", "Mutant", "Scope", "Source", "sources"]

ROOT = Path(__file__).parents[2]

MODULE = "<module>"
"""The scope of what is evaluated when the module is imported."""

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_ALWAYS_RAISE = {"isinstance", "issubclass", "callable", "len", "super", "hash", "id", "repr"}
"""Calls that raise TypeError, or that are the same, if an argument is missing."""
_TYPING = {"cast", "TypeVar", "ParamSpec", "NewType"}
_UNTOUCHED = {"__all__", "__slots__"}
_ERRORS = ast.parse((ROOT / "balancers/errors.py").read_text(encoding="utf-8"))
_EXCEPTIONS = {node.name for node in _ERRORS.body if isinstance(node, ast.ClassDef)} | {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_TEXTS = {"__repr__", "__str__"}


@dataclass(slots=True)
class Mutant:
    """One change: ``owner.field`` or ``owner.field[index]`` becomes ``new``."""

    scope: "Scope"
    name: str
    lines: range
    owner: ast.AST
    field: str
    index: int | None
    new: object
    default: int | None = None
    """The number of the changed default: from 0 those of positional arguments, then keywords."""

    def swap(self) -> None:
        """Apply the change to the tree, or take it back."""
        value = getattr(self.owner, self.field)
        if self.index is None:
            setattr(self.owner, self.field, self.new)
            self.new = value
        else:
            self.new, value[self.index] = value[self.index], self.new


@dataclass(slots=True)
class Scope:
    """A function at module level or of a class, with the functions inside; or the module."""

    name: str
    digest: str
    node: ast.AST
    lines: range
    mutants: list[Mutant] = field(default_factory=list[Mutant])


class Source:
    """A file of the package and its mutants."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.scopes: dict[str, Scope] = {}
        self._in: Scope = self._scope(MODULE, self.tree, range(0))
        self._names: Counter[str] = Counter()
        self._statement: ast.AST = self.tree
        self._lines = range(0)
        self._default: int | None = None
        self._texts = False
        self._module(self.tree, "")
        shape = [scope.digest for key, scope in self.scopes.items() if key != MODULE]
        mutants = [mutant.name for mutant in self.scopes[MODULE].mutants]
        self.scopes[MODULE].digest = _digest("\n".join(mutants))
        self.digest = _digest("\n".join([*shape, *mutants]))

    @property
    def mutants(self) -> list[Mutant]:
        """All mutants, in the order of the file."""
        return [mutant for scope in self.scopes.values() for mutant in scope.mutants]

    def _scope(self, name: str, node: ast.AST, lines: range) -> Scope:
        while name in self.scopes:
            name += "'"
        scope = Scope(name, _digest(ast.dump(node)), node, lines)
        self.scopes[name] = scope
        return scope

    def _module(self, parent: ast.Module | ast.ClassDef, prefix: str) -> None:
        """Visit what is evaluated at import, and each function as a scope of its own."""
        module = self.scopes[MODULE]
        for index, node in enumerate(parent.body):
            if isinstance(node, ast.ClassDef):
                self._module(node, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if _is_overload(node):
                    continue
                end = node.end_lineno or node.lineno
                self._in = self._scope(prefix + node.name, node, range(node.lineno, end + 1))
                self._names = Counter()
                self._texts = node.name in _TEXTS
                self._function(node)
                self._in = module
            elif not _is_untouched(node):
                self._in, self._names = module, Counter(m.name for m in module.mutants)
                self._texts = False
                self._visit_statement(parent, "body", index, node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Visit the defaults and the body of a function that is a scope."""
        self._statement, self._lines = node, self._in.lines
        number = 0
        arguments = [*node.args.posonlyargs, *node.args.args]
        names = [each.arg for each in arguments[len(arguments) - len(node.args.defaults) :]]
        names += [each.arg for each in node.args.kwonlyargs]
        read = {
            each.id
            for each in ast.walk(node)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
        }
        for name in ("defaults", "kw_defaults"):
            values: list[ast.expr | None] = getattr(node.args, name)
            for index, value in enumerate(values):
                self._default = number
                if value is not None and names[number] in read:
                    self._visit(node.args, name, index, value)
                number += 1
        self._default = None
        self._body(node, "body")

    def _body(self, owner: ast.AST, name: str) -> None:
        statements: list[ast.stmt] = getattr(owner, name, [])
        for index, statement in enumerate(statements):
            self._visit_statement(owner, name, index, statement)

    def _visit_statement(  # noqa: C901, PLR0912, PLR0915 - one case per kind of statement
        self, owner: ast.AST, name: str, index: int, node: ast.stmt
    ) -> None:
        outer = self._statement, self._lines
        self._statement = node
        body: list[ast.stmt] = getattr(node, "body", [])
        last = body[0].lineno - 1 if body else (node.end_lineno or node.lineno)
        self._lines = range(node.lineno, max(last, node.lineno) + 1)
        nothing = ast.Pass()
        match node:
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case ast.Expr(value=value):
                if isinstance(value, ast.Call):
                    self._add(owner, name, index, nothing)
                self._visit(node, "value", None, value)
            case ast.Delete(targets=targets):
                if not all(isinstance(target, ast.Name) for target in targets):
                    self._add(owner, name, index, nothing)
            case ast.Raise():
                self._add(owner, name, index, nothing)
                if node.exc is not None:
                    self._visit(node, "exc", None, node.exc)
            case ast.Break():
                self._add(owner, name, index, ast.Continue())
            case ast.Continue():
                self._add(owner, name, index, ast.Break())
            case ast.Return(value=value) | ast.AnnAssign(value=value) | ast.Assign(value=value):
                if value is not None:
                    if not isinstance(value, ast.Constant):
                        self._add(node, "value", None, ast.Constant(None))
                    self._visit(node, "value", None, value)
                for target in node.targets if isinstance(node, ast.Assign) else []:
                    self._children(target)
            case ast.AugAssign(op=operator):
                self._add(node, "op", None, _BINARY[type(operator)]())
                plain = ast.Assign(targets=[node.target], value=node.value)
                self._add(owner, name, index, plain)
                self._visit(node, "value", None, node.value)
                self._children(node.target)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for part in ("defaults", "kw_defaults"):
                    for number, default in enumerate(getattr(node.args, part)):
                        if default is not None:
                            self._visit(node.args, part, number, default)
                self._body(node, "body")
            case ast.If() | ast.While():
                self._condition(node)
                self._visit(node, "test", None, node.test)
                self._body(node, "body")
                self._body(node, "orelse")
            case ast.For() | ast.AsyncFor():
                self._visit(node, "iter", None, node.iter)
                self._body(node, "body")
                self._body(node, "orelse")
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._visit(item, "context_expr", None, item.context_expr)
                self._body(node, "body")
            case ast.Try():
                for part in ("body", "orelse", "finalbody"):
                    self._body(node, part)
                for handler in node.handlers:
                    self._body(handler, "body")
            case ast.Match():
                self._visit(node, "subject", None, node.subject)
                for case in node.cases:
                    if case.guard is not None:
                        self._visit(case, "guard", None, case.guard)
                    self._body(case, "body")
            case _:
                pass
        self._statement, self._lines = outer

    def _condition(self, node: ast.If | ast.While | ast.IfExp) -> None:
        """Negate a condition that has no operator of its own."""
        if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            self._add(node, "test", None, ast.UnaryOp(ast.Not(), node.test))

    def _children(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr):
                self._visit(node, name, None, value)
            elif isinstance(value, list):
                items = cast("list[object]", value)
                for index, item in enumerate(items):
                    if isinstance(item, ast.expr):
                        self._visit(node, name, index, item)
                    elif isinstance(item, ast.comprehension):
                        self._comprehension(item)

    def _comprehension(self, node: ast.comprehension) -> None:
        self._visit(node, "iter", None, node.iter)
        for index, condition in enumerate(node.ifs):
            self._add(node, "ifs", index, ast.Constant(value=True))
            self._visit(node, "ifs", index, condition)

    def _visit(  # noqa: C901, PLR0912 - one case per kind of expression
        self, owner: ast.AST, name: str, index: int | None, node: ast.expr
    ) -> None:
        match node:
            case ast.Constant(value=value):
                self._constant(owner, name, index, value)
                return
            case ast.Call():
                self._call(owner, name, index, node)
                return
            case ast.Compare():
                for number, operator in enumerate(node.ops):
                    self._add(node, "ops", number, _COMPARE[type(operator)]())
            case ast.BinOp(op=operator):
                self._add(node, "op", None, _BINARY[type(operator)]())
            case ast.BoolOp(op=operator, values=values):
                other = ast.Or() if isinstance(operator, ast.And) else ast.And()
                self._add(node, "op", None, other)
                for number in range(len(values)):
                    rest = [value for at, value in enumerate(values) if at != number]
                    less = rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
                    self._add(owner, name, index, less)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
                self._add(owner, name, index, operand)
            case ast.IfExp():
                self._condition(node)
            case ast.Lambda():
                self._add(node, "body", None, ast.Constant(None))
                self._visit(node, "body", None, node.body)
                return
            case ast.Yield(value=value) if value is not None:
                self._add(node, "value", None, ast.Constant(None))
            case ast.JoinedStr(values=values):
                for part in values:
                    if isinstance(part, ast.FormattedValue):
                        self._visit(part, "value", None, part.value)
                return
            case _:
                pass
        self._children(node)

    def _constant(self, owner: ast.AST, name: str, index: int | None, value: object) -> None:
        new: object
        if isinstance(value, bool):
            new = not value
        elif isinstance(value, int | float):
            new = value + 1
        elif isinstance(value, str | bytes) and not self._texts:
            new = f"XX{value}XX" if isinstance(value, str) else b"XX" + value + b"XX"
        else:
            return
        self._add(owner, name, index, ast.Constant(new))

    def _call(  # noqa: C901 - what may change in a call is in one place
        self, owner: ast.AST, name: str, index: int | None, node: ast.Call
    ) -> None:
        function = node.func
        called = function.id if isinstance(function, ast.Name) else ""
        if called in _TYPING:
            if called == "cast":
                self._visit(node, "args", 1, node.args[1])
            return
        if called in _FUNCTIONS:
            self._add(node, "func", None, ast.Name(_FUNCTIONS[called], ast.Load()))
        exception = called in _EXCEPTIONS
        outer = self._texts
        self._texts = outer or exception
        if not exception and called not in _ALWAYS_RAISE:
            for at, argument in enumerate(node.args):
                if not isinstance(argument, ast.Constant | ast.Starred):
                    self._add(node, "args", at, ast.Constant(None))
            default = isinstance(function, ast.Attribute) and function.attr == "get"
            if len(node.args) > 1 and not (default and ast.unparse(node.args[1]) == "None"):
                self._add(node, "args", None, node.args[:-1])
            for at, keyword in enumerate(node.keywords):
                if called == "zip":
                    continue  # strict= is an assertion
                if not isinstance(keyword.value, ast.Constant) and keyword.arg is not None:
                    self._add(keyword, "value", None, ast.Constant(None))
                rest = [other for number, other in enumerate(node.keywords) if number != at]
                self._add(node, "keywords", None, rest)
        self._visit(node, "func", None, function)
        for at, argument in enumerate(node.args):
            self._visit(node, "args", at, argument)
        for keyword in node.keywords if called != "zip" else []:
            self._visit(keyword, "value", None, keyword.value)
        self._texts = outer

    def _add(self, owner: ast.AST, name: str, index: int | None, new: object) -> None:
        """Note a mutant, under the text of its statement with the change in brackets."""
        if isinstance(new, ast.expr | ast.stmt) and not hasattr(new, "lineno"):
            ast.copy_location(new, self._statement)
            ast.fix_missing_locations(new)
        mutant = Mutant(self._in, "", self._lines, owner, name, index, new, self._default)
        before = _header(self._statement)
        if isinstance(new, ast.stmt) and index is not None:
            after = _header(new)
        else:
            mutant.swap()
            after = _header(self._statement)
            mutant.swap()
        if before == after:
            return
        text = _difference(before, after)
        self._names[text] += 1
        count = self._names[text]
        mutant.name = text if count == 1 else f"{text} ({count})"
        self._in.mutants.append(mutant)


def _header(statement: ast.AST) -> str:
    """Return the statement on one line, and only its first line if it has a body."""
    match statement:
        case ast.If() | ast.While():
            word = "if" if isinstance(statement, ast.If) else "while"
            return f"{word} {ast.unparse(statement.test)}:"
        case ast.For() | ast.AsyncFor():
            return f"for {ast.unparse(statement.target)} in {ast.unparse(statement.iter)}:"
        case ast.With() | ast.AsyncWith():
            return f"with {', '.join(map(ast.unparse, statement.items))}:"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return f"def {statement.name}({ast.unparse(statement.args)}):"
        case ast.Match():
            guards = [ast.unparse(case.guard) for case in statement.cases if case.guard]
            return " | ".join([f"match {ast.unparse(statement.subject)}", *guards])
        case _:
            return " ".join(ast.unparse(statement).split())


def _difference(before: str, after: str) -> str:
    """Return the text with what changes in brackets, widened to whole words."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    while start and _in_word(before, start) | _in_word(after, start):
        start -= 1
    end = 0
    most = min(len(before), len(after)) - start
    while end < most and before[-1 - end] == after[-1 - end]:
        end += 1
    while end and _in_word(before, len(before) - end) | _in_word(after, len(after) - end):
        end -= 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    return f"{before[:start]}[{old.strip()} → {new.strip()}]{before[len(before) - end :]}"


def _in_word(text: str, at: int) -> bool:
    """Return whether the characters on both sides of ``at`` belong to one word or operator."""
    if not 0 < at < len(text):
        return False
    left, right = text[at - 1], text[at]
    word = (left.isalnum() or left in "_.") and (right.isalnum() or right in "_.")
    return word or (left in "<>=!+-*/%" and right in "<>=!+-*/%")


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def _is_untouched(node: ast.stmt) -> bool:
    """Return whether a statement of a module or class only concerns names and types."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _UNTOUCHED or "." in ast.unparse(node.value).split("(", maxsplit=1)[0]
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case _:
            return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def sources(package: str) -> list[Source]:
    """Return the files of a package of the core."""
    paths = sorted((ROOT / "balancers" / package).rglob("*.py"))
    return [Source(path, path.relative_to(ROOT).as_posix()) for path in paths]

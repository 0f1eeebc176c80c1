"""Converts the arguments and results of calls to JSON, and JSON to arguments.

What JSON has no form for is an object with one item.  The name of the item is the kind of value.
No code is run and no class is looked up when a log is read.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from fractions import Fraction
from math import inf, isfinite, nan
from numbers import Integral, Rational, Real
from typing import Any

from balancers._internal.checks import shown
from balancers.errors import DuplicateBackend
from balancers.outcome import Outcome

__all__ = ["Codec", "Record", "argument", "dumps", "is_a", "results"]

dumps: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Return the JSON text of a value, in ASCII.  A str is encoded in C."""
_LONG = 2**63
"""Ints from here on are logged in hexadecimal.  Python refuses to read very long decimals."""
_MOST_DIGITS = 1 << 14
"""The highest number of hexadecimal digits of an int in a log."""
_MOST_NAMES = 10_000
"""The number of names, besides those of the members, that are stored."""
_MOST_NESTED = 16


class Record(tuple[Any, ...]):  # noqa: SLOT001 - a tuple cannot have slots
    """A named tuple that was read from a log, with the names of its fields.

    It equals the named tuple that was logged, and has the same attributes.
    """

    names: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        """Return the field of this name."""
        if name in self.__dict__.get("names", ()):
            return self[self.names.index(name)]
        raise AttributeError(name)


def _record(parts: list[Any]) -> Record:
    names, fields = parts
    record = Record(fields)
    record.names = tuple(map(str, names))
    return record


def _number(digits: str) -> int:
    """Return an int that is written in hexadecimal."""
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an int of {len(digits)} digits is too long")
    return int(digits, 16)


_OF_VALUES: dict[str, Callable[[list[Any]], object]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "outcome": lambda fields: Outcome(*fields),
    "record": _record,
}
"""The kinds that contain other values."""
_OF_TEXT: dict[str, Callable[[Any], object]] = {
    "bytes": bytes.fromhex,
    "int": _number,
    "float": {"inf": inf, "-inf": -inf, "nan": nan}.__getitem__,
    "fraction": lambda digits: Fraction(*map(_number, digits)),
}


class Codec:
    """Converts values.  ``identity`` names the backends, and ``resolve`` finds them by name."""

    def __init__(
        self,
        identity: Callable[[Any], str] | None = None,
        resolve: Callable[[str], Any] | None = None,
        members: Collection[Any] = (),
    ) -> None:
        self._identity = identity
        self._resolve = resolve
        self._members = members
        self._named: dict[str, Any] = {}

    def plain(self, value: Any, nested: int = 0) -> Any:  # noqa: PLR0911 - one return per kind
        """Return a value as JSON can hold it.  Raises TypeError if there is no such form."""
        if value is None or isinstance(value, bool | str):
            return value
        if nested > _MOST_NESTED:
            raise TypeError(f"cannot be logged, because it is nested too deeply: {shown(value)}")
        if self._is_named(value):
            return {"backend": self._name(value)}
        if isinstance(value, Real):
            return _plain_number(value)
        if isinstance(value, bytes | bytearray):
            return {"bytes": value.hex()}
        if isinstance(value, Outcome):
            fields = [value.ok, value.elapsed, value.retry_after, value.status]
            fields += [] if value.first is None else [value.first]
            return {"outcome": [self.plain(field, nested + 1) for field in fields]}
        item = getattr(value, "item", None)
        if callable(item) and getattr(value, "shape", None) == ():  # a number of numpy
            return self.plain(item(), nested + 1)
        if is_a(value, Collection) and not hasattr(value, "__array__"):
            return self._plain_collection(value, nested + 1)
        if self._identity is not None:
            return {"backend": self._name(value)}
        raise TypeError(
            f"cannot be logged: {shown(value)}; for backends of this type, pass a function that "
            "names them as identity="
        )

    def result(self, value: Any) -> Any:
        """Return a result as JSON can hold it: any other object is logged by its type alone."""
        try:
            return self.plain(value)
        except Exception:  # noqa: BLE001 - the call was made, so its result is delivered
            return {"object": type(value).__name__}

    def value(self, plain: Any, nested: int = 0) -> Any:
        """Return the value that was logged.  Raises ValueError for any other JSON."""
        if nested > _MOST_NESTED + 1:
            raise ValueError("a value is nested too deeply")
        if is_a(plain, list):
            return [self.value(item, nested + 1) for item in plain]
        if not is_a(plain, dict):
            return plain
        if len(plain) != 1:
            raise ValueError(f"an object of {len(plain)} items is no value")
        [(kind, content)] = plain.items()
        try:
            if kind == "backend":
                return self._backend(content)
            if kind in _OF_VALUES:
                return _OF_VALUES[kind](self.value(_listed(content), nested))
            return _OF_TEXT[kind](content)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"no value of the kind {kind[:20]}: {type(error).__name__}") from error

    def _backend(self, name: Any) -> Any:
        if self._resolve is None:
            raise ValueError("a backend is logged by its name, so pass a function as resolve")
        if not isinstance(name, str):
            raise TypeError("a name is a str")
        return self._resolve(name)

    def _is_named(self, value: Any) -> bool:
        """Return whether the value is a member that ``identity`` names."""
        if self._identity is None or isinstance(value, int | float):
            return False
        try:
            return value in self._members
        except TypeError:  # not hashable
            return False

    def _name(self, backend: Any) -> str:
        name: Any = None if self._identity is None else self._identity(backend)
        if not isinstance(name, str):
            raise TypeError(f"identity must return a str, not {shown(name)}")
        if self._named.setdefault(name, backend) != backend:
            raise DuplicateBackend(f"two backends have the name {shown(name)}")
        if len(self._named) > _MOST_NAMES + 2 * len(self._members):
            self._named.clear()
        return name

    def _plain_collection(self, value: Any, nested: int) -> Any:
        names: Any = value.names if isinstance(value, Record) else getattr(value, "_fields", None)
        if is_a(value, Mapping):
            pairs = value.items()
            return {"dict": [[self.plain(k, nested), self.plain(v, nested)] for k, v in pairs]}
        plain = [self.plain(item, nested) for item in value]
        if isinstance(value, AbstractSet):
            kind = "frozenset" if isinstance(value, frozenset) else "set"
            return {kind: sorted(plain, key=dumps)}  # the order of a set differs by process
        if isinstance(value, tuple):
            if names is not None:
                return {"record": [[*names], plain]}
            return {"tuple": plain}
        return plain


def is_a(value: object, kind: type) -> bool:
    """Return whether a value is of a type.  The type checkers do not narrow the value."""
    return isinstance(value, kind)


def results(value: Any) -> tuple[Any, Any]:
    """Return a value, and the value to log: the items of an iterator, and else the value."""
    if not is_a(value, Iterator):
        return value, value
    items = [*value]
    return iter(items), items


def argument(value: Any, *, ordered: bool) -> Any:
    """Return the items of an iterator, or of a set that is ``ordered``, and else the value."""
    return [*value] if is_a(value, Iterator) or (ordered and is_a(value, AbstractSet)) else value


def _plain_number(value: Any) -> Any:
    if isinstance(value, Integral):
        number = int(value)
        return number if -_LONG <= number < _LONG else {"int": _digits(number)}
    if isinstance(value, Rational):
        return {"fraction": [_digits(int(value.numerator)), _digits(int(value.denominator))]}
    real = float(value)
    return real if isfinite(real) else {"float": str(real)}


def _digits(number: int) -> str:
    digits = hex(number)
    if len(digits) > _MOST_DIGITS:
        raise TypeError(f"cannot be logged: {shown(number)}")
    return digits


def _listed(content: Any) -> list[Any]:
    if is_a(content, list):
        listed: list[Any] = content
        return listed
    raise TypeError("its content is no list")

"""Computes one SHA-256 of results, which is the same in every process.

A pickle would not do: its bytes depend on which of the objects inside are the same object.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import singledispatch
from hashlib import sha256
from pickle import dumps
from typing import Any

import numpy as np

from balancers.simulation.simulation import Simulation
from balancers.simulation.times import Times

__all__ = ["digest"]

_PROTOCOL = 4


def digest(value: object) -> bytes:
    """Return the SHA-256 of a value; O(size).

    Equal numbers of one type, texts, arrays, collections, dataclasses and results have equal
    digests.  Raises TypeError for another object that cannot be pickled.

    >>> digest({"a": [1, 2.0]}) == digest({"a": [1, 2.0]}) != digest({"a": [1, 3.0]})
    True
    """
    tag, parts = _content(value)
    state = sha256(tag.encode(errors="surrogatepass"))
    for part in parts:
        state.update(b";" + digest(part))
    return state.digest()


@singledispatch
def _content(value: Any) -> tuple[str, list[Any]]:
    """Return the tag of a value, and the values that it contains."""
    name = type(value).__qualname__
    if is_dataclass(value) and not isinstance(value, type):
        return name, [getattr(value, one.name) for one in fields(value) if one.compare]
    try:
        return name, [dumps(value, _PROTOCOL)]
    except Exception as error:
        raise TypeError(f"a result contains an object that has no digest: {error}") from error


@_content.register(type(None) | bool)
def _(value: object) -> tuple[str, list[Any]]:
    return repr(value), []


@_content.register
def _(value: int) -> tuple[str, list[Any]]:
    return f"int {int(value):x}", []


@_content.register
def _(value: float) -> tuple[str, list[Any]]:
    return f"float {value + 0.0!r}", []  # 0.0 and -0.0 are equal


@_content.register
def _(value: str) -> tuple[str, list[Any]]:
    return f"str {value}", []


@_content.register
def _(value: bytes) -> tuple[str, list[Any]]:
    return f"bytes {sha256(value).hexdigest()}", []


@_content.register
def _(value: np.generic) -> tuple[str, list[Any]]:
    return _array(np.asarray(value))


@_content.register(np.ndarray)
def _array(array: Any) -> tuple[str, list[Any]]:
    tag = f"array {array.shape} {array.dtype.str} {array.dtype.names}"
    if array.dtype.hasobject:
        return tag, array.ravel().tolist()
    if array.dtype.names:
        return tag, [array[name] for name in array.dtype.names]
    if array.dtype.kind in "fc":
        array = array + 0.0
    return tag, [np.ascontiguousarray(array).tobytes()]


@_content.register
def _(value: Times) -> tuple[str, list[Any]]:
    return f"Times {value.digest()}", []


@_content.register(Simulation)
def _(value: Any) -> tuple[str, list[Any]]:
    """Leave out the engine: equal results may come from different ones."""
    names = [one.name for one in fields(value) if one.name != "engine"]
    return "Simulation", [getattr(value, name) for name in names]


@_content.register(Mapping)
def _(value: Any) -> tuple[str, list[Any]]:
    return "mapping", [part for pair in value.items() for part in pair]


@_content.register(list | tuple)
def _(value: Any) -> tuple[str, list[Any]]:
    return "sequence", list(value)


@_content.register(AbstractSet)
def _(value: Any) -> tuple[str, list[Any]]:
    return "set", sorted(digest(part) for part in value)

"""Refuses factories that contain objects whose state would be shared by several runs."""

import dis
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from inspect import signature
from random import Random
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, cast

import numpy as np

from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.pool import Pool

__all__ = ["check_factory", "check_no_state", "made"]

_GENERATOR = "a random generator"
_ITERATOR = "an iterator"
_HINTS = {
    _GENERATOR: "; replicate passes rng itself",
    _ITERATOR: "; or pass a list instead of the iterator",
}
_GENERATORS = (Random, np.random.Generator, np.random.BitGenerator, np.random.RandomState)
_MEMBERS_OF_PARTS = (("pick", "finished"), ("factor", "attach"), ("value", "finished"))
"""Two methods each of balancers, gates and loads."""


def check_factory(name: str, factory: object) -> None:
    """Raise InvalidSetting if a factory is an object with a state, or contains one.

    A partial, a collection, a method, the attributes of an object that can be called, and what a
    function of Python refers to are searched.  Raises TypeError for an object that cannot be
    called.
    """
    check_no_state(name, factory)
    if not callable(factory):
        raise TypeError(
            f"{name} must be a class, a function or a functools.partial, not {shown(factory)}"
        )


def check_no_state(name: str, given: object) -> None:
    """Raise InvalidSetting if a value has or contains a state that several runs would share."""
    own = _state_of(given)
    found = next(_found(given), None) if own is None else (own, given)
    if found is not None:
        kind, value = found
        raise InvalidSetting(
            f"{name} {'contains' if own is None else 'is'} {kind}, {shown(value)}, whose state "
            "several runs would share: pass a factory that makes a new one, for example "
            f"functools.partial of its class{_HINTS.get(kind, '')}"
        )


def made(make: Any, rng: Random) -> Any:
    """Return a new object.  The factory gets ``rng`` if it has an argument of this name."""
    try:
        arguments: Iterable[str] = signature(make).parameters
    except (TypeError, ValueError):  # a class of another language
        arguments = ()
    return make(rng=rng) if "rng" in arguments else make()


def _state_of(value: object) -> str | None:
    """Return what kind of state an object has, or None."""
    if isinstance(value, type):
        return None
    if isinstance(value, _GENERATORS):
        return _GENERATOR
    if isinstance(value, Iterator):
        return _ITERATOR
    if isinstance(value, Pool):
        return "a pool"
    for methods in _MEMBERS_OF_PARTS:
        if all(callable(getattr(value, method, None)) for method in methods):
            return "a balancer, gate or load"
    return None


def _found(value: object) -> Iterator[tuple[str, object]]:
    """Yield the objects with a state that a value contains.  Each part is searched once."""
    seen = {id(value): value}  # a part that is stored here keeps its id
    waiting = [_parts(value)]
    while waiting:
        for part in waiting.pop():
            kind = _state_of(part)
            if kind is not None:
                yield kind, part
            parts = () if id(part) in seen else _parts(part)
            if parts:
                seen[id(part)] = part
                waiting.append(parts)


def _parts(value: Any) -> Iterable[object]:
    held: Any = cast("object", value)  # the types of what it contains are unknown
    if isinstance(value, partial):
        return (held.func, *held.args, *held.keywords.values())
    if isinstance(value, MethodType | BuiltinMethodType):
        return (value.__self__,)
    if isinstance(value, FunctionType):
        return _referred(value)
    if isinstance(value, Mapping):
        return (*held.keys(), *held.values())
    if isinstance(value, list | tuple | set | frozenset):
        return cast("Iterable[object]", value)
    is_object = callable(held) and not isinstance(held, type)
    return tuple(getattr(held, "__dict__", {}).values()) if is_object else ()


def _referred(function: FunctionType) -> Iterator[object]:
    """Yield the defaults, the enclosed values and the global values of a function."""
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for instruction in dis.get_instructions(function):
        if instruction.opname == "LOAD_GLOBAL":
            value = function.__globals__.get(instruction.argval)
            if not isinstance(value, FunctionType | Mapping | list | tuple | set | frozenset):
                yield value

"""Defines the functions and classes that the programs of broken laws of gates and loads import."""

from collections.abc import Iterable
from math import inf
from pickle import dumps
from typing import Any

from balancers import NoBackendAvailable

__all__ = ["Requests", "acquired", "empty_changes", "has_pickle", "stored"]

_CHANGES = 100
_SMALLEST = 1e-9


class Requests:
    """Counts the requests in flight of each backend, as a pool does.

    >>> requests = Requests()
    >>> requests.start("a"), requests.start("a"), requests.finish("a"), requests("a"), requests("b")
    (1, 2, 1, 1, 0)
    """

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}

    def __call__(self, backend: Any) -> int:
        """Return the number of requests in flight on a backend."""
        return self.counts.get(backend, 0)

    def start(self, backend: Any) -> int:
        """Count a request that starts, and return the new number."""
        self.counts[backend] = count = self.counts.get(backend, 0) + 1
        return count

    def finish(self, backend: Any) -> int:
        """Count a request that ends, and return the new number."""
        self.counts[backend] = count = self.counts.get(backend, 0) - 1
        return count

    def forget(self, backend: Any) -> None:
        """Remove the count of a backend that leaves."""
        self.counts.pop(backend, None)


def acquired(pool: Any, now: float) -> Any:
    """Return a lease of a backend that the pool picks, or None if it refuses the request.

    >>> from balancers import Pool, RoundRobin
    >>> acquired(Pool(RoundRobin(["a"])), 1.0).backend, acquired(Pool(RoundRobin()), 1.0)
    ('a', None)
    """
    try:
        return pool.acquire(now)
    except NoBackendAvailable:
        return None


def empty_changes(gate: Any, backends: Iterable[Any], now: float, limit: int) -> int:
    """Follow the times that a gate announces, and return how many of them in a row change nothing.

    A change of a factor counts if it is above 10⁻⁹.  The result is 0 if the gate announces no more
    times, or if factors change at 100 of them.  It is at most ``limit``.
    """
    empty = changed = 0
    factors = [gate.factor(backend, now) for backend in backends]
    while gate.due < inf and changed < _CHANGES:
        now = max(now, gate.due)
        list(gate.changes(now))
        after = [gate.factor(backend, now) for backend in backends]
        if any(abs(new - old) > _SMALLEST for new, old in zip(after, factors, strict=True)):
            factors, changed, empty = after, changed + 1, 0
        else:
            empty += 1
            if empty == limit:
                return empty
    return 0


def has_pickle(value: Any) -> bool:
    """Return whether an object can be pickled."""
    try:
        dumps(value)
    except Exception:  # noqa: BLE001 - many kinds of errors mean that there is no pickle
        return False
    return True


def stored(value: Any) -> object:
    """Return everything that an object stores, in a form that can be compared.

    That is the pickle of the object.  If it has none, its attributes are compared one by one.

    >>> stored(Requests()) == stored(Requests())
    True
    """
    try:
        return dumps(value)
    except Exception:  # noqa: BLE001 - many kinds of errors mean that there is no pickle
        return _parts(value, {})


def _parts(value: Any, known: dict[int, int]) -> object:
    """Return the parts of an object.  An object that occurs again is replaced by a number."""
    kind: Any = value.__class__
    if value is None or kind in {bool, int, float, complex, str, bytes}:
        return kind, repr(value)
    if id(value) in known:
        return known[id(value)]
    known[id(value)] = len(known)
    if kind is dict:
        return kind, [(_parts(key, known), _parts(value[key], known)) for key in value]
    if kind in {list, tuple, set, frozenset}:
        parts: list[object] = [_parts(part, known) for part in value]
        return kind, sorted(parts, key=repr) if kind in {set, frozenset} else parts
    try:
        reduced: Any = value.__reduce_ex__(2)
    except Exception:  # noqa: BLE001 - for example a lock
        reduced = ""
    if isinstance(reduced, str):  # the name of a function, or nothing
        return kind, id(value)
    _, arguments, *rest = reduced
    state, *items = rest or [None]
    content: list[Any] = [arguments, state]
    content += [list(part) for part in items if part is not None]
    return kind, [_parts(part, known) for part in content]

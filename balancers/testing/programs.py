"""Defines the functions and classes that the programs of broken laws import.

A :class:`~balancers.testing.LawBroken` error has a program, which these names keep short.
"""

import gc
import random
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from sys import getprofile, gettrace, setprofile, settrace
from types import FrameType
from typing import Any, ClassVar, Self

from balancers import SUCCESS, Key
from balancers._internal.checks import shown

__all__ = [
    "CountingName",
    "SaltedName",
    "TooManyLines",
    "executed_lines",
    "held_requests",
    "idle_places",
    "impure_calls",
    "never_picked",
    "place_counts",
    "quiet_requests",
    "raised",
]

_IMPURE = {"time", "datetime", "_datetime", "posix", "nt", "uuid", "secrets", "_uuid"}
_PURE_OS = {"fspath"}
_IMPORT = "_find_and_load"
"""The function of Python that imports a module.  It is not called for an imported module."""


def raised(call: Callable[[], object]) -> Exception | None:
    """Return the exception that the call raises, or None if it raises none.

    >>> raised(lambda: 1 // 0)
    ZeroDivisionError('integer division or modulo by zero')
    """
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


class SaltedName(str):
    """A name that is equal to a text, but has a hash value of its own.

    Sets of such names have another order for every salt, as sets of texts have in every process.

    >>> {SaltedName("a", 1), SaltedName("a", 1)}
    {SaltedName('a', 1)}
    >>> SaltedName("a", 1) == "a", hash(SaltedName("a", 1)) == hash("a")
    (True, False)
    """

    __slots__ = ("salt",)
    salt: int

    def __new__(cls, text: str, salt: int) -> Self:
        """Create a name with a text and a salt."""
        name = super().__new__(cls, text)
        name.salt = salt
        return name

    def __hash__(self) -> int:
        return hash((self.salt, str(self)))

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return (type(self), (str(self), self.salt))

    def __repr__(self) -> str:
        return f"SaltedName({str(self)!r}, {shown(self.salt)})"


class TooManyLines(BaseException):
    """Raised in a call that executes too many lines of Python.

    >>> issubclass(TooManyLines, Exception)  # so that no subject catches it
    False
    """


@contextmanager
def _without_garbage_collection() -> Generator[None]:
    """Keep what a collection calls (finalizers, ``gc.callbacks``) out of the observed call."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def executed_lines(call: Callable[[], object], limit: int) -> int:
    """Return the number of lines of Python that the call executes; exceptions are ignored.

    The call is ended after ``limit`` lines, and ``limit`` + 1 is returned.  The lines of imports
    are left out, because an import is made once in a process, and no garbage is collected.

    >>> executed_lines(lambda: sorted([2, 1]), limit=10)
    1
    """
    count = importing = 0

    def trace_import(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001 - sys calls it so
        nonlocal importing
        importing -= event == "return"
        return trace_import

    def trace(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001 - sys calls it so
        nonlocal count, importing
        if event == "call" and frame.f_code.co_name == _IMPORT:
            importing += 1
            return trace_import
        if importing:
            return None
        if event == "line":
            count += 1
            if count > limit:
                raise TooManyLines
        return trace

    before = gettrace()
    with _without_garbage_collection():
        settrace(trace)
        try:
            call()
        except (Exception, TooManyLines):  # noqa: BLE001, S110 - only the lines are counted
            pass
        finally:
            settrace(before)
    return count


def impure_calls(call: Callable[[], object]) -> list[str]:
    """Return the names of the clocks and global generators that the call uses.

    These are the functions of ``time``, ``datetime``, ``os``, ``uuid`` and ``secrets``, and the
    generators that ``random`` and ``numpy.random`` share in a process.  What an import calls is
    left out, and no garbage is collected.

    >>> import random
    >>> impure_calls(lambda: random.random())
    ['random.random']
    """
    found: dict[str, None] = {}
    shared: object = getattr(random, "_inst", None)
    importing = 0

    def profile(frame: FrameType, event: str, function: Any) -> None:
        nonlocal importing
        if frame.f_code.co_name == _IMPORT and event in {"call", "return"}:
            importing += 1 if event == "call" else -1
        if event != "c_call" or importing:
            return
        owner = getattr(function, "__self__", None)
        module = getattr(function, "__module__", None) or getattr(owner, "__module__", None)
        name = getattr(function, "__name__", "")
        if owner is shared:
            found[f"random.{name}"] = None
        elif isinstance(module, str) and module.split(".")[0] in _IMPURE and name not in _PURE_OS:
            found[f"{module}.{name}"] = None

    numpy = sys.modules.get("numpy.random")
    state = None if numpy is None else str(numpy.get_state())
    before = getprofile()
    with _without_garbage_collection():
        setprofile(profile)
        try:
            call()
        finally:
            setprofile(before)
    if numpy is not None and str(numpy.get_state()) != state:
        found["numpy.random"] = None
    return [*found]


class CountingName(str):
    """A name that counts how often it is hashed and compared with ``==``.

    >>> CountingName.calls = 0
    >>> CountingName("a") in {CountingName("a"): 1}, CountingName.calls
    (True, 3)
    """

    __slots__ = ()
    calls: ClassVar[int] = 0

    def __hash__(self) -> int:
        CountingName.calls += 1
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        CountingName.calls += 1
        return str.__eq__(self, other) is True

    def __repr__(self) -> str:
        return f"CountingName({str(self)!r})"


def held_requests(lb: Any, count: int, key: Key | None = None) -> Counter[Any]:
    """Start this many requests that do not end, and return how many each backend got.

    >>> from balancers import LeastConnections
    >>> held_requests(LeastConnections(["a", "b"]), 4)
    Counter({'a': 2, 'b': 2})
    """
    counts: Counter[Any] = Counter()
    arguments = {} if key is None else {"key": key}
    for _ in range(count):
        backend = lb.pick(**arguments)
        lb.started(backend)
        counts[backend] += 1
    return counts


def quiet_requests(lb: Any, count: int, key: Key | None = None, now: float = 0.0) -> Counter[Any]:
    """Make this many requests, each after the end of the last one; return the counts.

    >>> from balancers import RoundRobin
    >>> quiet_requests(RoundRobin(["a", "b"]), 4)
    Counter({'a': 2, 'b': 2})
    """
    counts: Counter[Any] = Counter()
    time = {"now": now} if now else {}
    arguments: dict[str, Any] = time if key is None else {"key": key, **time}
    for _ in range(count):
        backend = lb.pick(**arguments)
        lb.started(backend, **time)
        lb.finished(backend, outcome=SUCCESS, **time)
        counts[backend] += 1
    return counts


def never_picked(lb: Any, backends: Sequence[Any], count: int) -> list[Any]:
    """Start up to this many requests that do not end, and return the backends that got none.

    It ends as soon as each backend has a request.

    >>> from balancers import LeastConnections
    >>> never_picked(LeastConnections(["a", "b"]), ["a", "b", "c"], 4)
    ['c']
    """
    left = dict.fromkeys(backends)
    for _ in range(count):
        if not left:
            break
        backend = lb.pick()
        lb.started(backend)
        left.pop(backend, None)
    return [*left]


def place_counts(
    make: Callable[[], Any], weights: Sequence[float], keys: Sequence[Key]
) -> Counter[int]:
    """Return how many keys the backend at each place gets, in 40 balancers together.

    The names of the backends are addresses that differ in the port.  Each balancer has other ones.

    >>> from balancers.hashing import Rendezvous
    >>> place_counts(Rendezvous, [1, 1], ["a", "b"]).total()
    80
    """
    counts: Counter[int] = Counter()
    for number in range(40):
        lb = make()
        names = [f"10.0.{number}.1:{8080 + place}" for place in range(len(weights))]
        for name, weight in zip(names, weights, strict=True):
            lb.put(name, weight=weight)
        counts.update(names.index(lb.pick(key=key)) for key in keys)
    return counts


def idle_places(make: Callable[[], Any], weights: Sequence[float], keys: Sequence[Key]) -> int:
    """Return how many backends get none of the keys, in 10 balancers together.

    >>> from balancers.hashing import Rendezvous
    >>> idle_places(Rendezvous, [1, 1], range(100))
    0
    """
    idle = 0
    for number in range(10):
        lb = make()
        names = [f"10.1.{number}.1:{8080 + place}" for place in range(len(weights))]
        for name, weight in zip(names, weights, strict=True):
            lb.put(name, weight=weight)
        idle += len({*names} - {lb.pick(key=key) for key in keys})
    return idle

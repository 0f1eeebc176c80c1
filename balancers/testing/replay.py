"""Repeats the calls of a log, and finds the first one whose result or effect differs."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

from balancers import Outcome
from balancers._internal.checks import shown
from balancers.pool import Lease, Pool
from balancers.testing._divergence import RESULTS, Diverged, Situation, differing, same
from balancers.testing._foreign import foreign_lease
from balancers.testing._log import Header, InvalidLog, decoded, parsed, read_header
from balancers.testing._values import Codec
from balancers.testing.recorder import CHANGES, Recorder

__all__ = ["Diverged", "Header", "InvalidLog", "Replayed", "replay"]

Make = Callable[[Header], "Pool[Any] | tuple[Pool[Any], Iterable[Any]]"]
"""A function that constructs the pool again.  If the recorder got other objects in ``gates``, it
returns the pool and these objects, in the same order."""

_REQUEST = ("key", "prefer", "strict", "avoid", "cost", "among")
_OUTCOME = ("ok", "elapsed", "retry_after", "status", "first")
_ARGUMENTS = ("t", "failed", "args", *_REQUEST, *_OUTCOME)
"""The items of a line that are values."""


class Replayed(NamedTuple):
    """Says how much was repeated, and that everything was the same.

    >>> Replayed(lines=4, requests=1)
    Replayed(lines=4, requests=1)
    """

    lines: int
    """The number of lines of the log."""
    requests: int
    """The number of requests, including those that were refused."""


def replay(
    lines: Iterable[str],
    make: Make,
    *,
    resolve: Callable[[str], Any] | None = None,
    unfinished: bool = False,
) -> Replayed:
    """Repeat the calls of a log that a :class:`Recorder` wrote, and compare every result.

    ``make`` is your function that constructs the pool again, as it was when the recording began:
    the same balancer, members, gates and settings, and generators with the same state.  It gets the
    :class:`Header`.  If the recorder got ``gates`` that the pool does not know, ``make`` returns a
    pair: the pool and these objects, in the same order.

    ``resolve`` returns the backend of a name that ``identity`` of the recorder returned.  The log
    of a process that did not call :meth:`Recorder.close` lacks its last line; pass
    ``unfinished=True`` for it.

    Compared are the backends, the errors, and what gates returned, bit for bit; and after each call
    the weights in the balancer that it changed.  After every 100 lines, the requests in flight, the
    times that the gates announce and the states of the generators are compared too.

    >>> from balancers import ConnectionLimit, Pool, RoundRobin
    >>> lines = []
    >>> pool = Pool(RoundRobin(["a", "b"]), gates=[ConnectionLimit(1)])
    >>> with Recorder(pool, write=lines.append):
    ...     leases = [pool.acquire(now=1.0), pool.acquire(now=1.0)]
    >>> def make(header, limit=1):
    ...     return Pool(RoundRobin(header.members), gates=[ConnectionLimit(limit)])
    >>> replay(lines, make)
    Replayed(lines=4, requests=2)
    >>> replay(lines, lambda header: make(header, limit=2))
    Traceback (most recent call last):
    balancers.testing._divergence.Diverged: line 3: another state after acquire 2 (t=1.0): ...

    The log is only read: it contains no code, and the values in it are numbers, texts and lists of
    these.  But it can name every public method of your gates, and every argument.  The cost is that
    of the calls, and the log is kept in memory.

    Raises :class:`Diverged`, which is an AssertionError, for the first difference.  Raises
    :class:`InvalidLog` for a log that was damaged, cut off or edited, TypeError for an argument of
    the wrong type, and what ``make`` and ``resolve`` raise.
    """
    if isinstance(lines, str | bytes) or not isinstance(cast("Any", lines), Iterable):
        raise TypeError(f"lines must be an iterable of lines, not a {type(lines).__name__}")
    for name, function in (("make", make), ("resolve", resolve)):
        if not callable(function) and (name == "make" or function is not None):
            raise TypeError(f"{name} must be a function, not {shown(function)}")
    log = [*lines]
    while log and isinstance(cast("Any", log[-1]), str) and not log[-1].strip():
        log.pop()
    if not log:
        raise InvalidLog(1, "the log is empty")
    return _Replay(log, make, resolve).run(unfinished=unfinished)


class _Replay:
    """Repeats a log once.  The calls are recorded again, and each line is compared."""

    def __init__(self, log: list[str], make: Make, resolve: Callable[[str], Any] | None) -> None:
        self._log = log
        self._make = make
        self._names: dict[Any, str] = {}
        self._resolve = resolve
        named = self._name if resolve is not None else None
        self._codec = Codec(resolve=None if resolve is None else self._stores_name(resolve))
        self._written: deque[str] = deque()
        self._leases: dict[int, Lease[Any]] = {}
        self._released: Any = None
        self._checked = 1
        header = read_header(log[0], self._codec)
        made = make(header)
        pool, others = made if isinstance(made, tuple) else (made, ())
        self._recorder = Recorder(
            pool,
            others,
            write=self._written.append,
            identity=named,
            rng=header.rngs,
            settings=header.settings,
        )
        self.pool: Pool[Any] = pool
        self._gate_methods = self._recorder.gate_methods

    def run(self, *, unfinished: bool = False, until: int | None = None) -> Replayed:
        """Repeat the calls up to the line with the number ``until``, and compare them."""
        try:
            return self._run(until, unfinished=unfinished)
        finally:
            self._recorder.close()

    def _run(self, until: int | None, *, unfinished: bool) -> Replayed:
        self._compare_headers()
        ended, requests = False, 0
        for number, line in enumerate(self._log[1:until], 2):
            if ended:
                raise InvalidLog(number, "the log goes on after its last line")
            fields = parsed(number, line)
            requests += "acquire" in fields
            if "end" in fields:
                ended = True
                self._recorder.close()
            elif "check" not in fields:
                if self._written:
                    raise InvalidLog(number, "a line of checksums is missing before it")
                self._call(number, fields)
            self._compare(number, line, fields)
        if not ended and not unfinished and until is None:
            raise InvalidLog(
                len(self._log), "the log is cut off after it: the last line is missing"
            )
        return Replayed(len(self._log), requests)

    def _compare_headers(self) -> None:
        recorded, replayed = parsed(1, self._log[0]), parsed(1, self._written.popleft())
        for name in ("members", "now", "gates", "settings", "rng"):
            ours, theirs = recorded[name], replayed[name]
            if (len(ours) != len(theirs)) if name == "gates" else not same(ours, theirs):
                raise Diverged(1, {name: ours}, {name: theirs}, [name])
        self._recorder.start_checksum(self._log[0])

    def _compare(self, number: int, line: str, fields: dict[str, Any]) -> None:
        if not self._written:
            raise InvalidLog(number, "a recorder does not write this line here")
        written = self._written.popleft()
        checks = "check" in fields or "end" in fields
        if line.strip() == written.strip():
            self._checked = number if checks else self._checked
            return
        replayed = parsed(number, written)
        names = differing(fields, replayed)
        if checks and {"text", "check", "end"}.intersection(names):
            raise InvalidLog(number, f"a line after line {self._checked} was edited or is missing")
        if not names or not RESULTS.issuperset(names):
            raise InvalidLog(number, "a recorder does not write such a line")
        raise Diverged(number, fields, replayed, names, self._before(number), self._checked)

    def _before(self, number: int) -> Situation | None:
        """Return the state before the call of a line.  The calls before it are made once more."""
        try:
            before = _Replay(self._log, self._make, self._resolve)
            before.run(until=number - 1)
            fields = parsed(number, self._log[number - 1])
            request = before.decoded(number, fields) if "acquire" in fields else {}
            return Situation(before.pool, before.members(), request)
        except Exception:  # noqa: BLE001 - only the difference itself can be shown then
            return None

    def _call(self, number: int, fields: dict[str, Any]) -> None:
        """Make the call of a line.  The recorder writes its result, or what it raises."""
        call = self._prepared(number, fields)
        try:
            call()
        except Exception as error:
            if not self._written:  # the recorder has refused the call
                raise InvalidLog(number, f"a recorder refuses its call: {error}") from error

    def _prepared(self, number: int, fields: dict[str, Any]) -> Callable[[], Any]:
        """Return a function that makes the call of a line.  Raises InvalidLog."""
        values = self.decoded(number, fields)
        match fields:
            case {"acquire": int(request)}:
                return partial(self._acquire, number, request, values)
            case {"release": request}:
                return partial(self._release, number, request, values)
            case {"progress": request}:
                return partial(self._progress, number, request, values)
            case {"read": True}:
                return lambda: self.pool.panicking
            case {"pool": str(name)} if name in {*CHANGES, "plan"}:
                method = getattr(self.pool, name)
            case {"balancer": str(name)} if name in self._recorder.balancer_methods:
                method = getattr(self._recorder.balancer, name)
            case {"gate": int(place), "call": "__setattr__", "args": [str(name), _]} if self._has(
                place
            ) and not name.startswith("_"):
                method = self._recorder.gates[place].__setattr__
            case {"gate": int(place), "call": str(name)} if self._has(place, name):
                method = getattr(self._recorder.gates[place], name)
            case _:
                raise InvalidLog(number, "it names no call that a recorder writes")
        return partial(method, *values.get("args", ()), **values.get("kw", {}))

    def _has(self, place: int, name: str | None = None) -> bool:
        """Return whether there is this gate, and a recorder records this method of it."""
        if isinstance(place, bool) or not 0 <= place < len(self._gate_methods):
            return False
        if name is None or name in self._gate_methods[place]:
            return True
        gate = self._recorder.gates[place]
        return not name.startswith("_") and hasattr(gate, "__getattr__") and hasattr(gate, name)

    def decoded(self, number: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call.  Raises InvalidLog."""
        values = {n: decoded(number, self._codec, fields[n]) for n in _ARGUMENTS if n in fields}
        if "kw" in fields:
            if not isinstance(fields["kw"], dict):
                raise InvalidLog(number, "its kw is no object")
            named = cast("dict[str, Any]", fields["kw"])
            values["kw"] = {n: decoded(number, self._codec, named[n]) for n in named}
        if not isinstance(values.get("args", []), list):
            raise InvalidLog(number, "its args are no list")
        return values

    def _acquire(self, number: int, request: int, values: dict[str, Any]) -> None:
        arguments = {name: values[name] for name in _REQUEST if name in values}
        if "t" not in values:
            raise InvalidLog(number, "it has no time t")
        self._leases[request] = self.pool.acquire(values["t"], **arguments)

    def _release(self, number: int, request: Any, values: dict[str, Any]) -> None:
        lease = self._lease(number, request)
        if isinstance(values.get("failed"), Outcome):
            failed: Outcome = values["failed"]
            lease.failed(retry_after=failed.retry_after, status=failed.status)
        arguments = {name: values[name] for name in _OUTCOME if name in values}
        try:
            self.pool.release(lease, values.get("t"), **arguments)  # type: ignore[arg-type]  # any
        finally:
            if isinstance(request, int) and lease.released:
                self._released = self._leases.pop(request)

    def _progress(self, number: int, request: Any, values: dict[str, Any]) -> None:
        given = {"cost": values["cost"]} if "cost" in values else {}
        lease = self._released if request == "released" else self._lease(number, request)
        self.pool.progress(lease, values.get("t"), **given)  # type: ignore[arg-type]  # any

    def _lease(self, number: int, request: Any) -> Any:
        """Return the lease of a request by its number, or one that the pool refuses."""
        if isinstance(request, int):
            if request not in self._leases:
                raise InvalidLog(number, "it names a request that is not in flight")
            return self._leases[request]
        if request in {"released", "foreign"}:
            return foreign_lease(released=request == "released")
        return object()

    def _stores_name(self, resolve: Callable[[str], Any]) -> Callable[[str], Any]:
        """Return a function that returns the backend of a name, and stores its name."""

        def backend_of(name: str) -> Any:
            backend = resolve(name)
            self._names[backend] = name
            return backend

        return backend_of

    def members(self) -> dict[str, tuple[float, float | None, int]]:
        """Return the state of each member, by its JSON."""
        pool, weights = self.pool, self._recorder.balancer.weights
        return {
            self._recorder.name_of(b): (pool.weight(b), weights.get(b), pool.in_flight(b))
            for b in pool.backends
        }

    def _name(self, backend: Any) -> str:
        """Return the name of a backend.  A backend that no name stands for gets a text."""
        return self._names.get(backend, f"an unknown {type(backend).__name__}")

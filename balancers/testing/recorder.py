"""Records what happens to a pool as lines of JSON, so that it can be replayed."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import TracebackType
from typing import Any, Generic, NoReturn, Self
from zlib import crc32

import balancers
from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.pool import Pool
from balancers.testing._recording import Recording
from balancers.testing._taps import UNCHANGING, Tap, methods_of
from balancers.testing._texts import Texts
from balancers.testing._values import Codec, dumps, is_a

__all__ = ["CHANGES", "FORMAT", "Recorder"]

FORMAT = 1
"""The version of the format of a log."""
CHANGES = ("add", "remove", "set_weight", "update")
"""The methods of a pool that change its members."""
_READS = ("admits", "effective_weight", "full", "panicking", "snapshot", "state")
"""The methods and the property of a pool that apply what is due before they answer."""


class Recorder(Generic[B]):
    """Writes each call that changes a pool or its gates to a log, as one line of JSON.

    The calls are those of the membership, the requests with their results, errors included, and
    the calls of your program to the gates, for example :meth:`HealthChecks.observe
    <balancers.HealthChecks.observe>`.  :func:`replay` makes the same calls again.

    Go on using the pool and the gates that you have.  The recorder changes the class of these
    objects until :meth:`close`, so that no call is missed, wherever your program stores them.  A
    bound method that was stored before the recorder was created is not recorded.

    ``write`` is called with one line of text, which ends with a newline.  ``gates`` contains
    objects whose calls are recorded too although the pool does not know them, for example a gate
    inside another gate, or a load.  The gates of the pool are always recorded.

    ``rng`` is the generator of the balancer and the gates, or several of them.  Its state is stored
    in the first line.  ``settings`` is stored there too.  It is a mapping of plain values by which
    the replay can construct an equal pool.

    A backend that is a str, bytes, an int or a tuple of these is logged as it is.  For others,
    ``identity`` is a function that returns a different str for each backend.  The log contains the
    names of backends and the keys of requests.  Requests of groups cannot be logged, so a pool with
    groups cannot be recorded, and a recorded pool refuses to make a group.

    >>> from random import Random
    >>> from balancers import HealthChecks, Pool, RandomChoice
    >>> rng, health, lines = Random(7), HealthChecks(unhealthy_threshold=1), []
    >>> pool = Pool(RandomChoice(["a", "b"], rng=rng), gates=[health])
    >>> with Recorder(pool, write=lines.append, rng=rng):
    ...     health.observe("a", ok=False, now=1.0)
    ...     lease = pool.acquire(now=1.5, key="user:42")
    ...     pool.release(lease, now=2.5, ok=False)
    >>> print("".join(lines[1:4]).rstrip())
    {"gate":0,"call":"observe","args":["a"],"kw":{"ok":false,"now":1.0}}
    {"acquire":1,"t":1.5,"key":"user:42","to":"b","w":[["a",0,"unhealthy"]]}
    {"release":1,"t":2.5,"ok":false}

    An argument that cannot be logged is refused with a TypeError before the call is made.  If
    ``write`` raises an Exception, or a result cannot be logged, the recording ends, the calls go
    on, and :meth:`close` raises this exception.  A request costs O(1); after every 100 lines, or as
    many lines as there are members, a checksum costs O(members).

    Raises InvalidSetting if the pool has already served or refused a request, because its state
    could not be constructed again.  Raises AlreadyInUse for a pool that is recorded already, and
    TypeError for an argument of the wrong type or an object that cannot be recorded.
    """

    def __init__(
        self,
        pool: Pool[B],
        gates: Iterable[Any] = (),
        *,
        write: Callable[[str], object],
        identity: Callable[[B], str] | None = None,
        rng: Random | Iterable[Random] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        own = _gates_of(pool, write, identity)
        others = [gate for gate in gates if not any(gate is one for one in own)]
        self.pool: Pool[B] = pool
        """The pool that is recorded.  It is the object that was passed."""
        self.gates: tuple[Any, ...] = (*own, *others)
        """The gates of the pool in its order, and then the other objects of ``gates``.  They are
        the objects that were passed."""
        rngs = (rng,) if isinstance(rng, Random) else tuple(rng)
        self.balancer: Any = pool._balancer  # noqa: SLF001 - no call of the pool returns it
        """The balancer of the pool."""
        codec = Codec(identity, members=pool.backends)
        header = _header(pool, self.gates, rngs, codec, settings or {})
        self._texts = Texts(codec, pool)
        self._recording = Recording(pool, self.balancer, self.gates, rngs, self._texts, write)
        self.gate_methods: tuple[frozenset[str], ...] = tuple(map(methods_of, self.gates))
        """The names of the methods of each gate that are recorded."""
        self.balancer_methods: frozenset[str] = methods_of(self.balancer, balancer=True)
        """The names of the methods of the balancer that are recorded."""
        self._taps: list[Tap] = []
        try:
            self._tap_all()
        except BaseException:
            self._remove_taps()
            raise
        self._recording.line(header)

    def close(self) -> None:
        """Write the last line, and end the recording.

        The objects have their own classes again.  A second call does nothing.  Raises the exception
        of ``write`` if there was one.
        """
        recording = self._recording
        if self._taps:
            try:
                recording.end()
            finally:
                self._remove_taps()
        failed, recording.failed = recording.failed, None
        if failed is not None:
            raise failed

    def start_checksum(self, line: str) -> None:
        """Begin the checksum of all lines with this one, in place of the first line."""
        self._recording.text = crc32(f"{line.strip()}\n".encode())

    def name_of(self, backend: B) -> str:
        """Return how the log shows a backend, as JSON."""
        return self._texts.name(backend)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "recording" if self._taps else "closed"
        recording = self._recording
        return f"<Recorder: {recording.lines} lines, {recording.requests} requests, {state}>"

    def _tap_all(self) -> None:
        recording = self._recording
        of_requests = {
            "acquire": recording.acquire,
            "release": recording.release,
            "progress": recording.progress,
        }

        def of_pool(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            if name in of_requests:
                return of_requests[name](method)
            if name == "group":
                return _no_group
            if name in {"plan", *CHANGES}:
                return recording.call(f'"pool":"{name}"', method, ordered=name != "plan")
            return recording.read(method) if name in _READS else recording.unrecorded(method)

        def of_balancer(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            weights = recording.weights
            noted = {"put": weights.put, "discard": weights.discard}.get(name)
            method = method if noted is None else noted(method)
            return recording.call(f'"balancer":{dumps(name)}', method)

        pool_methods = (*of_requests, "plan", "explain", "group", *CHANGES, *_READS)
        self._taps.append(Tap(self.pool, pool_methods, of_pool))
        self._taps.append(Tap(self.balancer, self.balancer_methods, of_balancer))
        for place, (gate, methods) in enumerate(zip(self.gates, self.gate_methods, strict=True)):

            def of_gate(
                name: str, method: Callable[..., Any], place: int = place
            ) -> Callable[..., Any]:
                if name in UNCHANGING:
                    return recording.unrecorded(method)
                return recording.call(f'"gate":{place},"call":{dumps(name)}', method)

            reads = [name for name in UNCHANGING if hasattr(gate, name)]
            self._taps.append(Tap(gate, (*methods, *reads), of_gate, assignments=True))

    def _remove_taps(self) -> None:
        while self._taps:
            self._taps.pop().remove()


def _gates_of(pool: Any, write: Any, identity: Any) -> list[Any]:
    """Return the gates of the pool, after the arguments of the recorder were checked."""
    if not is_a(pool, Pool):
        raise TypeError(f"pool must be a Pool, not {shown(pool)}")
    for name, function in (("write", write), ("identity", identity)):
        if not callable(function) and (name == "write" or function is not None):
            raise TypeError(f"{name} must be a function, not {shown(function)}")
    if pool._members.groups.all:  # noqa: SLF001 - no call of the pool returns its groups
        raise TypeError(f"a pool with groups cannot be recorded: {shown(pool)}")
    return _unused(pool)


def _no_group(*args: object, **kwargs: object) -> NoReturn:
    """Refuse a group of a recorded pool, because the log could not show its requests."""
    del args, kwargs
    raise TypeError("a recorded pool cannot have groups: close the recorder first")


def _unused(pool: Pool[Any]) -> list[Any]:
    """Return the gates of a pool that has had no request."""
    snapshot = pool.snapshot()
    if snapshot.requests or snapshot.refusals:
        raise InvalidSetting(f"pool must not have had a request before, not {shown(pool)}")
    return [*pool._gates]  # noqa: SLF001 - no call of the pool returns its gates


def _header(
    pool: Pool[Any],
    gates: tuple[Any, ...],
    rngs: tuple[Random, ...],
    codec: Codec,
    settings: Mapping[str, Any],
) -> str:
    """Return the first line, without its end."""
    for rng in rngs:
        if not isinstance(rng, Random):
            raise TypeError(f"rng must be a random.Random, or several, not {shown(rng)}")
    try:
        states = [rng.getstate() for rng in rngs]
    except NotImplementedError:
        raise TypeError("rng must have a state, which random.SystemRandom does not have") from None
    header = {
        "log": FORMAT,
        "balancers": balancers.__version__,
        "now": codec.plain(pool.snapshot().at),
        "members": [[codec.plain(b), codec.plain(pool.weight(b))] for b in pool.backends],
        "gates": [type(gate).__name__ for gate in gates],
        "settings": codec.plain(settings),
        "rng": codec.plain(states),
    }
    return dumps(header)[:-1]

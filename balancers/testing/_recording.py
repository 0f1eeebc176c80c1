"""Makes the calls of a pool that is recorded, and formats one line for each of them."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any
from zlib import crc32

from balancers._internal.checks import NO_BACKENDS
from balancers.errors import InvalidTime, UnknownBackend
from balancers.pool import Lease, Pool
from balancers.testing._texts import Texts
from balancers.testing._values import dumps, is_a

__all__ = ["Recording"]

_INTERVAL = 100
"""After so many lines, a line of checksums is written.  If the pool has more members, it is written
after as many lines as there are members."""


class Recording:
    """Makes calls, and passes a line for each call to ``write``.

    A call inside another one is only made, because it happens again in a replay by itself.
    """

    def __init__(
        self,
        pool: Pool[Any],
        balancer: Any,
        parts: Sequence[Any],
        rngs: Sequence[Random],
        texts: Texts,
        write: Callable[[str], object],
    ) -> None:
        self._pool = pool
        self._balancer = balancer
        self._parts = parts
        self._rngs = rngs
        self._texts = texts
        self._write = write
        self._busy = False
        """Whether a call is in progress."""
        self._numbers: dict[Lease[Any], int] = {}
        """The numbers of the requests in flight."""
        self._settled = False
        """Whether the state was read after the last call.  Then a reading changes nothing."""
        self._weights: dict[Any, float | None] = dict(balancer.weights)
        self._put: dict[Any, float | None] = {}
        """The weights that the balancer got during the call in progress.  None: discarded."""
        self._checked_at = 0
        self.text: int = 0
        """The checksum of the lines so far."""
        self.requests: int = 0
        """The number of requests so far, with those that were refused."""
        self.lines: int = 0
        """The number of lines so far."""
        self.failed: Exception | None = None
        """The exception of ``write``.  No line is written after it."""

    def acquire(  # noqa: C901 - calls cost more time than branches
        self, method: Callable[..., Lease[Any]]
    ) -> Callable[..., Lease[Any]]:
        """Return a function that makes and logs a call of ``acquire``."""
        numbers = self._numbers

        def acquire(
            now: Any,
            key: Any = None,
            prefer: Any = None,
            strict: Any = False,
            avoid: Any = NO_BACKENDS,
        ) -> Lease[Any]:
            if self._busy:
                return method(now, key, prefer, strict, avoid)
            number = self.requests + 1
            text = f'{{"acquire":{number},"t":{self._texts.time(now)}'
            if key is not None:
                text += f',"key":{self._texts.value(key)}'
            if prefer is not None:
                text += f',"prefer":{self._texts.name(prefer)}'
            if strict is not False:
                text += f',"strict":{self._texts.value(strict)}'
            if avoid is not NO_BACKENDS:
                text += f',"avoid":{self._texts.value(avoid)}'
            self.requests = number
            self._busy = True
            try:
                lease = method(now, key, prefer, strict, avoid)
            except BaseException as error:
                self._end(text + self._texts.raised(error))
                raise
            numbers[lease] = number
            text += f',"to":{self._texts.name(lease.backend)}'
            if lease.acquired_at != now:
                text += f',"at":{self._texts.time(lease.acquired_at)}'
            if lease.bound:
                text += ',"bound":true'
            if lease.panic:
                text += ',"panic":true'
            self._end(text)
            return lease

        return acquire

    def release(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that makes and logs a call of ``release``."""
        numbers = self._numbers

        def release(
            lease: Any,
            now: Any,
            ok: Any = True,
            elapsed: Any = None,
            retry_after: Any = None,
            status: Any = None,
        ) -> None:
            if self._busy:
                return method(lease, now, ok, elapsed, retry_after, status)
            text = self._release_text(lease, now)
            if ok is not True:
                text += f',"ok":{self._texts.value(ok)}'
            if elapsed is not None:
                text += f',"elapsed":{self._texts.time(elapsed)}'
            if retry_after is not None:
                text += f',"retry_after":{self._texts.time(retry_after)}'
            if status is not None:
                text += f',"status":{self._texts.value(status)}'
            self._busy = True
            try:
                method(lease, now, ok, elapsed, retry_after, status)
            except BaseException as error:
                text += self._texts.raised(error)
                raise
            finally:
                if getattr(lease, "released", False) is True:
                    numbers.pop(lease, None)
                self._end(text)
            return None

        return release

    def call(self, prefix: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes and logs a call of another method."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._busy:
                return method(*args, **kwargs)
            args = tuple(_results(arg)[1] for arg in args)
            kwargs = {name: _results(arg)[1] for name, arg in kwargs.items()}
            text = f'{{{prefix},"args":{self._texts.value([*args])}'
            if kwargs:
                text += f',"kw":{self._texts.items(kwargs)}'
            self._busy = True
            try:
                result, logged = _results(method(*args, **kwargs))
            except BaseException as error:
                self._end(text + self._texts.raised(error))
                raise
            if logged is not None:
                text += f',"gives":{self._texts.result(logged)}'
            self._end(text)
            return result

        return call

    def read(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that reads the pool, and logs this if it may have changed something.

        Before it is read, a pool applies the changes of its gates that are due.
        """

        def read(*args: Any, **kwargs: Any) -> Any:
            if self._busy or self._settled:
                return method(*args, **kwargs)
            self._busy = True
            try:
                result = method(*args, **kwargs)
            except (UnknownBackend, InvalidTime):  # raised before anything is applied
                self._busy = False
                raise
            except BaseException as error:
                self._end('{"read":true' + self._texts.raised(error))
                raise
            self._end('{"read":true')
            self._settled = True
            return result

        return read

    def unrecorded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes a call which changes nothing, with the calls inside it."""

        def unrecorded(*args: Any, **kwargs: Any) -> Any:
            before, self._busy = self._busy, True
            try:
                return method(*args, **kwargs)
            finally:
                self._busy = before

        return unrecorded

    def put(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that puts a weight into the balancer, and stores it for the line."""

        def put(backend: Any, weight: float = 1) -> None:
            method(backend, weight)
            self._put[backend] = weight

        return put

    def discard(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that discards a backend, and stores this for the line."""

        def discard(backend: Any) -> None:
            method(backend)
            self._put[backend] = None

        return discard

    def line(self, text: str) -> None:
        """Pass a line to ``write``, unless an earlier line failed."""
        if self.failed is not None:
            return
        text += "}\n"
        self.text = crc32(text.encode(), self.text)
        self.lines += 1
        try:
            self._write(text)
        except Exception as error:  # noqa: BLE001 - close() raises it
            self.failed = error

    def checksums(self) -> str:
        """Return the checksums of the state and of the lines so far, as items of JSON; O(members).

        The weights are those in the balancer.  Nothing is applied before they are read.
        """
        weights, in_flight = self._balancer.weights, self._pool.in_flight
        state = 0
        for backend in self._pool.backends:
            member = f"{self._texts.name(backend)} {weights.get(backend)!r} {in_flight(backend)}\n"
            state = crc32(member.encode(), state)
        dues = self._texts.value([getattr(part, "due", None) for part in self._parts])
        rngs = [crc32(repr(rng.getstate()).encode()) for rng in self._rngs]
        return f'"state":{state},"due":{dues},"rng":{dumps(rngs)},"text":{self.text}'

    def _end(self, text: str) -> None:
        """Write the line of a call that has ended."""
        self._busy = self._settled = False
        if self._put:
            text += self._changed_weights()
        self.line(text)
        passed = self.lines - self._checked_at
        if passed >= _INTERVAL and passed >= len(self._pool):
            self.line(f'{{"check":{self.lines},{self.checksums()}')
            self._checked_at = self.lines

    def _changed_weights(self) -> str:
        """Return the weights in the balancer that the call has changed."""
        changed: list[str] = []
        for backend, weight in self._put.items():
            if self._weights.get(backend) == weight:
                continue
            items = [self._texts.name(backend), self._texts.value(weight)]
            items += map(dumps, self._reasons(backend))
            changed.append(f"[{','.join(items)}]")
            if weight is None:
                del self._weights[backend]
                self._texts.forget(backend)
            else:
                self._weights[backend] = weight
        self._put.clear()
        return f',"w":[{",".join(changed)}]' if changed else ""

    def _reasons(self, backend: Any) -> tuple[str, ...]:
        """Return the reasons that close a member.  Nothing is applied before; O(1)."""
        pool: Any = self._pool
        member = pool._by_backend.get(backend)  # noqa: SLF001 - pool.state() would apply changes
        return () if member is None else pool._gate_set.reasons(member.closed_by)  # noqa: SLF001 - the same

    def _release_text(self, lease: Any, now: Any) -> str:
        """Return the first part of the line of a release."""
        if not isinstance(lease, Lease):
            return f'{{"release":"object","t":{self._texts.time(now)}'
        number = self._numbers.get(lease)  # pyright: ignore[reportUnknownArgumentType]  # any
        if number is None:
            kind = "released" if lease.released else "foreign"
            return f'{{"release":"{kind}","t":{self._texts.time(now)}'
        text = f'{{"release":{number},"t":{self._texts.time(now)}'
        report = lease._report  # noqa: SLF001 - no method returns what failed() reported
        if report is not None and report is not True and report is not False:
            text += f',"failed":{self._texts.value(report)}'
        return text


def _results(value: Any) -> tuple[Any, Any]:
    """Return a value, and the value to log: the items of an iterator, and else the value."""
    items = [*value] if is_a(value, Iterator) else None
    return (value, value) if items is None else (iter(items), items)

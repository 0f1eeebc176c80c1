"""Makes the calls of a pool that is recorded, and formats one line for each of them."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from zlib import crc32

from balancers._internal.checks import NO_BACKENDS
from balancers.errors import InvalidTime, UnknownBackend
from balancers.pool import Lease, Pool
from balancers.testing._texts import Texts
from balancers.testing._values import argument, dumps, is_a, results
from balancers.testing._weight_log import WeightLog

__all__ = ["Recording"]

Method = Callable[..., Any]
_INTERVAL = 100
"""After so many lines, a line of checksums is written.  If the pool has more members, it is written
after as many lines as there are members."""


class Recording:
    """Makes calls, and passes a line for each call to ``write``.

    A call inside another one is only made, because it happens again in a replay by itself.  If a
    line fails after its call was made, the recording ends, and the result of the call is delivered.
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
        """Whether calls are only made: one is in progress, or the recording is over."""
        self._over = False
        """Whether the last line is written, or a line has failed.  No line follows."""
        self._numbers: dict[Lease[Any], int] = {}
        """The numbers of the requests in flight."""
        self._settled = False
        """Whether the state was read after the last call.  Then a reading changes nothing."""
        self.weights = WeightLog(pool, balancer, texts)
        """The weights that the balancer got during the call in progress."""
        self._checked_at = 0
        self.text: int = 0
        """The checksum of the lines so far."""
        self.requests: int = 0
        """The number of requests so far, with those that were refused."""
        self.lines: int = 0
        """The number of lines so far."""
        self.failed: Exception | None = None
        """The exception of ``write`` or of a result."""

    def acquire(self, method: Method) -> Method:
        """Return a function that makes and logs a call of ``acquire``."""

        def acquire(
            now: Any,
            key: Any = None,
            prefer: Any = None,
            strict: Any = False,
            avoid: Any = NO_BACKENDS,
            cost: Any = 0,
            among: Any = None,
        ) -> Any:
            if self._busy:
                return method(now, key, prefer, strict, avoid, cost, among)
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
            if not (cost.__class__ is int and cost == 0):
                text += f',"cost":{self._texts.value(cost)}'
            if among is not None:
                text += f',"among":{self._texts.value(among)}'
            self.requests = number
            self._busy = True
            try:
                lease = method(now, key, prefer, strict, avoid, cost, among)
            except BaseException as error:
                self._end(text, self._texts.raised, error)
                raise
            self._numbers[lease] = number
            self._end(text, self._texts.lease, lease, now)
            return lease

        return acquire

    def release(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that makes and logs a call of ``release``."""

        def release(
            lease: Any,
            now: Any,
            ok: Any = True,
            elapsed: Any = None,
            retry_after: Any = None,
            status: Any = None,
            first: Any = None,
        ) -> None:
            if self._busy:
                return method(lease, now, ok, elapsed, retry_after, status, first)
            text = self._texts.release(lease, self._number(lease), now)
            if ok is not True:
                text += f',"ok":{self._texts.value(ok)}'
            if elapsed is not None:
                text += f',"elapsed":{self._texts.time(elapsed)}'
            if retry_after is not None:
                text += f',"retry_after":{self._texts.time(retry_after)}'
            if status is not None:
                text += f',"status":{self._texts.value(status)}'
            if first is not None:
                text += f',"first":{self._texts.time(first)}'
            self._busy = True
            try:
                method(lease, now, ok, elapsed, retry_after, status, first)
            except BaseException as error:
                if getattr(lease, "released", False) is True:
                    self._numbers.pop(lease, None)
                self._end(text, self._texts.raised, error)
                raise
            self._numbers.pop(lease, None)
            self._end(text)
            return None

        return release

    def progress(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that makes and logs a call of ``progress``."""

        def progress(lease: Any, now: Any, cost: Any = None) -> None:
            if self._busy:
                return method(lease, now, cost)
            member = getattr(lease, "_member", None)
            own = getattr(member, "owner", None) is self._pool._members  # noqa: SLF001 - as a pool checks it
            text = self._texts.of_lease("progress", lease, self._number(lease), now, own=own)
            if cost is not None:
                text += f',"cost":{self._texts.value(cost)}'
            self._busy = True
            try:
                method(lease, now, cost)
            except BaseException as error:
                self._end(text, self._texts.raised, error)
                raise
            self._end(text)
            return None

        return progress

    def _number(self, lease: Any) -> int | None:
        return self._numbers.get(lease) if is_a(lease, Lease) else None

    def call(self, prefix: str, method: Method, *, ordered: bool = False) -> Method:
        """Return a function that makes and logs a call of another method.

        If the order of a set in the arguments has an effect, it is ``ordered``.
        """

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._busy:
                return method(*args, **kwargs)
            args = tuple(argument(arg, ordered=ordered) for arg in args)
            kwargs = {name: argument(arg, ordered=ordered) for name, arg in kwargs.items()}
            text = f'{{{prefix},"args":{self._texts.value([*args])}'
            if kwargs:
                text += f',"kw":{self._texts.items(kwargs)}'
            self._busy = True
            try:
                result, logged = results(method(*args, **kwargs))
            except BaseException as error:
                self._end(text, self._texts.raised, error)
                raise
            self._end(text, self._texts.given, logged)
            return result

        return call

    def read(self, method: Method) -> Method:
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
                self._end('{"read":true', self._texts.raised, error)
                raise
            self._end('{"read":true')
            self._settled = True
            return result

        return read

    def unrecorded(self, method: Method) -> Method:
        """Return a function that makes a call which changes nothing, with the calls inside it."""

        def unrecorded(*args: Any, **kwargs: Any) -> Any:
            before, self._busy = self._busy, True
            try:
                return method(*args, **kwargs)
            finally:
                self._busy = before or self._over

        return unrecorded

    def line(self, text: str) -> None:
        """Pass a line to ``write``, unless an earlier line failed."""
        if self._over:
            return
        text += "}\n"
        self.text = crc32(text.encode(), self.text)
        self.lines += 1
        before, self._busy = self._busy, True
        try:
            self._write(text)
        except Exception as error:  # noqa: BLE001 - close() raises it
            self._fail(error)
        finally:
            self._busy = before or self._over

    def end(self) -> None:
        """Write the last line."""
        try:
            self._check("end")
        except Exception as error:  # noqa: BLE001 - close() raises it
            self._fail(error)
        finally:  # methods that the program has stored may still be called
            self._busy = self._over = True
            self.weights.close()

    def _check(self, name: str) -> None:
        """Write a line with the checksums of the state and of the lines so far; O(members).

        The weights are those in the balancer.  Nothing is applied before they are read.
        """
        weights, in_flight = self._balancer.weights, self._pool.in_flight
        state = 0
        for backend in self._pool.backends:
            member = f"{self._texts.name(backend)} {weights.get(backend)!r} {in_flight(backend)}\n"
            state = crc32(member.encode(), state)
        dues = self._texts.value([getattr(part, "due", None) for part in self._parts])
        rngs = [crc32(repr(rng.getstate()).encode()) for rng in self._rngs]
        sums = f'"state":{state},"due":{dues},"rng":{dumps(rngs)},"text":{self.text}'
        self.line(f'{{"{name}":{self.lines},{sums}')
        self._checked_at = self.lines

    def _end(self, text: str, result: Callable[..., str] | None = None, *arguments: Any) -> None:
        """Write the line of a call that has ended.  ``result`` returns the text of its result."""
        self._settled = False
        try:
            if result is not None:
                text += result(*arguments)
            text += self.weights.changed()
            self.line(text)
            passed = self.lines - self._checked_at
            if passed >= _INTERVAL and passed >= len(self._pool):
                self._check("check")
        except Exception as error:  # noqa: BLE001 - the call was made, so its result is delivered
            self._fail(error)
        finally:
            self._busy = self._over

    def _fail(self, error: Exception) -> None:
        """End the recording.  The calls go on."""
        self.failed = self.failed or error
        self._over = True
        self.weights.close()
        self._numbers.clear()

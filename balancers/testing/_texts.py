"""Formats the parts of a line as JSON."""

from collections.abc import Mapping, Sized
from typing import Any

from balancers._internal.checks import LATEST
from balancers.errors import NoBackendAvailable
from balancers.pool import Lease
from balancers.testing._values import Codec, dumps, is_a

__all__ = ["Texts", "closing_reasons"]

_MOST_NAMES = 10_000
"""The number of backends, besides the members, whose JSON is kept."""


class Texts:
    """Formats backends, times, values and errors.  ``members`` are those of the pool."""

    def __init__(self, codec: Codec, members: Sized) -> None:
        self._codec = codec
        self._members = members
        self._names: dict[Any, str] = {}

    def value(self, value: Any) -> str:
        """Return the JSON of a value.  Raises TypeError if there is none."""
        return dumps(value if value.__class__ is str else self._codec.plain(value))

    def items(self, values: Mapping[str, Any]) -> str:
        """Return the JSON of values with names.  Raises TypeError if there is none."""
        return dumps({name: self._codec.plain(value) for name, value in values.items()})

    def result(self, value: Any) -> str:
        """Return the JSON of a result, or of its type."""
        return dumps(self._codec.result(value))

    def forget(self, backend: Any) -> None:
        """Called when a backend leaves."""
        self._names.pop(backend, None)

    def time(self, seconds: Any) -> str:
        """Return the JSON of a number."""
        if seconds.__class__ is float and -LATEST <= seconds <= LATEST:
            return repr(seconds)
        return dumps(self._codec.plain(seconds))

    def name(self, backend: Any) -> str:
        """Return the JSON of a backend."""
        try:
            name = self._names.get(backend)
        except TypeError:  # not hashable
            return dumps(self._codec.plain(backend))
        if name is None:
            if len(self._names) > _MOST_NAMES + 2 * len(self._members):
                self._names.clear()
            name = self._names[backend] = dumps(self._codec.plain(backend))
        return name

    def lease(self, lease: Lease[Any], now: Any) -> str:
        """Return what a request at ``now`` has got."""
        text = f',"to":{self.name(lease.backend)}'
        if lease.acquired_at != now:
            text += f',"at":{self.time(lease.acquired_at)}'
        if lease.bound:
            text += ',"bound":true'
        if lease.panic:
            text += ',"panic":true'
        return text

    def of_lease(
        self, call: str, lease: Any, number: int | None, now: Any, *, own: bool = True
    ) -> str:
        """Return the first part of the line of a call that gets a lease.

        ``number`` is that of the request.  A lease that is not ``own`` is always called foreign.
        """
        request: object = number
        if not is_a(lease, Lease):
            request = '"object"'
        elif number is None:
            request = '"released"' if lease.released and own else '"foreign"'
        return f'{{"{call}":{request},"t":{self.time(now)}'

    def release(self, lease: Any, number: int | None, now: Any) -> str:
        """Return the first part of the line of a release."""
        text = self.of_lease("release", lease, number, now)
        if number is None:
            return text
        report = lease._report  # noqa: SLF001 - no method returns what failed() reported
        if report is not None and report is not True and report is not False:
            text += f',"failed":{self.value(report)}'
        return text

    def given(self, result: Any) -> str:
        """Return what a call returned, unless it is None."""
        return "" if result is None else f',"gives":{self.result(result)}'

    def raised(self, error: BaseException) -> str:
        """Return what a call raised: the class, and why there is no backend."""
        raised: dict[str, Any] = {"type": type(error).__name__}
        if isinstance(error, NoBackendAvailable):
            result = self._codec.result
            counts = {str(reason): result(count) for reason, count in error.counts.items()}
            raised |= {"reason": result(error.reason), "counts": counts}
            raised |= {"retry_at": result(error.retry_at), "full": result(error.full)}
        return f',"raises":{dumps(raised)}'


def closing_reasons(pool: Any, backend: Any) -> tuple[str, ...]:
    """Return the reasons that close a member of a pool.  Nothing is applied before; O(1)."""
    member = pool._by_backend.get(backend)  # noqa: SLF001 - pool.state() would apply changes
    return () if member is None else pool._gate_set.reasons(member.closed_by)  # noqa: SLF001 - the same

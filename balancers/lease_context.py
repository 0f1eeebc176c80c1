"""A lease around a ``with`` block."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from balancers.lease import Lease
from balancers.membership import valid_now

__all__ = ["LeaseContext"]

B = TypeVar("B")


class LeaseContext(Generic[B]):
    """What :meth:`Pool.lease` gives to a ``with`` statement."""

    def __init__(
        self,
        clock: Callable[[], float],
        acquire: Callable[[float], Lease[B]],
        release: Callable[[Lease[B], float, bool | None], None],
    ) -> None:
        self._clock = clock
        self._acquire = acquire
        self._release = release
        self._lease: Lease[B] | None = None

    def __enter__(self) -> Lease[B]:
        self._lease = self._acquire(self._clock())
        return self._lease

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lease, self._lease = self._lease, None
        if lease is None or lease.released:
            return
        now = lease.acquired_at
        try:
            now = valid_now(self._clock(), now)
        finally:
            ok = True if error is None else False if isinstance(error, Exception) else None
            self._release(lease, now, ok)

"""A lease around a ``with`` block."""

from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from balancers.balancer import Key
from balancers.lease import Lease
from balancers.membership import valid_now

if TYPE_CHECKING:
    from balancers.pool import Pool

__all__ = ["LeaseContext"]

B = TypeVar("B")


class LeaseContext(Generic[B]):
    """What :meth:`Pool.lease` gives to a ``with`` statement."""

    def __init__(
        self,
        pool: "Pool[B]",
        clock: Callable[[], float],
        request: tuple[Key | None, B | None, bool, Collection[B]],
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._request = request
        self._lease: Lease[B] | None = None

    def __enter__(self) -> Lease[B]:
        self._lease = self._pool.acquire(self._clock(), *self._request)
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
            self._pool.release(lease, now, ok)

"""Leases: one request on one backend."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, NoReturn

from balancers._internal.checks import valid_now
from balancers._internal.types import B
from balancers.pool._member import Member

__all__ = ["Lease", "LeaseContext"]


class Lease(Generic[B]):
    """One request on one backend, from :meth:`Pool.acquire` to :meth:`Pool.release`.

    A lease belongs to the pool that gave it, and to one generation of its backend's membership.  It
    is neither copied nor pickled, because it is released once.
    """

    __slots__ = ("_member", "acquired_at", "backend", "bound", "key", "panic", "released")

    backend: B
    """The backend that serves the request."""
    acquired_at: float
    """When it was acquired, in seconds."""
    key: object
    """The key that it was picked by, None without one."""
    bound: bool
    """Whether the backend was preferred and not picked."""
    panic: bool
    """Whether soft gates were ignored."""
    released: bool
    """Whether it has been released."""

    def __init__(
        self,
        member: Member[B],
        acquired_at: float,
        key: object = None,
        bound: bool = False,
        panic: bool = False,
    ) -> None:
        self.backend = member.backend
        self._member = member
        self.acquired_at = acquired_at
        self.key = key
        self.bound = bound
        self.panic = panic
        self.released = False

    @property
    def generation(self) -> int:
        """The generation of the backend's membership: higher after it left and joined again."""
        return self._member.generation

    def __repr__(self) -> str:
        state = "released" if self.released else f"since {self.acquired_at!r}"
        marks = "".join(f", {name}" for name in ("bound", "panic") if getattr(self, name))
        return f"<Lease of {self.backend!r}, {state}{marks}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a lease is released once, so it cannot be copied: {self!r}")


class LeaseContext(Generic[B]):
    """The context manager that :meth:`Pool.lease` returns."""

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

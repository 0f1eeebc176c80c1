"""Defines leases.  A lease stands for one request on one backend."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, NoReturn

from balancers._internal.checks import shown, valid_now
from balancers._internal.types import B
from balancers.errors import AlreadyInUse, AlreadyReleased, ForeignLease
from balancers.outcome import Outcome
from balancers.pool._member import Member

__all__ = [
    "Lease",
    "LeaseContext",
    "Meter",
    "member_of",
    "meter_of",
    "open_member",
    "reported_failure",
]


class Meter:
    """Stores what a request costs from now on, and when it made its first progress."""

    __slots__ = ("cost", "first")

    def __init__(self, cost: int) -> None:
        self.cost: int = cost
        self.first: float | None = None
        """The seconds from the start of the request to its first progress."""


class Lease(Generic[B]):
    """Stands for one request on one backend, from :meth:`Pool.acquire` to :meth:`Pool.release`.

    A lease belongs to the pool that created it.  If the backend leaves and joins again, its old
    leases do not count for the new member.  A lease cannot be copied or pickled, because it must be
    released only once.
    """

    __slots__ = ("_member", "_meter", "_report", "acquired_at", "backend", "bound", "key", "panic")

    backend: B
    """The backend that serves the request."""
    acquired_at: float
    """The time when the lease was acquired, in seconds."""
    key: object
    """The key that the backend was picked by, or None if there was no key."""
    bound: bool
    """True if the backend was preferred by the caller, False if the balancer picked it."""
    panic: bool
    """Whether the pool was in a panic, which means that soft gates were ignored."""

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
        self._report: Outcome | bool | None = None  # True if released; a failure if reported
        self._meter: Meter | None = None  # only if the request has a cost or made progress

    def failed(self, *, retry_after: float | None = None, status: int | None = None) -> None:
        """Report that the request failed.  The lease is then released as a failure.

        Call it in the block of :meth:`Pool.lease` if the failure is not an exception, for example
        for a response with the ``status`` 503.  ``retry_after`` is in seconds.

        >>> from balancers import Pool, RoundRobin
        >>> pool = Pool(RoundRobin(["a"]))
        >>> with pool.lease(lambda: 5.0) as lease:
        ...     lease.failed(status=503)
        >>> pool.snapshot().failures
        1

        Raises AlreadyReleased, InvalidSetting.
        """
        if self._report is True:
            raise AlreadyReleased(f"already released: {shown(self)}")
        self._report = Outcome(False, None, retry_after, status)

    @property
    def released(self) -> bool:
        """Whether the lease has been released."""
        return self._report is True

    @property
    def cost(self) -> int:
        """What the request costs from now on; 0 after the release, and without a cost."""
        return 0 if self._meter is None or self._report is True else self._meter.cost

    @property
    def generation(self) -> int:
        """The generation of the member.  It rises whenever a backend joins."""
        return self._member.generation

    def __repr__(self) -> str:
        state = "released" if self.released else f"since {self.acquired_at!r}"
        marks = "".join(f", {name}" for name in ("bound", "panic") if getattr(self, name))
        return f"<Lease of {self.backend!r}, {state}{marks}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a lease is released once, so it cannot be copied: {shown(self)}")


def member_of(lease: Lease[B]) -> Member[B]:
    """Return the member that a lease belongs to.  Raises TypeError for any other object."""
    try:
        return lease._member  # noqa: SLF001 - a function of this module
    except AttributeError:
        raise TypeError(f"lease must be a lease of a pool, not {shown(lease)}") from None


def open_member(lease: Lease[B], owner: object) -> Member[B]:
    """Return the member of a lease that is not released, and whose pool has this owner of members.

    Raises AlreadyReleased, ForeignLease, TypeError.
    """
    member = member_of(lease)
    if member.owner is not owner:
        raise ForeignLease(f"a lease of another pool: {shown(lease)}")
    if lease.released:
        raise AlreadyReleased(f"already released: {shown(lease)}")
    return member


def meter_of(lease: Lease[B]) -> Meter:
    """Return the meter of a lease.  If there is none, it is created with the cost 0."""
    if lease._meter is None:  # noqa: SLF001 - a function of this module
        lease._meter = Meter(0)  # noqa: SLF001 - a function of this module
    return lease._meter  # noqa: SLF001 - a function of this module


def reported_failure(lease: Lease[B]) -> Outcome:
    """Return what was reported by :meth:`Lease.failed`.  Raises AlreadyReleased."""
    report = lease._report  # noqa: SLF001 - a function of this module
    if isinstance(report, Outcome):
        return report
    raise AlreadyReleased(f"released twice: {shown(lease)}")


class LeaseContext(Generic[B]):
    """The context manager that :meth:`Pool.lease` returns.

    It acquires a lease at the beginning of the ``with`` block, and releases it at the end.  It can
    be entered once only.
    """

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
        self._entered = False

    def __repr__(self) -> str:
        lease = "no lease" if self._lease is None else repr(self._lease)
        return f"<LeaseContext: {lease}>"

    def __enter__(self) -> Lease[B]:
        if self._entered:
            raise AlreadyInUse(f"entered twice: {shown(self)}; call lease() for each request")
        self._lease = self._acquire(self._clock())
        self._entered = True
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

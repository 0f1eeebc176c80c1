"""What a pool hands out, and a lease around a ``with`` block."""

from collections.abc import Callable
from types import TracebackType
from typing import Generic, NoReturn

from balancers._internal.checks import valid_now
from balancers._internal.types import B
from balancers.pool._member import Account

__all__ = ["Lease", "LeaseContext"]


class Lease(Generic[B]):
    """One request on one backend, from :meth:`Pool.acquire` to :meth:`Pool.release`.

    ``backend`` serves it; ``key`` is what it was picked by; ``bound`` tells that it was preferred
    rather than picked; ``panic`` that soft gates were ignored; ``acquired_at`` is in seconds.
    It belongs to the pool that gave it, and is neither copied nor pickled.
    """

    __slots__ = ("account", "acquired_at", "backend", "bound", "key", "panic")

    account: Account[B] | None
    """The pool's own; None once released."""

    def __init__(
        self,
        backend: B,
        account: Account[B],
        acquired_at: float,
        key: object = None,
        bound: bool = False,
        panic: bool = False,
    ) -> None:
        self.backend = backend
        self.account = account
        self.acquired_at = acquired_at
        self.key = key
        self.bound = bound
        self.panic = panic

    @property
    def released(self) -> bool:
        """Whether it was given back."""
        return self.account is None

    def __repr__(self) -> str:
        state = "released" if self.released else f"since {self.acquired_at!r}"
        marks = "".join(f", {name}" for name in ("bound", "panic") if getattr(self, name))
        return f"<Lease of {self.backend!r}, {state}{marks}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a lease is released once, so it is not copied: {self!r}")


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

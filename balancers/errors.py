"""Defines every exception that this package raises on purpose.

Each class is also a subclass of a suitable builtin exception.  For example, ``except LookupError``
catches NoBackendAvailable without an import.  A message shows the invalid value, unless the value
is secret.  A method that raises one of these exceptions has changed nothing.
"""

from collections.abc import Mapping
from math import inf

__all__ = [
    "AlreadyInUse",
    "AlreadyReleased",
    "BalancersError",
    "DuplicateBackend",
    "ForeignLease",
    "IncompatibleGate",
    "InvalidKey",
    "InvalidPick",
    "InvalidSetting",
    "InvalidTime",
    "InvalidWeight",
    "MalformedClientSubnet",
    "MissingKey",
    "NoBackendAvailable",
    "NotCopyable",
    "NotPlannable",
    "NotSteady",
    "QueueFull",
    "RingTooLarge",
    "ScriptFailed",
    "SweepFailed",
    "UnknownBackend",
]


class BalancersError(Exception):
    """The base class of all exceptions of this package.  Catch it to catch all of them."""


class NoBackendAvailable(BalancersError, LookupError):
    """Raised when no backend can serve a request now.  :attr:`reason` says why.

    >>> from balancers import RoundRobin
    >>> RoundRobin({"a": 0, "b": 0}).pick()
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: quiesced (2 quiesced)
    """

    reason: str
    """The reason that applies to all members: "empty" (there are no members), "quiesced" (all
    weights are 0), "leaving" (an update no longer contains them), the reason of a gate or of the
    pool's limit, "too large" (a limit is below the cost of the request), or "avoided".  It is
    "mixed" if no reason applies to all members.  For a strict request, it is the reason of the
    preferred backend only, and "unknown" if this backend is not a member, unless the limit of the
    pool refuses the request."""
    counts: Mapping[str, int]
    """The number of backends for each reason.  A backend is counted under every reason that closes
    it.  Under "avoided", only backends without another reason are counted."""
    retry_at: float
    """The time of the earliest announced change in seconds.  It is ``inf`` if no change is
    announced."""
    full: int
    """The number of backends that only limits of requests or of cost in flight close.  If it is
    positive, it helps to wait: such a backend can serve the request when enough other requests have
    ended.  Avoided backends are not counted."""

    def __init__(
        self,
        reason: str,
        counts: Mapping[str, int] | None = None,
        retry_at: float = inf,
        full: int = 0,
    ) -> None:
        super().__init__(reason, counts, retry_at, full)
        self.reason = reason
        self.counts = {} if counts is None else counts
        self.retry_at = retry_at
        self.full = full

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.counts.items())
        details = f" ({counts})" if counts else ""
        later = "" if self.retry_at == inf else f"; retry at {self.retry_at!r}"
        return f"no backend available: {self.reason}{details}{later}"


class UnknownBackend(BalancersError, KeyError):
    """Raised when a method gets a backend that is not a member."""

    def __init__(self, backend: object) -> None:
        super().__init__(backend)
        self.backend = backend

    def __str__(self) -> str:
        try:
            return f"unknown backend: {self.backend!r}"
        except ValueError:  # Python refuses to print an int of so many digits
            kind = type(self.backend).__name__
            return f"unknown backend: a value of the type {kind} that cannot be shown"


class DuplicateBackend(BalancersError, ValueError):
    """Raised when a new backend is already a member, or has the same name as a member."""


class InvalidWeight(BalancersError, ValueError):
    """Raised when a weight is not a finite number of 0 or more."""


class InvalidKey(BalancersError, ValueError):
    """Raised for an invalid key.

    A key is invalid if it is a str with a lone surrogate, or an int that needs more than 64 bits.
    If an address is required, a value that is not an address is invalid.
    """


class InvalidTime(BalancersError, ValueError):
    """Raised when a time is not a finite number of seconds."""


class InvalidSetting(BalancersError, ValueError):
    """Raised when a threshold, a duration, a limit or a count is outside its range."""


class MalformedClientSubnet(BalancersError, ValueError):
    """Raised for a client subnet option that RFC 7871 forbids.  Answer its query with FORMERR."""


class RingTooLarge(BalancersError, ValueError):
    """Raised when a hash ring would need more points (positions on the ring) than its limit."""


class IncompatibleGate(BalancersError, ValueError):
    """Raised when a gate uses fractions of a weight but the balancer ignores fractions."""


class AlreadyInUse(BalancersError, RuntimeError):
    """Raised when an object that can be used once only is used again.

    This is a balancer, gate or load that belongs to one pool or balancer and is passed to another,
    or the context of one lease that is entered twice.
    """


class QueueFull(BalancersError, RuntimeError):
    """Raised when an admission queue is full."""


class AlreadyReleased(BalancersError, RuntimeError):
    """Raised when a lease is released twice, or when more retries end than have begun."""


class ForeignLease(BalancersError, ValueError):
    """Raised when a lease is released to a pool that did not create it."""


class InvalidPick(BalancersError, RuntimeError):
    """Raised when a balancer picks a backend that is not a member of the pool.

    A balancer that uses another balancer raises it too, if the other balancer picks a backend that
    is not a member, because its members were changed directly.
    """


class MissingKey(BalancersError, TypeError):
    """Raised when a keyed balancer picks without a key."""


class NotCopyable(BalancersError, TypeError):
    """Raised when a pool explains a request, and its balancer or a gate cannot be deep-copied.

    For example, Python cannot copy a lock, a generator or a ``random.SystemRandom``.
    """


class NotPlannable(BalancersError, TypeError):
    """Raised when a plan is asked for, and the balancer has no method ``plan``.

    A balancer that picks with another balancer raises it too, if the other one has no ``plan``.
    """


class ScriptFailed(BalancersError, RuntimeError):
    """Raised when a function of the script of a simulation raises an exception.

    The message contains the time.  The exception of the function is the cause (``__cause__``).
    """


class NotSteady(BalancersError, RuntimeError):
    """Raised when an interval is asked for, and a simulation has no steady state.

    Without a steady state, for example at a load of 1 or more, all times depend on the length of
    the run.
    """


class SweepFailed(BalancersError, RuntimeError):
    """Raised when cells of a sweep have raised exceptions.  The other cells are finished and kept.

    ``errors`` has the exception of each cell that failed.
    """

    def __init__(self, errors: Mapping[object, Exception]) -> None:
        super().__init__(errors)
        self.errors: Mapping[object, Exception] = errors

    def __str__(self) -> str:
        first = next(iter(self.errors), None)
        more = f", and {len(self.errors) - 1} more cells" if len(self.errors) > 1 else ""
        error = self.errors.get(first)
        try:
            name = repr(first)
        except ValueError:  # Python refuses to print an int of so many digits
            name = f"of the type {type(first).__name__}"
        return f"cell {name} failed{more}: {type(error).__name__}: {error}"

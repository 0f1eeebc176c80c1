"""Every exception that this package raises on purpose.

Each class is also a subclass of the builtin that fits, so ``except LookupError`` works without an
import.  A message names the value.  When one of these is raised, nothing has changed.
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
    "MissingKey",
    "NoBackendAvailable",
    "QueueFull",
    "RingTooLarge",
    "UnknownBackend",
]


class BalancersError(Exception):
    """The base class: ``except BalancersError`` catches every error of this package."""


class NoBackendAvailable(BalancersError, LookupError):
    """Raised when no backend may serve a request now; :attr:`reason` says why.

    >>> from balancers import RoundRobin
    >>> RoundRobin({"a": 0, "b": 0}).pick()
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: quiesced (2 quiesced)
    """

    reason: str
    """The reason that all members share: "empty", "quiesced", a gate's reason or "avoided"; "mixed"
    if they share none; "unknown" if a strict request preferred a backend that is not a member."""
    counts: Mapping[str, int]
    """The number of backends that each reason closes.  A backend counts under every gate that
    closes it; "avoided" counts the backends that no other reason closes."""
    retry_at: float
    """The earliest announced change in seconds, ``inf`` when none is announced."""

    def __init__(
        self, reason: str, counts: Mapping[str, int] | None = None, retry_at: float = inf
    ) -> None:
        super().__init__(reason, counts, retry_at)
        self.reason = reason
        self.counts = {} if counts is None else counts
        self.retry_at = retry_at

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.counts.items())
        details = f" ({counts})" if counts else ""
        later = "" if self.retry_at == inf else f"; retry at {self.retry_at!r}"
        return f"no backend available: {self.reason}{details}{later}"


class UnknownBackend(BalancersError, KeyError):
    """Raised when a backend is named that is not a member."""

    def __init__(self, backend: object) -> None:
        super().__init__(backend)
        self.backend = backend

    def __str__(self) -> str:
        return f"unknown backend: {self.backend!r}"


class DuplicateBackend(BalancersError, ValueError):
    """Raised when a backend is a member already, or has the hashing name of another member."""


class InvalidWeight(BalancersError, ValueError):
    """Raised when a weight is not a finite number of 0 or more."""


class InvalidKey(BalancersError, ValueError):
    """Raised for an invalid key: a lone surrogate, an int beyond 64 bits, no address."""


class InvalidTime(BalancersError, ValueError):
    """Raised when a time is not a finite number of seconds."""


class InvalidSetting(BalancersError, ValueError):
    """Raised for a threshold, duration, limit or count that is outside its range."""


class RingTooLarge(BalancersError, ValueError):
    """Raised when a hash ring would need more points than its limit."""


class IncompatibleGate(BalancersError, ValueError):
    """Raised when a fractional gate is used with a balancer that ignores fractions of a weight."""


class AlreadyInUse(BalancersError, RuntimeError):
    """Raised when a balancer or gate that belongs to a pool is given to another."""


class QueueFull(BalancersError, RuntimeError):
    """Raised when an admission queue is full."""


class AlreadyReleased(BalancersError, RuntimeError):
    """Raised when a lease is released twice, or more retries end than have begun."""


class ForeignLease(BalancersError, ValueError):
    """Raised when a lease is released to a pool that did not give it."""


class InvalidPick(BalancersError, RuntimeError):
    """Raised when a balancer picks a backend that is not a member of the pool."""


class MissingKey(BalancersError, TypeError):
    """Raised when a keyed balancer is asked for a backend without a key."""

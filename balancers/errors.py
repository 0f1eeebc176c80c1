"""Everything this package raises on purpose.

Each class also is the builtin that fits, so ``except LookupError`` works without an import.
A message names the value; nothing was changed when one of these is raised.
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
    """The root: ``except BalancersError`` catches every error defined here."""


class NoBackendAvailable(BalancersError, LookupError):
    """Nobody may serve this request now, and :attr:`reason` says why.

    >>> from balancers import RoundRobin
    >>> RoundRobin({"a": 0, "b": 0}).pick()
    Traceback (most recent call last):
    balancers.errors.NoBackendAvailable: no backend available: quiesced (2 quiesced)
    """

    reason: str
    """``empty``, ``quiesced``, a gate's reason, ``avoided``, ``mixed``, or ``unknown``: what all
    members share.  ``unknown``: a strict request preferred a backend that is no member."""
    counts: Mapping[str, int]
    """How many backends each reason closes.  One backend counts under every gate that closes it;
    ``avoided`` counts those that nothing else closes."""
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
        told = ", ".join(f"{count} {why}" for why, count in self.counts.items())
        later = "" if self.retry_at == inf else f"; retry at {self.retry_at!r}"
        return f"no backend available: {self.reason}" + (f" ({told})" if told else "") + later


class UnknownBackend(BalancersError, KeyError):
    """The backend named is not a member."""

    def __init__(self, backend: object) -> None:
        super().__init__(backend)
        self.backend = backend

    def __str__(self) -> str:
        return f"unknown backend: {self.backend!r}"


class DuplicateBackend(BalancersError, ValueError):
    """The backend is a member already, or another member has the same name for hashing."""


class InvalidWeight(BalancersError, ValueError):
    """A weight is a finite number, zero or more."""


class InvalidKey(BalancersError, ValueError):
    """A key that cannot be hashed: a lone surrogate, an int beyond 64 bits, no address."""


class InvalidTime(BalancersError, ValueError):
    """A time is a finite number of seconds."""


class InvalidSetting(BalancersError, ValueError):
    """A threshold, duration, limit or count outside its range."""


class RingTooLarge(BalancersError, ValueError):
    """A ring would need more points than its bound."""


class IncompatibleGate(BalancersError, ValueError):
    """A gate with fractions over a balancer that does not honour them."""


class AlreadyInUse(BalancersError, RuntimeError):
    """Raised when a balancer or gate that belongs to a pool is given to another."""


class QueueFull(BalancersError, RuntimeError):
    """As many wait as may."""


class AlreadyReleased(BalancersError, RuntimeError):
    """A lease is released exactly once, and so is a retry of a budget."""


class ForeignLease(BalancersError, ValueError):
    """A lease is released to the pool that gave it."""


class InvalidPick(BalancersError, RuntimeError):
    """Raised when a balancer picks a backend that is not a member of the pool."""


class MissingKey(BalancersError, TypeError):
    """A keyed balancer was asked without a key."""

"""Defines the part of a pool that changes its members."""

from collections.abc import Iterable, Mapping

from balancers._internal.checks import as_weights, not_negative, shown, valid_now, valid_weight
from balancers._internal.types import B
from balancers.errors import DuplicateBackend
from balancers.pool._change import Change, difference
from balancers.pool._reader import PoolReader

__all__ = ["PoolWriter"]


class PoolWriter(PoolReader[B]):
    """Changes the members of a pool and their weights, whole or not at all."""

    def add(self, backend: B, weight: float = 1, now: float = 0.0) -> None:
        """Add a backend.  Raises DuplicateBackend, InvalidWeight, InvalidTime."""
        weight = valid_weight(weight, backend)
        now = self._advance(now)
        member = self._by_backend.get(backend)
        if member is None:
            self._change(Change({backend: weight}), now)
        elif member.departing:
            self._change(Change(weights={member: weight}, returners={member}), now)
        else:
            raise DuplicateBackend(f"already a member: {shown(backend)}")

    def remove(self, backend: B, now: float = 0.0) -> None:
        """Remove a backend.  Its leases stay valid.  Raises UnknownBackend, InvalidTime."""
        member, now = self._members.find(backend), self._advance(now)
        if not member.former:
            self._change(Change(leavers=(member,)), now)

    def set_weight(self, backend: B, weight: float, now: float = 0.0) -> None:
        """Change a weight (0: not picked).  Raises UnknownBackend, InvalidWeight, InvalidTime."""
        weight, now = valid_weight(weight, backend), self._advance(now)
        self._change(Change(weights={self._members.find(backend): weight}), now)

    def update(
        self,
        weights: Mapping[B, float] | Iterable[B],
        now: float = 0.0,
        keep: float | None = None,
    ) -> None:
        """Replace all members.  A backend that was a member before keeps its state; O(n).

        A member that is not in ``weights`` leaves at once, and its state is lost.  With ``keep``
        (seconds, 0 or more), it stays a member and keeps its state: its requests in flight, and
        what the gates know.  Its reason is "leaving", and it gets bound requests only.  If a later
        update contains it, it returns.  Otherwise it leaves at the first request or change after
        the time is over and no request is in flight on it.  Raises InvalidWeight, InvalidTime,
        InvalidSetting, and TypeError.
        """
        wanted = as_weights(weights, self._by_backend)
        now = self._advance(now)
        until = None if keep is None else now + not_negative("keep", keep)
        self._change(difference(self._by_backend, wanted, until), now)

    def _advance(self, now: float) -> float:
        """Return the time of a change, after kept members whose time is over were removed."""
        now = valid_now(now, self._members.now)
        if self._members.departures_due <= now:
            self._members.now = now
            self._members.remove_expired(now)
        return now

    def _change(self, change: Change[B], now: float) -> None:
        try:
            failed = self._members.change(change, now)
        finally:
            if self._limit is not None:
                gone = sum(member.in_flight for member in change.leavers if member.former)
                self._limit.ended(gone, now)
        self._members.now = now
        if failed is not None:
            raise failed

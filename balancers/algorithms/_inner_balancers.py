"""Defines the base class of balancers whose members are those of several inner balancers."""

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, cast

from balancers._internal.checks import shown
from balancers._internal.taken import take, wrapping
from balancers._internal.types import B
from balancers.algorithms._tier import Tier, checked_condition
from balancers.balancer import Balancer, Condition
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["InnerBalancers"]


class InnerBalancers(Membership[B]):
    """Stores the members of inner balancers, counts them, and passes every change on.

    A subclass defines :meth:`_place_of` and :meth:`_numbers_changed`.
    """

    def __init__(self, balancers: Iterable[Balancer[B]]) -> None:
        inner = _checked_balancers(balancers)
        self._tiers: list[Tier[B]] = [Tier(each) for each in inner]
        self._tier_of: dict[B, Tier[B]] = {}
        self._conditions: dict[B, str] = {}  # of the members that are not open
        self.keyed: bool = any(each.keyed for each in inner)
        self.fractional: bool = all(each.fractional for each in inner)
        self.timed: bool = any(getattr(each, "timed", False) for each in inner)
        super().__init__()
        with ExitStack() as stack:
            for each in inner:
                stack.enter_context(wrapping(each))
            for tier in self._tiers:
                for backend, weight in tier.balancer.weights.items():
                    self._adopt(backend, weight, tier)

    @property
    def balancers(self) -> tuple[Balancer[B], ...]:
        """The inner balancers, in their order; O(tiers)."""
        return tuple(tier.balancer for tier in self._tiers)

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.  The inner balancer of the backend is informed."""
        tier = self._tier_of.get(backend)
        if tier is not None:
            tier.balancer.started(backend, now, bound)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  The inner balancer of the backend is informed."""
        tier = self._tier_of.get(backend)
        if tier is not None:
            tier.balancer.finished(backend, outcome, now)

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Called when a cost in flight changes.  The inner balancer of the backend is informed."""
        self._inform(backend, "charged", change, now)

    def progressed(self, backend: B, elapsed: float, now: float = 0.0) -> None:
        """Called at first progress.  The inner balancer of the backend is informed."""
        self._inform(backend, "progressed", elapsed, now)

    def condition_changed(self, backend: B, condition: Condition) -> None:
        """Called when the condition of a member changes; O(1).

        The inner balancer of the backend is informed.  Ignored if the backend is not a member.
        Raises InvalidSetting for another condition than "open", "full", "down" and "leaving".
        """
        checked_condition(condition)
        tier = self._tier_of.get(backend)
        if tier is None:
            return
        self._inform(backend, "condition_changed", condition)
        weight = self._weights[backend]
        before = self._conditions.pop(backend, "open")
        if condition != "open":
            self._conditions[backend] = condition
        self._recount(tier, (weight, before), (weight, condition))

    def load_of(self, backend: B, now: float = 0.0) -> float | None:
        """Return the load of a member if its inner balancer compares loads, else None.

        Raises UnknownBackend.
        """
        if backend not in self._weights:
            raise UnknownBackend(backend)
        load_of = self._tier_of[backend].method("load_of")
        return None if load_of is None else load_of(backend, now)

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        tier = self._tiers[self._place_of(backend)] if old is None else self._tier_of[backend]
        if new is None:
            tier.balancer.discard(backend)
        else:
            tier.balancer.put(backend, new)
        condition = self._conditions.get(backend, "open")
        if new is None:
            del self._tier_of[backend]
            self._conditions.pop(backend, None)
        else:
            self._tier_of[backend] = tier
        self._recount(
            tier,
            None if old is None else (old, condition),
            None if new is None else (new, condition),
        )

    @abstractmethod
    def _place_of(self, backend: B) -> int:
        """Return the index of the inner balancer of a new member, or raise InvalidSetting."""

    @abstractmethod
    def _numbers_changed(self, healthy: bool) -> None:
        """Called when the numbers of members of a tier have changed.

        ``healthy`` is False if only the number of usable members has changed.
        """

    def _recount(
        self, tier: Tier[B], old: tuple[float, str] | None, new: tuple[float, str] | None
    ) -> None:
        """Count a member by its new weight and condition, and no longer by the old ones."""
        before = tier.healthy, tier.total, tier.usable
        if old is not None:
            tier.count(*old, -1)
        if new is not None:
            tier.count(*new, 1)
        if before != (tier.healthy, tier.total, tier.usable):
            self._numbers_changed((tier.healthy, tier.total) != before[:2])

    def _inform(self, backend: B, name: str, *arguments: object) -> None:
        """Call an optional method of the inner balancer of a member."""
        tier = self._tier_of.get(backend)
        if tier is not None:
            method = tier.method(name)
            if method is not None:
                method(backend, *arguments)

    def _adopt(self, backend: B, weight: float, tier: Tier[B]) -> None:
        """Make a member of an inner balancer a member of this balancer."""
        place = self._place_of(backend)
        if self._tiers[place] is not tier:
            raise InvalidSetting(
                f"{shown(backend)} belongs to {shown(self._tiers[place].balancer)}, "
                f"and is a member of {shown(tier.balancer)}"
            )
        self._weights[backend] = weight
        self._open += weight > 0
        self._tier_of[backend] = tier
        tier.count(weight, "open", 1)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for tier in self._tiers:
            take(tier.balancer)


def _checked_balancers(balancers: Iterable[Any]) -> list[Balancer[Any]]:
    given = cast("object", balancers)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"balancers must be a list of balancers, not {shown(given)}")
    inner = list(balancers)
    for each in inner:
        if isinstance(each, type) or not callable(getattr(each, "pick", None)):
            raise TypeError(f"balancers must be balancer objects, not {shown(each)}")
    if not inner:
        raise InvalidSetting("balancers must be one balancer or more, not []")
    return inner

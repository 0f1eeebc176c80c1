"""Keeps one inner balancer of a balancer with tiers, and the numbers of its members."""

from collections.abc import Sequence
from math import inf, lcm
from typing import Any, Generic

from balancers._internal.checks import checked_choice, number, shown
from balancers._internal.exact import exact
from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting

__all__ = ["Factor", "Tier", "checked_condition"]

_CONDITIONS = ("open", "full", "down", "leaving")


class Tier(Generic[B]):
    """One inner balancer, and the numbers of its members."""

    __slots__ = ("balancer", "full", "healthy", "total", "usable")

    def __init__(self, balancer: Balancer[B]) -> None:
        self.balancer: Balancer[B] = balancer
        self.total: int = 0
        """The number of members that are not leaving."""
        self.healthy: int = 0
        """The number of members that are open or full."""
        self.usable: int = 0
        """The number of members of positive weight, whatever their condition."""
        self.full: int = 0
        """The number of members of weight 0 that only limits close."""

    def count(self, weight: float, condition: str, change: int) -> None:
        """Add ``change`` to the numbers of members of this weight and condition; O(1).

        A member of weight 0 whose condition is "open" counts as leaving: its weight was set to 0,
        and no pool said why.
        """
        if weight > 0:
            self.usable += change
        elif condition == "full":
            self.full += change
        elif condition == "open":
            return
        if condition == "leaving":
            return
        self.total += change
        if condition != "down":
            self.healthy += change

    def method(self, name: str) -> Any:
        """Return an optional method of the balancer, or None."""
        return getattr(self.balancer, name, None)


def checked_condition(condition: str) -> str:
    """Return the condition.  Raise InvalidSetting if it is not a known one."""
    return checked_choice("condition", condition, _CONDITIONS)


class Factor:
    """The factor by which the share of healthy members is multiplied, without rounding.

    Raises InvalidSetting unless it is a number above 0.  ``inf`` is allowed.
    """

    __slots__ = ("_denominator", "_numerator", "value")

    def __init__(self, factor: float) -> None:
        if not number("factor", factor) > 0:
            raise InvalidSetting(f"factor must be above 0, not {shown(factor)}")
        self.value: float = factor
        finite = 1 if factor == inf else exact(factor)
        self._numerator, self._denominator = finite.as_integer_ratio()

    def availabilities(self, tiers: Sequence[Tier[Any]]) -> tuple[list[int], int]:
        """Return the availability of each tier, and the int that stands for 1; O(tiers)."""
        whole = lcm(*(tier.total for tier in tiers if tier.total)) * self._denominator
        if self.value == inf:
            return [whole * bool(tier.healthy) for tier in tiers], whole
        units = [whole // (self._denominator * tier.total) if tier.total else 0 for tier in tiers]
        available = [
            min(whole, self._numerator * tier.healthy * unit)
            for tier, unit in zip(tiers, units, strict=True)
        ]
        return available, whole

"""Members of tiers, and a rule for their shares, written from the description.

The members are named by their tier: a0, a1, ... are in the first one, b0, ... in the second one.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import Any

from balancers import Balancer, RoundRobin
from balancers.algorithms import Tiers

__all__ = ["CONDITIONS", "State", "expected_shares", "members", "set_condition", "tier_of", "tiers"]

CONDITIONS = ("open", "full", "down", "leaving")
State = tuple[str, ...]
"""The conditions of the members of one tier."""


def tier_of(backend: str) -> int:
    return "abcd".index(backend[0])


def members(tier: int, count: int) -> list[str]:
    return [f"{'abcd'[tier]}{number}" for number in range(count)]


def tiers(sizes: Sequence[int], factor: float = 1.4, **settings: Any) -> Tiers[str]:
    inner = [RoundRobin(members(tier, size)) for tier, size in enumerate(sizes)]
    return Tiers(inner, tier=tier_of, factor=factor, **settings)


def set_condition(lb: Balancer[str], backend: str, condition: Any, usable: bool = False) -> None:
    """Do what a pool does: report the condition, then put the weight."""
    lb.condition_changed(backend, condition)  # type: ignore[attr-defined]  # optional in a balancer
    lb.put(backend, 1 if usable or condition == "open" else 0)


def expected_shares(states: Sequence[State], factor: float) -> tuple[Fraction, ...]:
    """Return the shares as the description has them, one fraction after the other."""
    available: list[Fraction] = []
    for state in states:
        counted = [each for each in state if each != "leaving"]
        healthy = [each for each in counted if each != "down"]
        share = Fraction(len(healthy), len(counted)) if counted else Fraction(0)
        if factor == inf:
            available.append(Fraction(bool(healthy)))
        else:
            available.append(min(Fraction(1), Fraction(str(factor)) * share))
    total = sum(available)
    if not total:
        return tuple(Fraction(0) for _ in states)
    shares: list[Fraction] = []
    for each in available:
        shares.append(each / total if total < 1 else min(each, 1 - sum(shares, Fraction(0))))
    return tuple(shares)

"""Defines how long outlier ejection closes a backend, how many, and whether a rule is enforced."""

from collections.abc import Iterable, Mapping
from math import floor
from random import Random

from balancers._internal.checks import at_least, duration, number, shown
from balancers.errors import InvalidSetting

__all__ = ["ROUNDING", "EjectionBudget", "EjectionTimes", "Enforcement"]

ROUNDING = 1e-9
"""This number is added before rounding down.  Without it, 0.29 × 100 would be rounded to 28."""


class EjectionTimes:
    """Computes how long an ejection lasts.

    Raises InvalidSetting for a time that is not positive and finite, a base time above the maximum,
    a ``jitter`` outside 0…1, or a positive ``jitter`` without ``rng``.
    """

    def __init__(self, base: float, maximum: float, jitter: float, rng: Random | None) -> None:
        if duration("base_ejection_time", base) > duration("max_ejection_time", maximum):
            raise InvalidSetting(
                f"base_ejection_time must be at most max_ejection_time, {shown(maximum)}, "
                f"not {shown(base)}"
            )
        if not 0 <= number("jitter", jitter) <= 1 or (jitter and rng is None):
            raise InvalidSetting(
                f"jitter must be 0 to 1, and 0 without an rng, not {shown(jitter)}"
            )
        self._base = base
        self._maximum = maximum
        self._jitter = jitter

    def length(self, earlier: int, rng: Random | None) -> float:
        """Return the duration of an ejection after ``earlier`` others, in seconds."""
        pause = min(self._base * (earlier + 1), self._maximum)
        if rng is not None:
            pause *= 1 + self._jitter * rng.random()
        return pause

    def grows(self, earlier: int) -> bool:
        """Return whether the number of earlier ejections is still counted up.

        Envoy counts one ejection more than the maximum needs.  So an ejection soon after a quiet
        interval can still last for the maximum.
        """
        return earlier * self._base < self._maximum + self._base


class EjectionBudget:
    """Computes how many of all members may be ejected at the same time.

    Raises InvalidSetting for a share outside 0…1, or a number of remaining members below 1.
    """

    def __init__(self, max_ejected_share: float, min_remaining: int) -> None:
        at_least(1, min_remaining=min_remaining)
        if not 0 <= number("max_ejected_share", max_ejected_share) <= 1:
            raise InvalidSetting(
                f"max_ejected_share must be 0 to 1, not {shown(max_ejected_share)}"
            )
        self._max_ejected_share = max_ejected_share
        self._min_remaining = min_remaining

    def allowed(self, members: int) -> int:
        """Return how many of the members may be ejected."""
        share = floor(self._max_ejected_share * members + ROUNDING)
        lowest = 1 if self._max_ejected_share else 0
        return max(0, min(max(share, lowest), members - self._min_remaining))

    def __repr__(self) -> str:
        return f"max_ejected_share {self._max_ejected_share}"


class Enforcement:
    """Decides whether a backend is ejected that a rule has detected.

    ``enforcing`` is one share from 0 to 1 for all rules, or a mapping of names of rules to shares.
    A rule that the mapping does not contain has the share 1.

    Raises InvalidSetting for a share outside 0…1, a share between 0 and 1 without ``rng``, or an
    unknown name.
    """

    def __init__(
        self, enforcing: float | Mapping[str, float], rules: Iterable[str], rng: Random | None
    ) -> None:
        self._shares: dict[str, float] = dict.fromkeys(rules, 1)
        if isinstance(enforcing, Mapping):
            for rule, share in enforcing.items():
                if rule not in self._shares:
                    known = ", ".join(map(repr, self._shares)) or "none"
                    raise InvalidSetting(
                        f"enforcing has no rule {shown(rule)}; the rules are {known}"
                    )
                self._shares[rule] = _checked_share(f"enforcing of {rule!r}", share, rng)
        else:
            share = _checked_share("enforcing", enforcing, rng)
            self._shares = dict.fromkeys(self._shares, share)

    def decide(self, rule: str, rng: Random | None) -> bool:
        """Return whether the rule is enforced this time.  A share of 0 or 1 needs no ``rng``."""
        share = self._shares[rule]
        if rng is None or share in {0, 1}:
            return share == 1
        return rng.random() < share

    def __repr__(self) -> str:
        """Show the shares that are not 1."""
        return "".join(
            f", enforcing {rule!r} {share}" for rule, share in self._shares.items() if share != 1
        )


def _checked_share(name: str, share: float, rng: Random | None) -> float:
    if not 0 <= number(name, share) <= 1:
        raise InvalidSetting(f"{name} must be 0 to 1, not {shown(share)}")
    if 0 < share < 1 and rng is None:
        raise InvalidSetting(f"{name} must be 0 or 1 without an rng, not {shown(share)}")
    return share

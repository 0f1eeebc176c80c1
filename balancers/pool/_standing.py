"""Who is open, who is closed by what, and whether that is a panic: kept as members change."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import prod, ulp
from typing import Generic

from balancers._internal.checks import number
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.gate import Gate
from balancers.pool._member import Account

__all__ = ["Standing"]

_LEAST = ulp(0.0)
"""What is open stays open, however small its share."""
_SMALL = 1e-3
"""What is less keeps every digit."""


class Standing(Generic[B]):
    """What the gates' factors come to, for a member and for all of them together.

    Raises InvalidSetting unless 0 <= panic <= calm <= 1.
    """

    def __init__(self, gates: Iterable[Gate[B]], panic: float, calm: float) -> None:
        if not 0 <= number("panic", panic) <= number("calm", calm) <= 1:
            raise InvalidSetting(f"0 <= panic <= calm <= 1 fails for {panic!r} and {calm!r}")
        self.gates = tuple(gates)
        self.panicking = False
        self.open = 0
        """How many members the balancer may pick."""
        self._panic, self._calm = panic, calm
        self._soft = [place for place, gate in enumerate(self.gates) if gate.soft]
        self._hard = [place for place, gate in enumerate(self.gates) if not gate.soft]
        self._softened: dict[B, Account[B]] = {}  # whom panic would give another weight
        self._closed: Counter[str] = Counter()
        self._closed_hard: Counter[str] = Counter()
        self._open = self._open_hard = 0

    def effective(self, weight: float, factors: list[float]) -> float:
        """Multiply, with no regard to the order of gates; an int where nothing ramps."""
        if self.panicking:
            factors = [factors[place] for place in self._hard]
        return _product(weight, *factors)

    def reasons(self, weight: float, factors: list[float], hard: bool = False) -> tuple[str, ...]:
        """Give each reason that closes a backend once; only hard gates' where asked."""
        closing = [
            gate.reason
            for gate, factor in zip(self.gates, factors, strict=True)
            if not factor and not (hard and gate.soft)
        ]
        return tuple(dict.fromkeys(closing if weight else ["quiesced", *closing]))

    def closed_to_bound(self, factors: list[float]) -> tuple[str, ...]:
        """Give the reasons that keep even a bound request out."""
        closing = [
            gate.reason
            for gate, factor in zip(self.gates, factors, strict=True)
            if not (factor or gate.spares_bound or (gate.soft and self.panicking))
        ]
        return tuple(dict.fromkeys(closing))

    def _reckon(self, account: Account[B], weight: float, factors: list[float]) -> None:
        """Note what a member weighs under all gates, and under the hard ones alone."""
        account.usual = account.in_panic = _product(weight, *factors)
        if self._panic and self._soft:
            account.in_panic = _product(weight, *[factors[place] for place in self._hard])

    def _sick(self, factors: list[float]) -> bool:
        return not all(factors[place] for place in self._soft)

    def _book(self, account: Account[B], sign: int) -> None:
        """Count an account in (+1) or out (-1)."""
        reasons = self.reasons(account.weight, account.factors)
        hard = self.reasons(account.weight, account.factors, hard=True) if reasons else ()
        for reason in reasons:
            self._closed[reason] += sign
        for reason in hard:
            self._closed_hard[reason] += sign
        self._open += 0 if reasons else sign
        self._open_hard += 0 if hard else sign
        if sign < 0:
            self._softened.pop(account.backend, None)
        else:
            self._soften(account)

    def _soften(self, account: Account[B]) -> None:
        """Note whether panic would give it another weight."""
        if account.in_panic != account.usual:
            self._softened[account.backend] = account
        elif self._softened:
            self._softened.pop(account.backend, None)

    def _crosses(self) -> bool:
        """Whether panic begins or ends with the members as they are."""
        if not self._open_hard:
            return False  # nobody is left to share, and it is as it was
        bar = self._calm if self.panicking else self._panic
        return (self._open / self._open_hard < bar) is not self.panicking


@lru_cache(maxsize=4096)
def _product(weight: float, *factors: float) -> float:
    """Multiply without the dust of binary fractions: 7 times 0.167 is 1.169."""
    if not weight or not all(factors):
        return 0
    fractions = [factor for factor in factors if factor != 1]
    if not fractions:
        return weight
    product = weight * prod(sorted(fractions))
    return round(product, 9) if product > _SMALL else max(product, _LEAST)

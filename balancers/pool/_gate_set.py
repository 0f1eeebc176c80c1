"""Combines all gates of a pool: their factors, reasons and changes."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import inf, prod, ulp
from operator import attrgetter
from typing import Generic

from balancers._internal.types import B
from balancers.balancer import Balancer
from balancers.errors import IncompatibleGate, InvalidSetting
from balancers.gate import Gate
from balancers.pool._hooks import hooks
from balancers.pool._member import Member

__all__ = ["GateSet"]

_QUIESCED = 1
"""The bit for weight 0 in a combination of reasons.  The gates have the higher bits."""
_SMALLEST = ulp(0.0)
"""The smallest positive float.  A product of positive factors is never less than this."""
_ROUNDED_ABOVE = 1e-3
"""A product above this is rounded.  A smaller product keeps all digits."""

_generation = attrgetter("generation")


class GateSet(Generic[B]):
    """Combines the gates of a pool.

    The reasons that close a member are stored as one number, a *combination*.  It has one bit for
    weight 0, and one bit for each gate whose factor is 0.  If the same reasons close two members,
    the members have the same combination.

    Raises IncompatibleGate if a gate is fractional and the balancer does not honour fractions.
    """

    def __init__(self, gates: Iterable[Gate[B]], balancer: Balancer[B]) -> None:
        self.gates = tuple(gates)
        for gate in self.gates:
            if not callable(getattr(gate, "factor", None)):
                raise TypeError(f"gates must be gates, not {gate!r}")
            if gate.fractional and not balancer.fractional:
                raise IncompatibleGate(
                    f"{type(gate).__name__} has fractions, which {type(balancer).__name__} ignores"
                )
        self.pending: dict[B, list[int]] = {}
        """The backends whose changes were collected but are not applied yet, with the indices of
        the gates."""
        self.hard = _QUIESCED
        """The combination of all reasons that a panic does not ignore."""
        self._bits = [_QUIESCED << place for place in range(1, len(self.gates) + 1)]
        for bit, gate in zip(self._bits, self.gates, strict=True):
            self.hard |= 0 if gate.soft else bit
        self._hard_places = [place for place, gate in enumerate(self.gates) if not gate.soft]
        self._reasons: dict[int, tuple[str, ...]] = {}
        self.recovered = hooks(self.gates, Gate, "recovered")

    @property
    def due(self) -> float:
        """The earliest ``due`` of all gates; O(gates).

        It is ``-inf`` if collected changes are not applied yet.
        """
        due = -inf if self.pending else inf
        for gate in self.gates:
            if gate.due < due:  # noqa: PLR1730 - a call of min() is slower
                due = gate.due
        return due

    def factors(self, backend: B, now: float) -> list[float]:
        """Return the factor of each gate.  Raises InvalidSetting for a factor outside 0 to 1."""
        factors: list[float] = []
        for gate in self.gates:
            factor = gate.factor(backend, now)
            if factor != 1:
                self._check(factor, gate, backend)
            factors.append(factor)
        return factors

    def classify(self, weight: float, factors: Iterable[float]) -> tuple[int, bool]:
        """Return the combination of reasons that closes a member, and whether it has fractions.

        The combination is 0 if the member is open.  The second value is True if at least one factor
        is neither 0 nor 1.
        """
        combination, fractions = 0 if weight else _QUIESCED, False
        for bit, factor in zip(self._bits, factors, strict=False):
            if factor != 1:
                if factor:
                    fractions = True
                else:
                    combination |= bit
        return combination, fractions

    def reasons(self, combination: int) -> tuple[str, ...]:
        """Return the reasons of a combination, without repetition; O(1) after the first call."""
        reasons = self._reasons.get(combination)
        if reasons is None:
            named = ["quiesced"] if combination & _QUIESCED else []
            pairs = zip(self._bits, self.gates, strict=True)
            named += [gate.reason for bit, gate in pairs if combination & bit]
            reasons = self._reasons[combination] = tuple(dict.fromkeys(named))
        return reasons

    def closed_to_bound(self, factors: list[float], panicking: bool) -> tuple[str, ...]:
        """Return the reasons for which even a bound request is refused."""
        closing = [
            gate.reason
            for gate, factor in zip(self.gates, factors, strict=True)
            if not (factor or gate.spares_bound or (gate.soft and panicking))
        ]
        return tuple(dict.fromkeys(closing))

    def effective_weight(self, weight: float, factors: list[float], panicking: bool) -> float:
        """Return the weight times the factors.  In a panic, the factors of soft gates are ignored.

        The order of the gates does not change the product.
        """
        if panicking:
            factors = [factors[place] for place in self._hard_places]
        return _product(weight, *factors)

    def changes(
        self, members: Mapping[B, Member[B]], now: float
    ) -> Iterator[tuple[Member[B], list[float]]]:
        """Yield each member whose factors changed, with its new factors, in the order of joining.

        The changes of all gates are collected before the first member is yielded.  So the order of
        the gates has no effect.  If a gate raises an exception, the changes that are not yielded
        yet stay pending.
        """
        pending, gates = self.pending, self.gates
        for place, gate in enumerate(gates):
            if gate.due <= now:
                for backend in gate.changes(now):
                    pending.setdefault(backend, []).append(place)
        changed = [member for b in pending if (member := members.get(b)) is not None]
        if len(changed) > 1:
            changed.sort(key=_generation)
        for member in changed:
            backend, before, factors = member.backend, member.factors, member.factors
            for place in pending[backend]:
                factor = gates[place].factor(backend, now)
                if factor != factors[place]:
                    self._check(factor, gates[place], backend)
                    factors = factors.copy() if factors is before else factors
                    factors[place] = factor
            if factors is not before:
                yield member, factors
            del pending[backend]
        pending.clear()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reasons": {}}  # only a cache

    @staticmethod
    def _check(factor: float, gate: Gate[B], backend: B) -> None:
        if not 0 <= factor <= 1:
            name = type(gate).__name__
            raise InvalidSetting(f"{name} factor of {backend!r} must be 0 to 1, not {factor!r}")


@lru_cache(maxsize=4096)
def _product(weight: float, *factors: float) -> float:
    """Multiply without the rounding errors of binary fractions: 7 times 0.167 is 1.169."""
    if not weight or not all(factors):
        return 0
    fractions = [factor for factor in factors if factor != 1]
    if not fractions:
        return weight
    product = weight * prod(sorted(fractions))
    return round(product, 9) if product > _ROUNDED_ABOVE else max(product, _SMALLEST)

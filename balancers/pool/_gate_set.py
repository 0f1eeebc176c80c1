"""Combines all gates of a pool: their factors, reasons and changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from math import inf, prod, ulp
from operator import attrgetter
from typing import Any, Generic

from balancers._internal.checks import shown
from balancers._internal.types import B
from balancers.balancer import Balancer, Condition
from balancers.errors import IncompatibleGate, InvalidSetting
from balancers.gate import Gate
from balancers.pool._hooks import hooks
from balancers.pool._member import Member
from balancers.pool._unproven import UnprovenGate, unproven_gate

__all__ = ["GONE", "QUIESCED", "GateSet"]

QUIESCED = 1
"""The bit for weight 0 in a combination of reasons."""
_LEAVING = 2
"""The bit for a member that an update with ``keep`` no longer contains."""
GONE = -1
"""The combination of a kept member that leaves at the next request: everything closes it."""
_OWN_REASONS = {QUIESCED: "quiesced", _LEAVING: "leaving"}
_FIRST_GATE = 4
"""The bit of the first gate.  The other gates have the higher bits."""
_SMALLEST = ulp(0.0)
"""The smallest positive float.  A product of positive factors is never less than this."""
_ROUNDED_ABOVE = 1e-3
"""A product above this is rounded.  A smaller product keeps all digits."""

_generation = attrgetter("generation")


class GateSet(Generic[B]):
    """Combines the gates of a pool.

    The reasons that close a member are stored as one number, a *combination*.  It has one bit for
    weight 0, one for a member that leaves, and one for each gate whose factor is 0.  If the same
    reasons close two members, the members have the same combination.

    A gate with the method ``unproven`` has a second bit.  It is a hard reason, and closes the
    members without a result.

    Raises IncompatibleGate if a gate is fractional and the balancer does not honour fractions, or
    if a soft gate has ``last_resort``.  Raises TypeError for an object that is not a gate.
    """

    def __init__(self, gates: Iterable[Gate[B]], balancer: Balancer[B]) -> None:
        self.gates: tuple[Gate[B], ...] = _checked_gates(gates, balancer)
        self.watched: list[Any] = [*self.gates]
        """The objects whose ``due`` the pool compares with the time of each request."""
        self.pending: dict[B, list[int]] = {}
        """The backends whose changes were collected but are not applied yet, with the places of
        the gates."""
        self._places: list[Gate[B] | UnprovenGate[B]] = [*self.gates]
        self._second_place: dict[int, int] = {}
        for place, gate in enumerate(self.gates):
            if (second := unproven_gate(gate)) is not None:
                self._second_place[place] = len(self._places)
                self._places.append(second)
        self._bits = [_FIRST_GATE << place for place in range(len(self._places))]
        bits = list(zip(self._bits, self._places, strict=True))
        self.soft: int = sum(bit for bit, gate in bits if gate.soft)
        self.last_resort: int = sum(
            bit for bit, gate in bits if getattr(gate, "last_resort", False)
        )
        self.ignorable: int = self.soft | self.last_resort
        """The combination of all reasons that the pool may ignore."""
        self.limits: int = sum(
            bit for bit, gate in bits if getattr(gate, "limits_in_flight", False)
        )
        spare = sum(bit for bit, gate in bits if gate.spares_bound)
        self._leaving = QUIESCED | _LEAVING | spare
        self._tells_recovery = [gate.soft and not gate.fractional for gate in self._places]
        self._reasons: dict[int, tuple[str, ...]] = {}
        self.recovered: list[Callable[..., None]] = hooks(self.gates, Gate, "recovered")

    @property
    def due(self) -> float:
        """The earliest ``due`` of all gates; O(gates).

        It is ``-inf`` if collected changes are not applied yet.
        """
        due = -inf if self.pending else inf
        for watched in self.watched:
            due = min(due, watched.due)
        return due

    def factors(self, backend: B, now: float) -> list[float]:
        """Return the factor of each gate.  Raises InvalidSetting for a factor outside 0 to 1."""
        factors: list[float] = []
        for gate in self._places:
            factor = gate.factor(backend, now)
            if factor != 1:
                _check_factor(factor, gate, backend)
            factors.append(factor)
        return factors

    def classify(
        self, weight: float, factors: Iterable[float], leaving: bool = False
    ) -> tuple[int, bool]:
        """Return the combination of reasons that closes a member, and whether it has fractions.

        The combination is 0 if the member is open.  The second value is True if at least one factor
        is neither 0 nor 1.
        """
        combination, fractions = 0 if weight else QUIESCED, False
        if leaving:
            combination |= _LEAVING
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
            named = [reason for bit, reason in _OWN_REASONS.items() if combination & bit]
            pairs = zip(self._bits, self._places, strict=True)
            named += [gate.reason for bit, gate in pairs if combination & bit]
            reasons = self._reasons[combination] = tuple(dict.fromkeys(named))
        return reasons

    def closed_to_bound(self, combination: int) -> int:
        """Return the part of a combination that also refuses bound requests."""
        return combination & ~self._leaving

    def condition(self, combination: int) -> Condition:
        """Return what a combination of reasons means for a balancer; O(1)."""
        if not combination:
            return "open"
        if combination & self._leaving:
            return "leaving"
        return "full" if self.only_limits(combination) else "down"

    def only_limits(self, combination: int, ignorable: int = 0) -> bool:
        """Return whether limits of requests in flight close a member, and nothing else.

        The reasons in ``ignorable`` do not matter.
        """
        return bool(combination & self.limits) and not combination & ~(self.limits | ignorable)

    def product(self, weight: float, factors: list[float], ignored: int) -> float:
        """Return the weight times the factors of all gates that are not ignored.

        The order of the gates does not change the product.
        """
        if ignored:
            bits = zip(self._bits, factors, strict=True)
            factors = [factor for bit, factor in bits if not bit & ignored]
        return _product(weight, *factors)

    def changes(
        self, members: Mapping[B, Member[B]], now: float
    ) -> Iterator[tuple[Member[B], list[float], bool]]:
        """Yield each member that changed and its new factors, in the order of joining.

        The third value is True if a soft gate closed the member and opened it again since the last
        call.  The changes of all gates are collected before the first member is yielded.  So the
        order of the gates has no effect.  If a gate raises an exception, the changes that are not
        yielded yet stay pending.
        """
        pending, places = self.pending, self._places
        self._collect(now)
        changed = [member for b in pending if (member := members.get(b)) is not None]
        if len(changed) > 1:
            changed.sort(key=_generation)
        for member in changed:
            backend, before, factors = member.backend, member.factors, member.factors
            flapped = False
            for place in pending[backend]:
                factor = places[place].factor(backend, now)
                if factor != factors[place]:
                    _check_factor(factor, places[place], backend)
                    factors = factors.copy() if factors is before else factors
                    factors[place] = factor
                elif factor == 1 and self._tells_recovery[place]:
                    flapped = True
            if factors is not before or flapped:
                yield member, factors, flapped
            del pending[backend]
        pending.clear()

    def _collect(self, now: float) -> None:
        """Add the changes of all gates that are due to the pending changes."""
        pending = self.pending
        for place, gate in enumerate(self.gates):
            if gate.due <= now:
                for backend in gate.changes(now):
                    places = pending.setdefault(backend, [])
                    places.append(place)
                    if place in self._second_place:
                        places.append(self._second_place[place])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reasons": {}}  # only a cache


def _checked_gates(gates: Iterable[Gate[B]], balancer: Balancer[B]) -> tuple[Gate[B], ...]:
    if not isinstance(gates, Iterable):
        raise TypeError(f"gates must be a list of gates, not {shown(gates)}")
    checked = tuple(gates)
    for gate in checked:
        if isinstance(gate, type) or not callable(getattr(gate, "factor", None)):
            raise TypeError(f"gates must be gate objects, not {shown(gate)}")
        if gate.fractional and not balancer.fractional:
            raise IncompatibleGate(
                f"{type(gate).__name__} has fractions, which {type(balancer).__name__} ignores"
            )
        if gate.soft and getattr(gate, "last_resort", False):
            raise IncompatibleGate(f"a gate with last_resort must not be soft: {shown(gate)}")
    return checked


def _check_factor(factor: float, gate: Any, backend: object) -> None:
    if not 0 <= factor <= 1:
        name = type(gate).__name__
        raise InvalidSetting(
            f"{name} factor of {shown(backend)} must be 0 to 1, not {shown(factor)}"
        )


@lru_cache(maxsize=4096)
def _product(weight: float, *factors: float) -> float:
    """Multiply without the rounding errors of binary fractions: 7 times 0.017 is 0.119."""
    if not weight or not all(factors):
        return 0
    fractions = [factor for factor in factors if factor != 1]
    if not fractions:
        return weight
    product = weight * prod(sorted(fractions))
    return round(product, 9) if product > _ROUNDED_ABOVE else max(product, _SMALLEST)

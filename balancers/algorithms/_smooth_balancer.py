"""Defines the base class of smooth weighted round robin: the members, and their current weights.

The weights and the current weights are integers in a unit that fits all of them.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from math import gcd

from balancers._internal.checks import at_least
from balancers._internal.types import B
from balancers.algorithms._make_scan import make_scan
from balancers.algorithms._smooth_scan import Scan, current_weights_after
from balancers.algorithms._units import Unit, decimal_places, in_units, spare_decimals
from balancers.membership import Membership

__all__ = ["SmoothBalancer"]

_DECIMALS_STEP = 4
"""The number of decimal places grows in steps of this size.  So a slow start changes it once and
not three times."""
_MAX_PLAIN_MEMBERS = 24
"""The largest number of members for which a plain loop is faster than vectors.  It was measured."""
_MAX_STEPS_AT_START = 1024
"""The largest number of steps that are done for an offset.  The other picks are skipped at once."""
_MAX_DEBT = 16
"""A bound request is not charged to a backend that is this many picks or more ahead of its
share."""


class SmoothBalancer(Membership[B]):
    """Stores the current weights of the members in a scan, which does the steps.

    A subclass defines ``pick`` and :meth:`_stop_replay`.
    """

    def __init__(self, backends: Iterable[B] | Mapping[B, float] | None, offset: int) -> None:
        at_least(0, offset=offset)
        self._offset = offset
        self._decimals = 0
        self._effective_weights: dict[B, int] = {}  # in units of 10 ** -decimals
        self._current_weights: dict[B, int] = {}  # of every member; valid only if there is no scan
        self._scan: Scan | None = None
        self._unit = Unit(1, set())  # of the scan
        self._order: list[B] = []  # the members by their index in the scan
        self._indices: dict[B, int] = {}
        self._learn_until = 0
        self._may_have_debts = False  # whether there was ever a bound request
        self._debts_outdated = False  # whether debts must be limited to the present weights
        super().__init__(backends)

    @abstractmethod
    def _stop_replay(self) -> None:
        """Bring the scan up to date with all picks, before it changes."""

    def _valid_scan(self) -> Scan:
        """Return a scan of the current members with limited debts.  Create it if necessary."""
        if self._scan is not None and self._scan.rebuild_due:
            self._discard_scan()
        scan = self._scan or self._build_scan()
        if self._debts_outdated:
            scan.limit_debts(_MAX_DEBT)
            self._debts_outdated = False
        return scan

    def _charge(self, backend: B) -> None:
        """Do a step that picks this open member, unless it is far ahead of its share; O(n)."""
        self._valid_scan().charge(self._indices[backend], _MAX_DEBT)

    def _build_scan(self) -> Scan:
        self._drop_spare_decimals()
        current_weights = list(self._current_weights.values())
        weights = list(self._effective_weights.values())
        self._order = list(self._effective_weights)
        self._indices = {backend: index for index, backend in enumerate(self._order)}
        steps = 0
        if self._offset:
            steps = self._offset % (sum(weights) // gcd(*weights))
            self._offset = 0
        if steps > _MAX_STEPS_AT_START:
            current_weights = current_weights_after(steps - _MAX_STEPS_AT_START, weights)
            steps = _MAX_STEPS_AT_START
        unit = self._unit = Unit.of(current_weights, weights, self._decimals)
        if unit.size > 1:
            current_weights = [unit.current(current) for current in current_weights]
            weights = [unit.weight(weight) for weight in weights]
        self._scan = scan = make_scan(current_weights, weights, _MAX_PLAIN_MEMBERS)
        self._learn_until = self._open
        for _ in range(steps):
            scan.step()
        return scan

    def _discard_scan(self) -> None:
        """Store the current weights and remove the scan."""
        self._stop_replay()
        if self._scan is not None:
            current_weights = self._scan.current_weights()
            if self._unit.size > 1:
                current_weights = [self._unit.exact(current) for current in current_weights]
            self._current_weights = dict(zip(self._order, current_weights, strict=True))
            self._scan = None

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        self._stop_replay()
        self._debts_outdated = self._may_have_debts
        if new is None:
            self._discard_scan()
            del self._effective_weights[backend], self._current_weights[backend]
            return
        decimals = decimal_places(new)
        if decimals > self._decimals:
            decimals = -(-decimals // _DECIMALS_STEP) * _DECIMALS_STEP
            self._use_smaller_unit(10 ** (decimals - self._decimals))
            self._decimals = decimals
        if old is None:
            self._discard_scan()
            self._current_weights[backend] = 0
        weight = self._effective_weights[backend] = in_units(new, self._decimals)
        if self._scan is None:
            return
        if weight % self._unit.size == 0:
            self._scan.set_weight(self._indices[backend], self._unit.weight(weight))
        if weight % self._unit.size or self._scan.total > self._scan.limit:
            self._discard_scan()

    def _use_smaller_unit(self, factor: int) -> None:
        """Convert all effective and current weights to a unit that is smaller by this factor."""
        self._discard_scan()
        for row in (self._effective_weights, self._current_weights):
            for backend in row:
                row[backend] *= factor

    def _drop_spare_decimals(self) -> None:
        """Convert to a larger unit if all effective and current weights are multiples of it."""
        numbers = [*self._effective_weights.values(), *self._current_weights.values()]
        spare = spare_decimals(numbers, self._decimals)
        self._decimals -= spare
        for row in (self._effective_weights, self._current_weights) if spare else ():
            for backend in row:
                row[backend] //= 10**spare

"""Implements weighted least connections: picks by requests in flight per weight."""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Any, Literal

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid, checked_choice
from balancers._internal.types import B
from balancers.algorithms._least_heaps import LeastHeaps
from balancers.algorithms._least_members import MAX_FLOAT_RANK_BITS, Index, Member
from balancers.algorithms._least_scan import LeastScan
from balancers.algorithms._units import Unit, decimal_places, in_units, spare_decimals
from balancers.balancer import Key
from balancers.errors import UnknownBackend
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["WeightedLeastConnections"]

_MAX_SCANNED_MEMBERS = 20
"""The largest number of members for which a scan is faster than heaps.  It was measured."""
_SCAN_AGAIN = 4
"""The scan is used again when the number of members is this much lower.  So a member that joins and
leaves again and again at the border does not change the index each time."""


class WeightedLeastConnections(Membership[B]):
    """Picks the backend with the lowest in-flight / weight.  This is the safe default.

    The balancer counts the requests that are reported with ``started`` and ``finished``.  A float
    weight has the value of its decimal text, and requests in flight per weight are compared
    exactly: 30 requests for weight 1 and 21 for weight 0.7 are a tie.  A tie is
    broken by one step of smooth weighted round robin among the tied backends.  The state of this
    round robin changes only in such steps.  The picks are exactly those of ``least_conn`` of nginx
    1.22, so the backends of an idle pool are picked in proportion to their weights.

    With ``rule="sed"`` the backend with the lowest (in-flight + 1) / weight is picked.  This is the
    shortest expected delay of IPVS.  At low load, this rule picks only the heaviest backends.  Use
    it if the weight of a backend is its speed.

    >>> lb = WeightedLeastConnections({"a": 3, "b": 1})
    >>> "".join(lb.pick() for _ in range(4))
    'aaba'
    >>> for backend in "aab":
    ...     lb.started(backend)
    >>> lb.pick()
    'a'

    Cost: ``pick`` is O(d + log n) amortised for d different weights among the tied backends;
    ``avoid`` adds O(avoided · log n).  ``started`` and ``finished`` are O(1); a backend whose count
    has changed is moved by the next pick, in O(log n) amortised.  A change of weight is O(log n)
    amortised.  With up to 20 members, a scan is used instead: ``pick`` and a change of weight are
    O(n).  After there were more members, the scan is used again from 16 members down.  A weight
    with more decimal places than all others costs O(n log n).  Raises InvalidSetting for another
    rule.
    """

    keyed = False
    fractional = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        rule: Literal["wlc", "sed"] = "wlc",
    ) -> None:
        checked_choice("rule", rule, ("wlc", "sed"))
        self._extra = int(rule == "sed")  # the count of a backend without requests in flight
        self._decimals = 0
        self._next_serial = 0
        self._members: dict[B, Member[B]] = {}
        self._moved: list[Member[B]] = []  # the members whose rank may be out of date
        self._unit = Unit(1, set())
        self._max_weight = 1 << MAX_FLOAT_RANK_BITS
        self._index: Index[B] = LeastScan(0, inf)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return a backend with the lowest in-flight / weight; O(d + log n).

        Raises NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            return self._pick_avoiding(checked_avoid(avoid))
        member = self._index.pick(self._moved)
        if member is None:
            return self._pick_after_review()
        return member.backend

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return the ``n`` backends with the lowest in-flight / weight, in the order of picks.

        This takes one turn, that of the first backend.  Ties are broken as in that turn.  If fewer
        backends can be picked, all of them are returned.  The cost is O((n + avoided + d) · log
        members) amortised for d different weights among the tied backends, or O(members · log
        members) with up to 20 members.
        Raises InvalidSetting unless ``n`` is an int of 1 or more, NoBackendAvailable.

        >>> lb = WeightedLeastConnections({"a": 3, "b": 1, "c": 2})
        >>> lb.started("c")
        >>> lb.plan(3), lb.plan(2)
        (['a', 'b', 'c'], ['a', 'b'])
        """
        if type(n) is not int or n < 1:
            at_least(1, n=n)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        first = self.pick(key, now, avoid)
        ranked = [first]
        if n == 1:
            return ranked
        for member in self._index.in_order(self._members[first]):
            backend = member.backend
            if backend != first and (not avoid or backend not in avoid):
                ranked.append(backend)
                if len(ranked) == n:
                    break
        return ranked

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a new request; O(1).  Ignored if the backend is not a member."""
        member = self._members.get(backend)
        if member is not None:
            member.count += 1
            if not member.moved:
                member.moved = True
                self._moved.append(member)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count a request that ended; O(1).

        The call is ignored if the backend is not a member or has no request in flight.
        """
        member = self._members.get(backend)
        if member is not None and member.count > self._extra:
            member.count -= 1
            if not member.moved:
                member.moved = True
                self._moved.append(member)

    def load_of(self, backend: B, now: float = 0.0) -> float:
        """Return the number of requests in flight on a member; O(1).  Raises UnknownBackend."""
        if backend not in self._members:
            raise UnknownBackend(backend)
        return self._members[backend].count - self._extra

    def _pick_avoiding(self, avoid: Collection[B]) -> B:
        if self._index.picks_left <= 0:
            self._rebuild()
        members = [member for b in set(avoid) if (member := self._members.get(b)) is not None]
        avoided = [member for member in members if member.place is not None]
        if len(avoided) == self._open:
            raise self.refusal()
        self._index.settle(self._moved)
        for member in avoided:
            self._index.remove(member)
        chosen = self.pick()
        for member in avoided:
            self._index.add(member)
        return chosen

    def _pick_after_review(self) -> B:
        if not self._open:
            raise self.refusal()
        self._rebuild()
        return self.pick()

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        index = self._index
        index.settle(self._moved)
        if old is None:
            self._members[backend] = Member(backend, self._next_serial, self._extra)
            self._next_serial += 1
        member = self._members[backend]
        index.remove(member)
        if new is None:
            del self._members[backend]
            fits = True
        else:
            member.given_weight = new
            fits = self._set_numbers(member)
        if fits and isinstance(index, self._fastest_kind()):
            if new:
                index.add(member)
        else:
            self._rebuild()

    def _set_numbers(self, member: Member[B]) -> bool:
        """Convert the weight of a member to the units of the index.  Return whether it fits."""
        weight = member.given_weight
        if decimal_places(weight) > self._decimals:
            return False
        exact = in_units(weight, self._decimals)
        member.weight, remainder = divmod(exact, self._unit.size)
        member.effective_weight = self._unit.weight(exact)
        return not remainder and member.weight <= self._max_weight

    def _fastest_kind(self) -> type[Index[B]]:
        """Return the kind of index for this number of members; near the border, the present one."""
        most = _MAX_SCANNED_MEMBERS
        if isinstance(self._index, LeastHeaps):
            most -= _SCAN_AGAIN
        return LeastScan if len(self._members) <= most else LeastHeaps

    def _rebuild(self) -> None:
        """Choose the units and the kind of the index, and build the index; O(n log n).

        All current weights stay exactly the same.
        """
        members = list(self._members.values())
        for member in members:
            self._index.remove(member)
        decimals = max(self._decimals, *(decimal_places(each.given_weight) for each in members), 0)
        factor = int(10 ** (decimals - self._decimals))
        current_weights = [self._unit.exact(each.current_weight) * factor for each in members]
        weights = [in_units(each.given_weight, decimals) for each in members]
        spare = spare_decimals([*weights, *current_weights], decimals)
        if spare:
            current_weights = [current // 10**spare for current in current_weights]
            weights = [weight // 10**spare for weight in weights]
        self._decimals = decimals - spare
        self._unit = Unit.of(current_weights, weights, self._decimals)
        bits = (max(weights, default=0) // self._unit.size).bit_length()
        is_wide = bits > MAX_FLOAT_RANK_BITS
        self._max_weight = 1 << max(bits, MAX_FLOAT_RANK_BITS)
        shift, picks_left = (2 * bits + 2, len(members)) if is_wide else (0, inf)
        index = self._index = self._fastest_kind()(shift, picks_left)
        for member, current in zip(members, current_weights, strict=True):
            member.current_weight = self._unit.current(current)
            self._set_numbers(member)
            if member.weight:
                index.add(member)

    def __getstate__(self) -> dict[str, Any]:
        """Return the members as plain rows.  To pickle an index could recurse too deeply."""
        rows = [
            (each.backend, each.serial, each.count, each.given_weight,
             self._index.current_weight(each))
            for each in self._members.values()
        ]  # fmt: skip
        return {**self.__dict__, "_index": None, "_moved": [], "_members": rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _members={}, _index=LeastScan(0, inf))
        for backend, serial, count, given_weight, current_weight in state["_members"]:
            member = self._members[backend] = Member(backend, serial, count)
            member.given_weight, member.current_weight = given_weight, current_weight
        self._rebuild()

"""Implements weighted least connections for few members, as lists that are searched completely."""

from math import inf

from balancers._internal.types import B
from balancers.algorithms._least_members import Index, Member

__all__ = ["LeastScan"]


class LeastScan(Index[B]):
    """Stores the open members in order of insertion, with their ranks and current weights.

    It is the fastest index for few members.
    """

    def __init__(self, extra: int, shift: int, picks_left: float) -> None:
        self._extra = extra
        self._shift = shift
        self.picks_left = picks_left
        self._members: list[Member[B]] = []
        self._ranks: list[float] = []
        self._weights: list[int] = []
        self._current_weights: list[int] = []

    def pick(self, moved: list[Member[B]]) -> Member[B] | None:
        """Return the next member; O(n)."""
        ranks = self._ranks
        if self._shift:
            self.picks_left -= 1
            self.settle(moved)
            if self.picks_left < 0:
                return None
        elif moved:
            extra = self._extra
            for member in moved:
                member.moved = False
                if member.place is not None:
                    ranks[member.place] = (member.count + extra) / member.weight
            moved.clear()
        if not ranks:
            return None
        least = min(ranks)
        if ranks.count(least) == 1:
            return self._members[ranks.index(least)]
        current_weights, best, greatest, total = self._current_weights, -1, -inf, 0
        weights = self._weights
        for index, rank in enumerate(ranks):
            if rank == least:
                weight = weights[index]
                total += weight
                current = current_weights[index] = current_weights[index] + weight
                if current > greatest:
                    best, greatest = index, current
        current_weights[best] -= total
        return self._members[best]

    def settle(self, moved: list[Member[B]]) -> None:
        """Update the ranks of the moved members; O(moved)."""
        for member in moved:
            member.moved = False
            if member.place is not None:
                self._ranks[member.place] = self._rank(member)
        moved.clear()

    def _rank(self, member: Member[B]) -> float:
        count = member.count + self._extra
        return (count << self._shift) // member.weight if self._shift else count / member.weight

    def add(self, member: Member[B]) -> None:
        """Insert a member in order of insertion; O(n)."""
        place = len(self._members)
        while place and self._members[place - 1].serial > member.serial:
            place -= 1
        self._members.insert(place, member)
        self._ranks.insert(place, self._rank(member))
        self._weights.insert(place, member.effective_weight)
        self._current_weights.insert(place, member.current_weight)
        self._number(place)

    def remove(self, member: Member[B]) -> None:
        """Remove a member; O(n)."""
        place: int | None = member.place
        if place is not None:
            member.current_weight = self._current_weights[place]
            member.place = None
            for row in (self._members, self._ranks, self._weights, self._current_weights):
                del row[place]
            self._number(place)

    def _number(self, first: int) -> None:
        for place in range(first, len(self._members)):
            self._members[place].place = place

    def current_weight(self, member: Member[B]) -> int:
        """Return the current weight of a member; O(1)."""
        place: int | None = member.place
        return member.current_weight if place is None else self._current_weights[place]

    def __repr__(self) -> str:
        return f"<LeastScan: {len(self._members)} open>"

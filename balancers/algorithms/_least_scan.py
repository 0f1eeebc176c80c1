"""Implements weighted least connections for few members, as lists that are searched completely."""

from collections.abc import Iterator
from math import inf
from operator import add

from balancers._internal.types import B
from balancers.algorithms._least_members import Index, Member

__all__ = ["LeastScan"]


class LeastScan(Index[B]):
    """Stores the open members in order of insertion, with their ranks and current weights.

    It is the fastest index for few members.  While all members have the same rank, only the current
    weights change.
    """

    def __init__(self, shift: int, picks_left: float) -> None:
        super().__init__(shift, picks_left)
        self._members: list[Member[B]] = []
        self._ranks: list[float] = []
        self._weights: list[int] = []
        self._current_weights: list[int] = []
        self._total = 0
        self._all_tied = False

    def pick(self, moved: list[Member[B]]) -> Member[B] | None:  # noqa: C901 - calls cost more
        """Return the next member; O(n)."""
        if self._shift:
            self.settle(moved)
            if self._is_review_due():
                return None
        ranks = self._ranks
        while moved:
            member = moved.pop()
            member.moved = False
            rank = member.count / member.weight
            if rank != ranks[member.place]:
                ranks[member.place] = rank
                self._all_tied = False
        if not self._all_tied:
            if not ranks:
                return None
            least = min(ranks)
            tied = ranks.count(least)
            if tied == 1:
                return self._members[ranks.index(least)]
            self._all_tied = tied == len(ranks)
            weights, current_weights = self._weights, self._current_weights
            best, greatest, total = -1, -inf, 0
            for index, rank in enumerate(ranks):
                if rank == least:
                    weight = weights[index]
                    total += weight
                    current_weights[index] = current = current_weights[index] + weight
                    if current > greatest:
                        best, greatest = index, current
            current_weights[best] -= total
            return self._members[best]
        current_weights = self._current_weights = [*map(add, self._current_weights, self._weights)]
        greatest = max(current_weights)
        best = current_weights.index(greatest)
        current_weights[best] = greatest - self._total
        return self._members[best]

    def in_order(self, picked: Member[B]) -> Iterator[Member[B]]:
        """Sort the members by rank and current weight; O(n log n)."""
        ranks = self._ranks
        place: int = picked.place
        stepped = ranks[place]
        rows = zip(ranks, self._current_weights, self._weights, strict=True)
        # The members with the rank of the picked one have made a step.  The others have not.
        keys = [(rank, -x if rank == stepped else -x - y) for rank, x, y in rows]
        for each in sorted(range(len(keys)), key=keys.__getitem__):
            yield self._members[each]

    def settle(self, moved: list[Member[B]]) -> None:
        """Update the ranks of the moved members; O(moved)."""
        for member in moved:
            member.moved = False
            self._ranks[member.place] = self._rank(member)
        moved.clear()
        self._all_tied = False

    def add(self, member: Member[B]) -> None:
        """Insert a member in order of insertion; O(n)."""
        member.moved = self._all_tied = False
        self._total += member.effective_weight
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
            member.place, member.moved = None, True
            self._total -= member.effective_weight
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

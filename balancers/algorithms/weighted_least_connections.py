"""Weighted least connections: the fewest requests in flight for its weight."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Any, Generic, Literal

from balancers._internal.checks import checked_avoid
from balancers._internal.types import B
from balancers.algorithms._rank_buckets import Ties
from balancers.algorithms._smooth_scan import decimals_of, units
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["WeightedLeastConnections"]


class _Member(Generic[B]):
    """One backend; ``entry`` is its valid one, None while it is in no tie: quiesced."""

    __slots__ = ("backend", "count", "credit", "entry", "gain", "rank", "serial", "tie", "weight")

    rank: "_Rank[B]"
    tie: "_Tie[B]"

    def __init__(self, backend: B, serial: int) -> None:
        self.backend = backend
        self.serial = serial
        self.count = self.credit = self.gain = 0
        self.weight: float = 0
        self.entry: _Entry[B] | None = None


_Entry = tuple[int, int, _Member[B]]
"""(gain · steps - credit, serial, member): true however far its tie has stepped."""


class _Rank(Generic[B]):
    """The members of one gain in one tie: a heap of entries, most credit first, then first listed.

    An entry that is no longer its member's is stale, and skipped.
    """

    __slots__ = ("heap", "live")

    def __init__(self) -> None:
        self.heap: list[_Entry[B]] = []
        self.live = 0


class _Tie(Generic[B]):
    """Members as busy as each other for their weight, stepping one smooth round robin."""

    __slots__ = ("ranks", "size", "steps", "total")

    def __init__(self) -> None:
        self.ranks: dict[int, _Rank[B]] = {}
        self.size = 0
        self.steps = 0
        self.total = 0

    def __len__(self) -> int:
        return self.size


class WeightedLeastConnections(Membership[B]):
    """The lowest in-flight / weight; the safe default.

    It counts what it is told by ``started`` and ``finished``.  Ties are broken by one step of
    smooth weighted round robin among the tied, whose credits only such steps move: pick by pick
    the sequence of nginx 1.22's ``least_conn``, so an idle pool is served by weight.

    ``rule="sed"`` compares (in-flight + 1) / weight, the shortest expected delay of IPVS: at low
    load only the heaviest are picked, which is right where weight means speed.

    >>> lb = WeightedLeastConnections({"a": 3, "b": 1})
    >>> "".join(lb.pick() for _ in range(4))
    'aaba'
    >>> for backend in "aab":
    ...     lb.started(backend)
    >>> lb.pick()
    'a'

    Cost: ``pick`` O(d + log n), d the distinct weights among the tied; ``started``, ``finished``
    and a flip O(log n) amortised; with ``avoid`` O(avoided · log n) more.  A weight with more
    decimal places than any before costs O(n log n), once.
    Raises InvalidSetting for another rule.
    """

    keyed = False
    fractional = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] = (),
        *,
        rule: Literal["wlc", "sed"] = "wlc",
    ) -> None:
        if rule not in {"wlc", "sed"}:
            raise InvalidSetting(f"rule must be 'wlc' or 'sed', not {rule!r}")
        self._ahead = int(rule == "sed")
        self._decimals = 0
        self._serial = 0
        self._members: dict[B, _Member[B]] = {}
        self._ties: Ties[_Tie[B]] = Ties(_Tie)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give one with the lowest in-flight / weight; O(d + log n).  Raises NoBackendAvailable."""
        if avoid:
            return self._pick_but(checked_avoid(avoid))
        tie = self._ties.least
        if not tie.size:
            if not self._open:
                raise self.refusal()
            tie = self._ties.first()
        steps, most = tie.steps + 1, -inf
        best: _Entry[B] | None = None
        best_heap: list[_Entry[B]] = []
        for gain, rank in tie.ranks.items():
            heap = rank.heap
            if heap:
                entry = heap[0]
                while entry[2].entry is not entry:
                    heappop(heap)
                    entry = heap[0]
                credit = gain * steps - entry[0]
                if credit > most or (credit == most and best and entry[1] < best[1]):
                    most, best, best_heap = credit, entry, heap
        if best is None:
            raise self.refusal()
        member = best[2]
        if tie.size > 1:
            tie.steps = steps
            member.entry = entry = (best[0] + tie.total, best[1], member)
            heapreplace(best_heap, entry)
        return member.backend

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more; O(log n) amortised.  A stranger is ignored."""
        member = self._members.get(backend)
        if member is None:
            return
        if member.entry is None:
            member.count += 1
        else:
            self._leave(member, member.entry)
            member.count += 1
            self._join(member)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; O(log n) amortised.  A stranger, or one more than began, is ignored."""
        member = self._members.get(backend)
        if member is None or not member.count:
            return
        if member.entry is None:
            member.count -= 1
        else:
            self._leave(member, member.entry)
            member.count -= 1
            self._join(member)

    def _leave(self, member: _Member[B], entry: _Entry[B]) -> None:
        """Take a member out of its tie, its credit made out."""
        tie, rank, gain = member.tie, member.rank, member.gain
        member.credit = gain * tie.steps - entry[0]
        member.entry = None
        tie.size -= 1
        tie.total -= gain
        rank.live -= 1
        if not rank.live:
            rank.heap.clear()

    def _join(self, member: _Member[B]) -> None:
        """Put a member into the tie of those as busy."""
        busy = (member.count + self._ahead) / member.weight
        tie = self._ties.by_rank.get(busy)
        if tie is None:
            tie = self._ties.at(busy, len(self._members))
        gain = member.gain
        tie.size += 1
        tie.total += gain
        rank = tie.ranks.get(gain)
        if rank is None:
            rank = self._new_rank(tie, gain)
        rank.live += 1
        member.tie, member.rank = tie, rank
        member.entry = entry = (gain * tie.steps - member.credit, member.serial, member)
        heappush(rank.heap, entry)
        if len(rank.heap) > 2 * rank.live + 8:
            rank.heap = [old for old in rank.heap if old[2].entry is old]
            heapify(rank.heap)

    def _new_rank(self, tie: _Tie[B], gain: int) -> _Rank[B]:
        if len(tie.ranks) > 2 * tie.size + 8:
            tie.ranks = {known: rank for known, rank in tie.ranks.items() if rank.live}
        rank = tie.ranks[gain] = _Rank()
        return rank

    def _pick_but(self, avoid: Collection[B]) -> B:
        members = [member for b in set(avoid) if (member := self._members.get(b)) is not None]
        shut = [(member, member.entry) for member in members if member.entry is not None]
        if len(shut) == self._open:
            raise self.refusal()
        for member, entry in shut:
            self._leave(member, entry)
        chosen = self.pick()
        for member, _ in shut:
            self._join(member)
        return chosen

    def update_index(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._members[backend] = _Member(backend, self._serial)
            self._serial += 1
        member = self._members[backend]
        if member.entry is not None:
            self._leave(member, member.entry)
        if new is None:
            del self._members[backend]
            return
        decimals = decimals_of(new)
        if decimals > self._decimals:
            self._refine(decimals)
        member.gain = units(new, self._decimals)
        member.weight = new
        if new:
            self._join(member)

    def _refine(self, decimals: int) -> None:
        """Count all gains and credits in a smaller unit."""
        times = int(10 ** (decimals - self._decimals))
        self._decimals = decimals
        members = self._members.values()
        opened = [(member, member.entry) for member in members if member.entry is not None]
        for member, entry in opened:
            self._leave(member, entry)
        for member in members:
            member.gain *= times
            member.credit *= times
        for member, _ in opened:
            self._join(member)

    def __getstate__(self) -> dict[str, Any]:
        """Give plain rows, credits made out: ties are as deep as they are many."""
        rows: list[tuple[object, ...]] = []
        for member in self._members.values():
            credit = member.credit
            if member.entry is not None:
                credit = member.gain * member.tie.steps - member.entry[0]
            rows.append(
                (member.backend, member.serial, member.count, credit, member.gain, member.weight)
            )
        return {**self.__dict__, "_ties": None, "_members": rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _ties=Ties(_Tie), _members={})
        for backend, serial, count, credit, gain, weight in state["_members"]:
            member = self._members[backend] = _Member(backend, serial)
            member.count, member.credit, member.gain, member.weight = count, credit, gain, weight
            if weight:
                self._join(member)

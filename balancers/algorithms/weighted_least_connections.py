"""Weighted least connections: the fewest requests in flight for its weight."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, Literal, TypeVar

from balancers.algorithms.credits import decimals_of, units
from balancers.algorithms.ties import Ties
from balancers.balancer import Key
from balancers.errors import InvalidSetting
from balancers.lease import SUCCESS, Outcome
from balancers.membership import Membership, checked_avoid

__all__ = ["WeightedLeastConnections"]

B = TypeVar("B")


class _Rank(Generic[B]):
    """The members of one gain in one tie: a heap, most credit first, then first listed.

    An entry is (gain · steps - credit, serial, backend): true however far the tie has stepped.
    """

    __slots__ = ("heap", "live")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, B]] = []
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
        self._serials: dict[B, int] = {}
        self._counts: dict[B, int] = {}
        self._gains: dict[B, int] = {}
        self._credits: dict[B, int] = {}  # of the members in no tie: the quiesced
        self._entries: dict[B, tuple[int, int, B]] = {}  # of the others; any other entry is stale
        self._ties: Ties[_Tie[B]] = Ties(_Tie)
        super().__init__(backends)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Give one with the lowest in-flight / weight; O(d + log n).  Raises NoBackendAvailable."""
        if avoid:
            return self._pick_but(checked_avoid(avoid))
        tie = self._ties.least
        if not tie.size:
            if not self._open:
                raise self._refusal()
            tie = self._ties.first()
        steps, most, entries = tie.steps + 1, 0, self._entries
        best: tuple[int, int, B] | None = None
        best_heap: list[tuple[int, int, B]] = []
        for gain, rank in tie.ranks.items():
            heap = rank.heap
            entry = heap[0]
            while entries.get(entry[2]) is not entry:
                heappop(heap)
                entry = heap[0]
            credit = gain * steps - entry[0]
            if best is None or credit > most or (credit == most and entry[1] < best[1]):
                most, best, best_heap = credit, entry, heap
        if best is None:
            raise self._refusal()
        backend = best[2]
        if tie.size > 1:
            tie.steps = steps
            entry = entries[backend] = (best[0] + tie.total, best[1], backend)
            heapreplace(best_heap, entry)
        return backend

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count one more; O(log n) amortised.  A stranger is ignored."""
        count = self._counts.get(backend)
        if count is not None:
            self._count(backend, count, count + 1)

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count one less; O(log n) amortised.  A stranger, or one more than began, is ignored."""
        count = self._counts.get(backend)
        if count:
            self._count(backend, count, count - 1)

    def _count(self, backend: B, old: int, new: int) -> None:
        if backend in self._entries:
            weight = self._weights[backend]
            self._leave(backend, (old + self._ahead) / weight)
            self._join(backend, (new + self._ahead) / weight)
        self._counts[backend] = new

    def _leave(self, backend: B, busy: float) -> None:
        """Take an open member out of its tie, its credit made out."""
        tie = self._ties.at(busy, len(self._counts))
        gain = self._gains[backend]
        self._credits[backend] = gain * tie.steps - self._entries.pop(backend)[0]
        tie.size -= 1
        tie.total -= gain
        rank = tie.ranks[gain]
        rank.live -= 1
        if not rank.live:
            del tie.ranks[gain]

    def _join(self, backend: B, busy: float) -> None:
        """Put a member into the tie of those as busy."""
        tie = self._ties.at(busy, len(self._counts))
        gain = self._gains[backend]
        credit = self._credits.pop(backend)
        entry = self._entries[backend] = (
            gain * tie.steps - credit,
            self._serials[backend],
            backend,
        )
        tie.size += 1
        tie.total += gain
        rank = tie.ranks.get(gain)
        if rank is None:
            rank = tie.ranks[gain] = _Rank()
        rank.live += 1
        if len(rank.heap) > 2 * rank.live + 8:
            rank.heap = [old for old in rank.heap if self._entries.get(old[2]) is old]
            heapify(rank.heap)
        heappush(rank.heap, entry)

    def _busy(self, backend: B, weight: float) -> float:
        return (self._counts[backend] + self._ahead) / weight

    def _pick_but(self, avoid: Collection[B]) -> B:
        shut = {backend for backend in avoid if backend in self._entries}
        if len(shut) == self._open:
            raise self._refusal()
        for backend in shut:
            self._leave(backend, self._busy(backend, self._weights[backend]))
        chosen = self.pick()
        for backend in shut:
            self._join(backend, self._busy(backend, self._weights[backend]))
        return chosen

    def _weigh(self, backend: B, old: float | None, new: float | None) -> None:
        if old is None:
            self._serials[backend] = self._serial
            self._serial += 1
            self._counts[backend] = self._credits[backend] = 0
        if old:
            self._leave(backend, self._busy(backend, old))
        if new is None:
            for known in (self._serials, self._counts, self._gains, self._credits):
                del known[backend]
            return
        decimals = decimals_of(new)
        if decimals > self._decimals:
            self._refine(decimals)
        self._gains[backend] = units(new, self._decimals)
        if new:
            self._join(backend, self._busy(backend, new))

    def _refine(self, decimals: int) -> None:
        """Count all gains and credits in a smaller unit."""
        times = 10 ** (decimals - self._decimals)
        members = {backend: self._weights[backend] for backend in self._entries}
        for backend, weight in members.items():
            self._leave(backend, self._busy(backend, weight))
        self._gains = {backend: gain * times for backend, gain in self._gains.items()}
        self._credits = {backend: credit * times for backend, credit in self._credits.items()}
        self._decimals = decimals
        for backend, weight in members.items():
            self._join(backend, self._busy(backend, weight))

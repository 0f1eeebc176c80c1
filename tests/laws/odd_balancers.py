"""Right but unusual balancers: each keeps the contracts of ``balancers.balancer`` in its own way.

They are written from papers and programs, and none is an idea that the package uses.  The laws
must pass every one of them.  The keyed ones are in ``odd_keyed``.
"""

import heapq
from bisect import bisect_right
from collections import OrderedDict, deque
from fractions import Fraction
from itertools import accumulate
from math import gcd, log
from operator import itemgetter
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from balancers import SUCCESS, Balancer, NoBackendAvailable, RoundRobin
from balancers.errors import InvalidSetting
from balancers.membership import Membership, checked_avoid
from tests.laws.odd import Odd, eligible, right_weight

__all__ = ["ODD_BALANCERS"]

_BITS = (1 << 64) - 1
_LONGEST_STRIDE = 1e300  # that of the smallest weights would be infinite
_REQUEST = 1 << 48  # the price of a request in credits of DeficitRoundRobin


class Stride:
    """Passes in a heap: the member whose virtual time is the earliest is next.

    A member that is quiesced keeps what is left of its stride, and gets it back when it returns.
    """

    __slots__ = ("_clock", "_heap", "_left", "_rank", "_weights", "taken")
    keyed = False
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[Any, float] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._left: dict[Any, float] = {}  # of the quiesced, in strides
        self._rank: dict[Any, int] = {}
        self._clock = 0.0

    @property
    def weights(self) -> Any:
        return MappingProxyType(self._weights)

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        old = self._weights.get(backend)
        if old == weight:
            return
        if old is None:
            self._rank[backend] = max(self._rank.values(), default=0) + 1
            left = 1.0
        else:
            left = self._take(backend, old)
        self._weights[backend] = weight
        if weight:
            due = self._clock + min(left / weight, _LONGEST_STRIDE)
            heapq.heappush(self._heap, (due, self._rank[backend], backend))
        else:
            self._left[backend] = left

    def _take(self, backend: Any, old: float) -> float:
        if not old:
            return self._left.pop(backend)
        at = next(number for number, entry in enumerate(self._heap) if entry[2] == backend)
        due, _, _ = self._heap.pop(at)
        heapq.heapify(self._heap)
        return max(0.0, (due - self._clock) * old)

    def discard(self, backend: Any) -> None:
        if backend in self._weights:
            self._take(backend, self._weights.pop(backend))
            del self._rank[backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        eligible(self._weights, avoid)
        passed: list[tuple[float, int, Any]] = []
        while self._heap[0][2] in avoid:
            passed.append(heapq.heappop(self._heap))
        due, rank, backend = self._heap[0]
        self._clock = max(self._clock, due)
        stride = min(1 / self._weights[backend], _LONGEST_STRIDE)
        following = (due + stride, rank, backend)
        heapq.heapreplace(self._heap, following)
        for entry in passed:
            heapq.heappush(self._heap, entry)
        if self._clock > 2.0**20:
            self._rebase()
        return backend

    def _rebase(self) -> None:
        self._heap = [(due - self._clock, rank, b) for due, rank, b in self._heap]
        heapq.heapify(self._heap)
        self._clock = 0.0

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class FenwickLottery(Membership[Any]):
    """Tickets in a binary indexed tree, redrawn when the winner is avoided."""

    fractional = True

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._order: list[Any] = []
        self._tree: list[float] = [0.0]
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        weights: dict[Any, Any] = {**self.weights, backend: new}
        self._order = [b for b, weight in weights.items() if weight]
        self._tree = [0.0] * (len(self._order) + 1)
        for number, b in enumerate(self._order, 1):
            at = number
            while at < len(self._tree):
                self._tree[at] += weights[b]
                at += at & -at

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        avoid = checked_avoid(avoid)
        left = [b for b in self._order if b not in avoid]
        if not left:
            raise self.refusal()
        total = sum(self.weights.values())
        for _ in range(32):
            winner = self._order[self._holder(self._rng.random() * total)]
            if winner not in avoid:
                return winner
        return self._rng.choices(left, [self.weights[b] for b in left])[0]

    def _holder(self, ticket: float) -> int:
        at, step = 0, 1 << len(self._order).bit_length()
        while step:
            further = at + step
            if further < len(self._tree) and self._tree[further] <= ticket:
                at = further
                ticket -= self._tree[at]
            step >>= 1
        return min(at, len(self._order) - 1)


class DeficitRoundRobin:
    """Every round gives each member credit by its weight, and a request has a price in credits.

    The heaviest eligible member gets that price in each round, so a pick needs one round.
    """

    keyed = False
    fractional = True

    def __init__(self) -> None:
        self._weights: dict[Any, float] = {}
        self._credit: dict[Any, int] = {}
        self._turns: deque[Any] = deque()

    @property
    def weights(self) -> Any:
        return MappingProxyType(self._weights)

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        if backend not in self._weights:
            self._turns.append(backend)
            self._credit[backend] = 0
        self._weights[backend] = weight

    def discard(self, backend: Any) -> None:
        if backend in self._weights:
            del self._weights[backend], self._credit[backend]
            self._turns.remove(backend)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        open_ones = set(eligible(self._weights, avoid))
        heaviest = Fraction(max(self._weights[b] for b in open_ones))
        while True:
            head = self._turns[0]
            if head in open_ones and self._credit[head] >= _REQUEST:
                self._credit[head] -= _REQUEST
                return head
            self._turns.rotate(-1)
            head = self._turns[0]
            if head in open_ones:
                self._credit[head] += int(Fraction(self._weights[head]) * _REQUEST / heaviest)

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class GoldenRatio(Membership[Any]):
    """A point walks round the unit interval by the golden ratio, over stretches by weight."""

    fractional = True

    def __init__(self) -> None:
        self._point = 0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        self._point = (self._point + 0x9E3779B97F4A7C15) & _BITS
        ends = list(accumulate(Fraction(self.weights[b]) for b in left))
        return left[bisect_right(ends, ends[-1] * self._point / (1 << 64))]


class SortedCredits(Balancer[Any]):
    """The list of credits is sorted again at each pick, in exact fractions: slow and smooth."""

    fractional = True

    def __init__(self) -> None:
        self._members: list[list[Any]] = []  # backend, weight, credit

    @property
    def weights(self) -> Any:
        return {backend: weight for backend, weight, _ in self._members}

    def put(self, backend: Any, weight: float = 1) -> None:
        hash(backend)
        weight = right_weight(weight)
        for member in self._members:
            if member[0] == backend:
                member[1] = weight
                return
        self._members.append([backend, weight, Fraction(0)])

    def discard(self, backend: Any) -> None:
        self._members = [member for member in self._members if member[0] != backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        members = [member for member in self._members if member[0] in left]
        for member in members:
            member[2] += Fraction(member[1])
        members.sort(key=itemgetter(2), reverse=True)
        members[0][2] -= sum(Fraction(member[1]) for member in members)
        return members[0][0]


class ShortestQueue(Membership[Any]):
    """All members sorted by their queue, and then by who has waited the longest for a turn."""

    def __init__(self) -> None:
        self._queue: dict[Any, int] = {}
        self._turn: dict[Any, int] = {}
        self._turns = 0
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self._queue[backend] = 0
            self._take_turn(backend)
        elif new is None:
            del self._queue[backend], self._turn[backend]

    def _take_turn(self, backend: Any) -> None:
        self._turns += 1
        self._turn[backend] = self._turns

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, checked_avoid(avoid))
        left.sort(key=lambda b: (self._queue[b], self._turn[b]))
        self._take_turn(left[0])
        return left[0]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._queue:
            self._queue[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self._queue.get(backend, 0) > 0:
            self._queue[backend] -= 1


class JoinIdleQueue(Membership[Any]):
    """The member that has been idle the longest, or any one at random while all are busy."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._busy: dict[Any, int] = {}
        self._idle: OrderedDict[Any, None] = OrderedDict()
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self._busy[backend] = 0
            self._idle[backend] = None
        elif new is None:
            del self._busy[backend]
            self._idle.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        for backend in self._idle:
            if backend in left:
                self._idle.move_to_end(backend)
                return backend
        return self._rng.choice(left)

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._busy:
            self._busy[backend] += 1
            self._idle.pop(backend, None)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self._busy.get(backend, 0) > 0:
            self._busy[backend] -= 1
            if not self._busy[backend]:
                self._idle[backend] = None


class PeakLatency(Membership[Any]):
    """The least of peak latency times queue.  A slow member is asked again from time to time.

    Latencies that nobody measured count as the mean of the others.  Failures count as slow.
    """

    half_life = 10.0

    def __init__(self) -> None:
        self._queue: dict[Any, int] = {}
        self._latency: dict[Any, tuple[float, float]] = {}
        self._turn: dict[Any, int] = {}
        self._turns = 0
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self._queue[backend] = 0
            self._turn[backend] = self._turns
        elif new is None:
            del self._queue[backend], self._turn[backend]
            self._latency.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        self._turns += 1
        longest = min(left, key=self._turn.__getitem__)
        if self._turns - self._turn[longest] > 4 * len(left):
            self._turn[longest] = self._turns
            return longest
        measured = [self._latency[b][0] for b in left if b in self._latency]
        mean = sum(measured) / len(measured) if measured else 1.0

        def cost(backend: Any) -> tuple[float, int]:
            latency = self._latency.get(backend, (mean, 0.0))[0]
            return latency * (self._queue[backend] + 1), self._turn[backend]

        best = min(left, key=cost)
        self._turn[best] = self._turns
        return best

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._queue:
            self._queue[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if not self._queue.get(backend):
            return
        self._queue[backend] -= 1
        if outcome.elapsed is None or outcome.ok is None:
            return
        sample = outcome.elapsed if outcome.ok else max(outcome.elapsed, 5.0)
        old, then = self._latency.get(backend, (sample, now))
        keep = 0.5 ** (max(0.0, now - then) / self.half_life)
        peak = sample if sample > old else old * keep + sample * (1 - keep)
        self._latency[backend] = (peak, max(now, then))


class FractionLeastConnections(Membership[Any]):
    """Least in flight for the weight, compared as exact fractions; ties by the oldest turn."""

    def __init__(self) -> None:
        self._state: dict[Any, list[int]] = {}
        self._turns = 0
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            del self._state[backend]
        elif old is None:
            self._turns += 1
            self._state[backend] = [0, self._turns]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        def load(backend: Any) -> tuple[Fraction, int]:
            in_flight, turn = self._state[backend]
            return Fraction(in_flight) / Fraction(self.weights[backend]), turn

        best = min(eligible(self.weights, avoid), key=load)
        self._turns += 1
        self._state[best][1] = self._turns
        return best

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._state:
            self._state[backend][0] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self._state and self._state[backend][0]:
            self._state[backend][0] -= 1


class ChoicesWithMemory(Membership[Any]):
    """Two random members and the best of last time; among equals a fresh one wins."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._counts: dict[Any, int] = {}
        self._memory: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        self._memory = [b for b in self._memory if b != backend]
        if new is None:
            del self._counts[backend]
        else:
            self._counts.setdefault(backend, 0)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        fresh = self._rng.sample(left, min(2, len(left)))
        known = [b for b in self._memory if b in left and b not in fresh]
        ranked = sorted([*fresh, *known], key=self._counts.__getitem__)
        self._memory = ranked[1:2]
        return ranked[0]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._counts:
            self._counts[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self._counts:
            self._counts[backend] = max(0, self._counts[backend] - 1)


class ShuffledCycles(Membership[Any]):
    """Each cycle is a new random permutation of the members; who joins waits for the next one."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._coming: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            self._coming = [b for b in self._coming if b != backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        chosen = next((b for b in self._coming if b in left), None)
        if chosen is None:
            self._coming = list(self.weights)
            self._rng.shuffle(self._coming)
            chosen = next(b for b in self._coming if b in left)
        self._coming.remove(chosen)
        return chosen


class MetropolisWalk(Membership[Any]):
    """A random walk whose stationary shares are the weights; the next pick depends on the last."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._at: Any = None
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if not new and self._at == backend:
            self._at = None

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        proposed = self._rng.choice(left)
        chance = self._rng.random()
        if self._at not in left or chance * self.weights[self._at] < self.weights[proposed]:
            self._at = proposed
        return self._at


class StickyRandom:
    """Stays with one member for a while: each pick moves on with one chance in four."""

    keyed = fractional = False

    def __init__(self, rng: Random) -> None:
        self.weights: dict[Any, float] = {}
        self.rng = rng
        self.current: list[Any] = []

    def put(self, backend: Any, weight: float = 1) -> None:
        self.weights[backend] = right_weight(weight)

    def discard(self, backend: Any) -> None:
        self.weights.pop(backend, None)
        if backend in self.current:
            self.current = []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        moves = self.rng.random() < 1 / 4
        if moves or not self.current or self.current[0] not in left:
            self.current = [self.rng.choice(left)]
        return self.current[0]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None: ...

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None: ...


class CongruentialOrder(Membership[Any]):
    """Slots in the order of a generator of full period (Hull and Dobell), holes skipped.

    As with any fixed order, a backend that leaves does not move the others.
    """

    def __init__(self) -> None:
        self._slots: list[Any] = []
        self._state = 0
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            if None in self._slots:
                self._slots[self._slots.index(None)] = [backend]
            else:
                self._slots.append([backend])
        elif new is None:
            self._slots[self._slots.index([backend])] = None

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        period = max(4, 1 << (len(self._slots) - 1).bit_length())
        while True:
            self._state = (5 * self._state + 3) % period
            slot = self._slots[self._state] if self._state < len(self._slots) else None
            if slot and slot[0] in left:
                return slot[0]


class Delegating:
    """Wraps another balancer, counts its picks and passes on everything else."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.picks = 0
        self.keyed = inner.keyed
        self.fractional = inner.fractional

    @property
    def weights(self) -> Any:
        return self.inner.weights

    def put(self, *arguments: Any, **named: Any) -> None:
        self.inner.put(*arguments, **named)

    def discard(self, *arguments: Any, **named: Any) -> None:
        self.inner.discard(*arguments, **named)

    def started(self, *arguments: Any, **named: Any) -> None:
        self.inner.started(*arguments, **named)

    def finished(self, *arguments: Any, **named: Any) -> None:
        self.inner.finished(*arguments, **named)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = self.inner.pick(key=key, now=now, avoid=avoid)
        self.picks += 1
        return picked


def delegating_round_robin() -> Any:
    return Delegating(RoundRobin[Any]())


class _Queue(NamedTuple):
    """The state of ``FrozenQueue`` between two calls."""

    order: tuple[Any, ...] = ()
    weights: tuple[tuple[Any, float], ...] = ()


class FrozenQueue:
    """One immutable state, replaced as a whole; the first eligible one goes to the end."""

    keyed = False
    fractional = False

    def __init__(self) -> None:
        self.state = _Queue()

    @property
    def weights(self) -> Any:
        return MappingProxyType(dict(self.state.weights))

    def put(self, backend: Any, weight: float = 1) -> None:
        weights = {**dict(self.state.weights), backend: right_weight(weight)}
        order = self.state.order if backend in self.state.order else (*self.state.order, backend)
        self.state = _Queue(order, tuple(weights.items()))

    def discard(self, backend: Any) -> None:
        self.state = _Queue(
            tuple(b for b in self.state.order if b != backend),
            tuple((b, weight) for b, weight in self.state.weights if b != backend),
        )

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(dict(self.state.weights), avoid)
        chosen = next(b for b in self.state.order if b in left)
        rest = (*(b for b in self.state.order if b != chosen), chosen)
        self.state = self.state._replace(order=rest)
        return chosen

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class EventSourced:
    """Keeps every call that ever changed it; a copy is made by reading the history again."""

    keyed = fractional = False

    def __init__(self) -> None:
        self.history: list[tuple[Any, ...]] = []
        self._forget_state()

    def _forget_state(self) -> None:
        self._weights: dict[Any, float] = {}
        self._counts: dict[Any, int] = {}
        self._waiting: dict[Any, None] = {}

    def _record(self, *event: Any) -> None:
        self._apply(*event)
        self.history.append(event)

    def _apply(self, what: str, backend: Any, amount: Any = None) -> None:
        if what == "put":
            self._weights[backend] = amount
            self._counts.setdefault(backend, 0)
            self._waiting.setdefault(backend)
        elif what == "discard":
            for state in (self._weights, self._counts, self._waiting):
                state.pop(backend, None)
        elif what == "count":
            self._counts[backend] += amount
        else:
            self._waiting[backend] = self._waiting.pop(backend)

    def __getstate__(self) -> Any:
        return {"history": self.history}

    def __setstate__(self, state: Any) -> None:
        self.history = list(state["history"])
        self._forget_state()
        for event in self.history:
            self._apply(*event)

    @property
    def weights(self) -> Any:
        return MappingProxyType(self._weights)

    def put(self, backend: Any, weight: float = 1) -> None:
        hash(backend)
        self._record("put", backend, right_weight(weight))

    def discard(self, backend: Any) -> None:
        self._record("discard", backend)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible({b: self._weights[b] for b in self._waiting}, avoid)
        least = min(left, key=self._counts.__getitem__)
        self._record("pick", least)
        return least

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._counts:
            self._record("count", backend, 1)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self._counts.get(backend):
            self._record("count", backend, -1)


class CounterRandom(Membership[Any]):
    """Random numbers from a counter (SplitMix64), so the whole state is a seed and a number."""

    fractional = True

    def __init__(self, rng: Random) -> None:
        self._seed = rng.getrandbits(64)
        self._drawn = 0
        super().__init__()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._restored(self._seed, self._drawn, dict(self.weights))

    def __reduce__(self) -> Any:
        return type(self)._restored, (self._seed, self._drawn, dict(self.weights))

    @classmethod
    def _restored(cls, seed: int, drawn: int, weights: Any) -> Any:
        restored = cls(Random(0))
        restored._seed, restored._drawn = seed, drawn
        for backend, weight in weights.items():
            restored.put(backend, weight)
        return restored

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        self._drawn += 1
        mixed = (self._seed + self._drawn * 0x9E3779B97F4A7C15) & _BITS
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _BITS
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _BITS
        ends = list(accumulate(float(self.weights[b]) for b in left))
        at = bisect_right(ends, (mixed ^ mixed >> 31) / 2**64 * ends[-1])
        return left[min(at, len(left) - 1)]


class ExponentialRace(Membership[Any]):
    """Every member draws a waiting time by its weight, and the first one wins."""

    fractional = True

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        return min(left, key=lambda b: -log(1.0 - self.rng.random()) / self.weights[b])


class DealtCards(Membership[Any]):
    """A pack with as many cards a member as its rounded weight, dealt out at random to the end."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._cards: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        self._cards = {}

    def _pack(self) -> dict[Any, int]:
        whole = {b: max(1, round(weight)) for b, weight in self.weights.items() if weight}
        common = gcd(*whole.values())
        return {b: cards // common for b, cards in whole.items()}

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        if not any(self._cards.get(b) for b in left):
            self._cards = self._pack()
        at = self._rng.randrange(sum(self._cards.get(b, 0) for b in left))
        for backend in left:
            at -= self._cards.get(backend, 0)
            if at < 0:
                self._cards[backend] -= 1
                return backend
        raise AssertionError("the cards of the left are fewer than their sum")


class BitMask:
    """Sixteen places in one integer: the next set bit after the last pick."""

    __slots__ = ("_names", "_next", "_order", "_places", "_weights")
    keyed = False
    fractional = False
    places = 16

    def __init__(self) -> None:
        self._names: list[Any] = [None] * self.places
        self._places: dict[Any, int] = {}
        self._weights: dict[Any, float] = {}
        self._next = 0

    @property
    def weights(self) -> Any:
        return MappingProxyType(self._weights)

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        if backend not in self._places:
            free = [p for p in range(self.places) if p not in self._places.values()]
            if not free:
                raise InvalidSetting("all sixteen places are taken")
            self._places[backend] = free[0]
            self._names[free[0]] = backend
        self._weights[backend] = weight

    def discard(self, backend: Any) -> None:
        if backend in self._places:
            del self._weights[backend]
            self._names[self._places.pop(backend)] = None

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        mask = sum(1 << self._places[b] for b in eligible(self._weights, avoid))
        later = mask & -(1 << self._next)
        lowest = (later or mask) & -(later or mask)
        place = lowest.bit_length() - 1
        self._next = (place + 1) % self.places
        return self._names[place]

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        return

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        return


class OldestRequest(Balancer[Any]):
    """Remembers when each request started, and prefers fewer, then younger, requests.

    ``finished`` does not say which request ended, so it is taken to be the oldest.
    """

    def __init__(self) -> None:
        self._members: dict[Any, tuple[float, list[float]]] = {}
        self._last: list[Any] = []

    @property
    def weights(self) -> Any:
        return {backend: weight for backend, (weight, _) in self._members.items()}

    def put(self, backend: Any, weight: float = 1) -> None:
        weight = right_weight(weight)
        _, starts = self._members.get(backend, (0, []))
        self._members[backend] = (weight, starts)
        if backend not in self._last:
            self._last.append(backend)

    def discard(self, backend: Any) -> None:
        if self._members.pop(backend, None) is not None:
            self._last.remove(backend)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        def age(backend: Any) -> tuple[int, int]:
            return len(self._members[backend][1]), self._last.index(backend)

        chosen = min(eligible(self.weights, avoid), key=age)
        self._last.remove(chosen)
        self._last.append(chosen)
        return chosen

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._members:
            self._members[backend][1].append(now)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self._members and self._members[backend][1]:
            self._members[backend][1].remove(min(self._members[backend][1]))


class QuadraticTurns(Membership[Any]):
    """Counts, for each pair, who is ahead; the one that is ahead of nobody is next: O(n²) a pick.

    Joining costs O(n) and leaving O(n²).
    """

    def __init__(self) -> None:
        self._ahead: dict[tuple[Any, Any], bool] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            for other in self.weights:
                self._ahead[backend, other] = True
                self._ahead[other, backend] = False
        elif new is None:
            self._ahead = {
                pair: is_so for pair, is_so in self._ahead.items() if backend not in pair
            }

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        behind = {b: sum(self._ahead[b, other] for other in left if other != b) for b in left}
        chosen = min(left, key=behind.__getitem__)
        for other in self.weights:
            if other != chosen:
                self._ahead[chosen, other] = True
                self._ahead[other, chosen] = False
        return chosen


class LookAgain(Membership[Any]):
    """Refuses nothing early: it scans a linked ring, and stops where it began."""

    def __init__(self) -> None:
        self._following: dict[Any, Any] = {}
        self._last: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            if not self._last:
                self._last = [backend]
            before = next(
                (b for b, after in self._following.items() if after == self._last[0]), backend
            )
            self._following[before] = backend
            self._following[backend] = self._last[0]
        elif new is None:
            before = next(b for b, after in self._following.items() if after == backend)
            self._following[before] = self._following[backend]
            del self._following[backend]
            if self._last == [backend]:
                self._last = [before] if before != backend else []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        avoid = checked_avoid(avoid)
        if not self._last:
            raise NoBackendAvailable("empty")
        at = self._last[0]
        for _ in self.weights:
            at = self._following[at]
            if self.weights[at] and at not in avoid:
                self._last = [at]
                return at
        raise self.refusal()


class HalfMemory(Membership[Any]):
    """Least connections by halves: the busier half of the members is left out, then turns."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._turns = 0
        self._turn: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self._counts[backend] = 0
            self._turns += 1
            self._turn[backend] = self._turns
        elif new is None:
            del self._counts[backend], self._turn[backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, avoid)
        middle = sorted(self._counts[b] for b in left)[(len(left) - 1) // 2]
        quiet = [b for b in left if self._counts[b] <= middle]
        chosen = min(quiet, key=self._turn.__getitem__)
        self._turns += 1
        self._turn[chosen] = self._turns
        return chosen

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self._counts:
            self._counts[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self._counts.get(backend):
            self._counts[backend] -= 1


class LeastRecentlyUsed(Membership[Any]):
    """The member that was picked the longest ago.  A new one has never been picked: it is first."""

    def __init__(self) -> None:
        self._picked: dict[Any, int] = {}
        self._picks = 0
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            self._picked.pop(backend, None)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        chosen = min(eligible(self.weights, avoid), key=lambda b: self._picked.get(b, 0))
        self._picks += 1
        self._picked[chosen] = self._picks
        return chosen


class ShortestExpectedDelay(ShortestQueue):
    """The lowest (queue + 1) / weight: while all are idle, only the heaviest members are picked."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = eligible(self.weights, checked_avoid(avoid))
        left.sort(key=lambda b: ((self._queue[b] + 1) / self.weights[b], self._turn[b]))
        self._take_turn(left[0])
        return left[0]


WALDSPURGER = "C. A. Waldspurger, Lottery and Stride Scheduling, MIT, 1995"

ODD_BALANCERS = [
    Odd(Stride, WALDSPURGER, ("weighted",)),
    Odd(FenwickLottery, f"{WALDSPURGER}; P. Fenwick 1994", ("weighted", "random")),
    Odd(DeficitRoundRobin, "M. Shreedhar, G. Varghese, SIGCOMM 1995", ("weighted",)),
    Odd(GoldenRatio, "V. Sós 1957; D. Knuth, volume 3, Fibonacci hashing", ("weighted",)),
    Odd(
        SortedCredits, "R. Tijdeman, The chairman assignment problem, 1980", ("weighted", "smooth")
    ),
    Odd(ShortestQueue, "W. Winston 1977; Mesos' offers, sorted", ("least_loaded", "rotating")),
    Odd(ShortestExpectedDelay, "LVS sed", ("least_loaded", "rotating")),
    Odd(LeastRecentlyUsed, "replacement of pages; Finagle's probe of a new member"),
    Odd(JoinIdleQueue, "Y. Lu and others, Join-Idle-Queue, Performance 2011"),
    Odd(PeakLatency, "Finagle's peak EWMA; Kong's mean for what is not measured"),
    Odd(FractionLeastConnections, "LVS wlc, without its integers", ("least_loaded",)),
    Odd(ChoicesWithMemory, "M. Mitzenmacher, B. Prabhakar, D. Shah, FOCS 2002"),
    Odd(ShuffledCycles, "Ribbon's and Cassandra's shuffled plans, one a cycle", ("rotating",)),
    Odd(MetropolisWalk, "N. Metropolis and others 1953", ()),
    Odd(StickyRandom, "DNS clients that keep an answer for its time to live"),
    Odd(CongruentialOrder, "T. Hull, A. Dobell 1962; masscan's order of addresses", ("rotating",)),
    Odd(delegating_round_robin, "decorators of Spring Cloud LoadBalancer", ("rotating",)),
    Odd(FrozenQueue, "gRPC's pickers, which are immutable", ("rotating",)),
    Odd(EventSourced, "event sourcing", ("least_loaded", "rotating")),
    Odd(CounterRandom, "J. Salmon and others, SC 2011; SplitMix64", ("weighted", "random")),
    Odd(ExponentialRace, "P. Efraimidis, P. Spirakis 2006", ("weighted", "random")),
    Odd(DealtCards, "a pack of cards; hypergeometric draws", ("weighted",), weights="whole"),
    Odd(BitMask, "Linux' find_next_bit over CPU masks", ("rotating",), max_members=16),
    Odd(OldestRequest, "AWS' least outstanding requests, with ages", ("least_loaded", "rotating")),
    Odd(QuadraticTurns, "the matrix of LRU caches", ("rotating",)),
    Odd(LookAgain, "the ring of LVS rr, a linked list", ("rotating",)),
    Odd(HalfMemory, "Prequal's hot and cold halves, by counts"),
]

"""Rows for weighted balancers with few members, compared with the plainest code."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from balancers import PowerOfTwoChoices, WeightedLeastConnections, WeightedRoundRobin
from tests.benchmarks.floors import attribute, names, weights
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]

Request = Callable[[], str]
PLAIN_SIZES = (3, 4, 10)


class PlainLeastConn:
    """The scan of nginx 1.22 in the plainest Python: compare all, then one step among the tied."""

    def __init__(self, weights: dict[str, float]) -> None:
        self.peers = list(weights)
        self.weights = [int(weight) for weight in weights.values()]
        self.counts = dict.fromkeys(weights, 0)
        self.current_weights = [0] * len(weights)

    def pick(self) -> str:
        counts, weights = self.counts, self.weights
        best, count, weight, tied = 0, counts[self.peers[0]], weights[0], False
        for index, peer in enumerate(self.peers):
            if index:
                ours, theirs = counts[peer] * weight, count * weights[index]
                if ours < theirs:
                    best, count, weight, tied = index, counts[peer], weights[index], False
                elif ours == theirs:
                    tied = True
        return self._step(best, count, weight) if tied else self.peers[best]

    def _step(self, first: int, count: int, weight: int) -> str:
        current_weights, total, best = self.current_weights, 0, first
        for index in range(first, len(self.peers)):
            if self.counts[self.peers[index]] * weight == count * self.weights[index]:
                current_weights[index] += self.weights[index]
                total += self.weights[index]
                if index == first or current_weights[index] > current_weights[best]:
                    best = index
        current_weights[best] -= total
        return self.peers[best]

    def started(self, peer: str) -> None:
        self.counts[peer] += 1

    def finished(self, peer: str) -> None:
        self.counts[peer] -= 1


class PlainSmooth:
    """The scan of nginx's round robin in the plainest Python."""

    def __init__(self, weights: dict[str, float]) -> None:
        self.weights = {peer: int(weight) for peer, weight in weights.items()}
        self.current_weights = dict.fromkeys(weights, 0)

    def pick(self) -> str:
        current_weights, best, total = self.current_weights, None, 0
        for peer, weight in self.weights.items():
            current_weights[peer] += weight
            total += weight
            if best is None or current_weights[peer] > current_weights[best]:
                best = peer
        assert best is not None
        current_weights[best] -= total
        return best


class PlainTwoChoices:
    """Two different indices, and the less busy peer, in the plainest Python."""

    def __init__(self, peers: list[str], rng: Random) -> None:
        self.peers = peers
        self.counts = dict.fromkeys(peers, 0)
        self.rng = rng

    def pick(self) -> str:
        first, second = self.rng.sample(self.peers, 2)
        return second if self.counts[second] < self.counts[first] else first

    def started(self, peer: str) -> None:
        self.counts[peer] += 1


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for n, reach in ((3, 35), (4, 35), (10, 60), (16, 90), (17, 90)):
        for loaded in (False, True):
            name = f"WeightedLeastConnections, few, {'loaded' if loaded else 'idle'}"
            yield Row(name, n, "U", reach, partial(_least, n, loaded, plain=False))
            if n in PLAIN_SIZES:
                yield Row(name, n, "the plain scan", 1.25, partial(_least, n, loaded, plain=True))
    for n in PLAIN_SIZES:
        yield Row("WeightedRoundRobin.pick, few", n, "the plain scan", 1, partial(_smooth, n))
        yield Row("PowerOfTwoChoices.pick, few", n, "the plain sample", 1, partial(_two, n))


def _least(n: int, loaded: bool, plain: bool) -> tuple[Run, Run]:
    """Time pick, start and end of a request; if loaded, the oldest of three per backend ends."""
    in_flight = 3 * n if loaded else 0
    ours = _requests(WeightedLeastConnections(weights(n)), in_flight)
    theirs = _requests(PlainLeastConn(weights(n)), in_flight)
    assert [ours() for _ in range(5 * n)] == [theirs() for _ in range(5 * n)]
    return repeated(ours), repeated(theirs) if plain else attribute()


def _requests(lb: WeightedLeastConnections[str] | PlainLeastConn, in_flight: int) -> Request:
    pick, started, finished = lb.pick, lb.started, lb.finished
    running: deque[str] = deque()
    for _ in range(in_flight):
        running.append(pick())
        started(running[-1])

    def request() -> str:
        backend = pick()
        started(backend)
        finished(backend)
        return backend

    def request_under_load() -> str:
        backend = pick()
        started(backend)
        running.append(backend)
        finished(running.popleft())
        return backend

    return request_under_load if in_flight else request


def _smooth(n: int) -> tuple[Run, Run]:
    ours, theirs = WeightedRoundRobin(weights(n)), PlainSmooth(weights(n))
    rounds = range(2 * int(sum(weights(n).values())))
    assert [ours.pick() for _ in rounds] == [theirs.pick() for _ in rounds]
    return repeated(ours.pick), repeated(theirs.pick)


def _two(n: int) -> tuple[Run, Run]:
    """Compare with equal weights, because ``random.sample`` has no weights."""
    ours, theirs = PowerOfTwoChoices(names(n), rng=Random(1)), PlainTwoChoices(names(n), Random(1))
    busy = names(n)[0]
    for lb in (ours, theirs):
        lb.started(busy)
        assert {lb.pick() for _ in range(100 * n)} == {*names(n)} - {busy}
    return repeated(ours.pick), repeated(theirs.pick)

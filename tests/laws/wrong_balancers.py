"""Plausible but wrong balancers, each caught by the law that is named for it.

Most are bugs that real programs had; "bug 7" is the number in the list of bugs of other programs.
The balancers that pick by key are in ``wrong_keyed``.
"""

import random
from collections import Counter, deque
from fractions import Fraction
from itertools import cycle
from random import Random
from time import monotonic
from typing import Any, ClassVar

from balancers import SUCCESS, NoBackendAvailable
from balancers.errors import InvalidWeight
from balancers.membership import Membership, checked_avoid
from tests.laws.wrong import wrong_balancer


class Turns(Membership[Any]):
    """Right: the first eligible one of a queue goes to its end.  Most below change one method."""

    def __init__(self) -> None:
        self.queue: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if old is None:
            self.queue.append(backend)
        elif new is None:
            self.queue.remove(backend)

    def left(self, avoid: Any) -> list[Any]:
        avoid = checked_avoid(avoid)
        left = [b for b in self.queue if self.weights[b] and b not in avoid]
        if not left:
            raise self.refusal()
        return left

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return self.turn_of(self.left(avoid)[0])

    def turn_of(self, backend: Any) -> Any:
        self.queue.remove(backend)
        self.queue.append(backend)
        return backend


class Counts(Turns):
    """Right: least connections; ties by turns."""

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is None:
            self.counts[backend] = 0
        elif new is None:
            del self.counts[backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return self.turn_of(min(self.left(avoid), key=self.counts.__getitem__))

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self.counts:
            self.counts[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.counts.get(backend):
            self.counts[backend] -= 1


class Credits(Turns):
    """Right: nginx's smooth weighted round robin."""

    fractional = True

    def __init__(self) -> None:
        self.credit: dict[Any, Fraction] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is None:
            self.credit[backend] = Fraction(0)
        elif new is None:
            del self.credit[backend]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        for backend in left:
            self.credit[backend] += Fraction(self.weights[backend])
        best = max(left, key=self.credit.__getitem__)
        self.credit[best] -= sum(Fraction(self.weights[b]) for b in left)
        return best


class Draws(Turns):
    """Right: random by weight."""

    fractional = True

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return self.rng.choices(left, [self.weights[b] for b in left])[0]


# picks_only_eligible_backends


@wrong_balancer("picks_only_eligible_backends")
class AvoidsOneOnly(Turns):
    """Looks once past an avoided backend; the next may be avoided too.  Bug 41: Envoy's retries."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.left(avoid)
        left = [b for b in self.queue if self.weights[b]]
        return self.turn_of(left[0] if left[0] not in avoid else left[-1])


@wrong_balancer("picks_only_eligible_backends", "random")
class StaleTable(Draws):
    """The table is made again when members join or leave, not when a weight changes.  Bug 2."""

    def __init__(self, rng: Random) -> None:
        self.table: list[Any] = []
        super().__init__(rng)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is None or new is None:
            self.table = []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.left(avoid)
        self.table = self.table or self.left(())
        left = [b for b in self.table if b not in avoid]
        return self.rng.choice(left or self.left(avoid))


@wrong_balancer("picks_only_eligible_backends")
class LastPickStays(Turns):
    """Remembers the last pick for the next call, also when it has left.  Bug 38."""

    def __init__(self) -> None:
        self.last: list[Any] = []
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        if len(self.last) == 2:
            return self.last.pop()
        self.last.append(picked)
        return picked


@wrong_balancer("picks_only_eligible_backends")
class FiveMembersOfAvoid(Turns):
    """Looks at the first four avoided backends only, as a fixed array of tries has place for."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.left(avoid)
        return super().pick(avoid=list(avoid)[:4])


# refuses_exactly_when_none_is_eligible


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class TheOnlyMemberAlways(Turns):
    """A pool of one member needs no choice, so its weight is not asked.  Bug 25, the other way."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        checked_avoid(avoid)
        return self.queue[0] if len(self.queue) == 1 else super().pick(avoid=avoid)


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class PanicsAlone(Turns):
    """Picks an avoided backend when all are avoided.  Bugs 32 and 41."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        checked_avoid(avoid)
        try:
            return super().pick(avoid=avoid)
        except NoBackendAvailable:
            return super().pick()


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class GivesUpEarly(Draws):
    """Draws four times, and refuses if all four are closed.  HAProxy 2.4's random with tries."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        for _ in range(4):
            picked = self.rng.choice(self.queue)
            if picked in left:
                return picked
        raise self.refusal()


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class IndexPastTheEnd(Turns):
    """The index stays when the list becomes shorter.  redis-py 8.1.0, ``get_server_index``."""

    def __init__(self) -> None:
        self.index = 0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        picked = left[self.index]
        self.index = (self.index + 1) % len(left)
        return picked


@wrong_balancer("refuses_exactly_when_none_is_eligible", "weighted")
class WholeTotal(Credits):
    """Refuses if the sum of the weights is 0 as a whole number.  Bug 45."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        if not int(sum(self.weights[b] for b in left)):
            raise self.refusal()
        return super().pick(avoid=avoid)


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class EmptyIsIndexError(Turns):
    """An empty balancer raises IndexError."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        checked_avoid(avoid)
        if not self.queue:
            return self.queue[0]
        return super().pick(avoid=avoid)


@wrong_balancer("refuses_exactly_when_none_is_eligible")
class RefusesWithNone(Turns):
    """Returns None instead of raising when everyone is avoided.  Bug 14's clients saw 503s."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        try:
            return super().pick(avoid=avoid)
        except NoBackendAvailable:
            if avoid and self.weights:
                return None
            raise


# refuses_in_bounded_work


@wrong_balancer("refuses_in_bounded_work")
class TurnsForever(Turns):
    """Turns until one is usable.  Bug 13: Traefik pull request 13511."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        checked_avoid(avoid)
        if not any(self.weights.values()):
            raise self.refusal()
        while True:
            backend = self.turn_of(self.queue[0])
            if self.weights[backend] and backend not in avoid:
                return backend


@wrong_balancer("refuses_in_bounded_work")
class DrawsForever(Draws):
    """Draws again while the drawn one is quiesced; all may be."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        checked_avoid(avoid)
        if not set(self.queue) - set(avoid):
            raise self.refusal()
        while True:
            backend = self.rng.choice(self.queue)
            if self.weights[backend] and backend not in avoid:
                return backend


# leaves_its_arguments_alone


@wrong_balancer("leaves_its_arguments_alone")
class TriedIsFilled(Turns):
    """Appends the pick to the caller's list of what was tried.  Bug 41's remedy, misplaced."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        if type(avoid) is list:
            avoid.append(picked)  # pyright: ignore[reportUnknownMemberType]  # a list of anything
        return picked


@wrong_balancer("leaves_its_arguments_alone")
class TriedIsUsedUp(Turns):
    """Removes what it has skipped from a set of the caller's."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        if isinstance(avoid, set):
            avoid.intersection_update(self.queue)
        return picked


@wrong_balancer("leaves_its_arguments_alone")
class ListsOnly(Turns):
    """Understands lists and tuples only; a set or a dict avoids nothing."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.left(avoid)
        return super().pick(avoid=avoid if isinstance(avoid, list | tuple | set) else ())


@wrong_balancer("is_a_balancer")
class JoinsOnlyWithWeight(Turns):
    """A backend that joins with the weight 0 is no member."""

    def put(self, backend: Any, weight: float = 1) -> None:
        if weight or backend in self.weights:
            super().put(backend, weight)


@wrong_balancer("a_flip_keeps_the_others_places", "least_loaded")
class QuiescedIsIdle(Counts):
    """A backend that is quiesced loses its requests in flight.  Bugs 29 and 40."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new == 0:
            self.counts[backend] = 0


# put_again_changes_nothing


@wrong_balancer("put_again_changes_nothing")
class PutGoesLast(Turns):
    """Every ``put`` moves the backend to the end."""

    def put(self, backend: Any, weight: float = 1) -> None:
        super().put(backend, weight)
        self.turn_of(backend)


@wrong_balancer("put_again_changes_nothing", "weighted", "smooth")
class PutStartsAgain(Credits):
    """Every ``put`` makes all credits anew.  Bug 1: openresty/lua-resty-balancer#47."""

    def put(self, backend: Any, weight: float = 1) -> None:
        super().put(backend, weight)
        self.credit = dict.fromkeys(self.credit, Fraction(0))


@wrong_balancer("put_again_changes_nothing", "least_loaded")
class PutClearsTheCount(Counts):
    """A repeated ``put`` inserts the backend anew, with no requests in flight.  Bug 40."""

    def put(self, backend: Any, weight: float = 1) -> None:
        super().put(backend, weight)
        self.counts[backend] = 0


# last_put_wins


@wrong_balancer("last_put_wins", "weighted", "smooth")
class WeightStaysAsItWas(Credits):
    """A new weight is noticed only when a backend opens or closes.  Bug 2: envoy#14360."""

    def __init__(self) -> None:
        self.used: dict[Any, float] = {}
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if not old or not new:
            self.used[backend] = new or 0

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        for backend in left:
            self.credit[backend] += Fraction(self.used[backend])
        best = max(left, key=self.credit.__getitem__)
        self.credit[best] -= sum(Fraction(self.used[b]) for b in left)
        return best


@wrong_balancer("last_put_wins", "weighted")
class HighestWeightStays(Draws):
    """Keeps the highest weight that was put, as a table that only grows does."""

    def __init__(self, rng: Random) -> None:
        self.highest: dict[Any, float] = {}
        super().__init__(rng)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        self.highest[backend] = 0 if new is None else max(new, self.highest.get(backend, 0))

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return self.rng.choices(left, [self.highest[b] for b in left])[0]


# discard_forgets


@wrong_balancer("discard_forgets", "least_loaded")
class CountsOutliveMembers(Counts):
    """A backend that comes back has the requests of before.  Bugs 40 and 43."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        Turns.update_index(self, backend, old, new)
        self.counts.setdefault(backend, 0)


@wrong_balancer("discard_forgets", "weighted")
class OldWeightsLinger(Draws):
    """The sum of the weights keeps that of a backend that left; its share goes to the last one."""

    def __init__(self, rng: Random) -> None:
        self.total = 0.0
        super().__init__(rng)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if new is not None:
            self.total += new - (old or 0)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        at = self.rng.random() * self.total
        for backend in left:
            at -= self.weights[backend]
            if at < 0:
                return backend
        return left[-1]


# copies_and_pickles_go_on_alike


@wrong_balancer("copies_and_pickles_go_on_alike")
class SharedTurn(Turns):
    """The turn belongs to the class, so that all balancers share it."""

    turn: ClassVar[list[int]] = [0]

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        self.turn[0] += 1
        return left[self.turn[0] % len(left)]


@wrong_balancer("copies_and_pickles_go_on_alike")
class CycleOfItertools(Turns):
    """A generator holds the place; no generator can be copied.  roundrobin 0.1."""

    def __init__(self) -> None:
        self.places = (place for place in cycle(range(1 << 20)))
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return left[next(self.places) % len(left)]


@wrong_balancer("copies_and_pickles_go_on_alike", "least_loaded")
class CopiesStartAtZero(Counts):
    """A pickle holds the members only, so that the counts of a copy begin at 0."""

    def __getstate__(self) -> Any:
        return {**self.__dict__, "counts": dict.fromkeys(self.counts, 0)}


@wrong_balancer("copies_and_pickles_go_on_alike")
class CopiesShareTheQueue(Turns):
    """A deep copy refers to the same queue."""

    def __deepcopy__(self, memo: Any) -> Any:
        copied = type(self)()
        for backend, weight in self.weights.items():
            copied.put(backend, weight)
        copied.queue = self.queue
        return copied


# hash_order_decides_nothing


@wrong_balancer("hash_order_decides_nothing")
class TurnsOfASet(Turns):
    """Turns go round a set.  Bug 21; cassandra-driver 3.30, ``RoundRobinPolicy``."""

    def __init__(self) -> None:
        self.turn = -1
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = list(set(self.left(avoid)))
        self.turn += 1
        return left[self.turn % len(left)]


@wrong_balancer("hash_order_decides_nothing", "least_loaded")
class TiesByHash(Counts):
    """Equal counts are ordered by ``hash()``.  Bug 21."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return min(self.left(avoid), key=lambda b: (self.counts[b], hash(b)))


# touches_no_clock_and_no_global_random


@wrong_balancer("touches_no_clock_and_no_global_random")
class GlobalRandom(Turns):
    """Draws from the global generator.  elastic-transport's ``RandomSelector``."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return random.choice(self.left(avoid))


@wrong_balancer("touches_no_clock_and_no_global_random")
class ReadsTheClock(Counts):
    """Notes when a request began by its own clock.  Bugs 36 and 42."""

    def __init__(self) -> None:
        self.began: dict[Any, float] = {}
        super().__init__()

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        super().started(backend, now, bound)
        self.began[backend] = monotonic()


@wrong_balancer("touches_no_clock_and_no_global_random")
class ShufflesAtFirst(Turns):
    """Only the first pick draws: a random place to begin, so that clients are not in step."""

    def __init__(self) -> None:
        self.begun = False
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.left(avoid)
        if not self.begun:
            random.shuffle(self.queue)
            self.begun = True
        return super().pick(avoid=avoid)


# started_and_finished_cancel


@wrong_balancer("started_and_finished_cancel", "least_loaded")
class FailuresLeak(Counts):
    """A request that fails or is cancelled is never uncounted.  Bug 40."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if outcome.ok:
            super().finished(backend, outcome, now)


@wrong_balancer("started_and_finished_cancel", "least_loaded")
class CancelledLeak(Counts):
    """A request with an unknown outcome is never uncounted.  Bug 40."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if outcome.ok is not None:
            super().finished(backend, outcome, now)


@wrong_balancer("never_strictly_busier", "least_loaded")
class BoundCountOnce(Counts):
    """Bound requests are not counted when they start, but when they end.  Bug 39."""

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if not bound:
            super().started(backend, now, bound)


@wrong_balancer("started_and_finished_cancel", "least_loaded")
class BelowZero(Counts):
    """An end without a start counts to -1.  LiteLLM's least-busy rule."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if backend in self.counts:
            self.counts[backend] -= 1


@wrong_balancer("started_and_finished_cancel", "least_loaded")
class QuiescedLeak(Counts):
    """The end of a request is ignored while its backend is quiesced.  Bug 40."""

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.weights.get(backend):
            super().finished(backend, outcome, now)


# pick_counts_nothing


@wrong_balancer("pick_counts_nothing", "least_loaded")
class PickCounts(Counts):
    """A pick counts as a request that has started."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        self.counts[picked] += 1
        return picked


@wrong_balancer("pick_counts_nothing", "least_loaded")
class PickCountsBoundDoes(Counts):
    """A pick counts the request, and ``started`` counts only those that were not picked."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        self.counts[picked] += 1
        return picked

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if bound:
            super().started(backend, now, bound)


# no_backend_starves


@wrong_balancer("no_backend_starves")
class FirstMinimumWins(Counts):
    """The first of the least busy in the list, always.  LiteLLM's least-busy rule."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = [b for b in self.weights if b in self.left(avoid)]
        return min(left, key=self.counts.__getitem__)


@wrong_balancer("no_backend_starves", "weighted", "smooth")
class RebuildStartsAtTheHeaviest(Credits):
    """Any change makes the credits anew, and then the heaviest is first.  Bug 1: envoy#31378."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        self.credit = dict.fromkeys(self.credit, Fraction(0))


@wrong_balancer("no_backend_starves")
class NewcomersFirst(Turns):
    """Who joins has the next three turns; if one member joins often, nobody else is ever picked."""

    def __init__(self) -> None:
        self.owed: list[Any] = []
        super().__init__()

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is None or new is None:
            self.owed = [backend] * 3 if old is None else []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        for backend in self.owed:
            if backend in left:
                self.owed.remove(backend)
                return backend
        return self.turn_of(left[0])


@wrong_balancer("no_backend_starves")
class PauseStartsAgain(Turns):
    """After five seconds without a pick, the turns begin at the first member again."""

    def __init__(self) -> None:
        self.last = 0.0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        if now - self.last > 5:
            self.queue = [*self.weights]
        self.last = now
        return self.turn_of(self.left(avoid)[0])


@wrong_balancer("no_backend_starves")
class NeverTheLast(Draws):
    """One off: the last of the list is never drawn, unless it is alone."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return left[self.rng.randrange(max(1, len(left) - 1))]


# once_in_n, after many picks


@wrong_balancer("once_in_n", "rotating")
class HundredthPickTurnsRound(Turns):
    """The hundredth pick reverses the queue."""

    def __init__(self) -> None:
        self.picks = 0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.picks += 1
        if self.picks == 100:
            self.queue.reverse()
        return self.turn_of(self.left(avoid)[0])


# refuses_bad_weights, and what is left of a refused member


@wrong_balancer("refuses_bad_weights")
class HalfAMember(Turns):
    """A new member gets its place in the queue before its weight is checked."""

    def put(self, backend: Any, weight: float = 1) -> None:
        if backend not in self.weights:
            self.queue.append(backend)
        super().put(backend, weight)

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if new is None:
            self.queue.remove(backend)

    def left(self, avoid: Any) -> list[Any]:
        avoid = checked_avoid(avoid)
        left = [b for b in self.queue if self.weights.get(b) and b not in avoid]
        if not left:
            raise self.refusal()
        return left


# is_a_balancer


@wrong_balancer("is_a_balancer")
class WholeWeightsAreShown(Turns):
    """The weights are shown as whole numbers, unless they are below 1."""

    @property
    def weights(self) -> Any:
        return {b: int(weight) if weight > 1 else weight for b, weight in self._weights.items()}


# a_flip_keeps_the_others_places


@wrong_balancer("a_flip_keeps_the_others_places", "rotating")
class FlipStartsAgain(Turns):
    """A flip sorts the queue in the order of joining."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is not None and new is not None:
            self.queue = list(self.weights)


@wrong_balancer("a_flip_keeps_the_others_places", "rotating")
class CursorOfTheOpen(Turns):
    """The cursor counts open members, so that a flip before it skips or repeats one.  Bug 12."""

    def __init__(self) -> None:
        self.cursor = 0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        self.cursor = (self.cursor + 1) % len(left)
        return left[self.cursor]


# refuses_bad_weights


@wrong_balancer("refuses_bad_weights")
class TakesNaN(Turns):
    """Compares with 0 only, so that NaN and infinity pass."""

    def put(self, backend: Any, weight: float = 1) -> None:
        if weight < 0:
            raise InvalidWeight(f"{weight} is negative")
        super().put(backend, weight if weight == weight and weight < 1e300 else 1)  # noqa: PLR0124 - a nan


@wrong_balancer("refuses_bad_weights")
class JoinsBeforeTheCheck(Turns):
    """The backend is in the queue before its weight is found to be wrong."""

    def put(self, backend: Any, weight: float = 1) -> None:
        if backend not in self.weights:
            super().put(backend, 1)
        super().put(backend, weight)


@wrong_balancer("refuses_bad_weights")
class AnotherError(Turns):
    """A bad weight is a ValueError of Python's."""

    def put(self, backend: Any, weight: float = 1) -> None:
        if not 0 <= weight < 1e300:
            raise ValueError(weight)
        super().put(backend, weight)


@wrong_balancer("refuses_bad_weights")
class NegativeIsClosed(Turns):
    """A negative weight counts as 0.  Kong's and nginx's 0 mean "off"; bug 31."""

    def put(self, backend: Any, weight: float = 1) -> None:
        super().put(backend, max(weight, 0))


# is_a_balancer


@wrong_balancer("is_a_balancer")
class AvoidsLetters(Turns):
    """A text is a collection of letters, so that ``avoid="abc"`` avoids a, b and c."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return super().pick(avoid=list(avoid))


@wrong_balancer("is_a_balancer")
class OtherOrderOfArguments(Turns):
    """``pick`` takes ``avoid`` first."""

    def pick(self, avoid: Any = (), key: Any = None, now: float = 0.0) -> Any:  # type: ignore[override]  # that is the bug
        return super().pick(avoid=avoid)


@wrong_balancer("is_a_balancer")
class UnsortedWeights(Turns):
    """The property ``weights`` has the members in the order of their turns."""

    @property
    def weights(self) -> Any:
        return {b: self._weights[b] for b in reversed(self._weights)}


@wrong_balancer("is_a_balancer")
class HidesTheQuiesced(Turns):
    """The property ``weights`` lacks the members with weight 0."""

    def left(self, avoid: Any) -> list[Any]:
        avoid = checked_avoid(avoid)
        left = [b for b in self.queue if self._weights[b] and b not in avoid]
        if not left:
            raise self.refusal()
        return left

    @property
    def weights(self) -> Any:
        return {b: weight for b, weight in self._weights.items() if weight}


@wrong_balancer("is_a_balancer")
class DiscardRaises(Turns):
    """``discard`` of a backend that is not a member raises KeyError."""

    def discard(self, backend: Any) -> None:
        if backend not in self.weights:
            raise KeyError(backend)
        super().discard(backend)


# shares_follow_weights


@wrong_balancer("shares_follow_weights", "weighted")
class WeightsAreIgnored(Draws):
    """All members have equal shares."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return self.rng.choice(self.left(avoid))


@wrong_balancer("shares_follow_weights", "weighted", "random")
class ShareOfTheClosed(Draws):
    """A closed member's share goes to the next one in the list.  Bug 12: Caddy, 10/1/1."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        at = self.rng.choices(range(len(self.queue)), [self.weights[b] or 1 for b in self.queue])[0]
        while self.queue[at] not in left:
            at = (at + 1) % len(self.queue)
        return self.queue[at]


@wrong_balancer("shares_follow_weights", "weighted", weights="whole")
class OneMoreCard(Draws):
    """``randint`` includes its end, so that the first member gets one ticket more.  Off by one."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        at = self.rng.randint(0, int(sum(self.weights[b] for b in left)))
        for backend in left:
            at -= int(self.weights[backend])
            if at < 0:
                return backend
        return left[0]


@wrong_balancer("shares_follow_weights", "weighted")
class AtMostTen(Draws):
    """Weights above 10 count as 10, as a table of fixed size cuts them.  Bug 15."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return self.rng.choices(left, [min(10, self.weights[b]) for b in left])[0]


# scale_free


@wrong_balancer("scale_free", "weighted")
class SmallWeightsVanish(Credits):
    """Weights are counted in whole units, at least one.  Bug 45: HAProxy, gRPC."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        units = {b: max(1, round(self.weights[b])) for b in left}
        for backend in left:
            self.credit[backend] += units[backend]
        best = max(left, key=self.credit.__getitem__)
        self.credit[best] -= sum(units.values())
        return best


@wrong_balancer("scale_free", "weighted", "random")
class AtLeastOneHundredth(Draws):
    """A member has at least a weight of 0.5."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        return self.rng.choices(left, [max(0.5, self.weights[b]) for b in left])[0]


# never_over_by_more_than_one


@wrong_balancer("never_over_by_more_than_one", "weighted", "smooth")
class Deadlines(Turns):
    """Earliest deadline first: right shares, but the heaviest comes many times at first.  Bug 1."""

    fractional = True

    def __init__(self) -> None:
        self.picked: Counter[Any] = Counter()
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        best = min(left, key=lambda b: Fraction(self.picked[b] + 1) / Fraction(self.weights[b]))
        self.picked[best] += 1
        return best


@wrong_balancer("never_over_by_more_than_one", "weighted", "smooth")
class Blocks(Turns):
    """As many picks in a row as the weight.  Bug 11: Caddy, Pingora, old Envoy."""

    fractional = True

    def __init__(self) -> None:
        self.again = 0.0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        if self.again < 1 or self.queue[-1] not in left:
            self.again += self.weights[left[0]]
            self.turn_of(left[0])
        self.again -= 1
        return self.queue[-1]


# once_in_n


@wrong_balancer("once_in_n", "rotating")
class RandomTurns(Draws):
    """Equal on average is not in turn."""


@wrong_balancer("once_in_n", "rotating")
class BackAndForth(Turns):
    """From the first to the last and back, so that both ends come twice."""

    def __init__(self) -> None:
        self.at, self.way = 0, 1
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        self.at += self.way
        if not 0 <= self.at < len(left):
            self.way = -self.way
            self.at = max(0, min(len(left) - 1, self.at))
        return left[self.at]


@wrong_balancer("once_in_n", "rotating")
class SkipsAfterFive(Turns):
    """With more than five members every sixth pick repeats the last one."""

    def __init__(self) -> None:
        self.picks = 0
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        self.picks += 1
        left = self.left(avoid)
        if len(left) > 5 and self.picks % 6 == 0:
            return left[-1]
        return super().pick(avoid=avoid)


# never_strictly_busier


@wrong_balancer("never_strictly_busier", "least_loaded")
class WithReplacement(Draws):
    """Draws two, which may be the same, and takes the less busy.  Bug 8: Envoy, gRPC, HAProxy."""

    def __init__(self, rng: Random) -> None:
        self.counts: Counter[Any] = Counter()
        super().__init__(rng)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return min(self.rng.choices(self.left(avoid), k=2), key=self.counts.__getitem__)

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if backend in self.weights:
            self.counts[backend] += 1

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.counts[backend]:
            self.counts[backend] -= 1

    def discard(self, backend: Any) -> None:
        super().discard(backend)
        self.counts.pop(backend, None)


@wrong_balancer("never_strictly_busier", "least_loaded")
class EarlierBestStay(Counts):
    """The list of the best is not cleared when a better one is found.  Bug 7: Caddy's HEAD."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        best: list[Any] = []
        lowest = 1 << 30
        for backend in self.left(avoid):
            if self.counts[backend] <= lowest:
                lowest = self.counts[backend]
                best.append(backend)
        return self.turn_of(best[0])


@wrong_balancer("never_strictly_busier", "least_loaded")
class BusyIsBusy(Counts):
    """Only idle and busy are told apart, as Join-Idle-Queue does."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        return self.turn_of(min(self.left(avoid), key=lambda b: min(1, self.counts[b])))


@wrong_balancer("never_strictly_busier", "least_loaded")
class BoundAreFree(Counts):
    """Requests of sessions are not counted at all.  Bug 39."""

    def __init__(self) -> None:
        self.bound: Counter[Any] = Counter()
        super().__init__()

    def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
        if bound:
            self.bound[backend] += 1
        else:
            super().started(backend, now, bound)

    def finished(self, backend: Any, outcome: Any = SUCCESS, now: float = 0.0) -> None:
        if self.bound[backend]:
            self.bound[backend] -= 1
        else:
            super().finished(backend, outcome, now)

    def discard(self, backend: Any) -> None:
        super().discard(backend)
        self.bound.pop(backend, None)


# ties_spread


@wrong_balancer("ties_spread", "least_loaded")
class TiesGoToTheFirst(Counts):
    """The first of the least busy in the list, always.  LiteLLM's least-busy rule."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = set(self.left(avoid))
        return min((b for b in self.weights if b in left), key=self.counts.__getitem__)


@wrong_balancer("ties_spread", "least_loaded")
class TiesByTwo(Counts):
    """Ties go to the first two in the list in turn."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        least = min(self.counts[b] for b in left)
        ties = [b for b in self.weights if b in left and self.counts[b] == least]
        return self.turn_of(min(ties[:2], key=self.queue.index))


# draws_have_their_distribution


@wrong_balancer("draws_have_their_distribution", "random", "weighted")
class BiasedSecondDraw(Draws):
    """Two draws, and a collision goes to the neighbour.  Bug 9: Traefik's p2c."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        first = self.rng.choices(range(len(left)), [self.weights[b] for b in left])[0]
        again = self.rng.choices(range(len(left)), [self.weights[b] for b in left])[0]
        return left[(first + 1) % len(left) if first == again else first]


@wrong_balancer("draws_have_their_distribution", "random", "weighted")
class NextAfterAvoided(Draws):
    """An avoided one's share goes to the next in the list.  Bug 12: local probing."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        open_ones = self.left(())
        at = self.rng.choices(range(len(open_ones)), [self.weights[b] for b in open_ones])[0]
        while open_ones[at] not in left:
            at = (at + 1) % len(open_ones)
        return open_ones[at]


# draws_are_independent


@wrong_balancer("draws_are_independent", "random", "weighted")
class EachDrawTwice(Draws):
    """Every draw is used for two picks."""

    def __init__(self, rng: Random) -> None:
        self.kept: list[float] = []
        super().__init__(rng)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        if self.kept:
            drawn = self.kept.pop()
        else:
            drawn = self.rng.random()
            self.kept.append(drawn)
        at = drawn * sum(self.weights[b] for b in left)
        for backend in left:
            at -= self.weights[backend]
            if at < 0:
                return backend
        return left[-1]


@wrong_balancer("draws_are_independent", "random", "weighted")
class NeverTwiceInARow(Draws):
    """Draws again, once, if the last pick comes again; the shares stay nearly right."""

    def __init__(self, rng: Random) -> None:
        self.last: deque[Any] = deque(maxlen=1)
        super().__init__(rng)

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        picked = super().pick(avoid=avoid)
        if picked in self.last:
            picked = super().pick(avoid=avoid)
        self.last.append(picked)
        return picked


# same_seed_same_picks_in_another_process


@wrong_balancer("same_seed_same_picks_in_another_process")
class StartsBySalt(Turns):
    """The place to begin is the salted hash of a name, so every process has another.  Bug 21."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        super().update_index(backend, old, new)
        if old is None:
            self.queue.sort(key=lambda b: hash(("place", str(b))))


# cost_of_a_pick


@wrong_balancer("cost_of_a_pick")
class Tombstones(Turns):
    """Backends that have left stay in the queue, and every pick skips them."""

    def update_index(self, backend: Any, old: float | None, new: float | None) -> None:
        if backend not in self.queue:
            self.queue.append(backend)

    def left(self, avoid: Any) -> list[Any]:
        avoid = checked_avoid(avoid)
        left: list[Any] = []
        for backend in self.queue:
            if self.weights.get(backend) and backend not in avoid:
                left.append(backend)  # noqa: PERF401 - the lines are counted
        if not left:
            raise self.refusal()
        return left


@wrong_balancer("cost_of_a_pick")
class ReadsItsHistory(Turns):
    """Finds the next one in the list of all picks that were ever made."""

    def __init__(self) -> None:
        self.history: list[Any] = []
        super().__init__()

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        last = dict.fromkeys(self.queue, -1)
        for number, backend in enumerate(self.history):
            if backend in last:
                last[backend] = number
        picked = min(self.left(avoid), key=last.__getitem__)
        self.history.append(picked)
        return picked


@wrong_balancer("cost_of_a_pick")
class SortsByComparing(Turns):
    """Compares each pair of members for each place in the order."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Any = ()) -> Any:
        left = self.left(avoid)
        order: list[Any] = []
        for _ in left:
            for first in left:
                ahead = 0
                for second in left:
                    if self.queue.index(second) < self.queue.index(first):
                        ahead += 1
                if ahead == len(order):
                    order.append(first)
                    break
        return self.turn_of(order[0])


# explains_what_acquire_does


@wrong_balancer("explains_what_acquire_does")
class CopyBeginsAgain(Turns):
    """A deep copy begins with the first backend again."""

    def __deepcopy__(self, memo: Any) -> Any:
        copied = type(self)()
        for backend, weight in self.weights.items():
            copied.put(backend, weight)
        return copied


# a_plan_takes_one_turn


@wrong_balancer("a_plan_takes_one_turn")
class PlansAreFree(Turns):
    """A plan takes no turn: all plans begin with the same backend."""

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[Any]:
        return self.left(avoid)[:n]


@wrong_balancer("a_plan_takes_one_turn")
class PlansTakeEveryTurn(Turns):
    """Each backend of a plan loses its turn."""

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[Any]:
        return [self.turn_of(backend) for backend in self.left(avoid)[:n]]


@wrong_balancer("a_plan_takes_one_turn", "least_loaded")
class PlansForgetTheLoads(Counts):
    """Only the first backend of a plan is the least busy one."""

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[Any]:
        others = self.left(avoid)
        first = self.pick(avoid=avoid)
        return [first, *(backend for backend in others if backend != first)][:n]


@wrong_balancer("a_plan_takes_one_turn", "random")
class PlansRepeat(Draws):
    """Backends are drawn for a plan with replacement."""

    def plan(self, n: int, key: Any = None, now: float = 0.0, avoid: Any = ()) -> list[Any]:
        first = self.pick(avoid=avoid)
        others = self.left(avoid)
        return [first, *(others[number % len(others)] for number in range(n - 1))]

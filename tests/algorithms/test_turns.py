"""Properties of round robin and least connections: cycles, turns, and ties that rotate."""

import pickle
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers import (
    ConnectionLimit,
    LeastConnections,
    NoBackendAvailable,
    Pool,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.depth import runs

NAMES = st.sampled_from("abcdefgh")


def picks(lb: RoundRobin[str] | LeastConnections[str], n: int) -> str:
    return "".join(lb.pick() for _ in range(n))


@given(st.lists(NAMES, min_size=1, unique=True), st.integers(0, 20))
def test_each_backend_is_picked_once_per_cycle_from_any_offset(
    members: list[str], offset: int
) -> None:
    lb = RoundRobin(members, offset=offset)
    for _ in range(3):
        assert Counter(picks(lb, len(members))) == Counter(members)
    rotated = members[offset % len(members) :] + members[: offset % len(members)]
    assert picks(RoundRobin(members, offset=offset), len(members)) == "".join(rotated)


def test_the_first_pick_is_the_first_added() -> None:
    lb: RoundRobin[str] = RoundRobin()
    for backend in "cab":
        lb.put(backend)
    assert picks(lb, 4) == "cabc"


def test_a_backend_that_leaves_is_skipped_and_no_other_gets_its_turn() -> None:
    lb = RoundRobin([*"abcd"])
    assert picks(lb, 2) == "ab"
    lb.put("c", 0)
    assert picks(lb, 4) == "dabd"
    lb.put("c", 1)
    assert picks(lb, 4) == "abcd"
    lb.discard("a")
    assert picks(lb, 4) == "bcdb"


def test_a_new_backend_joins_the_next_cycle() -> None:
    lb = RoundRobin([*"abc"])
    assert picks(lb, 1) == "a"
    lb.put("d")
    assert picks(lb, 6) == "bcabcd"


def test_a_reopened_backend_still_has_its_turn_in_this_cycle() -> None:
    lb = RoundRobin([*"abc"])
    lb.pick()
    lb.put("c", 0)
    lb.put("c", 1)
    assert picks(lb, 2) == "bc"


def test_an_avoided_backend_has_used_its_turn() -> None:
    lb = RoundRobin([*"abc"])
    assert lb.pick(avoid=["a"]) == "b"
    assert picks(lb, 4) == "cabc"


def test_a_refusal_uses_no_turn() -> None:
    lb = RoundRobin([*"abc"])
    lb.pick()
    with pytest.raises(NoBackendAvailable):
        lb.pick(avoid={"a", "b", "c"})
    assert picks(lb, 3) == "bca"


@given(
    st.lists(NAMES, unique=True, min_size=3),
    st.lists(
        st.one_of(
            st.tuples(st.just("pick"), NAMES),
            st.tuples(st.just("pick"), NAMES),
            st.tuples(st.just("flip"), NAMES),
            st.tuples(st.just("join"), NAMES),
            st.tuples(st.just("leave"), NAMES),
            st.tuples(st.just("avoid"), NAMES),
        ),
        min_size=50,
        max_size=150,
    ),
)
def test_a_backend_that_stays_open_waits_at_most_two_cycles(
    before: list[str], steps: list[tuple[str, str]]
) -> None:
    """At most 2·n picks, n the largest number of members in the meantime, whatever others do."""
    lb = RoundRobin([*before, "stays"])
    waited, members = 0, len(lb.weights)
    for action, name in steps:
        if action == "flip" and name in lb.weights:
            lb.put(name, 0 if lb.weights[name] else 1)
        elif action == "join":
            lb.put(name)
        elif action == "leave":
            lb.discard(name)
        elif action in {"pick", "avoid"}:
            chosen = lb.pick(avoid=[name] if action == "avoid" else [])
            waited = 0 if chosen == "stays" else waited + 1
            members = len(lb.weights) if chosen == "stays" else members
        members = max(members, len(lb.weights))
        assert waited < 2 * members


def test_a_backend_that_reopens_after_its_turn_waits_for_the_next_cycle() -> None:
    for members in (["t", "a"], [*"atb"], [*"abt"], [*"abcdeft"]):
        lb = RoundRobin(members)
        served: Counter[str] = Counter()
        for _ in range(60 * len(members)):
            lb.put("t", 0)
            lb.put("t", 1)
            served[lb.pick()] += 1
        assert served == dict.fromkeys(members, 60)


def test_many_backends_that_reopen_after_their_turns_wait_for_the_next_cycle() -> None:
    lb = RoundRobin([*"abcd"])
    assert picks(lb, 3) == "abc"
    for backend in "cab":
        lb.put(backend, 0)
    for backend in "bca":
        lb.put(backend, 1)
    assert picks(lb, 6) == "dabcda"


def test_a_backend_that_leaves_and_joins_again_gets_no_second_turn() -> None:
    lb = RoundRobin([*"tab"])
    assert picks(lb, 1) == "t"
    lb.discard("t")
    lb.put("t")
    assert picks(lb, 8) == "ababtabt"


@pytest.mark.parametrize("bound_to", "abc")
@pytest.mark.parametrize(
    "make", [RoundRobin, LeastConnections, WeightedRoundRobin, WeightedLeastConnections]
)
def test_a_limit_of_one_and_a_bound_request_between_leave_the_turns_even(
    make: Any, bound_to: str
) -> None:
    """The limit closes the picked backend, and opens it again before the next pick."""
    pool: Pool[str] = Pool(make([*"abc"]), [ConnectionLimit(1)])
    served, picked = Counter[str](), Counter[str]()
    for _ in range(300):
        lease = pool.acquire(0.0)
        bound = pool.acquire(0.0, prefer=bound_to)
        picked[lease.backend] += 1
        served.update((lease.backend, bound.backend))
        pool.release(lease, 0.0)
        pool.release(bound, 0.0)
    assert max(picked.values()) <= 160
    assert all(abs(served[b] - (300 if b == bound_to else 150)) <= 2 for b in "abc")


Action = tuple[str, tuple[str, ...]]


def act(lb: Any, action: Action) -> str | None:
    """Do one action, and return the backend that was picked, if one was."""
    name, backends = action
    if name == "pick":
        return cast("str", lb.pick(avoid=backends))
    for backend in backends:
        if name == "leave":
            lb.discard(backend)
        elif name == "flip":
            lb.put(backend, 0 if lb.weights[backend] else 1)
        else:
            lb.put(backend, 2 if lb.weights.get(backend) == 1 else 1)
    return None


class Wait:
    """How many picks "stays" waits, and how many it may wait."""

    def __init__(self, picks: int = 0, members: int = 1, joined: bool = False) -> None:
        self.picks = picks
        self.members = members
        """The largest number of members during the wait."""
        self.joined = joined
        """Whether "stays" was not picked since it joined."""

    def after(self, lb: Any, action: Action, chosen: str | None) -> "Wait":
        """Return the wait after an action."""
        members = len(lb.weights)
        if not lb.weights.get("stays") or chosen == "stays" or "stays" in action[1]:
            joins = action == ("join", ("stays",)) or (self.joined and chosen != "stays")
            return Wait(0, members, joins)
        return Wait(self.picks + (chosen is not None), max(self.members, members), self.joined)

    @property
    def most(self) -> int:
        """The promise: n - 1 picks of others, and twice as many before the first pick."""
        return max(0, self.members - 1) * (2 if self.joined else 1)


def turns_of(lb: RoundRobin[str]) -> tuple[object, ...]:
    """Return all that the next picks depend on."""
    lb = deepcopy(lb)
    lb._turn()
    return (
        lb._joining_serial > 0,
        *(
            (b, lb.weights[b] > 0, serial >= lb._joining_serial, serial <= lb._passed_serial)
            for b, serial in lb._serials.items()
        ),
    )


def possible_actions(lb: RoundRobin[str], others: str) -> Iterator[Action]:
    able = {b for b, weight in lb.weights.items() if weight}
    for avoid in ((), *((b,) for b in able)):
        if able - set(avoid):
            yield "pick", avoid
    for b in [*others, "stays"]:
        if b not in lb.weights:
            yield "join", (b,)
            continue
        yield "flip", (b,)
        yield "leave", (b,)


@pytest.mark.parametrize("others", ["a", "ab", pytest.param("abc", marks=pytest.mark.deep)])
def test_no_sequence_of_changes_makes_an_open_backend_wait_longer(others: str) -> None:
    """All sequences of any length: every state that can be reached is visited once."""
    waits = {False: 0, True: 0}
    seen = set[object]()
    reached: list[tuple[RoundRobin[str], Wait]] = [(RoundRobin(), Wait())]
    while reached:
        lb, wait = reached.pop()
        for action in possible_actions(lb, others):
            after = deepcopy(lb)
            longer = wait.after(after, action, act(after, action))
            assert longer.picks <= longer.most, (action, turns_of(lb))
            state = (turns_of(after), longer.picks, longer.members, longer.joined)
            if state not in seen:
                seen.add(state)
                waits[longer.joined] = max(waits[longer.joined], longer.picks)
                reached.append((after, longer))
    assert waits == {False: len(others), True: 2 * len(others)}, "the bounds are reached"


@pytest.mark.parametrize("seed", range(4))
def test_a_guided_search_finds_no_longer_wait(seed: int) -> None:
    """Change a sequence of actions at random; keep a change if "stays" does not wait less."""
    rng, others = Random(seed), "abcdef"

    def action() -> Action:
        name = rng.choice(["pick", "pick", "pick", "flip", "reweigh", "join", "leave", "pick"])
        some = rng.sample(
            [*others, "stays"] if name == "pick" else others, rng.choice([0, 1, 1, 3])
        )
        return name, tuple(some)

    def longest(sequence: list[Action]) -> float:
        lb = RoundRobin(["a", "b", "stays", "c"], offset=seed)
        wait, worst = Wait(members=4), 0.0
        for step in sequence:
            if step[0] != "pick" and step[0] != "join" and not lb.weights.keys() >= set(step[1]):
                continue
            if step[0] == "pick" and not {b for b, w in lb.weights.items() if w} - set(step[1]):
                continue
            wait = wait.after(lb, step, act(lb, step))
            assert wait.picks <= wait.most
            worst = max(worst, wait.picks / max(1, wait.most))
        return worst

    best = [action() for _ in range(80)]
    score = longest(best)
    for _ in range(runs(2000)):
        tried = best.copy()
        for _ in range(rng.randint(1, 4)):
            tried[rng.randrange(len(tried))] = action()
        if (found := longest(tried)) >= score:
            best, score = tried, found
    assert score == 1, "the search finds the longest wait"


def test_ties_of_least_connections_rotate() -> None:
    """A known bug elsewhere: the first backend in the list gets every request of an idle pool."""
    lb = LeastConnections([*"abcde"])
    assert Counter(picks(lb, 50)) == dict.fromkeys("abcde", 10)
    served: Counter[str] = Counter()
    for _ in range(50):
        chosen = lb.pick()
        lb.started(chosen)
        lb.finished(chosen)
        served[chosen] += 1
    assert served == dict.fromkeys("abcde", 10)


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=60), st.integers(1, 30))
def test_least_connections_balances_the_requests_that_start(
    history: list[tuple[str, bool]], more: int
) -> None:
    lb = LeastConnections([*"abcdefgh"])
    counts = Counter(dict.fromkeys("abcdefgh", 0))
    for name, begins in history:
        if begins:
            lb.started(name)
            counts[name] += 1
        else:
            lb.finished(name)
            counts[name] = max(0, counts[name] - 1)
    for _ in range(more):
        chosen = lb.pick()
        assert counts[chosen] == min(counts.values())
        lb.started(chosen)
        counts[chosen] += 1


class LongestWaiting:
    """Least connections in plain words: of the lowest count, the one that moved least recently."""

    def __init__(self, members: str) -> None:
        self.clock = 0
        self.open: dict[str, bool] = {}
        self.count: dict[str, int] = {}
        self.since: dict[str, int] = {}
        for member in members:
            self.put(member, 1)

    def moves_to_the_end(self, member: str) -> None:
        self.clock += 1
        self.since[member] = self.clock

    def put(self, member: str, weight: float) -> None:
        if member not in self.open:
            self.count[member] = 0
            self.moves_to_the_end(member)
        self.open[member] = weight > 0

    def discard(self, member: str) -> None:
        self.open.pop(member, None)

    def change(self, member: str, by: int) -> None:
        if member in self.open and self.count[member] + by >= 0:
            self.count[member] += by
            self.moves_to_the_end(member)

    def pick(self, avoid: tuple[str, ...] = ()) -> str | None:
        able = [b for b, is_open in self.open.items() if is_open and b not in avoid]
        chosen = min(able, key=lambda b: (self.count[b], self.since[b]), default=None)
        if chosen is not None:
            self.moves_to_the_end(chosen)
        return chosen


FEW = st.sampled_from("abcd")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["pick", "pick", "serve", "flip", "avoid"]), FEW),
            st.tuples(st.sampled_from(["flip", "start", "finish", "leave", "copy"]), FEW),
        ),
        max_size=120,
    )
)
@example([("pick", "a"), ("flip", "b"), ("flip", "b"), ("pick", "a")])
def test_least_connections_picks_the_longest_waiting_of_the_lowest_count(
    steps: list[tuple[str, str]],
) -> None:
    lb, plain = LeastConnections([*"abcd"]), LongestWaiting("abcd")
    for action, name in steps:
        if action == "flip":
            weight = 0 if lb.weights.get(name) else 1
            lb.put(name, weight)
            plain.put(name, weight)
        elif action == "leave":
            lb.discard(name)
            plain.discard(name)
        elif action in {"start", "finish"}:
            lb.started(name) if action == "start" else lb.finished(name)
            plain.change(name, 1 if action == "start" else -1)
        elif action == "copy":
            lb = deepcopy(lb) if name < "c" else pickle.loads(pickle.dumps(lb))  # noqa: S301 - our own bytes
        else:
            avoid = (name, "d") if action == "avoid" else ()
            expected = plain.pick(avoid)
            if expected is None:
                with pytest.raises(NoBackendAvailable):
                    lb.pick(avoid=avoid)
                continue
            assert lb.pick(avoid=avoid) == expected
            if action == "serve":
                lb.started(expected)
                plain.change(expected, 1)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
@pytest.mark.parametrize("period", [2, 3, 4, 5])
def test_a_backend_that_is_closed_at_regular_requests_is_served(n: int, period: int) -> None:
    """Its share of the requests during which it is open, at least."""
    members = [*"abcdef"[:n]]
    for phase in range(period):
        lb = LeastConnections(members)
        served: Counter[str] = Counter()
        rounds = 60 * n * period
        for step in range(rounds):
            lb.put(members[-1], int(step % period != phase))
            chosen = lb.pick()
            lb.started(chosen)
            lb.finished(chosen)
            served[chosen] += 1
        assert served[members[-1]] >= rounds * (1 - 1 / period) / n - 1
        assert max(served.values()) - min(served[b] for b in members[:-1]) <= 1


def test_least_connections_serves_a_backend_that_a_limit_closes_between() -> None:
    pool: Pool[str] = Pool(LeastConnections([*"abc"]), [ConnectionLimit(1)])
    served: Counter[str] = Counter()
    for step in range(900):
        bound = pool.acquire(0.0, prefer="c") if step % 3 == 2 else None
        lease = pool.acquire(0.0)
        served[lease.backend] += 1
        for each in (lease, bound):
            if each is not None:
                pool.release(each, 0.0)
    assert min(served.values()) >= 150


def test_many_backends_that_reopen_keep_their_places() -> None:
    lb = LeastConnections([*"abcdefgh"])
    assert picks(lb, 3) == "abc"
    for backend in "defgh":
        lb.put(backend, 0)
    assert picks(lb, 2) == "ab"
    for backend in "hfdge":
        lb.put(backend, 1)
    assert picks(lb, 16) == "defghcab" * 2


def test_avoided_backends_keep_their_places() -> None:
    lb = LeastConnections([*"abcd"])
    assert [lb.pick(avoid=["a", "b"]) for _ in range(3)] == ["c", "d", "c"]
    assert picks(lb, 8) == "abdcabdc"
    with pytest.raises(NoBackendAvailable, match="avoided"):
        lb.pick(avoid=[*"abcd", "x"])
    assert picks(lb, 4) == "abdc"

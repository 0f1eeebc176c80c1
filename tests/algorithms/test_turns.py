"""Properties of round robin and least connections: cycles, turns, and ties that rotate."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import LeastConnections, NoBackendAvailable, RoundRobin

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

"""Envoy's ROUND_ROBIN and LEAST_REQUEST against earliest deadline first, said plainly."""

from collections import Counter
from random import Random

import pytest

pytest.importorskip("xxhash")

from hypothesis import given
from hypothesis import strategies as st

from balancers import (
    NoBackendAvailable,
)
from balancers.interop.envoy import (
    LeastRequest,
    RoundRobin,
)
from tests.interop.envoy_rules import (
    Schedule,
)

HOSTS = st.sampled_from("abcdef")


@given(
    st.dictionaries(HOSTS, st.integers(1, 6), min_size=2, max_size=6),
    st.integers(0, 60),
    st.integers(0, 1 << 30),
    st.booleans(),
)
def test_a_schedule_is_the_plain_schedule_after_so_many_picks(
    weights: dict[str, int], phase: int, seed: int, counts: bool
) -> None:
    if len(set(weights.values())) == 1:
        weights[next(iter(weights))] += 1
    plain = Schedule(weights)
    for _ in range(phase):
        plain.pick()
    lb: RoundRobin[str] | LeastRequest[str] = RoundRobin(weights, phase=phase)
    if counts:
        lb = LeastRequest(weights, phase=phase, rng=Random(0))
    rng = Random(seed)
    held: list[str] = []
    for _ in range(120):
        while held and rng.random() < 0.45:
            host = held.pop(rng.randrange(len(held)))
            plain.active[host] -= counts
            lb.finished(host)
        avoid = {host for host in weights if rng.random() < 0.2}
        if len(avoid) < len(weights):
            host = lb.pick(avoid=avoid)
            assert host == plain.pick(avoid)
            lb.started(host)
            plain.active[host] += counts
            held.append(host)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=30))
def test_those_who_were_tried_wait_in_the_order_of_their_turns(
    rounds: list[tuple[int, int, bool]],
) -> None:
    weights = {"a": 12, "b": 12, "c": 1}
    lb, plain = LeastRequest(weights, rng=Random(0)), Schedule(weights)
    for a, b, tried in rounds:
        for host, count in (("a", a), ("b", b)):
            for _ in range(count - plain.active[host]):
                lb.started(host)
            for _ in range(plain.active[host] - count):
                lb.finished(host)
            plain.active[host] = count
        avoid = ["a", "b"] if tried else []
        assert lb.pick(avoid=avoid) == plain.pick(avoid)


def test_a_phase_of_four_hundred_million_costs_nothing() -> None:
    """A period is the sum of the weights, so the remainder of it is the same phase."""
    weights = {"a": 1, "b": 20, "c": 300}
    far, near = RoundRobin(weights, phase=321 * 10**6 + 17), RoundRobin(weights, phase=17)
    assert [far.pick() for _ in range(700)] == [near.pick() for _ in range(700)]


def test_a_heavy_host_tried_before_does_not_hold_up_the_next() -> None:
    lb = RoundRobin({"a": 4_000_000_000, "b": 1})
    assert lb.pick(avoid=["a"]) == "b"
    assert lb.pick(avoid=["a"]) == "b"


def test_equal_weights_are_taken_in_turns_from_the_phase() -> None:
    lb = RoundRobin({"a": 7, "b": 7, "c": 7, "d": 9}, phase=4)
    lb.put("d", 0)
    assert [lb.pick() for _ in range(5)] == ["b", "c", "a", "b", "c"]
    assert lb.pick(avoid=["a"]) == "b"


def test_turns_go_on_where_they_were_after_a_flip() -> None:
    lb = RoundRobin(["a", "b", "c", "d"])
    assert lb.pick() == "a"
    lb.put("d", 0)
    assert [lb.pick(), lb.pick()] == ["b", "c"]
    lb.put("d", 1)
    assert lb.pick() == "d"


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6), st.integers(0, 9))
def test_a_full_scan_gives_one_of_the_least(counts: list[int], seed: int) -> None:
    lb = LeastRequest(range(len(counts)), rng=Random(seed), full_scan=True)
    for host, count in enumerate(counts):
        for _ in range(count):
            lb.started(host)
    assert counts[lb.pick()] == min(counts)
    rest = counts[:-1]
    assert counts[lb.pick(avoid=[len(counts) - 1])] == min(rest)


def test_ties_of_a_full_scan_are_broken_evenly() -> None:
    """3000 picks of three: 1000 each, sd 25.8; five of them are allowed."""
    lb = LeastRequest("abcd".__iter__(), rng=Random(3), full_scan=True)
    lb.started("b")
    picks = Counter(lb.pick() for _ in range(3000))
    assert set(picks) == set("acd")
    assert all(abs(count - 1000) < 130 for count in picks.values())


def test_two_choices_are_drawn_with_replacement() -> None:
    """The busiest of four serves only when drawn twice: 1/16 of 8000 picks, 500, sd 21.7."""
    lb = LeastRequest(["a", "b", "c", "d"], rng=Random(5))
    lb.started("a")
    busiest = sum(lb.pick() == "a" for _ in range(8000))
    assert abs(busiest - 500) < 110


def test_more_choices_leave_the_busiest_less() -> None:
    lb = LeastRequest(["a", "b"], rng=Random(5), choice_count=12)
    lb.started("a")
    assert sum(lb.pick() == "a" for _ in range(2000)) < 10


def test_a_schedule_panics_too() -> None:
    lb = RoundRobin({"a": 2, "b": 1, "c": 1})
    lb.put("a", 0)
    lb.put("b", 0)
    assert "".join(lb.pick() for _ in range(4)) == "abca"
    with pytest.raises(NoBackendAvailable, match="3 avoided"):
        lb.pick(avoid=["a", "b", "c"])
    calm = RoundRobin({"a": 0, "b": 0}, healthy_panic_threshold=0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        calm.pick()


def test_an_unhealthy_host_of_another_weight_does_not_end_the_draws() -> None:
    """Drawn twice or not at all: a quarter of 4000 picks, 1000, sd 27; by turns it were half."""
    lb = LeastRequest({"a": 1, "b": 1, "c": 5}, rng=Random(5))
    lb.put("c", 0)
    lb.started("a")
    assert abs(sum(lb.pick() == "a" for _ in range(4000)) - 1000) < 140

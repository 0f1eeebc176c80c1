"""ROUND_ROBIN and LEAST_REQUEST, compared with a plain earliest-deadline-first schedule."""

from collections import Counter
from random import Random

import pytest

pytest.importorskip("xxhash")

from hypothesis import given
from hypothesis import strategies as st

from balancers import NoBackendAvailable
from balancers.interop.envoy import LeastRequest, RoundRobin
from tests.interop.envoy_rules import Schedule

HOSTS = st.sampled_from("abcdef")


@given(
    st.dictionaries(HOSTS, st.integers(1, 6), min_size=2, max_size=6),
    st.integers(0, 60),
    st.integers(0, 1 << 30),
    st.booleans(),
)
def test_a_schedule_equals_the_plain_schedule_after_the_picks_of_the_phase(
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
def test_avoided_hosts_are_queued_in_the_order_of_their_turns(
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


def test_a_phase_of_hundreds_of_millions_is_fast() -> None:
    """The period is the sum of the weights, so the phase modulo the sum gives the same picks."""
    weights = {"a": 1, "b": 20, "c": 300}
    far, near = RoundRobin(weights, phase=321 * 10**6 + 17), RoundRobin(weights, phase=17)
    assert [far.pick() for _ in range(700)] == [near.pick() for _ in range(700)]


def test_avoiding_a_very_heavy_host_is_fast() -> None:
    lb = RoundRobin({"a": 4_000_000_000, "b": 1})
    assert lb.pick(avoid=["a"]) == "b"
    assert lb.pick(avoid=["a"]) == "b"


def test_with_equal_weights_hosts_are_picked_in_turn_from_the_phase() -> None:
    lb = RoundRobin({"a": 7, "b": 7, "c": 7, "d": 9}, phase=4)
    lb.put("d", 0)
    assert [lb.pick() for _ in range(5)] == ["b", "c", "a", "b", "c"]
    assert lb.pick(avoid=["a"]) == "b"


def test_turns_continue_after_a_flip() -> None:
    lb = RoundRobin(["a", "b", "c", "d"])
    assert lb.pick() == "a"
    lb.put("d", 0)
    assert [lb.pick(), lb.pick()] == ["b", "c"]
    lb.put("d", 1)
    assert lb.pick() == "d"


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6), st.integers(0, 9))
def test_a_full_scan_picks_one_of_the_least_busy(counts: list[int], seed: int) -> None:
    lb = LeastRequest(range(len(counts)), rng=Random(seed), full_scan=True)
    for host, count in enumerate(counts):
        for _ in range(count):
            lb.started(host)
    assert counts[lb.pick()] == min(counts)
    rest = counts[:-1]
    assert counts[lb.pick(avoid=[len(counts) - 1])] == min(rest)


def test_ties_of_a_full_scan_are_broken_evenly() -> None:
    """3000 picks of three hosts: 1000 each, sd 25.8; five standard deviations are allowed."""
    lb = LeastRequest("abcd".__iter__(), rng=Random(3), full_scan=True)
    lb.started("b")
    picks = Counter(lb.pick() for _ in range(3000))
    assert set(picks) == set("acd")
    assert all(abs(count - 1000) < 130 for count in picks.values())


def test_two_choices_are_sampled_with_replacement() -> None:
    """The busiest of four is picked only if sampled twice: 1/16 of 8000 picks, 500, sd 21.7."""
    lb = LeastRequest(["a", "b", "c", "d"], rng=Random(5))
    lb.started("a")
    busiest = sum(lb.pick() == "a" for _ in range(8000))
    assert abs(busiest - 500) < 110


def test_more_choices_pick_the_busiest_host_less_often() -> None:
    lb = LeastRequest(["a", "b"], rng=Random(5), choice_count=12)
    lb.started("a")
    assert sum(lb.pick() == "a" for _ in range(2000)) < 10


def test_a_schedule_can_panic() -> None:
    lb = RoundRobin({"a": 2, "b": 1, "c": 1})
    lb.put("a", 0)
    lb.put("b", 0)
    assert "".join(lb.pick() for _ in range(4)) == "abca"
    with pytest.raises(NoBackendAvailable, match="3 avoided"):
        lb.pick(avoid=["a", "b", "c"])
    without_panic = RoundRobin({"a": 0, "b": 0}, healthy_panic_threshold=0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        without_panic.pick()


def test_the_weight_of_an_unhealthy_host_does_not_turn_sampling_off() -> None:
    """The busy one of two is picked if sampled twice: 1/4 of 4000 picks, sd 27; in turn 1/2."""
    lb = LeastRequest({"a": 1, "b": 1, "c": 5}, rng=Random(5))
    lb.put("c", 0)
    lb.started("a")
    assert abs(sum(lb.pick() == "a" for _ in range(4000)) - 1000) < 140

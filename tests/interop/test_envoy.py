"""RING_HASH and MAGLEV, compared with plain restatements of the rules of Envoy."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("xxhash")

from hypothesis import given
from hypothesis import strategies as st

from balancers import NoBackendAvailable
from balancers.errors import UnknownBackend
from balancers.interop.envoy import Locality, Maglev, RingHash
from balancers.interop.envoy.bounded import shuffle
from balancers.interop.envoy.murmur2 import murmur2
from tests.interop.envoy_rules import (
    bounded,
    maglev,
    mt19937,
    ring,
    ring_attempts,
    shuffled,
    tables,
)

HOSTS = st.sampled_from([*"abcdef", "10.0.0.1:80", "10.0.0.1:9999", "é"])
WEIGHTS = st.sampled_from([1, 1, 2, 3, 5, 40])
MEMBERS = st.dictionaries(HOSTS, WEIGHTS, min_size=1, max_size=7)
DIGESTS = st.integers(0, (1 << 64) - 1)
LOW = Locality(priority=1)


def locality_by_name(host: str) -> Locality:
    return Locality(priority=int(host in "abc"))


def shared(weights: dict[str, int]) -> list[tuple[str, float]]:
    total = sum(weights.values())
    return [(host, weight / total) for host, weight in weights.items()]


def retried(attempts: Iterable[str], hosts: list[str], avoid: set[str]) -> str:
    """Return the first host not avoided; hosts without a point come last, in order."""
    return next(host for host in [*attempts, *hosts] if host not in avoid)


@given(MEMBERS, st.sampled_from([(1, 7), (3, 13), (64, 101), (16, 4096)]), st.data())
def test_a_ring_equals_the_plain_ring_of_the_healthy_hosts(
    weights: dict[str, int], sizes: tuple[int, int], data: st.DataObject
) -> None:
    least, most = sizes
    lb = RingHash(
        weights, minimum_ring_size=least, maximum_ring_size=most, healthy_panic_threshold=0
    )
    for _ in range(data.draw(st.integers(0, 6))):
        host = data.draw(HOSTS)
        weight = data.draw(st.one_of(st.none(), st.just(0), WEIGHTS))
        if weight is None:
            lb.discard(host)
        else:
            lb.put(host, weight)
    healthy = {host: int(weight) for host, weight in lb.weights.items() if weight}
    avoid = data.draw(st.sets(HOSTS, max_size=3))
    digests = data.draw(st.lists(DIGESTS, min_size=1, max_size=8))
    digests += [point for point, _ in ring(shared(healthy), least, most)[-2:]] if healthy else []
    if not healthy.keys() - avoid:
        with pytest.raises(NoBackendAvailable):
            lb.pick_hashed(digests[0], avoid)
        return
    points = ring(shared(healthy), least, most)
    for digest in digests:
        attempts = ring_attempts(points, digest)
        assert lb.pick_hashed(digest, avoid) == retried(attempts, list(healthy), avoid)
    members = list(lb.weights)
    picked = lb.pick_many(np.array(digests, dtype=np.uint64))
    assert [members[place] for place in picked] == [lb.pick_hashed(each) for each in digests]


@given(MEMBERS, st.sampled_from([7, 11, 101, 251]), st.sets(HOSTS, max_size=3), st.lists(DIGESTS))
def test_a_table_equals_the_plain_table(
    weights: dict[str, int], size: int, avoid: set[str], digests: list[int]
) -> None:
    lb = Maglev(weights, table_size=size)
    table = maglev(shared(weights), size)
    for digest in digests:
        assert lb.pick_hashed(digest) == table[digest % size]
        if weights.keys() - avoid:
            slots = (digest ^ (1 << 64) - attempt for attempt in range(1, 2 * size + 2))
            attempts = (table[slot % size] for slot in (digest, *slots))
            assert lb.pick_hashed(digest, avoid) == retried(attempts, list(weights), avoid)


@given(
    MEMBERS,
    st.sampled_from([100, 120, 175]),
    st.lists(st.tuples(st.sampled_from([0, 5, 1 << 32, 1 << 63]), st.booleans()), max_size=40),
)
def test_load_is_bounded_by_the_rules_of_envoy(
    weights: dict[str, int], factor: int, steps: list[tuple[int, bool]]
) -> None:
    for lb in tables(weights, hash_balance_factor=factor):
        plain = tables(weights)[isinstance(lb, Maglev)]
        held: list[str] = []
        for digest, ends in steps:
            if ends and held:
                lb.finished(held.pop(0))
            owner = plain.pick_hashed(digest)
            host = bounded(owner, shared(weights), Counter(held), factor, digest)
            assert lb.pick_hashed(digest) == host
            held.append(host)
            lb.started(host)


@given(DIGESTS, st.integers(1, 9))
def test_if_every_host_is_overloaded_the_least_loaded_serves(digest: int, held: int) -> None:
    """This happens if a locality without healthy hosts takes its share of the slots away."""
    localities = dict.fromkeys("abcd", Locality(zone="z1")) | {"x": Locality(zone="z2")}
    weighted = {Locality(zone="z1"): 1, Locality(zone="z2"): 99}
    for lb in tables(
        dict.fromkeys("xabcd", 1),
        hash_balance_factor=100,
        locality=localities.__getitem__,
        locality_weights=weighted,
    ):
        lb.put("x", 0)
        owner = lb.pick_hashed(digest)
        active = {host: 2 + held * (host == owner) for host in "abcd"}
        for host, count in active.items():
            for _ in range(count):
                lb.started(host)
        shares = [(host, 0.01 / 4) for host in "abcd"]
        assert lb.pick_hashed(digest) == bounded(owner, shares, active, 100, digest)


@given(DIGESTS, st.integers(1, 700))
def test_a_shuffle_equals_that_of_the_plain_generator(digest: int, count: int) -> None:
    names = [str(number) for number in range(count)]
    assert [str(number) for number in shuffle(digest, count)] == shuffled(names, digest)


def test_a_random_number_beyond_the_last_whole_multiple_is_repeated() -> None:
    """With seed 3 this happens at place 54264 of 60000."""
    names = [str(number) for number in range(60000)]
    assert [str(number) for number in shuffle(3, 60000)] == shuffled(names, 3)


def test_murmur2_equals_that_of_libstdcxx() -> None:
    """The values of std::hash<std::string> for "" and "hello" on 64-bit Linux."""
    assert murmur2(b"") == 6142509188972423790
    assert murmur2(b"hello") == 2762169579135187400


def test_the_plain_generator_equals_the_standard_one() -> None:
    """C++11, 26.5.5: the 10000th number from the default seed 5489."""
    assert next(islice(mt19937(5489), 9999, None)) == 4123659995


@given(MEMBERS, st.data())
def test_hosts_that_flip_and_come_back_get_their_keys_again(
    weights: dict[str, int], data: st.DataObject
) -> None:
    flipped = data.draw(st.lists(st.sampled_from(list(weights)), max_size=4))
    digests = data.draw(st.lists(DIGESTS, max_size=6))
    for lb in tables(weights):
        before = [lb.pick_hashed(digest) for digest in digests]
        for host in flipped:
            lb.put(host, 0)
            lb.pick("any key, to build the table")
        for host in flipped:
            lb.put(host, weights[host])
        assert [lb.pick_hashed(digest) for digest in digests] == before


@given(MEMBERS.filter(lambda weights: len(weights) > 1), st.lists(DIGESTS))
def test_panic_with_every_host_unhealthy_picks_as_with_every_host_healthy(
    weights: dict[str, int], digests: list[int]
) -> None:
    for lb in tables(weights):
        before = [lb.pick_hashed(digest) for digest in digests]
        for host in weights:
            lb.put(host, 0)
        assert lb.loads.panic == (True,)
        assert [lb.pick_hashed(digest) for digest in digests] == before


def test_panic_begins_below_the_threshold_and_not_at_it() -> None:
    for lb in tables({"a": 1, "b": 1, "c": 1, "d": 1}):
        lb.put("a", 0)
        lb.put("b", 0)
        assert lb.loads.panic == (False,)
        assert {lb.pick(str(key)) for key in range(99)} == {"c", "d"}
        lb.put("c", 0)
        assert {lb.pick(str(key)) for key in range(99)} == set("abcd")


def test_weight_0_is_never_picked_with_panic_turned_off() -> None:
    for lb in tables({"a": 1, "b": 0, "c": 0}, healthy_panic_threshold=0):
        assert {lb.pick(str(key)) for key in range(99)} == {"a"}
        assert lb.pick("key", avoid=["b", "c"]) == "a"
        lb.put("a", 0)
        with pytest.raises(NoBackendAvailable) as caught:
            lb.pick("key")
        assert caught.value.reason == "quiesced"
        assert caught.value.counts == {"quiesced": 3}


def test_the_hash_selects_the_priority() -> None:
    localities = {"a": Locality(), "b": Locality(), "c": LOW}
    for lb in tables({"a": 1, "b": 0, "c": 1}, locality=localities.__getitem__):
        assert lb.loads.healthy == (70, 30)
        assert [lb.pick_hashed(100 * 7 + rest) for rest in (0, 69, 70, 99)] == ["a", "a", "c", "c"]


def test_a_retry_stays_in_its_priority_while_possible() -> None:
    localities = {"a": Locality(), "b": Locality(), "c": LOW}
    for lb in tables({"a": 1, "b": 1, "c": 1}, locality=localities.__getitem__):
        for digest in range(0, 1 << 64, 1 << 60):
            first = lb.pick_hashed(digest)
            second = lb.pick_hashed(digest, [first])
            assert {first, second} == {"a", "b"}
            assert lb.pick_hashed(digest, [first, second]) == "c"


def test_degraded_hosts_are_in_no_table_but_their_priority_keeps_its_load() -> None:
    localities = {"a": Locality(), "b": LOW, "c": LOW}
    for lb in tables({"a": 1, "b": 1, "c": 0}, locality=localities.__getitem__):
        lb.degrade("a")
        assert (lb.loads.healthy, lb.loads.degraded) == ((0, 70), (30, 0))
        assert lb.pick_hashed(69) == "b"
        with pytest.raises(NoBackendAvailable, match=r"degraded \(1 degraded\)"):
            lb.pick_hashed(70)
        lb.degrade("a", degraded=False)
        assert lb.pick_hashed(70) == "a"
        with pytest.raises(UnknownBackend):
            lb.degrade("x")


def test_localities_get_shares_by_their_weights_in_sorted_order() -> None:
    """Five points at 1/2, 1/6, 1/3: 2.5 is rounded up to three, so the next has one or none."""
    localities = {"a": Locality(zone="z2"), "b": Locality(zone="z2"), "c": Locality(zone="z1")}
    weights = {localities["a"]: 1, localities["c"]: 1}
    lb = RingHash(
        {"a": 1, "b": 2, "c": 9},
        minimum_ring_size=5,
        maximum_ring_size=5,
        locality=localities.__getitem__,
        locality_weights=weights,
    )
    plain = ring([("c", 0.5), ("a", 1 * 0.5 / 3), ("b", 2 * 0.5 / 3)], 5, 5)
    for digest in range(0, 1 << 64, 1 << 56):
        assert lb.pick_hashed(digest) == next(ring_attempts(plain, digest))


def test_a_locality_without_weight_gets_no_requests() -> None:
    localities = {"a": Locality(zone="z1"), "b": Locality(zone="z2")}
    for lb in tables(
        {"a": 1, "b": 1}, locality=localities.__getitem__, locality_weights={localities["a"]: 2}
    ):
        assert {lb.pick(str(key)) for key in range(50)} == {"a"}


def test_hosts_are_ordered_by_locality() -> None:
    localities = {"a": Locality(zone="z2"), "b": Locality(zone="z1"), "c": Locality(zone="z2")}
    lb = RingHash(
        {"a": 1, "b": 2, "c": 4},
        minimum_ring_size=1,
        maximum_ring_size=5,
        locality=localities.__getitem__,
    )
    plain = ring(shared({"a": 1, "c": 4, "b": 2}), 1, 5)
    for digest in range(0, 1 << 64, 1 << 56):
        assert lb.pick_hashed(digest) == next(ring_attempts(plain, digest))


@given(MEMBERS, st.lists(DIGESTS), st.sampled_from([None, 110]))
def test_pick_many_equals_single_picks(
    weights: dict[str, int], digests: list[int], factor: int | None
) -> None:
    for lb in tables(
        weights,
        hash_balance_factor=factor,
        locality=locality_by_name,
    ):
        for host in list(weights)[::2]:
            lb.put(host, 0)
        members = list(lb.weights)
        picked = lb.pick_many(np.array(digests, dtype=np.uint64))
        assert [members[place] for place in picked] == [lb.pick_hashed(each) for each in digests]


@given(MEMBERS, DIGESTS)
def test_replicas_are_in_the_order_of_takeover(weights: dict[str, int], digest: int) -> None:
    key = digest.to_bytes(8, "little")
    for lb in tables(weights):
        order = lb.replicas(key, 99)
        assert sorted(order) == sorted(weights)
        for place, host in enumerate(order):
            assert lb.pick(key, avoid=order[:place]) == host


def test_counts_are_removed_with_their_host() -> None:
    for lb in tables({"a": 1, "b": 1}, hash_balance_factor=100):
        for _ in range(50):
            lb.started("a")
        lb.discard("a")
        lb.put("a", 1)
        fresh = tables({"b": 1, "a": 1}, hash_balance_factor=100)[isinstance(lb, Maglev)]
        for key in range(50):
            host = lb.pick(str(key))
            assert host == fresh.pick(str(key))
            lb.started(host)
            fresh.started(host)

"""Invalid settings of the Envoy presets, and their copies."""

import pickle
from copy import deepcopy
from random import Random
from typing import Any

import pytest

pytest.importorskip("xxhash")


from balancers import NoBackendAvailable
from balancers.errors import DuplicateBackend, InvalidKey, InvalidSetting, InvalidWeight, MissingKey
from balancers.interop.envoy import (
    Health,
    LeastRequest,
    Locality,
    Maglev,
    RingHash,
    RoundRobin,
    loads,
)
from tests.interop.envoy_rules import tables


def every_preset() -> list[Any]:
    return [
        *tables({"a": 1, "b": 2, "c": 3}, hash_balance_factor=120),
        RingHash({"a": 1, "b": 2}, hash_function="MURMUR_HASH_2"),
        RoundRobin({"a": 1, "b": 2, "c": 3}, phase=5),
        RoundRobin(["a", "b", "c"]),
        LeastRequest({"a": 1, "b": 2, "c": 3}, rng=Random(2)),
        LeastRequest(["a", "b", "c"], rng=Random(2)),
    ]


def unpickled(lb: Any) -> Any:
    return pickle.loads(pickle.dumps(lb))  # noqa: S301 - own


@pytest.mark.parametrize("copied", [deepcopy, unpickled])
def test_copies_are_equal_and_independent(copied: Any) -> None:
    for lb in every_preset():
        keys = [str(number) for number in range(40)]
        for key in keys[:7]:
            lb.started(lb.pick(key))
        duplicate = copied(lb)
        assert duplicate.weights == lb.weights
        expected = [lb.pick(key) for key in keys]
        assert [duplicate.pick(key) for key in keys] == expected
        duplicate.discard("a")
        assert "a" not in {duplicate.pick(key) for key in keys}
        assert "a" in lb.weights


def test_events_of_unknown_hosts_and_extra_ends_are_ignored() -> None:
    for lb in every_preset():
        untouched = deepcopy(lb)
        for _ in range(9):
            lb.started("unknown")
            lb.finished("unknown")
            lb.finished("a")
        lb.discard("unknown")
        keys = [str(number) for number in range(20)]
        assert [lb.pick(key) for key in keys] == [untouched.pick(key) for key in keys]


@pytest.mark.parametrize(
    "settings",
    [
        {"minimum_ring_size": 0},
        {"minimum_ring_size": 20, "maximum_ring_size": 19},
        {"maximum_ring_size": 8388609},
        {"minimum_ring_size": 10.0},
        {"hash_function": "md5"},
        {"hash_balance_factor": 99},
        {"hash_balance_factor": True},
        {"healthy_panic_threshold": 101},
        {"overprovisioning_factor": 0},
        {"locality_weights": {"zone": 1}},
        {"locality_weights": {Locality(): -1}},
        {"locality_weights": {Locality(): 1 << 31, Locality(zone="z"): 1 << 31}},
    ],
)
def test_settings_that_envoy_refuses_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        RingHash(["a"], **settings)


def test_unknown_keywords_are_refused() -> None:
    unknown: Any = {"ring_size": 1024}
    for make in (RingHash, Maglev):
        with pytest.raises(TypeError, match="'ring_size'"):
            make(["a"], **unknown)


@pytest.mark.parametrize("size", [0, 1, 4, 65536, 5_000_023, 101.0, None])
def test_a_table_size_is_a_prime_up_to_5000011(size: Any) -> None:
    with pytest.raises(InvalidSetting):
        Maglev(["a"], table_size=size)


def test_the_largest_table_is_allowed() -> None:
    assert Maglev[str](table_size=5_000_011).weights == {}


def test_messages_name_the_invalid_setting() -> None:
    with pytest.raises(InvalidSetting, match="phase"):
        RoundRobin(["a"], phase=-1)
    with pytest.raises(InvalidSetting, match="choice_count"):
        LeastRequest(["a"], rng=Random(0), choice_count=1)
    with pytest.raises(InvalidSetting, match="priority"):
        Locality(priority=129)
    no_locality: Any = "zone".removeprefix
    with pytest.raises(InvalidSetting, match="locality of 'a'"):
        RingHash(["a"], locality=no_locality)
    with pytest.raises(InvalidSetting, match="healthy"):
        loads([Health(2, 3)])


@pytest.mark.parametrize("weight", [0.5, 1 << 32, float("nan"), -1, "1"])
def test_a_weight_is_an_int_of_32_bits(weight: Any) -> None:
    for lb in every_preset():
        before = dict(lb.weights)
        for host in ("a", "new"):
            with pytest.raises(InvalidWeight):
                lb.put(host, weight)
        assert lb.weights == before
        assert lb.pick("key") in before


def test_the_weights_of_a_locality_add_up_to_32_bits_at_most() -> None:
    most = (1 << 32) - 1
    for lb in (RingHash[str](), RoundRobin[str]()):
        lb.put("a", most - 1)
        lb.put("b", 1)
        for host, weight in (("c", 1), ("b", 2), ("c", 0)):
            with pytest.raises(InvalidWeight):
                lb.put(host, weight)
        lb.put("a", most - 2)
        lb.put("b", 2)
        lb.discard("a")
        lb.put("c", most - 2)
    separate = RingHash({"a": most}, locality=lambda host: Locality(zone=host))
    separate.put("b", most)


def test_two_hosts_with_one_name_are_refused() -> None:
    with pytest.raises(DuplicateBackend):
        RingHash(["a", "b"], identity=lambda _: "same")


def test_without_hosts_a_pick_is_refused_and_a_single_host_serves_every_key() -> None:
    for lb in (*tables({}), RoundRobin[str](), LeastRequest[str](rng=Random(0))):
        with pytest.raises(NoBackendAvailable) as caught:
            lb.pick("key")
        assert caught.value.reason == "empty"
        lb.put("é", 3)
        assert {lb.pick(key) for key in ("", "x", b"\xff", 7)} == {"é"}
        with pytest.raises(NoBackendAvailable) as caught:
            lb.pick("key", avoid=["é"])
        assert caught.value.reason == "avoided"


def test_invalid_keys_and_hashes_are_refused() -> None:
    for lb in tables({"a": 1}):
        with pytest.raises(MissingKey):
            lb.pick()
        digest: Any
        for digest in (-1, 1 << 64, 1.0, True):
            with pytest.raises(InvalidKey):
                lb.pick_hashed(digest)
        with pytest.raises(InvalidKey):
            lb.pick("\ud800")
        with pytest.raises(TypeError):
            lb.pick("key", avoid="a")

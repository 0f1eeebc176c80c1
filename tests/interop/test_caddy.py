"""caddy policies, compared with plain restatements of the rules and with recorded picks."""

import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xxhash")

from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from balancers import Balancer, NoBackendAvailable
from balancers.errors import DuplicateBackend, InvalidKey, InvalidWeight, MissingKey
from balancers.interop import caddy
from tests.parity.caddy import run

RECORDED = Path(__file__).parents[1] / "vectors" / "nginx_caddy_ketama"
DIALS = [f"10.0.0.{i}:80" for i in range(1, 8)]
HMAC_KEY = "s3cr3t"
dials = st.lists(st.sampled_from([*DIALS, "tcp/10.0.0.1:80", "unix//run/é"]), unique=True)
POLICIES: list[Callable[[Any], Balancer[str]]] = [
    caddy.Rendezvous,
    caddy.First,
    caddy.RoundRobin,
    caddy.WeightedRoundRobin,
    caddy.Cookie,
]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("caddy_*.json")), ids=lambda path: path.stem)
def test_every_recorded_case_that_weights_can_express_matches(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    picks, cookies = case.pop("picks"), case.pop("set_cookie", None)
    ours = run(case)
    if ours is None:
        assert path.stem in {"caddy_wrr_long", "caddy_wrr_single_weight"}
        return
    assert ours == picks
    if cookies is not None:
        policy = caddy.Cookie(secret=case["config"]["secret"])
        served = [case["config"]["upstreams"][pick] for pick in picks]
        assert {cookie for cookie in cookies if cookie} == {
            policy.value(dial) for dial, cookie in zip(served, cookies, strict=True) if cookie
        }


@given(dials, st.binary(min_size=1), st.sets(st.sampled_from(DIALS)), st.sets(st.integers(0, 6)))
def test_the_highest_hash_of_dial_and_key_wins(
    members: list[str], key: bytes, avoid: set[str], closed: set[int]
) -> None:
    policy = caddy.Rendezvous(members)
    for place in closed & set(range(len(members))):
        policy.put(members[place], 0)
    left = [dial for dial in members if policy.weights[dial] and dial not in avoid]
    if not left:
        with pytest.raises(NoBackendAvailable):
            policy.pick(key, avoid=avoid)
        return
    scores = {dial: xxh64_intdigest(dial.encode() + key) for dial in left}
    assert scores[policy.pick(key, avoid=avoid)] == max(scores.values())


def test_closing_an_upstream_moves_only_its_keys_and_they_come_back() -> None:
    policy = caddy.Rendezvous(DIALS)
    before = [policy.pick(f"k{i}") for i in range(500)]
    policy.put(DIALS[3], 0)
    after = [policy.pick(f"k{i}") for i in range(500)]
    assert all((a == DIALS[3]) == (a != b) for a, b in zip(before, after, strict=True))
    policy.put(DIALS[3], 7)
    assert [policy.pick(f"k{i}") for i in range(500)] == before


class Constant:
    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, data: bytes) -> int:
        return self.value


def test_a_score_of_zero_never_wins() -> None:
    policy = caddy.Rendezvous(["a:1", "b:1"])
    policy._hasher = Constant(0)
    with pytest.raises(NoBackendAvailable):
        policy.pick("key")
    policy._hasher = Constant(7)
    assert policy.pick("key") == "a:1"


@pytest.mark.parametrize("key", [None, "", b""])
def test_a_missing_or_empty_value_uses_the_fallback(key: str | bytes | None) -> None:
    policy = caddy.Rendezvous(DIALS[:3], fallback=caddy.RoundRobin())
    assert [policy.pick(key) for _ in range(4)] == [DIALS[1], DIALS[2], DIALS[0], DIALS[1]]
    policy.put(DIALS[2], 0)
    assert policy.pick(key) == DIALS[0]
    assert policy.pick(key, avoid=[DIALS[1]]) == DIALS[0]
    policy.discard(DIALS[0])
    assert policy.pick(key) == DIALS[1]
    with pytest.raises(MissingKey):
        caddy.Rendezvous(DIALS).pick(key)


def test_the_members_of_a_fallback_are_added_and_it_is_notified_of_requests() -> None:
    calls: list[str] = []

    class Recorder(caddy.First):
        def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
            calls.append(f"started {backend}")

        def finished(self, backend: str, *args: object, **more: object) -> None:
            calls.append(f"finished {backend}")

    policy = caddy.Rendezvous({"b:1": 2}, fallback=Recorder(["a:1"]))
    assert dict(policy.weights) == {"a:1": 1, "b:1": 2}
    policy.started("a:1")
    policy.finished("a:1")
    assert calls == ["started a:1", "finished a:1"]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_round_robin_advances_its_counter_before_each_check(
    weights: list[int], avoided: set[int]
) -> None:
    members = DIALS[: len(weights)]
    policy = caddy.RoundRobin(dict(zip(members, weights, strict=True)))
    avoid = {members[place] for place in avoided if place < len(members)}
    counter = 0
    for _ in range(20):
        expected = None
        for _ in members:
            counter += 1
            dial = members[counter % len(members)]
            if policy.weights[dial] and dial not in avoid:
                expected = dial
                break
        if expected is None:
            with pytest.raises(NoBackendAvailable):
                policy.pick(avoid=avoid)
        else:
            assert policy.pick(avoid=avoid) == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_weighted_turns_are_shifted_by_unavailable_upstreams(
    weights: list[int], closed: set[int]
) -> None:
    members = DIALS[: len(weights)]
    policy = caddy.WeightedRoundRobin(dict(zip(members, weights, strict=True)))
    closed = {place for place in closed if place < len(members)}
    for place in closed:
        policy.put(members[place], 0)
    turns = [place for place, weight in enumerate(w for w in weights if w) for _ in range(weight)]
    left = [dial for i, dial in enumerate(members) if weights[i] and i not in closed]
    for turn in range(1, 30):
        if left:
            assert policy.pick() == left[turns[turn % len(turns)] % len(left)]
        else:
            with pytest.raises(NoBackendAvailable):
                policy.pick()
    for place in closed:
        policy.put(members[place], weights[place])
    back = [dial for dial, weight in zip(members, weights, strict=True) if weight]
    if left:
        assert policy.pick() == back[turns[30 % len(turns)]]


def test_counters_have_32_bits() -> None:
    plain, weighted = caddy.RoundRobin(DIALS[:3]), caddy.WeightedRoundRobin(DIALS[:3])
    plain._counter = weighted._counter = (1 << 32) - 2
    assert [plain.pick() for _ in range(2)] == [DIALS[0], DIALS[0]]
    assert [weighted.pick() for _ in range(2)] == [DIALS[0], DIALS[0]]


def test_a_cookie_selects_its_upstream_while_that_is_available() -> None:
    policy = caddy.Cookie(DIALS[:3], secret=HMAC_KEY)
    cookie = policy.value(DIALS[1])
    assert policy.pick(cookie) == DIALS[1]
    assert policy.pick(cookie.upper()) == DIALS[0]
    assert policy.pick("forged") == policy.pick() == policy.pick(b"") == DIALS[0]
    assert policy.pick(cookie, avoid=[DIALS[1]]) == DIALS[0]
    policy.put(DIALS[1], 0)
    assert policy.pick(cookie) == DIALS[0]
    policy.put(DIALS[1])
    assert policy.pick(cookie) == DIALS[1]
    policy.discard(DIALS[1])
    assert policy.pick(cookie) == DIALS[0]
    assert caddy.Cookie(DIALS, secret=HMAC_KEY.upper()).value(DIALS[1]) != cookie


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("k=a", b"a"),
        ("x=1&k=a%2Cb&k=c", b"a,b,c"),
        ("k=%zz&k=ok", b"ok"),
        ("k=a;b&k=ok", b"ok"),
        ("%6b=x+y", b"x y"),
        ("K=x", b""),
        ("k", b""),
        ("", b""),
        ("k=é", "é".encode()),
        ("k=%C3%A9%00", "é\0".encode()),
        ("k=a=b", b"a=b"),
        ("%=1&k=2", b"2"),
    ],
)
def test_the_query_is_decoded_as_go_does(query: str, key: bytes) -> None:
    assert caddy.query_key(query, "k") == key


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["192.0.2.1, 127.0.0.1"], "192.0.2.1"),
        (["unknown, , 192.0.2.2:99"], "192.0.2.2"),
        (["unknown", "[2001:DB8::0:1]:80"], "2001:db8::1"),
        (["unknown, [2001:db8::1]:80"], "127.0.0.1"),
        (["unknown,[2001:db8::1]:80"], "2001:db8::1"),
        (["[2001:db8::1]", "192.0.2.3: , 192.0.2.4"], "192.0.2.3"),
        (["192.0.2.3:http"], "192.0.2.3"),
        (["FE80:0::1%eth0"], "fe80::1"),
        (["::ffff:192.0.2.9"], "::ffff:192.0.2.9"),
        ([], "127.0.0.1"),
        (["no address"], "127.0.0.1"),
    ],
)
def test_the_client_is_the_first_valid_address(lines: list[str], client: str) -> None:
    assert caddy.client_ip_key(lines, peer="127.0.0.1") == client


def test_a_mapped_peer_is_hashed_as_ipv4() -> None:
    """Picks of caddy 2.11.7 for ``ip_hash``, with peers of the PROXY protocol."""
    upstreams = ["127.31.6.151:12932", "127.96.126.175:14374", "127.203.54.229:22958"]
    upstreams += ["tcp/127.55.141.19:26872", "tcp/127.43.39.26:30440"]
    recorded = {
        "::98e6": 4, "::eda0": 0, "::38": 1, "::a5e2": 1, "::ffff:83.60.161.152": 4,
        "::ffff:7.69.63.111": 4, "::ffff:219.23.192.194": 3, "::ffff:154.177.16.121": 3,
        "::ffff:175.128.226.161": 1, "::ffff:8.112.162.48": 0, "::ffff:170.50.46.77": 3,
    }  # fmt: skip
    policy = caddy.Rendezvous(upstreams)
    picks = {peer: upstreams.index(policy.pick(caddy.ip_key(peer))) for peer in recorded}
    assert picks == recorded


@pytest.mark.parametrize("make", POLICIES)
def test_copies_continue_from_the_state_of_the_original(
    make: Callable[[Any], Balancer[str]],
) -> None:
    policy = make({"a:1": 2, "b:1": 1, "c:1": 3})
    policy.put("b:1", 0)
    for _ in range(3):
        policy.pick("key")
    copies = [deepcopy(policy), pickle.loads(pickle.dumps(policy))]  # noqa: S301 - own
    expected = [policy.pick(f"k{i}") for i in range(10)]
    for copied in copies:
        assert [copied.pick(f"k{i}") for i in range(10)] == expected
        copied.put("b:1", 1)
        assert policy.weights["b:1"] == 0


@pytest.mark.parametrize("make", POLICIES)
def test_invalid_input_and_picks_without_upstreams_are_refused(
    make: Callable[[Any], Balancer[str]],
) -> None:
    with pytest.raises(NoBackendAvailable, match="empty"):
        make([]).pick("key")
    policy = make(["a:1"])
    with pytest.raises(TypeError, match="avoid"):
        policy.pick("key", avoid="a:1")
    with pytest.raises(NoBackendAvailable, match="avoided"):
        policy.pick("key", avoid=["a:1"])
    policy.put("a:1", 0)
    with pytest.raises(NoBackendAvailable, match="quiesced"):
        policy.pick("key")
    policy.discard("unknown")
    with pytest.raises(InvalidWeight, match="b:1"):
        policy.put("b:1", -1)
    assert dict(policy.weights) == {"a:1": 0}


def test_a_refusal_changes_neither_the_policy_nor_its_fallback() -> None:
    fallback = caddy.WeightedRoundRobin()
    policy = caddy.Rendezvous(["a:1"], fallback=fallback, identity=str.lower)
    with pytest.raises(InvalidWeight, match="integer"):
        policy.put("b:1", 0.5)
    with pytest.raises(DuplicateBackend):
        policy.put("A:1")
    assert dict(policy.weights) == dict(fallback.weights) == {"a:1": 1}
    with pytest.raises(InvalidKey):
        policy.pick("\ud800")
    cookie = caddy.Cookie(["a:1"], fallback=caddy.WeightedRoundRobin())
    with pytest.raises(InvalidWeight):
        cookie.put("b:1", 1.5)
    with pytest.raises(InvalidKey):
        cookie.put("\ud800")
    assert list(cookie.weights) == ["a:1"]

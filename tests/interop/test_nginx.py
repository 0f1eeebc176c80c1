"""nginx presets, compared with a restatement of its code and with balancers of the core."""

import json
import pickle
from collections import Counter
from collections.abc import Callable, Collection
from copy import deepcopy
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from balancers import (
    FAILURE,
    UNKNOWN,
    Balancer,
    NoBackendAvailable,
    Pool,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import IncompatibleGate, InvalidTime, MissingKey
from balancers.interop import nginx
from balancers.interop.nginx.keyed import _points
from tests.algorithms.test_balancer_machine import BalancerMachine
from tests.depth import runs
from tests.interop.nginx_worker import (
    CLIENTS,
    NAMES,
    WITH_BACKUPS,
    Worker,
    cases,
    long_run,
    points_of,
)
from tests.kinds import Kind
from tests.parity.nginx import POLICIES, Proxy, run

RECORDED = Path(__file__).parents[1] / "vectors" / "nginx_caddy_ketama"
KEYED = (nginx.Hash, nginx.ConsistentHash, nginx.IPHash)
EVERY = [nginx.RoundRobin, nginx.LeastConn, *KEYED]


# Pick by pick.


@pytest.mark.parametrize("policy", sorted(POLICIES))
@settings(max_examples=runs(200))
@given(data=st.data())
def test_every_server_tried_is_the_one_that_nginx_tries(policy: str, data: st.DataObject) -> None:
    compare(data.draw(cases(policy)))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_same_in_a_long_run_of_rejections_and_failures(policy: str) -> None:
    by_round_robin = compare(long_run(policy))
    assert policy in WITH_BACKUPS or min(by_round_robin[True], by_round_robin[False]) > 100


def compare(case: dict[str, Any]) -> Counter[bool]:
    """Run a case with both; return how many requests were decided by round robin, or not."""
    proxy, worker = Proxy(case), Worker(case)
    held: list[tuple[str, int]] = []
    by_round_robin: Counter[bool] = Counter()
    elapsed = 0.0
    for operation, *arguments in case["ops"]:
        if operation == "after":
            elapsed += arguments[0]
            proxy.now, worker.now = elapsed, elapsed // 1
        elif operation == "mode":
            proxy.run_operation([operation, *arguments])
        elif operation == "close":
            if arguments[0] < len(held):
                name, place = held.pop(arguments[0])
                proxy.end(name)
                worker.end(place)
        else:
            failing = {proxy.names.index(name) for name in proxy.failing}
            holder = proxy.send(arguments[0])
            tried, place = worker.request(arguments[0], failing)
            by_round_robin[worker.rejected > 20] += 1
            assert proxy.tries[-1] == tried
            if holder is not None:
                held.append((holder, place))
            if holder is not None and operation == "req":
                proxy.end(holder)
                worker.end(held.pop()[1])
    return by_round_robin


@pytest.mark.parametrize(
    "path",
    [*RECORDED.glob("nginx_maxfails_*.json"), *RECORDED.glob("nginx_single*.json")],
    ids=lambda path: path.stem,
)
def test_failures_effective_weights_and_single_servers_match_the_recordings(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    proxy = run(case)
    assert proxy.picks == case["picks"]
    for tried, recorded in zip(proxy.tries, case.get("tries", proxy.tries), strict=True):
        assert recorded in (None, tried)


# Without failures, the same as balancers of the core.


@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    changes=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.sets(st.sampled_from(NAMES[:6]))),
        max_size=40,
    ),
)
@pytest.mark.parametrize(
    ("preset", "core"),
    [(nginx.RoundRobin, WeightedRoundRobin), (nginx.LeastConn, WeightedLeastConnections)],
)
def test_without_failures_a_preset_equals_a_balancer_of_the_core(
    preset: type[nginx.RoundRobin],
    core: type[WeightedRoundRobin[str]],
    weights: list[int],
    changes: list[tuple[int, int, set[str]]],
) -> None:
    given_weights = dict(zip(NAMES, weights, strict=False))
    of_preset, of_core = preset(given_weights), core(given_weights)
    for place, weight, avoid in changes:
        name = NAMES[place % len(weights)]
        for balancer in (of_preset, of_core):
            balancer.put(name, weight)
        picked = [pick_or_empty(balancer, avoid) for balancer in (of_preset, of_core)]
        assert picked[0] == picked[1]
        for balancer in (of_preset, of_core):
            if picked[0] and weight % 2:
                balancer.started(picked[0])
            if weight == 4:
                balancer.finished(name)
        assert of_preset.weights == of_core.weights


def pick_or_empty(balancer: Balancer[str], avoid: Collection[str] = ()) -> str:
    try:
        return balancer.pick(avoid=avoid)
    except NoBackendAvailable:
        return ""


class WholeWeights(BalancerMachine):
    """The state machine that tests every balancer, with integer weights."""

    def set_weight(self, backend: str, weight: float) -> None:
        super().set_weight(backend, ceil(weight))


@pytest.mark.parametrize("preset", EVERY)
def test_each_preset_is_a_balancer(preset: type[nginx.RoundRobin]) -> None:
    def make() -> nginx.RoundRobin:
        upstream = preset()
        upstream.keyed = False  # after 20 rejections, the picks of a key vary
        return upstream

    kind = Kind(preset.__name__, make, least="ratio" if "Least" in preset.__name__ else "")
    machine = type(kind.name, (WholeWeights,), {"kind": kind, "steps": Counter()})
    run_state_machine_as_test(machine, settings=settings(max_examples=runs(40)))


# Tables.


@pytest.mark.parametrize("kind", KEYED)
def test_a_flip_moves_only_the_keys_of_the_server_that_flips(kind: type[nginx.Hash]) -> None:
    upstream = kind({name: 1 + place % 3 for place, name in enumerate(NAMES)})
    before = {client: upstream.pick(client) for client in CLIENTS}
    upstream.put(NAMES[1], 0)
    down = {client: upstream.pick(client) for client in CLIENTS}
    assert {before[client] for client in CLIENTS if down[client] != before[client]} == {NAMES[1]}
    assert NAMES[1] not in down.values()
    upstream.put(NAMES[1], 2)
    assert {client: upstream.pick(client) for client in CLIENTS} == before


@pytest.mark.parametrize("kind", KEYED)
def test_a_server_that_is_down_from_the_start_has_its_part_of_the_table(
    kind: type[nginx.Hash],
) -> None:
    servers = [nginx.Server(name, weight=3, down=name == NAMES[2]) for name in NAMES[:4]]
    upstream, marked = kind(servers), kind(dict.fromkeys(NAMES[:4], 3))
    marked.put(NAMES[2], 0)
    assert [upstream.pick(c) for c in CLIENTS] == [marked.pick(c) for c in CLIENTS]
    upstream.put(NAMES[2], 3)
    marked.put(NAMES[2], 3)
    assert [upstream.pick(c) for c in CLIENTS] == [marked.pick(c) for c in CLIENTS]


@pytest.mark.parametrize("kind", KEYED)
def test_after_changes_a_preset_picks_like_a_new_one(kind: type[nginx.Hash]) -> None:
    upstream = kind(NAMES[:3])
    changes: list[tuple[Callable[[], None], dict[str, float]]] = [
        (lambda: None, {NAMES[0]: 1, NAMES[1]: 1, NAMES[2]: 1}),
        (lambda: upstream.discard(NAMES[0]), {NAMES[1]: 1, NAMES[2]: 1}),
        (lambda: upstream.put(NAMES[3]), {NAMES[1]: 1, NAMES[2]: 1, NAMES[3]: 1}),
        (lambda: upstream.put(NAMES[1], 4), {NAMES[1]: 4, NAMES[2]: 1, NAMES[3]: 1}),
    ]
    for change, weights in changes:
        change()
        fresh = kind(weights)
        assert [upstream.pick(c) for c in CLIENTS] == [fresh.pick(c) for c in CLIENTS]


@pytest.mark.parametrize(
    ("server", "hashed"),
    [
        ("10.0.0.1:80", b"10.0.0.1\x0080"),
        ("Node-C.test:8080", b"Node-C.test\x008080"),
        ("node", b"node\0"),
        ("node:", b"node\0"),
        ("127001", b"127001\0"),
        ("[2001:db8::1]:80", b"[2001:db8::1]\x0080"),
        ("[2001:db8::1]", b"[2001:db8::1]\0"),
        ("unix:/run/a:80", b"/run/a:80\0"),
        ("UNIX:/run/a", b"/run/a\0"),
        ("größe:80", "größe\x0080".encode()),
        ("node:8٢", "node:8٢\0".encode()),
    ],
)
def test_points_are_hashed_from_host_and_port_as_written(server: str, hashed: bytes) -> None:
    first = crc32(hashed + bytes(4))
    second = crc32(hashed + first.to_bytes(4, "little"))
    assert list(_points(server, 2)) == [first, second]


def test_a_key_on_a_point_belongs_to_it_and_a_key_after_the_last_to_the_first() -> None:
    upstream = nginx.ConsistentHash(NAMES[:3])
    ring = sorted((p, n) for n in NAMES[:3] for p in points_of({"server": n, "weight": 1}))
    for value in (ring[0][0], ring[7][0], ring[-1][0]):
        key = bytes_with_crc(value)
        assert upstream.pick(key) == next(name for point, name in ring if point == value)
    assert upstream.pick(bytes_with_crc(ring[-1][0] + 1)) == ring[0][1]
    assert upstream.pick(bytes_with_crc(ring[7][0] + 1)) == ring[8][1]
    assert upstream.pick(bytes_with_crc(ring[7][0] - 1)) == ring[7][1]


def bytes_with_crc(value: int) -> bytes:
    """Return four bytes with this CRC-32, found by linear algebra: CRC-32 is affine."""
    zero = crc32(bytes(4))
    rows = [(crc32((1 << bit).to_bytes(4, "little")) ^ zero, 1 << bit) for bit in range(32)]
    wanted, key = value ^ zero, 0
    for bit in range(32):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [(r ^ pivot[0], k ^ pivot[1]) if r >> bit & 1 else (r, k) for r, k in rows]
        rows = [row for row in rows if row[0]]
        if wanted >> bit & 1:
            wanted, key = wanted ^ pivot[0], key ^ pivot[1]
    made = key.to_bytes(4, "little")
    assert crc32(made) == value
    return made


def test_ip_hash_uses_three_bytes_of_ipv4_and_all_of_ipv6() -> None:
    upstream = nginx.IPHash(NAMES)
    for client in CLIENTS:
        same = {upstream.pick(client), upstream.pick(ip_address(client))}
        same |= {upstream.pick(ip_address(client).packed), upstream.pick(client[:-1] + "77")}
        assert len(same) == 1
    hosts = {upstream.pick(f"2001:db8::{i:x}") for i in range(100)}
    assert hosts == set(NAMES)
    mapped = [upstream.pick(f"::ffff:{client}") for client in CLIENTS]
    assert mapped != [upstream.pick(client) for client in CLIENTS]
    assert upstream.pick(b"") == upstream.pick("0.0.0.9")


@pytest.mark.parametrize("kind", [nginx.Hash, nginx.ConsistentHash])
def test_an_empty_key_takes_turns_and_a_missing_one_is_an_error(kind: type[nginx.Hash]) -> None:
    upstream = kind({NAMES[0]: 2, NAMES[1]: 1})
    assert [upstream.pick(key) for key in ("", b"", "")] == [NAMES[0], NAMES[1], NAMES[0]]
    with pytest.raises(MissingKey):
        upstream.pick()


# Backups, failures and refusals.


def test_backups_serve_when_no_other_server_can_with_their_own_round_robin() -> None:
    upstream = nginx.RoundRobin(
        [
            nginx.Server("a", max_conns=1),
            nginx.Server("b", weight=2, backup=True),
            nginx.Server("c", backup=True),
        ]
    )
    assert upstream.pick() == "a"
    upstream.started("a")
    assert [upstream.pick() for _ in range(3)] == ["b", "c", "b"]
    upstream.finished("a")
    assert upstream.pick() == "a"
    assert upstream.pick(avoid=["a"]) == "b"
    upstream.put("a", 0)
    assert [upstream.pick() for _ in range(2)] == ["c", "b"]


def fail_once(upstream: Balancer[str], name: str, now: float) -> None:
    upstream.started(name, now)
    upstream.finished(name, FAILURE, now)


def test_a_refusal_has_reasons_and_the_time_of_a_retry() -> None:
    upstream = nginx.RoundRobin(
        [
            nginx.Server("a", fail_timeout=5),
            nginx.Server("b", fail_timeout=2),
            nginx.Server("c", down=True),
            nginx.Server("d", max_conns=1),
            nginx.Server("e"),
        ]
    )
    fail_once(upstream, "a", 1.0)
    fail_once(upstream, "b", 3.75)
    upstream.started("d")
    with pytest.raises(NoBackendAvailable) as refused:
        upstream.pick(now=4.0, avoid=["e"])
    assert refused.value.reason == "mixed"
    assert refused.value.counts == {"failing": 2, "quiesced": 1, "saturated": 1, "avoided": 1}
    assert refused.value.retry_at == 6.0
    with pytest.raises(NoBackendAvailable):
        upstream.pick(now=5.99, avoid=["e"])
    assert upstream.pick(now=6.0, avoid=["e"]) == "b"
    with pytest.raises(NoBackendAvailable):  # one trial at a time
        upstream.pick(now=6.0, avoid=["e"])


@pytest.mark.parametrize("kind", EVERY)
def test_a_refusal_names_its_reason(kind: type[nginx.RoundRobin]) -> None:
    upstream = kind()
    reasons: list[str] = []
    for change in (None, ("a", 0), ("b", 1)):
        if change:
            upstream.put(*change)
        with pytest.raises(NoBackendAvailable) as refused:
            upstream.pick("192.0.2.1", avoid=["b"])
        reasons.append(refused.value.reason)
    assert reasons == ["empty", "quiesced", "mixed"]


@pytest.mark.parametrize("kind", EVERY)
def test_a_single_server_is_never_marked_as_failing(kind: type[nginx.RoundRobin]) -> None:
    upstream = kind(["a"])
    fail_once(upstream, "a", 0.0)
    assert upstream.pick("192.0.2.1") == "a"
    upstream.put("b")
    assert upstream.pick("192.0.2.1", avoid=["b"]) == "a"
    fail_once(upstream, "a", 0.0)
    assert upstream.pick("192.0.2.1") == "b"
    upstream.discard("b")
    assert upstream.pick("192.0.2.1") == "a"


@pytest.mark.parametrize(("later", "reset"), [(2.0, False), (3.0, True)])
def test_only_a_success_later_than_fail_timeout_resets_the_failures(
    later: float, reset: bool
) -> None:
    upstream = nginx.RoundRobin([nginx.Server("a", max_fails=2, fail_timeout=2), nginx.Server("b")])
    fail_once(upstream, "a", 0.0)
    assert upstream.pick(now=later, avoid=["b"]) == "a"
    upstream.started("a", later)
    upstream.finished("a", now=later)
    fail_once(upstream, "a", later)
    if reset:
        assert upstream.pick(now=later, avoid=["b"]) == "a"
    else:
        with pytest.raises(NoBackendAvailable):
            upstream.pick(now=later, avoid=["b"])


def test_requests_with_an_unknown_outcome_are_not_counted() -> None:
    upstream = nginx.RoundRobin(["a", "b"])
    for _ in range(3):
        upstream.started("a")
        upstream.finished("a", UNKNOWN)
        upstream.finished("a", FAILURE)  # no request is in flight
        upstream.finished("unknown", FAILURE)
    assert [upstream.pick() for _ in range(4)] == ["a", "b", "a", "b"]


def test_an_earlier_time_counts_as_the_latest_seen() -> None:
    upstream = nginx.RoundRobin(["a", "b"])
    fail_once(upstream, "a", 100.0)
    assert {upstream.pick(now=now) for now in (0.0, 50.0, 110.5)} == {"b"}
    assert upstream.pick(now=111.0, avoid=["b"]) == "a"
    for now in (float("nan"), float("inf")):
        with pytest.raises(InvalidTime):
            upstream.pick(now=now)


def test_a_pool_reports_the_outcomes_of_requests() -> None:
    pool = Pool(nginx.LeastConn([nginx.Server("a", fail_timeout=3), nginx.Server("b")]))
    lease = pool.acquire(now=0.0)
    assert lease.backend == "a"
    pool.release(lease, now=0.0, ok=False)
    assert [pool.acquire(now=now).backend for now in (1.0, 3.0, 3.9, 4.0)] == ["b", "b", "b", "a"]


def test_slow_start_is_refused_because_weights_are_integers() -> None:
    with pytest.raises(IncompatibleGate):
        Pool(nginx.RoundRobin(["a"]), gates=[SlowStart(10.0)])


# Copies.


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_is_equal_and_independent(kind: type[nginx.RoundRobin], how: str) -> None:
    upstream = kind({name: 1 + place for place, name in enumerate(NAMES)})
    for client in CLIENTS[:20]:
        upstream.started(upstream.pick(client))
    fail_once(upstream, NAMES[0], 0.0)
    pickled = pickle.dumps(upstream)
    copied = deepcopy(upstream) if how == "deepcopy" else pickle.loads(pickled)  # noqa: S301 - own
    expected = [copied.pick(client, avoid=NAMES[4:]) for client in CLIENTS]
    assert expected == [upstream.pick(client, avoid=NAMES[4:]) for client in CLIENTS]
    copied.discard(NAMES[1])
    assert NAMES[1] in upstream.weights

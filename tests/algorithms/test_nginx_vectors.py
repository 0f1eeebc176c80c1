"""The picks are exactly those of nginx 1.22.1: alone, and through a pool with four gates."""

import json
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    Gate,
    HealthChecks,
    NoBackendAvailable,
    Pool,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)

RECORDED = Path(__file__).parents[1] / "vectors" / "nginx_caddy_ketama"
FILES = sorted(
    path
    for policy in ("wrr", "leastconn")
    for path in RECORDED.glob(f"nginx_{policy}_*.json")
    if "backup" not in path.stem
)
POLICIES: dict[str, Callable[[], Balancer[int]]] = {
    "round_robin": WeightedRoundRobin,
    "least_conn": WeightedLeastConnections,
}
WINDOW = 30.0


class Alone:
    """The balancer without a pool: a full backend gets weight 0, a retry uses ``avoid``."""

    def __init__(
        self, balancer: Balancer[int], weights: dict[int, int], limits: dict[int, int]
    ) -> None:
        self.balancer, self.weights, self.limits = balancer, weights, limits
        self.in_flight = dict.fromkeys(weights, 0)
        for server, weight in weights.items():
            balancer.put(server, weight)

    def begin(self, tried: Sequence[int]) -> int:
        server = self.balancer.pick(avoid=tried)
        self.balancer.started(server)
        self.count(server, 1)
        return server

    def end(self, server: int) -> None:
        self.balancer.finished(server)
        self.count(server, -1)

    def count(self, server: int, change: int) -> None:
        self.in_flight[server] += change
        full = self.in_flight[server] >= self.limits.get(server, 1 << 30)
        self.balancer.put(server, 0 if full else self.weights[server])


class Pooled:
    """The balancer in a pool, behind four gates in the given order."""

    def __init__(
        self,
        balancer: Balancer[int],
        weights: dict[int, int],
        limits: dict[int, int],
        order: Sequence[int],
    ) -> None:
        limit: ConnectionLimit[int] = ConnectionLimit(1 << 30)
        self.ramp: SlowStart[int] = SlowStart(WINDOW)
        gates: list[Gate[int]] = [HealthChecks(), Drain(), limit, self.ramp]
        self.pool = Pool(balancer, [gates[index] for index in order])
        self.pool.update(weights, now=0.0)
        for server, n in limits.items():
            limit.set(server, n)
        self.leases: dict[int, list[Any]] = {server: [] for server in weights}

    def begin(self, tried: Sequence[int]) -> int:
        lease = self.pool.acquire(2 * WINDOW, avoid=tried)
        self.leases[lease.backend].append(lease)
        return lease.backend

    def end(self, server: int) -> None:
        self.pool.release(self.leases[server].pop(), 2 * WINDOW, ok=None)


class Ramped(Pooled):
    """The pool after a complete slow start, which was evaluated at each step before any pick."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for server in self.leases:
            self.ramp.begin(server, 0.0)
        assert all(self.ramp.factor(server, 0.0) < 1 for server in self.leases)
        for step in range(int(WINDOW) + 1):
            with pytest.raises(NoBackendAvailable):
                self.pool.acquire(float(step), avoid=range(100))


def replay(case: dict[str, Any], run: Any) -> tuple[list[int], list[list[int]]]:
    """Run the operations of a case; return the picks, and the servers that were tried for each."""
    refuses = {i for i, s in enumerate(case["config"]["servers"]) if s.get("refuses")}
    picks: list[int] = []
    tries: list[list[int]] = []
    opened: list[int] = []
    for operation, *which in case.get("ops") or [["req"]] * case["n"]:
        if operation == "close":
            run.end(opened[which[0]])
            continue
        tried: list[int] = []
        while True:
            try:
                server = run.begin(tried)
            except NoBackendAvailable:
                server = -1
            tried.append(server)
            if server not in refuses:
                break
            run.end(server)
        picks.append(server)
        tries.append(tried)
        if operation == "open":
            opened.append(server)
        elif server >= 0:
            run.end(server)
    return picks, tries


def settings_of(case: dict[str, Any]) -> tuple[Balancer[int], dict[int, int], dict[int, int]]:
    servers = case["config"]["servers"]
    weights = {i: 0 if s.get("down") else s.get("weight", 1) for i, s in enumerate(servers)}
    limits = {i: s["max_conns"] for i, s in enumerate(servers) if s.get("max_conns")}
    return POLICIES[case["policy"]](), weights, limits


def check(case: dict[str, Any], run: Any) -> None:
    picks, tries = replay(case, run)
    assert picks == case["picks"]
    for tried, recorded in zip(tries, case.get("tries", []), strict=False):
        assert recorded is None or tried == recorded


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    assert loaded["oracle"] == "nginx 1.22.1"
    assert loaded["picks"]
    return loaded


def test_every_recorded_pick_is_present() -> None:
    counts = {
        path.stem: len(json.loads(path.read_text(encoding="utf-8"))["picks"]) for path in FILES
    }
    robin = [count for name, count in counts.items() if name.startswith("nginx_wrr_")]
    least = [count for name, count in counts.items() if name.startswith("nginx_leastconn_")]
    assert (len(robin), sum(robin)) == (9, 585)
    assert (len(least), sum(least)) == (5, 564)


def test_a_balancer_alone_picks_as_nginx(case: dict[str, Any]) -> None:
    check(case, Alone(*settings_of(case)))


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_a_pool_with_gates_in_any_order_picks_as_nginx(
    case: dict[str, Any], order: tuple[int, ...]
) -> None:
    check(case, Pooled(*settings_of(case), order))


def test_a_pool_after_a_slow_start_picks_as_nginx(case: dict[str, Any]) -> None:
    check(case, Ramped(*settings_of(case), range(4)))

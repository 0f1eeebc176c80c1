"""Invalid values, and helpers to check that a refused call changes nothing."""

import copy
from decimal import Decimal
from math import inf, nan
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
)
from tests.kinds import KEYED, KINDS, Kind, by_name

CLIENT = "192.0.2.4"
INVALID_WEIGHTS: list[Any] = [
    -1,
    -0.5,
    nan,
    inf,
    -inf,
    True,
    "1",
    None,
    2e300,
    10**400,
    1j,
    [1],
    Decimal("NaN"),
]
INVALID_TIMES: list[Any] = [nan, inf, -inf, 2e300, 10**400, -(10**400)]
NOT_COLLECTIONS: list[Any] = ["a", b"a", 7]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=by_name)
keyed_kinds = pytest.mark.parametrize("kind", KEYED, ids=by_name)


def filled(kind: Kind, weights: dict[str, float] | None = None) -> Balancer[str]:
    lb = kind.make()
    for backend, weight in ({"a": 2, "b": 1, "c": 0} if weights is None else weights).items():
        lb.put(backend, weight)
    return lb


def balancer_state(lb: Balancer[Any]) -> list[object]:
    """Return the weights that a balancer shows, and the next picks of a copy."""
    clone = copy.deepcopy(lb)
    picks = [clone.pick(CLIENT) for _ in range(9)] if any(clone.weights.values()) else []
    return [list(lb.weights.items()), *picks]


def gates_for(kind: Kind) -> list[Gate[str]]:
    gates: list[Gate[str]] = [HealthChecks(), Drain(), ConnectionLimit(100)]
    return [*gates, SlowStart(30.0)] if kind.make().fractional else gates


def pool_of(kind: Kind) -> Pool[str]:
    return Pool(filled(kind), gates_for(kind))


def pool_state(pool: Pool[Any], *gates: Gate[Any]) -> list[object]:
    """Return everything that a pool and these gates show, and the next picks of a copy."""
    clone = copy.deepcopy(pool)
    served: list[object] = []
    for _ in range(7):
        try:
            served.append(clone.acquire(5.0, CLIENT).backend)
        except NoBackendAvailable as refusal:
            served.append((refusal.reason, dict(refusal.counts)))
    rows = [
        (b, pool.weight(b), pool.effective_weight(b), pool.in_flight(b), pool.state(b))
        for b in pool.backends
    ]
    factors = [[gate.factor(b, 5.0) for b in pool.backends] for gate in gates]
    return [rows, served, repr(pool), pool.due, factors]

"""Weights, thresholds and other settings out of range: the error names the value."""

from collections.abc import Callable
from fractions import Fraction
from math import inf, nan
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers import (
    ConnectionLimit,
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    NoBackendAvailable,
    Outcome,
    Pool,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    SlowStart,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.errors import InvalidSetting, InvalidWeight, RingTooLarge
from balancers.gates import HealthStateMachine
from tests.bad_input.samples import (
    CLIENT,
    INVALID_WEIGHTS,
    balancer_state,
    every_kind,
    filled,
    gates_for,
    pool_of,
    pool_state,
)
from tests.kinds import Kind


@every_kind
@pytest.mark.parametrize("weight", INVALID_WEIGHTS, ids=repr)
def test_a_balancer_refuses_an_invalid_weight(kind: Kind, weight: Any) -> None:
    lb = filled(kind)
    before = balancer_state(lb)
    for backend in ("a", "new"):
        with pytest.raises(InvalidWeight) as error:
            lb.put(backend, weight)
        assert repr(backend) in str(error.value)
        assert repr(weight) in str(error.value)
    assert balancer_state(lb) == before


@every_kind
@pytest.mark.parametrize("weight", INVALID_WEIGHTS, ids=repr)
def test_a_pool_refuses_an_invalid_weight(kind: Kind, weight: Any) -> None:
    pool = pool_of(kind)
    pool.acquire(1.0, CLIENT)
    before = pool_state(pool)
    with pytest.raises(InvalidWeight, match="'new'"):
        pool.add("new", weight, 2.0)
    with pytest.raises(InvalidWeight, match="'a'"):
        pool.set_weight("a", weight, 2.0)
    with pytest.raises(InvalidWeight, match="'b'"):
        pool.update({"a": 7, "new": 2, "b": weight}, 2.0)
    assert pool_state(pool) == before


@every_kind
def test_a_constructor_checks_its_backends(kind: Kind) -> None:
    with pytest.raises(InvalidWeight, match=r"'b'.*-1"):
        kind.make({"a": 1, "b": -1})
    for text in ("ab", b"ab"):
        with pytest.raises(TypeError, match=repr(text)):
            kind.make(text)
    for wrong in (7, [["unhashable"]]):
        with pytest.raises(TypeError):
            kind.make(wrong)


@every_kind
def test_extreme_weights_are_accepted_or_refused_with_the_name(kind: Kind) -> None:
    lb = filled(kind, {"a": 1})
    for backend, weight in (("huge", 1e300), ("tiny", 5e-324), ("long", 10**18)):
        if kind.limits_weights and weight > 1:
            with pytest.raises(RingTooLarge, match=repr(backend)):
                lb.put(backend, weight)
            assert backend not in lb.weights
        else:
            lb.put(backend, weight)
            assert lb.weights[backend] == weight
    for _ in range(20):
        chosen = lb.pick(CLIENT)
        assert lb.weights[chosen] > 0
        lb.started(chosen)
    for backend in list(lb.weights):
        lb.put(backend, 0)
    with pytest.raises(NoBackendAvailable):
        lb.pick(CLIENT)
    lb.put("tiny", 5e-324)
    assert lb.pick(CLIENT) == "tiny"


@every_kind
def test_extreme_weights_in_a_pool(kind: Kind) -> None:
    pool = Pool(kind.make(), gates_for(kind))
    pool.add("a", 5e-324)
    leases = [pool.acquire(float(second), CLIENT) for second in range(40)]
    assert pool.in_flight("a") == 40
    for lease in leases:
        pool.release(lease, 50.0)
    assert pool.in_flight("a") == 0


@pytest.mark.parametrize("points", [1, 160, 10**9])
def test_a_ring_refuses_a_weight_that_needs_too_many_points(points: int) -> None:
    ring = HashRing({"a": 0.001}, points=points)
    with pytest.raises(RingTooLarge, match="'b'"):
        ring.put("b", 1e300)
    assert dict(ring.weights) == {"a": 0.001}


@pytest.mark.parametrize(
    "make",
    [
        lambda: HealthChecks[str](unhealthy_threshold=0),
        lambda: HealthChecks[str](healthy_threshold=0),
        lambda: HealthChecks[str](unhealthy_threshold=-3),
        lambda: HealthChecks[str](healthy_threshold=1.5),  # type: ignore[arg-type] # invalid on purpose
        lambda: HealthChecks[str](unhealthy_threshold=True),
        lambda: HealthChecks[str](recovery_time=0.0),
        lambda: HealthChecks[str](recovery_time=nan),
        lambda: HealthChecks[str](recovery_time=inf),
        lambda: HealthStateMachine(unhealthy_threshold=0),
        lambda: HealthStateMachine(healthy_threshold=0),
        lambda: Drain[str](timeout=0.0),
        lambda: Drain[str](timeout=-1.0),
        lambda: Drain[str](timeout=nan),
        lambda: ConnectionLimit[str](0),
        lambda: ConnectionLimit[str](-1),
        lambda: ConnectionLimit[str](2.0),  # type: ignore[arg-type] # invalid on purpose
        lambda: SlowStart[str](0.0),
        lambda: SlowStart[str](inf),
        lambda: SlowStart[str](nan),
        lambda: SlowStart[str](30.0, steps=1),
        lambda: PowerOfTwoChoices(rng=Random(1), choices=0),
        lambda: HashRing(points=0),
        lambda: HashRing(max_points=0),
        lambda: HashRing(["a"]).replicas(CLIENT, 0),
        lambda: IPHash(ipv4_prefix=33),
        lambda: IPHash(ipv6_prefix=-1),
        lambda: IPHash(ipv6_prefix=129),
        lambda: IPHash(over=RoundRobin()),
        lambda: RoundRobin(offset=-1),
        lambda: WeightedRoundRobin(offset=0.5),  # type: ignore[arg-type] # invalid on purpose
        lambda: WeightedLeastConnections(rule="lc"),  # type: ignore[arg-type] # invalid on purpose
        lambda: Pool(RoundRobin(), panic=1.5),
        lambda: Pool(RoundRobin(), panic=-0.1),
        lambda: Pool(RoundRobin(), panic=nan),
        lambda: Pool(RoundRobin(), panic=0.5, calm=0.4),
        lambda: Pool(RoundRobin(), panic=0.5, calm=nan),
        lambda: Outcome(elapsed=-1.0),
        lambda: Outcome(retry_after=nan),
        lambda: Outcome(elapsed=inf),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting) as error:
        make()
    assert isinstance(error.value, ValueError)
    assert (
        any(mark.isdigit() for mark in str(error.value))
        or "nan" in str(error.value)
        or ("over" in str(error.value) or "rule" in str(error.value) or "inf" in str(error.value))
    )


@pytest.mark.parametrize("rng", [None, 7, "seed"])
def test_a_random_generator_is_required(rng: Any) -> None:
    makers: list[Any] = [RandomChoice, PowerOfTwoChoices]
    for make in makers:
        with pytest.raises(TypeError, match=repr(rng)):
            make(["a"], rng=rng)
        with pytest.raises(TypeError, match="rng"):
            make(["a"])


@pytest.mark.parametrize(
    ("weight", "stored"),
    [
        (Fraction(6, 2), 3),
        (Fraction(1, 4), 0.25),
        (Fraction(0), 0),
        (np.int64(7), 7),
        (np.float64(2.0), 2),
        (np.float64(0.5), 0.5),
    ],
)
def test_a_weight_of_another_type_of_number_is_converted(weight: Any, stored: float) -> None:
    lb = WeightedRoundRobin({"a": weight})
    assert lb.weights["a"] == stored
    assert type(lb.weights["a"]) is type(stored)


def test_a_fraction_that_is_0_as_a_float_is_refused() -> None:
    with pytest.raises(InvalidWeight, match="'a' is too small for a float"):
        WeightedRoundRobin({"a": Fraction(1, 10**400)})

"""Mistakes of a first use: each gets an error that says what was given and what is wanted."""

import pickle
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers import (
    Drain,
    HashRing,
    HealthChecks,
    IPHash,
    LeastConnections,
    Maglev,
    Outcome,
    Pool,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.errors import (
    AlreadyInUse,
    AlreadyReleased,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
)
from balancers.gates import (
    ActiveChecks,
    HealthStateMachine,
    Leaky,
    MedianGap,
    OutlierEjection,
    SuccessRate,
    transitions,
)
from tests.bad_input.samples import filled
from tests.kinds import KINDS, Kind, by_name

NO_TIMES: list[Any] = [
    None,
    "5",
    Decimal(5),
    1j,
    [1.0],
    np.array([1.0, 2.0]),
    nan,
    inf,
    -inf,
    1e301,
    True,
    False,
    np.True_,
    np.array(True),
    np.array([1.0]),
    10**400,
    Fraction(10**400),
]


@pytest.mark.parametrize("balancer", [LeastConnections, Pool, None, "rr", ["a"], 3])
def test_a_pool_needs_a_balancer_object(balancer: Any) -> None:
    with pytest.raises(TypeError, match="balancer must be a balancer object, not"):
        Pool(balancer)


@pytest.mark.parametrize("gates", [Drain(), [Drain], Drain, "drain", [3], 3, [None]])
def test_gates_must_be_a_list_of_gate_objects(gates: Any) -> None:
    lb = RoundRobin(["a"])
    with pytest.raises(TypeError, match="gates must be"):
        Pool(lb, gates)
    Pool(lb)


@pytest.mark.parametrize("clock", [3.0, None, "now"])
def test_a_lease_needs_a_clock(clock: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(TypeError, match="clock must be a function"):
        pool.lease(clock)


@pytest.mark.parametrize("now", NO_TIMES, ids=repr)
def test_a_time_must_be_finite_seconds(now: Any) -> None:
    """The lease is not spent, and no gate has seen the time."""
    pool = Pool(RoundRobin(["a", "b"]), [HealthChecks[str](1)])
    lease = pool.acquire(1.0)
    before = pool.snapshot()
    calls: list[Any] = [
        lambda: pool.acquire(now),
        lambda: pool.release(lease, now),
        lambda: pool.release(lease, now, ok=False),
        lambda: pool.add("c", now=now),
        lambda: pool.remove("b", now=now),
        lambda: pool.set_weight("b", 2, now=now),
        lambda: pool.update(["a"], now=now),
        lambda: pool.update(["a"], now=now, keep=3.0),
        lambda: pool.lease(lambda: now).__enter__(),
        lambda: Pool(RoundRobin(["a"]), now=now),
    ]
    if now is not None:
        calls += [lambda: pool.admits("a", now=now), lambda: pool.full("a", now=now)]
    for call in calls:
        with pytest.raises(InvalidTime, match="now must be finite seconds"):
            call()
    assert pool.snapshot() == before
    assert not lease.released
    pool.release(lease, 2.0)


@pytest.mark.parametrize(
    "now", [5, Fraction(5), np.float64(5), np.int64(5), np.array(5.0)], ids=repr
)
def test_any_real_number_is_a_time(now: Any) -> None:
    pool = Pool(RoundRobin(["a"]), [HealthChecks[str](1), Drain[str]()])
    pool.release(pool.acquire(now), now, ok=False)
    assert pool.state("a") == ("unhealthy",)


def test_a_time_that_can_change_is_not_stored() -> None:
    """A pool stored the array that it got, and its time changed with it."""
    now: Any = np.array(5.0)
    pool = Pool(RoundRobin(["a", "b"]), [HealthChecks[str](1), Drain[str]()])
    lease = pool.acquire(now)
    now += 1000.0
    assert (lease.acquired_at, type(lease.acquired_at)) == (5.0, float)
    pool.release(lease, 6.0)
    assert pool.acquire(7.0).acquired_at == 7.0


NO_RESULTS: list[Any] = [
    None,
    503,
    200,
    2,
    -1,
    1.0,
    0.0,
    nan,
    "ok",
    "",
    b"",
    [True],
    np.array([1, 0]),
]


@pytest.mark.parametrize("ok", NO_RESULTS, ids=repr)
def test_a_result_is_true_or_false(ok: Any) -> None:
    health, checks = HealthChecks[str](1, 1), ActiveChecks[str](1, 1, rng=Random(1))
    pool = Pool(RoundRobin(["a", "b"]), [health, checks])
    [probe, *_] = checks.probes(5.0)
    machine = HealthStateMachine(1, 1)
    before = pickle.dumps((pool, machine))
    calls: list[Any] = [
        lambda: health.observe("a", ok, 6.0),
        lambda: health.observe("a", ok, 6.0, started_at=5.0),
        lambda: health.observe("a", ok, 6.0, immediate=True),
        lambda: health.observe("a", ok, True),  # the time and the result were swapped
        lambda: checks.observe("a", ok, 6.0),
        lambda: checks.answer(probe, ok, 6.0),
        lambda: machine.observe(ok),
        lambda: machine.observe(ok, immediate=True),
        lambda: machine.would_be_healthy(ok),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="ok must be True or False, not"):
            call()
        assert pickle.dumps((pool, machine)) == before
    if ok is not None:
        with pytest.raises(InvalidSetting, match="ok must be True, False or None, not"):
            Outcome(ok=ok)


@pytest.mark.parametrize("true", [True, 1, np.True_, np.int64(1)], ids=repr)
def test_one_and_zero_are_results(true: Any) -> None:
    both: list[Any] = [true, type(true)(0)]
    for ok in both:
        health: HealthChecks[str] = HealthChecks(1, 1)
        Pool(RoundRobin(["a", "b"]), [health])
        health.observe("a", ok, 1.0)
        assert health.healthy("a") is bool(ok)
        machine = HealthStateMachine(1, 1)
        assert machine.would_be_healthy(ok) is bool(ok)
        machine.observe(ok)
        assert machine.healthy is bool(ok)
        assert Outcome(ok=ok).ok is bool(ok)
        assert Outcome(ok=ok) == Outcome(ok=bool(ok))


class HalfARule:
    def next_state(self, state: Any, ok: bool) -> Any:
        return state


@pytest.mark.parametrize("rule", [Leaky, HalfARule(), HalfARule, "leaky", MedianGap()])
def test_a_health_rule_is_an_object(rule: Any) -> None:
    for make in (
        lambda: HealthChecks[str](rule=rule),
        lambda: ActiveChecks[str](rule=rule, rng=Random(1)),
        lambda: HealthStateMachine(rule=rule),
        lambda: transitions(rule),
    ):
        with pytest.raises(TypeError, match=r"rule must be a health rule, not .*; pass an object"):
            make()


@pytest.mark.parametrize("rules", [[MedianGap], [SuccessRate(), Leaky()], "rule", [None]], ids=repr)
def test_outlier_rules_are_objects(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"rules must be outlier rules, not .*; pass a list"):
        OutlierEjection[str](rules=rules)


@pytest.mark.parametrize("rules", [MedianGap(), MedianGap, None, 3], ids=repr)
def test_outlier_rules_are_a_list(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"rules must be a list of outlier rules, not .*; pass a"):
        OutlierEjection[str](rules=rules)
    assert "rules none" in repr(OutlierEjection[str](rules=[]))


NO_BACKENDS: list[Any] = [5, None, 1.5, "ab", b"ab", [["a", 1.0]], [{"a": 1}], ({"a"},), Leaky]


@pytest.mark.parametrize("backends", NO_BACKENDS, ids=repr)
def test_backends_are_an_iterable_or_a_mapping(backends: Any) -> None:
    pool: Pool[Any] = Pool(WeightedRoundRobin({"a": 1, "b": 3}))
    before = pool.snapshot()
    calls: list[Any] = [lambda: pool.update(backends), lambda: pool.update(backends, keep=1.0)]
    if backends is not None:  # a balancer without backends
        calls += [
            lambda kind=kind: kind(backends) for kind in (RoundRobin, Maglev, HashRing, IPHash)
        ]
    for call in calls:
        with pytest.raises(
            TypeError, match="iterable of backends or a mapping to weights"
        ) as wrong:
            call()
        assert repr(backends) in str(wrong.value)
    assert pool.snapshot() == before


PAIRS: list[Any] = [("a", 1.0), ("a", 0.5), ("c", 0), ("c", 65536), ("c", -1), ("a", 3), ("a", "x")]


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_pairs_of_backends_and_weights_are_no_backends(pair: Any) -> None:
    pool: Pool[Any] = Pool(WeightedRoundRobin({"a": 1, "b": 3}))
    with pytest.raises(TypeError, match="mapping of backends to weights"):
        pool.update([pair, "b"])
    with pytest.raises(TypeError, match="identity="):
        pool.update([pair, "b"])
    with pytest.raises(TypeError, match="mapping of backends to weights"):
        pool.update([pair, "b"], keep=1.0)
    assert dict(pool._balancer.weights) == {"a": 1, "b": 3}
    assert list(pool.backends) == ["a", "b"]


def test_pairs_of_hosts_and_ports_are_backends() -> None:
    pairs: list[Any] = [("a", 1), ("::1", 65535), ("h", True), ("x", "y"), ("h", None)]
    pool: Pool[Any] = Pool(RoundRobin(pairs))
    pool.update([*pairs, ("b", 80)])
    assert len(pool) == len(pairs) + 1
    pool.update([("a", 1), ("a", 2)])  # ("a", 1) is a member, but "a" is not
    with pytest.raises(TypeError, match=r"\('a', 1\.0\)"):
        RoundRobin([("a", 1.0), ("b", 3.0)])


@pytest.mark.parametrize("weight", [Fraction(1, 10**400), Decimal("1e-400")], ids=["F", "D"])
def test_a_tiny_weight_does_not_quiesce(weight: Any) -> None:
    pool = Pool(WeightedRoundRobin(["a", "b"]))
    for call in (
        lambda: pool.set_weight("a", weight),
        lambda: pool.add("c", weight),
        lambda: pool.update({"a": weight}),
        lambda: WeightedRoundRobin({"a": weight}),
    ):
        with pytest.raises(InvalidWeight, match=r"'a'|'c'"):
            call()
    assert pool.weight("a") == 1


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_an_array_is_not_a_collection_of_backends(kind: Kind, size: int) -> None:
    lb: Any = filled(kind)
    avoid: Any = np.array([f"b{i}" for i in range(size)])
    key = "192.0.2.7"
    with pytest.raises(TypeError, match="avoid must be a collection of backends"):
        lb.pick(key, avoid=avoid)
    pool = Pool(lb)
    before = pool.snapshot()
    with pytest.raises(TypeError, match="avoid must be a collection of backends"):
        pool.acquire(1.0, key, avoid=avoid)
    for wrong in ("abc", b"abc", None, 5, iter(["a"])):
        with pytest.raises(TypeError, match="avoid must be a collection of backends"):
            pool.acquire(1.0, key, avoid=wrong)  # type: ignore[arg-type]  # refused
    assert pool.snapshot().requests == before.requests


def test_a_lease_context_is_entered_once() -> None:
    """One object that was entered twice leaked a lease."""
    pool = Pool(RoundRobin(["a"]))
    context = pool.lease(lambda: 1.0)
    with context:
        with pytest.raises(AlreadyInUse, match="entered twice"), context:
            pass
        assert pool.in_flight("a") == 1
    assert pool.in_flight("a") == 0
    with pytest.raises(AlreadyInUse, match="entered twice"), context:
        pass
    assert pool.in_flight("a") == 0


def test_a_context_whose_request_was_refused_can_be_entered_again() -> None:
    pool = Pool(RoundRobin[str]())
    context = pool.lease(lambda: 1.0)
    with pytest.raises(LookupError), context:
        pass
    pool.add("a")
    with context as lease:
        assert lease.backend == "a"
    assert lease.released


def test_a_failed_status_is_a_failure() -> None:
    health: HealthChecks[str] = HealthChecks(1)
    pool = Pool(RoundRobin(["a", "b"]), [health])
    with pool.lease(lambda: 1.0) as lease:
        lease.failed(status=503)
    assert pool.state(lease.backend) == ("unhealthy",)
    assert (lease.released, pool.snapshot().failures) == (True, 1)
    with pytest.raises(AlreadyReleased):
        lease.failed()
    with pool.lease(lambda: 2.0) as lease:
        lease.failed(retry_after=9.0, status=429)
    assert pool.state(lease.backend) == ()  # lack of capacity is no sickness
    assert pool.snapshot().failures == 2
    with pytest.raises(AlreadyReleased):
        pool.release(lease, 3.0)
    lease = pool.acquire(3.0)
    lease.failed()
    pool.release(lease, 3.0)  # also without a block
    assert pool.snapshot().failures == 3


@pytest.mark.parametrize("retry_after", ["3", -1.0, nan])
def test_a_wrong_report_changes_nothing(retry_after: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    lease = pool.acquire(0.0)
    with pytest.raises(InvalidSetting):
        lease.failed(retry_after=retry_after)
    pool.release(lease, 0.0)
    assert pool.snapshot().failures == 0


@pytest.mark.parametrize("ok", [503, "yes", 0.5, []])
def test_an_outcome_is_true_false_or_none(ok: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    lease = pool.acquire(0.0)
    with pytest.raises((TypeError, InvalidSetting), match="ok"):
        pool.release(lease, 1.0, ok)
    assert not lease.released
    failed: Any = np.False_
    pool.release(lease, 1.0, ok=failed)
    assert pool.snapshot().failures == 1


@pytest.mark.parametrize("wrong", [None, "a", 3])
def test_only_a_lease_can_be_released(wrong: Any) -> None:
    pool = Pool(RoundRobin(["a"]))
    with pytest.raises(TypeError, match="lease must be a lease of a pool, not"):
        pool.release(wrong, 1.0)
    with pytest.raises(TypeError, match="lease must be a lease of a pool, not"):
        pool.owns(wrong)
    with pytest.raises(TypeError, match="lease must be a lease of a pool, not"):
        pool.release(pool.lease(lambda: 1.0), 1.0)  # type: ignore[arg-type]  # refused

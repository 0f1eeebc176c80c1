"""The usual results take a short way through ``finished``, which must give what the long way gives.

A gate whose verdict is another function than the default, with the same results, takes the long way
only.  The whole state of two such gates stays equal.
"""

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import partial
from math import inf, nan
from random import Random
from typing import Any, cast

import pytest

from balancers import HealthChecks, Outcome
from balancers.errors import InvalidTime
from balancers.gates import ActiveChecks, CoolDown, OutlierEjection, PassiveChecks, SuccessRate
from balancers.outcome import FAILURE, SUCCESS, UNKNOWN, count_capacity_as_unknown
from tests.depth import runs


def long_way(outcome: Outcome) -> bool | None:
    """Return what the default verdict returns."""
    return count_capacity_as_unknown(outcome)


MAKERS: dict[str, Callable[..., Any]] = {
    "health": partial(HealthChecks[str], 2, 2, 3.0),
    "health by probes": partial(HealthChecks[str], 1, 1, promotion="probes"),
    "active": partial(ActiveChecks[str], 2, 2),
    "passive": partial(PassiveChecks[str], 2, 3.0, 2),
    "passive, one failure": partial(PassiveChecks[str], 1, 2.0),
    "outliers": partial(
        OutlierEjection[str],
        2,
        [SuccessRate(minimum_hosts=2, request_volume=2)],
        interval=4.0,
        base_ejection_time=3.0,
        max_ejected_share=1.0,
    ),
    "cool down": partial(CoolDown[str], 2, 1.0),
}
RANDOM = ("active", "cool down")
NAMES = "abc"
OUTCOMES = (
    [SUCCESS] * 8
    + [FAILURE] * 3
    + [
        UNKNOWN,
        Outcome(),
        Outcome(True, 0.5),
        Outcome(False, retry_after=2.0),
        Outcome(False, status=429),
    ]
)


def state(value: object) -> object:
    """Return everything that an object holds, as values that can be compared."""
    if isinstance(value, Random):
        return value.getstate()
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return [(state(key), state(held)) for key, held in items]
    if isinstance(value, list | tuple | set | frozenset):
        return [state(held) for held in cast("Iterable[object]", value)]
    if value is None or isinstance(value, str | int | float | bytes) or callable(value):
        return value if not callable(value) else None
    names = [*getattr(value, "__dict__", {}), *getattr(type(value), "__slots__", ())]
    if not names:
        return repr(value)
    parts = {name: state(getattr(value, name, None)) for name in names}
    parts.pop("_plain", None)
    return parts


def no_requests(_backend: str) -> int:
    return 0


def pair(name: str) -> list[Any]:
    gates: list[Any] = []
    for verdict in (count_capacity_as_unknown, long_way):
        more = {"rng": Random(1)} if name in RANDOM else {}
        gates.append(MAKERS[name](verdict=verdict, **more))
    for gate in gates:
        gate.attach(no_requests, None)
        for backend in NAMES:
            gate.added(backend, 0.0)
        list(gate.changes(0.0))
    return gates


def history(rng: Random, gates: list[Any]) -> None:
    """Report the same requests to both gates, and compare them after each."""
    now = 0.0
    for _ in range(60):
        backend = rng.choice([*NAMES, "d"])
        now += rng.choice([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 3.0])
        at: Any = rng.choice([now, now, now, now - 1.0, int(now), Fraction(now)])
        begun: Any = rng.choice([at, at, now, now - 0.25, now - 2.0, now + 1.0, int(now)])
        action = rng.choice(["finished"] * 8 + ["started", "changes"])
        results: list[object] = []
        outcome = rng.choice(OUTCOMES)
        for gate in gates:
            if action == "finished":
                gate.finished(backend, outcome, 0, begun, at)
            elif action == "started":
                gate.started(backend, 1, at)
            else:
                results.append(list(gate.changes(at)))
        if results:
            assert results[0] == results[1]
        assert state(gates[0]) == state(gates[1]), (action, backend, at, begun, outcome)


@pytest.mark.parametrize("name", MAKERS)
def test_the_short_way_gives_what_the_long_way_gives(name: str) -> None:
    for seed in range(runs(100)):
        history(Random(seed), pair(name))


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE, UNKNOWN], ids=["ok", "failed", "unknown"])
@pytest.mark.parametrize("time", [nan, inf, -inf, 1.1e300, -1.1e300, True, "1", None])
@pytest.mark.parametrize("name", MAKERS)
def test_no_way_accepts_an_invalid_time(name: str, time: Any, outcome: Outcome) -> None:
    for gate in pair(name):
        before = state(gate)
        with pytest.raises(InvalidTime, match="now must be finite"):
            gate.finished("a", outcome, 0, 1.0, time)
        with pytest.raises(InvalidTime, match="started_at must be finite"):
            gate.finished("a", outcome, 0, time, 1.0)
        assert state(gate) == before


@pytest.mark.parametrize("time", [nan, inf, -inf, 1.1e300, True, "1"])
def test_no_gate_accepts_an_invalid_start_of_a_probe(time: Any) -> None:
    outliers = OutlierEjection[str](1, max_ejected_share=1.0)
    health = HealthChecks[str](1, 1, restores=outliers)
    for gate in (outliers, health):
        for backend in NAMES:
            gate.added(backend, 0.0)
    before = state(outliers), state(health)
    for ok in (True, False):
        with pytest.raises(InvalidTime, match="started_at must be finite"):
            health.observe("a", ok, 1.0, started_at=time)
    with pytest.raises(InvalidTime, match="started_at must be finite"):
        outliers.probe_passed("a", 1.0, started_at=time)
    assert (state(outliers), state(health)) == before


@pytest.mark.parametrize("started_at", [-1e300, -1.0, 0.0, 1e300, 5, Fraction(1, 3)])
def test_any_finite_start_of_a_probe_is_valid(started_at: Any) -> None:
    health = HealthChecks[str](1, 1)
    health.added("a", 0.0)
    health.observe("a", False, 1.0, started_at=started_at)
    assert health.healthy("a") is (started_at < 0)

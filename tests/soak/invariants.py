"""What must be true of a pool with its gates at any time, computed again from nothing.

Nothing here uses the counters that it checks: the requests in flight come from the leases that the
caller holds, the effective weights from the factors that the gates return now, and the sizes of
the indexes from the members.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import inf, isclose, prod
from typing import Any

from balancers import (
    Balancer,
    IPHash,
    LeastConnections,
    NoBackendAvailable,
    PowerOfTwoChoices,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from balancers.algorithms import LeastLoaded, Tiers, Zones
from balancers.gates import (
    ActiveChecks,
    CostLimit,
    DynamicLimit,
    OutlierEjection,
    PassiveChecks,
    Timers,
)
from balancers.hashing import BoundedLoad, PrefixAffinity
from balancers.loads import InFlight
from balancers.pool._hooks import hook
from tests.soak.parts import CALM, PANIC, Fault, Name, Parts

__all__ = ["check_pool", "check_timers", "counts_of", "names_in", "timers_of"]

STALE = 17
"""How many stale entries a heap of timers may have beyond as many as it has timers."""
FORMER = 48
"""How many former members a balancer may hold until it picks again."""
CLIENT = "192.0.2.1"


def check_pool(
    parts: Parts, flying: Mapping[int, int], now: float, reasons: Counter[str] | None = None
) -> None:
    """Check a pool, its balancer and its gates.

    ``flying`` is the number of the caller's leases for each generation of a backend.
    """
    pool = parts.pool
    while True:
        try:
            pool.acquire(now, CLIENT, Name("no member"), strict=True)
        except Fault:
            continue
        except NoBackendAvailable as refusal:
            if reasons is not None:
                reasons[refusal.reason] += 1
            break
    in_flight = {b: flying.get(pool.generation(b), 0) for b in pool.backends}
    found = {b: pool.in_flight(b) for b in pool.backends}
    assert found == in_flight, f"in flight: {differences(found, in_flight)}"
    check_balancer(parts, in_flight)
    check_gates(parts, in_flight, now)
    check_weights(parts, now)
    check_census(parts)
    check_members(parts, in_flight)


def differences(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> str:
    """Show at most five entries that differ: what was found, and what was expected."""
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return ", ".join(f"{key}: {found.get(key)}, not {expected.get(key)}" for key in keys[:5])


def counts_of(  # noqa: PLR0911 - one for each kind
    lb: Balancer[Any],
) -> dict[Any, int] | None:
    """Return the requests in flight that a balancer counts itself, None if it counts none."""
    match lb:
        case LeastConnections():
            return {b: tie.count for b, tie in lb._places.items()}
        case WeightedLeastConnections():
            return {b: member.count - lb._extra for b, member in lb._members.items()}
        case PowerOfTwoChoices() | LeastLoaded():
            counted = {b: each.busy_steps // each.step for b, each in lb._candidates.items()}
            load: Any = lb._load
            if isinstance(load, InFlight):
                busy = {b: count for b, count in counted.items() if count}
                found: dict[Any, int] = vars(load)["_counts"]
                assert found == busy, f"load: {differences(found, busy)}"
            return counted
        case BoundedLoad():
            check_bound(lb)
            return dict(lb._counts)
        case IPHash():
            return counts_of(lb._over)
        case Tiers() | Zones():
            parts = [counts_of(each) for each in lb.balancers]
            return {b: count for part in parts if part for b, count in part.items()}
        case PrefixAffinity():
            return None  # it counts tokens
        case _:  # bound requests change the current weights of WeightedRoundRobin
            counts_none = isinstance(lb, WeightedRoundRobin) or not hook(lb, Balancer, "started")
            assert counts_none, f"the counts of {lb!r} are unknown"
            return None


def check_bound(lb: BoundedLoad[Any]) -> None:
    """Add the requests in flight and the weights that decide about the bound of each backend."""
    busy = sum(lb._counts[b] for b, weight in lb.weights.items() if weight)
    assert lb._numerator == lb._c_numerator * (busy + 1), "the bound counts other requests"
    total = sum(Fraction(str(weight)) for weight in lb.weights.values())
    assert lb._denominator == lb._c_denominator * total, "the bound has other weights"


def check_balancer(parts: Parts, in_flight: Mapping[Name, int]) -> None:
    lb, pool = parts.balancer, parts.pool
    weights = {b: pool.effective_weight(b) for b in pool.backends}
    assert dict(lb.weights) == weights, f"weights: {differences(lb.weights, weights)}"
    counts = counts_of(lb)
    if counts is not None:
        if isinstance(lb, Tiers | Zones):
            in_flight = {b: in_flight[b] for b in counts}
        assert counts == in_flight, f"counts of {lb!r}: {differences(counts, in_flight)}"
    attributes: dict[str, Any] = vars(lb)
    for name, value in attributes.items():
        if isinstance(value, dict | set):
            keys: list[Any] = [*value]
            former = {key for key in keys if isinstance(key, Name) and key not in pool}
            assert len(former) <= FORMER, f"{type(lb).__name__}.{name}: {len(former)} have left"


def names_in(value: Any, depth: int = 3) -> Iterator[Name]:
    """Find the names in a container and in the containers in it."""
    inner: list[Any] = []
    if isinstance(value, Name):
        yield value
    elif isinstance(value, Mapping):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = [*value]
    for each in inner if depth else ():
        yield from names_in(each, depth - 1)


def timers_of(part: object) -> dict[str, Timers[Any]]:
    """Return the attributes of a gate that are timers."""
    return {name: value for name, value in vars(part).items() if type(value) is Timers}


def check_timers(title: str, timers: Timers[Any], allowed: Any) -> float:
    """Check the index of timers, and return the earliest time, found without the heap."""
    current, heap = timers._current, timers._heap
    former = [key for key in current if key not in allowed]
    assert not former, f"{title} has {len(former)} timers of former members"
    assert len(heap) <= 2 * len(current) + STALE, f"{title}: {len(heap)} entries in the heap"
    entries = {id(entry) for entry in heap}
    assert all(id(entry) in entries for entry in current.values()), f"{title} lost a timer"
    assert all(heap[(place - 1) // 2] <= heap[place] for place in range(1, len(heap)))
    return min((entry[0] for entry in current.values()), default=inf)


def check_gates(parts: Parts, in_flight: Mapping[Name, int], now: float) -> None:
    pool = parts.pool
    for gate in parts.gates:
        title, due = type(gate).__name__, inf
        for name, timers in timers_of(gate).items():
            first = check_timers(f"{title}.{name}", timers, pool)
            due = min(due, inf if name == "_scheduled" else first)
        for name, value in vars(gate).items():
            former = {b for b in names_in(value) if b not in pool}
            assert not former, f"{title}.{name} holds {len(former)} former members"
        match gate:
            case ActiveChecks():
                deadlines = [probe.deadline for probe in gate._awaited.values()]
                assert deadlines == sorted(deadlines)
                due = min([due, *deadlines])
            case OutlierEjection():
                due = min(due, gate._next_evaluation)
                assert set(gate.timers._current) == set(gate._ejections)
            case CostLimit():
                costs = {b: pool.cost_in_flight(b) for b in pool.backends}
                assert {b: gate.cost_on(b) for b in pool.backends} == costs
            case PassiveChecks():
                states = gate._members
                trials = {b: states[b].trials_in_flight for b in states if states[b].on_trial}
                assert all(0 <= trials[b] <= in_flight[b] for b in trials), trials
            case DynamicLimit():
                check_dynamic_limit(gate, in_flight)
            case _:
                pass
        assert now < gate.due <= due, f"{title}: due {gate.due} at {now}, and {due} was found"
    check_warm_up(parts, in_flight)


def check_dynamic_limit(gate: DynamicLimit[Name], in_flight: Mapping[Name, int]) -> None:
    assert gate._members == in_flight, f"DynamicLimit: {differences(gate._members, in_flight)}"
    assert gate._total == sum(in_flight.values())
    assert gate._limit == gate.limit_at(gate._total + gate._waiting + 1)
    assert set(gate._closed) == {b for b, count in in_flight.items() if count >= gate._limit}
    groups: dict[int, set[Name]] = {}
    for backend, count in in_flight.items():
        groups.setdefault(count, set()).add(backend)
    assert {count: set(group) for count, group in gate._by_in_flight.items()} == groups


def check_warm_up(parts: Parts, in_flight: Mapping[Name, int]) -> None:
    gate = parts.warm_up
    ramping = {b for b, state in gate._members.items() if state.ramping}
    assert ramping == set(gate._ramping)
    if not ramping:
        assert not gate._limited
        return
    steady = [in_flight[b] for b in in_flight if b not in ramping]
    assert gate._total_in_flight == sum(steady)
    assert gate._busy_backends == sum(count > 0 for count in steady)
    assert {b: gate._members[b].in_flight for b in in_flight} == in_flight
    limited = {b for b in ramping if in_flight[b]}
    assert len(gate._limited) == len(limited)
    assert set(gate._limited.values()) == limited


def check_weights(parts: Parts, now: float) -> None:
    """Multiply each weight by the factors that the gates return now."""
    pool = parts.pool
    census = pool._census
    for backend, member in pool._by_backend.items():
        closing: list[str] = []
        factors: list[float] = []
        if not member.weight:
            closing.append("quiesced")
        if member.departing:
            closing.append("leaving")
        ignored = False
        for place, gate in enumerate(parts.gates):
            factor = gate.factor(backend, now)
            assert member.factors[place] == factor, f"{type(gate).__name__} of {backend}"
            resort = getattr(gate, "last_resort", False)
            ignored = (gate.soft and census.panicking) or (resort and census.last_resort)
            if not ignored:
                factors.append(factor)
            if not factor:
                closing.append(gate.reason)
        for gate in (parts.active, parts.health):
            if gate.unproven(backend, now):
                closing.append(gate.reason)
                factors.append(0)
        limit = ["saturated"] if pool._limit is not None and pool._limit.full else []
        assert set(pool.state(backend)) == {*closing, *limit}, f"the state of {backend}"
        effective = 0 if member.departing else member.weight * prod(factors)
        found = pool.effective_weight(backend)
        assert isclose(found, effective, abs_tol=1e-8), f"{backend} has {found}, not {effective}"


def check_census(parts: Parts) -> None:
    """Count the members by what closes them, and decide again whether gates are ignored."""
    pool = parts.pool
    census, gates = pool._census, pool._gate_set
    combinations = [member.closed_by for member in pool._by_backend.values()]
    open_count = combinations.count(0)
    hard = sum(not combination & ~gates.soft for combination in combinations)
    eligible = sum(not combination & ~census.ignored for combination in combinations)
    groups = Counter(combination for combination in combinations if combination)
    assert census._groups == groups, f"census: {differences(census._groups, groups)}"
    found = (census.members, census.open, census._open_hard, census.eligible)
    assert found == (len(pool), open_count, hard, eligible), f"census: {found}"
    if open_count:
        share = open_count / hard
        assert not census.last_resort
        assert share < CALM if census.panicking else share >= PANIC, f"panic at {share}"
    elif not eligible:
        ignorable = gates.soft | gates.last_resort
        assert not any(not combination & ~ignorable for combination in combinations)


def check_members(parts: Parts, in_flight: Mapping[Name, int]) -> None:
    pool = parts.pool
    members, gates = pool._members, pool._gate_set
    assert not gates.pending
    assert len(gates.watched) <= len(parts.gates) + 1
    for held in (members.recoveries.waiting, members.recoveries.read_at):
        assert all(backend in pool for backend in held)
    departures = members._departures
    leaving = {member for member in pool._by_backend.values() if member.departing}
    first = check_timers("departures", departures._timers, leaving)
    assert {*departures._timers._current, *departures._overdue} == leaving
    assert not any(member.former for member in leaving)
    assert departures.due <= first
    assert pool.due == min([departures.due, *(gate.due for gate in parts.gates)])
    ignorable = {
        b
        for b, member in pool._by_backend.items()
        if member.fractions or member.closed_by & gates.ignorable
    }
    assert set(members._ignorable) == ignorable
    if pool._limit is not None:
        assert pool._limit._in_flight == sum(in_flight.values()), "the limit of the pool"
        assert pool._limit.full == (pool._limit._in_flight >= pool._limit._limit)

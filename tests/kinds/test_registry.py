"""Every public balancer, gate and load of the package has a row in the registry."""

import inspect
import pickle
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

from balancers import NoBackendAvailable, Pool, WeightedRoundRobin
from tests.kinds import (
    GATES,
    KINDS,
    LOADS,
    PLAIN_GATES,
    PRESETS,
    GateKind,
    Kind,
    LoadKind,
    by_name,
    gate_named,
)
from tests.packages import PUBLIC

TRAITS = {
    "weighted", "keyed", "smooth", "rotating", "least_loaded", "random", "minimal_disruption",
    "bounded", "historical", "stacked",
}  # fmt: skip


HOMES = [home for home in PUBLIC if home not in {"balancers.testing", "balancers.simulation"}]
"""The packages of balancers, gates and loads.  A state machine has their methods, but is none.  Nor
is ``Stale``, which delays what another balancer knows; it is tested in tests/simulation."""


def is_of_the_package(kind: type) -> bool:
    return kind.__module__.startswith("balancers.")


def public_classes(*methods: str) -> set[type]:
    """Return the public classes that have these methods and are not abstract."""
    named = (getattr(import_module(home), name) for home in HOMES for name in PUBLIC[home])
    classes: list[Any] = [each for each in named if inspect.isclass(each)]
    return {
        each
        for each in classes
        if all(hasattr(each, method) for method in methods) and not inspect.isabstract(each)
    }


@pytest.mark.parametrize(
    ("rows", "methods"),
    [
        ([*KINDS, *PRESETS], ["pick", "put", "discard"]),
        (GATES, ["factor", "changes", "attach"]),
        (LOADS, ["value", "started", "removed"]),
    ],
    ids=["balancers", "gates", "loads"],
)
def test_every_public_class_has_a_row(
    rows: Sequence[Kind | GateKind | LoadKind], methods: list[str]
) -> None:
    made: list[type] = [type(row.make()) for row in rows]
    in_rows = {next(kind for kind in each.mro() if is_of_the_package(kind)) for each in made}
    public = public_classes(*methods)
    assert public
    assert public - in_rows == set()
    assert in_rows - public == set()


def test_the_names_of_rows_are_different() -> None:
    for rows in ([*KINDS, *PRESETS], GATES, LOADS):
        names = [row.name for row in rows]
        assert len({*names}) == len(names)


@pytest.mark.parametrize("kind", [*KINDS, *PRESETS], ids=by_name)
def test_the_traits_agree_with_the_balancer(kind: Kind) -> None:
    traits = {*kind.traits}
    assert traits <= TRAITS
    assert len(traits) == len(kind.traits)
    balancer = kind.make()
    assert ("keyed" in traits) is balancer.keyed
    assert "weighted" in traits or not balancer.fractional
    assert ("bounded" in traits) is (kind.bound is not None)
    assert ("stacked" in traits) is kind.only_last_leaves
    assert ("random" in traits) <= ("rng" in inspect.signature(kind.make).parameters)
    assert not {"smooth"} & traits or "weighted" in traits
    assert balancer.weights == kind.make().weights == {}
    assert all(reason.endswith(".") for reason in kind.excuses.values())


@pytest.mark.parametrize("kind", [*KINDS, *PRESETS], ids=by_name)
def test_the_keys_are_keys_of_the_balancer(kind: Kind) -> None:
    balancer = kind.make(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
    keys = [f"user {number}" for number in range(1000)] if kind.keys is None else kind.keys
    assert len({*keys}) >= 900
    picked = {balancer.pick(key) for key in keys}
    if not balancer.keyed:
        balancer.started(*picked) if len(picked) == 1 else None
        picked |= {balancer.pick()}
    starves = kind.name in {"caddy.Cookie", "caddy.First", "haproxy.First"}
    assert (len(picked) == 1) is starves


def changes_something(kind: GateKind, name: str, with_others: bool) -> bool:
    """Return whether an event changes the state of a gate at any of ten times."""
    gate = kind.make()
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate])
    changed = False
    for step in range(10):
        now = float(step)
        with suppress(NoBackendAvailable):
            pool.release(pool.acquire(now, prefer="a"), now, ok=step % 4 == 3)
        for other, event in kind.events.items():
            if with_others and other != name:
                event(gate, "a", now)
        before = pickle.dumps(pool)
        kind.events[name](gate, "a", now)
        changed = changed or pickle.dumps(pool) != before
    return changed


@pytest.mark.parametrize("kind", GATES, ids=by_name)
def test_every_event_changes_the_gate_at_some_time(kind: GateKind) -> None:
    for name in kind.events:
        assert changes_something(kind, name, False) or changes_something(kind, name, True), name


@pytest.mark.parametrize("kind", GATES, ids=by_name)
def test_the_gates_of_a_row_share_no_state(kind: GateKind) -> None:
    gate, twin = kind.make(), kind.make()
    before = pickle.dumps(twin)
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate])
    for name, event in kind.events.items():
        event(gate, "a", 5.0)
        assert pickle.dumps(twin) == before, name
    pool.release(pool.acquire(6.0), 6.0, ok=False)
    assert pickle.dumps(twin) == before
    assert type(gate).__name__ == kind.name.partition("-")[0]
    assert type(PLAIN_GATES[type(gate).__name__].make()) is type(gate)
    assert gate_named(kind.name) is kind


@pytest.mark.parametrize("kind", GATES, ids=by_name)
def test_a_row_says_whether_one_failure_closes(kind: GateKind) -> None:
    gate = kind.make()
    pool = Pool(WeightedRoundRobin(["a", "b"]), [gate])
    for backend in ("a", "b"):
        if hasattr(gate, "observe"):  # it may have joined as down
            gate.observe(backend, True, 1.0)
            gate.observe(backend, True, 1.0)
    lease = pool.acquire(100.0, prefer="a")
    before = gate.factor("a", 100.0)
    pool.release(lease, 100.0, ok=False)
    assert (gate.factor("a", 100.0) < before) is kind.closes_at_once

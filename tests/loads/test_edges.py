"""What the loads by duration do at the edges of their settings and of a request."""

from random import Random
from typing import Any

import pytest

from balancers import Lease, Outcome, Pool
from balancers.algorithms import LeastLoaded
from balancers.loads import Ewma, PeakEwma
from tests.depth import runs


def measured(load: Any) -> Any:
    load.started("a", 0.0)
    load.finished("a", Outcome(elapsed=0.25), 0.0)
    return load


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
def test_an_end_without_a_start_says_nothing(kind: Any) -> None:
    load = measured(kind())
    one = load.value("a", 1.0)
    for backend in "ab":
        load.finished(backend, Outcome(elapsed=9.0), 1.0)
    assert (load.value("a", 1.0), load.value("b", 1.0)) == (one, kind().value("b", 1.0))
    load.started("a", 1.0)
    assert load.value("a", 1.0) == 2 * one


@pytest.mark.parametrize("kind", [Ewma, PeakEwma])
def test_a_backend_that_was_removed_is_forgotten(kind: Any) -> None:
    load = measured(kind())
    load.started("a", 1.0)
    load.removed("a")
    load.removed("b")
    assert load.value("a", 1.0) == kind().value("a", 1.0)
    assert load._states == {}


def test_an_average_is_forgotten_after_max_age_and_not_at_it() -> None:
    load = measured(PeakEwma[str](max_age=30.0))
    assert [load.value("a", now) for now in (30.0, 30.5)] == [0.25, 0.0]
    load.started("a", 30.0)
    assert load.value("a", 30.0) == 0.5
    load.finished("a", Outcome(elapsed=0.25), 30.0)
    load.started("a", 60.5)
    assert load.value("a", 60.5) > 1e100


def test_the_least_and_the_greatest_penalty() -> None:
    for penalty, value in ((0, 0.25), (0.5, 0.25), (1e9, 0.25e9)):
        load = measured(PeakEwma[str](penalty=penalty))
        load.started("a", 1.0)
        load.finished("a", Outcome(ok=False), 1.0)
        assert load.value("a", 1.0) == value


@pytest.mark.parametrize("seed", range(runs(50)))
def test_each_first_token_counts_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some requests report progress, and others end without a token."""
    rng, load = Random(seed), PeakEwma[str](first=True)
    counted: list[float] = []
    succeed = load._succeed

    def counting(state: Any, seconds: float) -> None:
        counted.append(seconds)
        succeed(state, seconds)

    monkeypatch.setattr(load, "_succeed", counting)
    pool = Pool(LeastLoaded(["a", "b"], load=load))
    open_leases: list[Lease[str]] = []
    expected: list[float] = []
    fresh = set[Lease[str]]()
    for step in range(60):
        now = step * 0.5
        lease = rng.choice(open_leases) if open_leases else None
        what = rng.randrange(3)
        if what == 0 or lease is None:
            open_leases.append(pool.acquire(now))
            fresh.add(open_leases[-1])
        elif what == 1:
            pool.progress(lease, now)
            if lease in fresh:
                expected.append(now - lease.acquired_at)
                fresh.remove(lease)
        else:
            open_leases.remove(lease)
            pool.release(lease, now, ok=rng.random() < 0.8)
        assert counted == expected
    for lease in open_leases:
        pool.release(lease, 99.0)
    assert counted == expected
    assert [state.progressed for state in load._states.values()] == [0, 0]

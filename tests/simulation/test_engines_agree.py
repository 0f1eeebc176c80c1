"""All engines give equal results, and leave the balancer in the same state."""

from collections.abc import Callable, Mapping
from inspect import signature
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import (
    Balancer,
    HashRing,
    Maglev,
    PowerOfTwoChoices,
    RandomChoice,
    Rendezvous,
    RoundRobin,
    WeightedRoundRobin,
)
from balancers.balancer import Key
from balancers.hashing import Anchor, Jump, Memento, MultiProbe
from balancers.keys import Murmur3
from balancers.simulation import (
    Bursty,
    Constant,
    Every,
    Exponential,
    HyperExponential,
    Pareto,
    Poisson,
    RecordedKeys,
    RecordedTimes,
    RecordedWork,
    Server,
    Simulation,
    UniformKeys,
    ZipfKeys,
    simulate,
)
from balancers.simulation._engines import sampled, vectorised
from tests.depth import runs

MOST = 90
"""The largest number of requests."""
Kind = type[Balancer[Any]]
HASHED: list[Kind] = [Anchor, HashRing, Jump, Maglev, Memento, MultiProbe, Rendezvous]
KINDS: list[Kind] = [RoundRobin, RandomChoice, WeightedRoundRobin, PowerOfTwoChoices, *HASHED]
BACKENDS = ["a", 7, (1, "x"), b"b", None, 2.5, frozenset({3})]
"""Backends that cannot be ordered.  They need no names, unless they are hashed."""

KEYS: st.SearchStrategy[Key] = st.sampled_from(["k", "ü", b"k", 3, -3])


class Case(NamedTuple):
    """The arguments of a simulation, and how to make its balancer."""

    kind: Kind
    make: Callable[[Kind], Balancer[Any]]
    options: dict[str, Any]
    engine: str

    def run(self, *, plain: bool, chunk: int = 1 << 15) -> tuple[Simulation[Any], Balancer[Any]]:
        """Simulate the balancer, or an object of a subclass of its type."""
        balancer = self.make(type("Plain", (self.kind,), {}) if plain else self.kind)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vectorised, "CHUNK", chunk)
            patch.setattr(sampled, "CHUNK", chunk)
            found = simulate(balancer, **self.options)
        assert found.engine == ("general" if plain else self.engine)
        return found, balancer


def state(balancer: Any) -> list[Any]:
    """Return what a balancer does next: after it, the state differs in the same way."""
    rng = getattr(balancer, "_rng", Random(1))
    loads = [
        balancer.load_of(backend) for backend in balancer.weights if hasattr(balancer, "load_of")
    ]
    keys = [None] * 40 if not balancer.keyed else [*range(40)]
    before = rng.getstate()
    return [before, loads, [balancer.pick(key) for key in keys], rng.getstate()]


@st.composite
def traffic(draw: st.DrawFn) -> dict[str, Any]:
    """Draw everything but the balancer.  Many times are equal."""
    unit = draw(st.sampled_from([0.125, 0.1, 1.0, 3000.0]))
    number = st.integers(0, 4)
    several = st.lists(number, min_size=MOST, max_size=MOST)
    arrivals = draw(
        st.one_of(
            st.sampled_from(
                [Poisson(1 / unit), Poisson(4 / unit), Every(unit), Bursty(1 / unit, burst=3)]
            ),
            several.map(lambda times: RecordedTimes([unit * time for time in sorted(times)])),
        )
    )
    service = draw(
        st.one_of(
            st.sampled_from(
                [
                    Constant(unit),
                    Constant(2 * unit),
                    Exponential(unit),
                    Pareto(unit, 1.5),
                    HyperExponential(unit, 4.0),
                ]
            ),
            several.map(lambda works: RecordedWork([unit * work for work in works])),
        )
    )
    return {
        "arrivals": arrivals,
        "service": service,
        "requests": draw(st.integers(1, MOST)),
        "seed": draw(st.integers(0, 3)),
        "network": draw(st.sampled_from([0.0, unit, 3 * 2**-30])),
        "warm_up": draw(st.sampled_from([0.0, 0.25, 0.9])),
        "timeline": draw(st.sampled_from([None, 2 * unit])),
        "keep": draw(st.booleans()),
    }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a simulation that does not need the general engine."""
    kind = draw(st.sampled_from(KINDS))
    two = kind == PowerOfTwoChoices
    options = draw(traffic())
    count = draw(st.integers(2 if two else 1, 7))
    backends: list[Any] = draw(st.permutations(BACKENDS))[:count]
    if kind in HASHED:
        backends = [f"server {number}" for number in range(count)]
        options["keys"] = draw(
            st.one_of(
                st.sampled_from([UniformKeys(50), UniformKeys(10_000), ZipfKeys(30, 1.0)]),
                st.lists(KEYS, min_size=MOST, max_size=MOST).map(RecordedKeys),
            )
        )
    some = [1] if two else [1, 2, 0.5, 7]
    weights: dict[Any, float] = {backend: draw(st.sampled_from([0, *some])) for backend in backends}
    for backend in backends[:2]:
        weights[backend] = some[0]
    if draw(st.booleans()):
        speeds = st.sampled_from([1, 0.5, 3])
        options["servers"] = {backend: Server(speed=draw(speeds)) for backend in backends}
    seed, picks = draw(st.integers(0, 3)), draw(st.sampled_from([0, 0, 1, 5, 300]))

    def make(kind: Kind) -> Balancer[Any]:
        return _made(kind, weights, seed, picks)

    engine = "sampled" if two else "vectorised"
    return Case(kind, make, options, engine)


def _made(kind: Any, weights: Mapping[Any, float], seed: int, picks: int) -> Balancer[Any]:
    wanted = signature(kind).parameters
    given = {"rng": Random(seed), "hasher": Murmur3(seed), "capacity": 9, "offset": seed}
    balancer: Balancer[Any] = kind(
        weights, **{name: value for name, value in given.items() if name in wanted}
    )
    for _ in range(0 if balancer.keyed else picks):
        balancer.pick()
    return balancer


@settings(max_examples=runs(600))
@given(cases())
def test_both_engines_give_equal_results(case: Case) -> None:
    fast, used = case.run(plain=False)
    plain, other = case.run(plain=True)
    assert fast == plain
    assert state(used) == state(other)


@settings(max_examples=runs(300))
@given(cases(), st.integers(1, MOST))
def test_chunks_of_any_size_give_equal_results(case: Case, size: int) -> None:
    whole, used = case.run(plain=False)
    parts, other = case.run(plain=False, chunk=size)
    assert whole == parts
    assert state(used) == state(other)


FLEET = [f"server {number}" for number in range(100)]
POISSON, EXPONENTIAL = Poisson(90.0), Exponential(1.0)
LARGE: dict[str, tuple[Kind, dict[str, Any]]] = {
    "RoundRobin": (RoundRobin, {}),
    "RandomChoice": (RandomChoice, {}),
    "WeightedRoundRobin": (WeightedRoundRobin, {}),
    "PowerOfTwoChoices": (PowerOfTwoChoices, {}),
    "HashRing": (HashRing, {"keys": ZipfKeys(5000, 0.5)}),
    "Jump": (Jump, {"keys": UniformKeys(1 << 24)}),
}


@pytest.mark.parametrize("name", LARGE)
def test_many_requests_over_a_large_fleet(name: str) -> None:
    """Several chunks, blocks of samples and laps, in steady traffic."""
    kind, keys = LARGE[name]
    weights = {backend: 1 + place % 2 for place, backend in enumerate(FLEET)}
    if kind is not WeightedRoundRobin:
        weights = dict.fromkeys(FLEET, 1)
    options = {
        "arrivals": POISSON,
        "service": EXPONENTIAL,
        "requests": 40_000,
        "seed": 5,
        "network": 0.01,
        "timeline": 10.0,
        **keys,
    }
    engine = "sampled" if kind is PowerOfTwoChoices else "vectorised"

    def make(kind: Kind) -> Balancer[Any]:
        return _made(kind, weights, seed=1, picks=0)

    case = Case(kind, make, options, engine)
    fast, used = case.run(plain=False)
    plain, other = case.run(plain=True)
    assert fast == plain
    assert state(used) == state(other)


def test_two_choices_compare_what_they_know_at_one_instant() -> None:
    """A request that ends when another one arrives is over, and its end was reported."""
    found = [
        simulate(
            PowerOfTwoChoices(["a", "b"], rng=Random(1)),
            Every(1.0),
            Constant(work),
            requests=400,
            seed=1,
            warm_up=0.0,
        ).response.mean
        for work in (1.0, 1.0 + 2**-30, 2.0)
    ]
    assert found[0] == 1.0
    assert found[1] == 1.0 + 2**-30  # the request before has not ended, so its server is avoided
    assert found[2] == 2.0

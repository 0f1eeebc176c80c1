"""The least loaded of all: against least connections, an exact model, and rule by rule."""

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from math import inf
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import SUCCESS, LeastConnections, Load, NoBackendAvailable, Pool, PowerOfTwoChoices
from balancers.algorithms import LeastLoaded
from balancers.errors import AlreadyInUse, InvalidSetting, InvalidWeight, UnknownBackend
from balancers.loads import InFlight, PeakEwma
from tests.depth import runs

NAMES = "abcde"
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["pick", "pick", "request", "finish", "start", "flip", "leave", "avoid"]),
        st.sampled_from(NAMES),
        st.sets(st.sampled_from(NAMES)),
    ),
    max_size=60,
)


class Values(Load[Any]):
    """Has values that the test sets."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values = values

    def value(self, backend: Any, now: float) -> Any:
        del now
        return self.values[backend]


def attempt(lb: Any, avoid: Any) -> Any:
    try:
        return lb.pick(None, 0.0, avoid)
    except NoBackendAvailable as refused:
        return str(refused)


@given(ACTIONS)
def test_over_requests_in_flight_it_is_least_connections(actions: Any) -> None:  # noqa: C901 - one branch per action
    """Pick by pick, and with any closed and avoided backends."""
    lb, model = LeastLoaded(list(NAMES), load=InFlight[str]()), LeastConnections(list(NAMES))
    flying: list[str] = []
    for action, backend, avoid in actions:
        if action in {"pick", "request", "avoid"}:
            avoided = avoid if action == "avoid" else ()
            picked = attempt(lb, avoided)
            assert picked == attempt(model, avoided)
            if action == "request" and picked in lb.weights:
                flying.append(picked)
                lb.started(picked)
                model.started(picked)
        elif action == "finish" and flying:
            for each in (lb, model):
                each.finished(flying[0])
            del flying[0]
        elif action == "start" and backend in lb.weights:
            flying.append(backend)
            for each in (lb, model):
                each.started(backend, bound=True)
        elif action == "flip" and backend in lb.weights:
            weight = 1 - lb.weights[backend]
            for each in (lb, model):
                each.put(backend, weight)
        elif action == "leave":
            flying = [each for each in flying if each != backend]
            for each in (lb, model):
                each.discard(backend)
                each.put(backend)
        assert all(lb.load_of(b) == model.load_of(b) for b in lb.weights)


@pytest.mark.parametrize("weight", [1, 0.3])
@pytest.mark.parametrize("float_load", [False, True])
def test_long_histories_are_those_of_least_connections(weight: float, float_load: bool) -> None:
    """With many requests in flight, some backends closed and some avoided."""

    class Floats(InFlight[str]):
        def value(self, backend: str, now: float) -> float:
            return super().value(backend, now) / 3

    for seed in range(runs(50)):
        rng, load = Random(seed), Floats() if float_load else InFlight[str]()
        lb, model = LeastLoaded(list(NAMES), load=load), LeastConnections(list(NAMES))
        for backend in NAMES:
            lb.put(backend, weight)
        flying: list[str] = []
        for _ in range(100):
            what = rng.randrange(5)
            if what == 0 and flying:
                backend = flying.pop(rng.randrange(len(flying)))
                lb.finished(backend)
                model.finished(backend)
            elif what == 1:
                backend, opens = rng.choice(NAMES), rng.random() < 0.7
                lb.put(backend, weight * opens)
                model.put(backend, int(opens))
            else:
                avoid = rng.sample(NAMES, rng.choice([0, 0, 1, 2]))
                picked = attempt(lb, avoid)
                assert picked == attempt(model, avoid)
                if picked in lb.weights and rng.random() < 0.8:
                    flying.append(picked)
                    lb.started(picked)
                    model.started(picked)


VALUES = st.one_of(
    st.integers(0, 5),
    st.sampled_from([0, 1, 10**30]),
    st.fractions(0, 3, max_denominator=7),
)


@given(
    st.lists(VALUES, min_size=5, max_size=5),
    st.lists(st.sampled_from([0, 1, 2, 0.7, 0.1, 3]), min_size=5, max_size=5),
    st.lists(st.sampled_from(NAMES)),
    st.lists(st.sets(st.sampled_from(NAMES)), max_size=8),
)
def test_the_pick_is_the_first_least_load_per_weight(
    values: list[Any], weights: list[float], moved: list[str], avoids: list[set[str]]
) -> None:
    """Exactly, for ints and Fractions; the order is that of the last picks and requests."""
    load, given = dict(zip(NAMES, values, strict=True)), dict(zip(NAMES, weights, strict=True))
    lb: LeastLoaded[str] = LeastLoaded(given, load=Values(load))
    order = list(NAMES)
    for backend in moved:
        lb.started(backend)
        order.append(order.pop(order.index(backend)))
    for avoid in [set[str](), *avoids, set[str]()]:
        eligible = [b for b in order if given[b] and b not in avoid]
        if not eligible:
            with pytest.raises(NoBackendAvailable):
                lb.pick(avoid=avoid)
            continue
        expected = min(eligible, key=lambda b: Fraction(load[b]) / Fraction(str(given[b])))
        assert lb.pick(avoid=avoid or ()) == expected
        order.append(order.pop(order.index(expected)))


FLOATS: list[tuple[dict[str, Any], str]] = [
    ({"a": 0.3, "b": 0.1 + 0.2}, "abab"),
    ({"a": 0.1 + 0.2, "b": 0.3}, "abab"),
    ({"a": 0.3, "b": 0.299999}, "bbbb"),
    ({"a": 0.0, "b": 0.0}, "abab"),
    ({"a": 1.0, "b": 1}, "abab"),
    ({"a": 1, "b": 1 - 1e-16}, "abab"),
    ({"a": 1 - 1e-16, "b": 1}, "abab"),
    ({"a": 2, "b": 1.5}, "bbbb"),
    ({"a": 2.5, "b": 1}, "bbbb"),
    ({"a": 1e-300, "b": 2e-300}, "aaaa"),
    ({"a": float("inf"), "b": 1e308}, "bbbb"),
    ({"a": float("inf"), "b": float("inf")}, "abab"),
    ({"a": np.int64(2), "b": np.int64(1)}, "bbbb"),
    ({"a": np.float64(0.3), "b": np.float64(0.1 + 0.2)}, "abab"),
    ({"a": np.float32(1), "b": 2}, "aaaa"),
    ({"a": True, "b": 2}, "aaaa"),
]


@pytest.mark.parametrize(("values", "picks"), FLOATS)
@pytest.mark.parametrize("weights", [(1, 1), (2, 2), (0.5, 0.5)])
def test_floats_that_differ_by_a_rounding_error_are_tied(
    values: dict[str, Any], picks: str, weights: tuple[float, float]
) -> None:
    lb = LeastLoaded(dict(zip("ab", weights, strict=True)), load=Values(values))
    assert "".join(lb.pick() for _ in picks) == picks
    planned = LeastLoaded(dict(zip("ab", weights, strict=True)), load=Values(values))
    assert "".join(planned.plan(1)[0] for _ in picks) == picks
    weighted = LeastLoaded({"a": 1, "b": 1, "c": 3}, load=Values(values | {"c": 10**9}))
    if float("inf") not in values.values():
        assert "".join(weighted.pick() for _ in picks) == picks


@pytest.mark.parametrize("other", [1.0, inf, 10**400 - 1])
@pytest.mark.parametrize("weight", [1, 2.5])
def test_an_int_beyond_all_floats_is_compared(other: float, weight: float) -> None:
    values = {"a": 10**400, "b": other}
    lb: LeastLoaded[str] = LeastLoaded({"a": 1, "b": weight}, load=Values(values))
    expected = "a" if other == inf else "b"
    assert lb.pick() == lb.pick(avoid=["c"]) == lb.plan(1)[0] == expected


@pytest.mark.parametrize("value", [Decimal(1), "1", None, 1j, [1]], ids=repr)
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    for members in (["a"], ["a", "b"], {"a": 1, "b": 2}):
        lb: LeastLoaded[str] = LeastLoaded(members, load=Values({"a": value, "b": value}))
        with pytest.raises(TypeError, match="must be an int, a float or a Fraction, not"):
            lb.pick()


def test_a_weight_divides_the_load() -> None:
    lb = LeastLoaded({"a": 1, "b": 3}, load=InFlight[str]())
    for _ in range(40):
        lb.started(lb.pick())
    assert [lb.load_of("a"), lb.load_of("b")] == [10, 30]
    lb.put("b", 1)
    assert {lb.pick() for _ in range(5)} == {"a"}


def test_a_pool_picks_the_fastest_and_measures() -> None:
    pool: Pool[str] = Pool(LeastLoaded(["a", "b", "c"], load=PeakEwma[str]()))
    seconds = {"a": 1.0, "b": 0.1, "c": 2.0}
    counts = dict.fromkeys("abc", 0)
    for number in range(100):
        now = number * 0.2
        lease = pool.acquire(now)
        counts[lease.backend] += 1
        pool.release(lease, now + seconds[lease.backend])
    assert counts["b"] >= 95, counts


def test_one_load_in_two_balancers_is_refused() -> None:
    load = InFlight[str]()
    lb = LeastLoaded(["x"], load=load)
    lb.started("x")
    make: list[Any] = [
        lambda: LeastLoaded(["x"], load=load),
        lambda: PowerOfTwoChoices(["x"], rng=Random(1), load=load),
    ]
    for each in make:
        with pytest.raises(AlreadyInUse):
            each()
    assert lb.load_of("x") == 1


def test_a_refused_constructor_leaves_the_load_free() -> None:
    load = InFlight[str]()
    with pytest.raises(InvalidWeight):
        LeastLoaded({"a": 1, "b": -1}, load=load)
    assert LeastLoaded(["a"], load=load).pick() == "a"


@pytest.mark.parametrize(
    "load", [None, InFlight, 5, "load", object()], ids=["None", "a class", "int", "str", "object"]
)
def test_what_is_no_load_is_refused(load: Any) -> None:
    with pytest.raises(TypeError, match="load must be a load"):
        LeastLoaded(["a"], load=load)


def test_a_member_keeps_its_own_object() -> None:
    """Another object that equals a backend does not take its place."""
    lb: LeastLoaded[Any] = LeastLoaded([1, 2], load=InFlight[Any]())
    for _ in range(3):
        lb.started(1.0)
        lb.started(2.0)
        lb.finished(True)
        assert type(lb.pick()) is int


def test_the_end_of_a_request_that_did_not_start_is_ignored() -> None:
    lb = LeastLoaded(["a", "b"], load=InFlight[str]())
    lb.started("a")
    for backend in ("b", "unknown", "a", "a"):
        lb.finished(backend)
    assert [lb.load_of(b) for b in "ab"] == [0, 0]
    with pytest.raises(UnknownBackend):
        lb.load_of("unknown")


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_goes_on_alike_with_a_load_of_its_own(how: str) -> None:
    lb = LeastLoaded({"a": 1, "b": 2, "c": 0}, load=PeakEwma[str]())
    for _ in range(5):
        lb.started(lb.pick(now=1.0), now=1.0)
    twin = copy.deepcopy(lb) if how == "deepcopy" else pickle.loads(pickle.dumps(lb))  # noqa: S301 - own
    for _ in range(20):
        picked = lb.pick(now=2.0)
        assert twin.pick(now=2.0) == picked
        lb.started(picked, 2.0)
        twin.started(picked, 2.0)
    lb.discard("a")
    assert "a" in twin.weights
    with pytest.raises(AlreadyInUse):
        LeastLoaded(["a"], load=twin._load)


class Tide(Load[str]):
    """Each value is the distance of the time from a number; the calls are stored."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def value(self, backend: str, now: float) -> float:
        return abs(now - "abcd".index(backend))

    def started(self, backend: str, now: float = 0.0) -> None:
        self.calls.append(("started", backend, now))

    def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None:
        self.calls.append(("finished", backend, outcome, now))


@pytest.mark.parametrize("weights", [dict.fromkeys("abcd", 1), dict.fromkeys("abcd", 0.3)])
def test_values_are_read_at_the_time_of_the_pick(weights: dict[str, float]) -> None:
    lb = LeastLoaded(weights, load=Tide())
    for now, order in ((0.1, "abcd"), (1.9, "cbda"), (3.0, "dcba")):
        assert lb.pick(now=now) == order[0]
        assert lb.pick(now=now, avoid=[order[0]]) == order[1]
        assert lb.plan(9, now=now) == [*order]
        assert lb.plan(2, now=now, avoid=[order[1]]) == [order[0], order[2]]
        assert lb.load_of("c", now) == abs(now - 2)
    lb.put("b", 0)
    assert (lb.pick(now=1.0), lb.plan(9, now=0.9)) == ("a", ["a", "c", "d"])
    with pytest.raises(NoBackendAvailable):
        lb.plan(1, avoid=["a", "c", "d"])
    for n in (0, -1, True, 1.0):
        with pytest.raises(InvalidSetting):
            lb.plan(n)  # type: ignore[arg-type]  # a wrong number is the test


def test_a_load_gets_each_end_that_had_a_start_whatever_the_weights() -> None:
    load = Tide()
    lb = LeastLoaded({"a": 1, "b": 0.7}, load=load)
    for weight, backend in ((0.7, "a"), (3, "b"), (0, "a")):
        lb.started(backend, 1.0)
        lb.started(backend, 1.5)
        lb.put(backend, weight)
        for _ in range(3):
            lb.finished(backend, SUCCESS, 2.0)
    expected = [("started", 1.0), ("started", 1.5), *[("finished", SUCCESS, 2.0)] * 2]
    assert load.calls == [(name, b, *rest) for b in "aba" for name, *rest in expected]


def test_the_fast_comparison_is_used_again_when_all_are_alike_again() -> None:
    lb = LeastLoaded(["a", "b", "c"], load=InFlight[str]())
    changes = [("b", 0), ("b", 1), ("b", 2), ("a", 2), ("c", 2), ("d", 2), ("d", 0)]
    found: list[bool] = []
    for backend, weight in changes:
        lb.put(backend, weight)
        found.append(lb._alike)
    lb.discard("d")
    assert found == [False, True, False, False, True, True, False]
    assert (lb._alike, lb._numbers) == (True, {2: 3})

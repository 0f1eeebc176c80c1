"""What cannot be simulated is refused with the value, before anything has changed."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import count, repeat
from math import inf, nan
from random import Random
from typing import Any, cast

import numpy as np
import pytest

from balancers import HashRing, LeastConnections, Pool, PowerOfTwoChoices, RoundRobin
from balancers.errors import (
    AlreadyInUse,
    InvalidPick,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    MissingKey,
    ScriptFailed,
    UnknownBackend,
)
from balancers.gates import ActiveChecks, ConnectionLimit
from balancers.overload import RetryBudget
from balancers.simulation import (
    Constant,
    Crash,
    Every,
    Exponential,
    Poisson,
    RecordedKeys,
    RecordedTimes,
    RecordedWork,
    Retries,
    Server,
    UniformKeys,
    simulate,
)
from balancers.simulation._engines.setup import Script


def run(balancer: Any = None, **changed: Any) -> Any:
    arguments: dict[str, Any] = {"requests": 10, "seed": 1, **changed}
    arrivals = arguments.pop("arrivals", Every(1.0))
    service = arguments.pop("service", Constant(0.5))
    return simulate(
        RoundRobin(["a", "b"]) if balancer is None else balancer, arrivals, service, **arguments
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("requests", [0, -1, True, 1.0, "1", None]),
        ("seed", [-1, True, 1.5, None, "x"]),
        ("warm_up", [-0.1, 1, 1.5, nan, inf, "a", None, True]),
        ("network", [-1, nan, inf, 2.0**23, "a", True, 1 << 2000]),
        ("timeout", [0, -1, nan, inf, 1e-12, "a", False]),
        ("timeline", [0, -1, nan, inf, 1e-12, "a", 1e-9]),
        ("keep", [1, None, "yes"]),
    ],
)
def test_numbers_out_of_range(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidSetting):
            run(**{name: value}, arrivals=Every(100.0))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("servers", {}, InvalidSetting),
        ("servers", {"a": Server()}, InvalidSetting),
        ("servers", dict.fromkeys("abc", Server()), UnknownBackend),
        ("servers", {"a": Server(), "b": 1.0}, TypeError),
        ("servers", Server, TypeError),
        ("servers", [Server()], TypeError),
        ("faults", [Crash("c", 0, 1)], UnknownBackend),
        ("faults", [Crash([], 0, 1)], UnknownBackend),
        ("faults", ["a"], TypeError),
        ("faults", Crash("a", 0, 1), TypeError),
        ("retries", 3, TypeError),
        ("probes", [1], TypeError),
        ("probes", ActiveChecks, TypeError),
        ("probes", ActiveChecks(rng=Random(1)), InvalidSetting),
        ("progress", 1, TypeError),
        ("arrivals", Poisson, TypeError),
        ("arrivals", 0.5, TypeError),
        ("service", None, TypeError),
        ("keys", ["a"] * 10, TypeError),
        ("arrivals", RecordedTimes([0.0] * 9), InvalidSetting),
        ("service", RecordedWork([1.0] * 9), InvalidSetting),
        ("keys", RecordedKeys(["a"] * 9), InvalidSetting),
        ("script", 5, TypeError),
        ("script", "ab", TypeError),
        ("script", [5], TypeError),
        ("script", [(1.0,)], TypeError),
        ("script", [(1.0, None)], TypeError),
        ("script", [(-1.0, print)], InvalidTime),
        ("script", [(nan, print)], InvalidTime),
        ("script", [(inf, print)], InvalidTime),
        ("script", [("1", print)], InvalidTime),
        ("script", [(2.0, print), (1.0, print)], InvalidTime),
    ],
)
def test_other_arguments(name: str, value: Any, error: type[Exception]) -> None:
    balancer = LeastConnections(["a", "b"])
    with pytest.raises(error):
        run(balancer, **{name: value})
    assert balancer.pick() == "a", "it was not used"


class Law:
    """A law of an author, with any values."""

    mean = 1.0

    def __init__(self, values: Callable[[int], Any]) -> None:
        self.values = values

    def draw(self, rng: Any, start: int, size: int) -> Any:
        return self.values(size)


@pytest.mark.parametrize("law", ["arrivals", "service"])
def test_laws_of_authors_are_validated(law: str) -> None:
    assert run(**{law: Law(np.ones)}).requests == 8
    assert run(**{law: Law(lambda size: [1] * size)}).requests == 8
    wrong: list[Callable[[int], Any]] = [
        lambda size: np.full(size, nan),
        lambda size: np.full(size, inf),
        lambda size: np.full(size, -1e-9),
        lambda size: np.ones(size + 1),
        lambda size: np.ones((size, 1)),
        float,
        lambda size: ["x"] * size,
        lambda size: [None] * size,
    ]
    for values in wrong:
        with pytest.raises(InvalidSetting):
            run(**{law: Law(values)})
    with pytest.raises(InvalidTime):
        run(**{law: Law(lambda size: np.full(size, 2.0**21))})


def test_laws_of_authors_may_have_no_mean() -> None:
    class Draws:
        def __init__(self, value: float) -> None:
            self.value = value

        def draw(self, rng: Any, start: int, size: int) -> Any:
            return np.full(size, self.value)

    result = run(arrivals=Draws(1.0), service=Draws(0.5), keys=Letters(list))
    assert (result.answered, result.steady) == (8, True)
    grows = run(arrivals=Draws(1.0), service=Draws(3.0), requests=4000)
    assert not grows.steady
    for mean in (nan, -1.0, "1", True):
        law = Law(np.ones)
        law.mean = cast("Any", mean)
        for name in ("arrivals", "service"):
            balancer = LeastConnections(["a", "b"])
            with pytest.raises(InvalidSetting, match="mean"):
                run(balancer, **{name: law})
            assert balancer.pick() == "a", "it was not used"


class Letters:
    """A law of keys of an author, with a method ``draw`` only."""

    def __init__(self, made: Callable[[str], Any]) -> None:
        self.made = made

    def draw(self, rng: Any, start: int, size: int) -> Any:
        return self.made("abcdefghijkl"[:size])


def test_keys_of_authors_are_validated() -> None:
    kinds: list[Callable[[str], Any]] = [
        list,
        tuple,
        lambda text: np.array(list(text), object),
    ]
    for right in kinds:
        assert run(HashRing(["a", "b"]), keys=Letters(right)).answered == 8
    wrong: list[Callable[[str], Any]] = [
        iter,
        set,
        str,
        str.encode,
        len,
        lambda _: None,
        lambda text: list(text)[1:],
        lambda text: [*text, "x"],
        lambda _: np.array(5),
        lambda text: np.ones((len(text), 2), np.int64),
    ]
    fronts: list[Callable[[], Any]] = [
        lambda: HashRing(["a", "b"]),
        lambda: LeastConnections(["a", "b"]),
        lambda: Pool(HashRing(["a", "b"])),
    ]
    for drawn in wrong:
        for front in fronts:
            with pytest.raises(InvalidSetting, match="keys must draw"):
                run(front(), keys=Letters(drawn))


def test_slots_are_floats_at_most() -> None:
    with pytest.raises(InvalidSetting, match="slots"):
        Server(slots=10**400)
    for discipline in ("fifo", "shared"):
        server = Server(slots=10**300, speed=10**300, discipline=cast("Any", discipline))
        assert run(servers=server).answered == 8


class NoBalancer:
    """A class with a method ``pick`` only."""

    def pick(self) -> str:
        return "a"


def test_balancers_that_cannot_be_used() -> None:
    for balancer in (5, "ab", RoundRobin, [RoundRobin], [5], ["a"]):
        with pytest.raises(TypeError):
            run(balancer)
    with pytest.raises(TypeError, match="weights"):
        run(NoBalancer())
    nothing: list[Any] = [[], RoundRobin(), Pool(RoundRobin())]
    for empty in nothing:
        with pytest.raises(InvalidSetting):
            run(empty)
    for zero in (RoundRobin({"a": 0}), Pool(RoundRobin({"a": 0, "b": 0}))):
        with pytest.raises(InvalidWeight):
            run(zero)
    with pytest.raises(MissingKey):
        run(HashRing(["a"]))
    twice = RoundRobin(["a"])
    with pytest.raises(AlreadyInUse):
        run([twice, twice])
    taken = RoundRobin(["a"])
    pool = Pool(taken)
    with pytest.raises(AlreadyInUse):
        run(taken)
    lease = pool.acquire(0.0)
    with pytest.raises(AlreadyInUse):
        run(pool)
    pool.release(lease, 5.0)
    with pytest.raises(InvalidTime):
        run(pool)
    for used in (LeastConnections(["a", "b"]), PowerOfTwoChoices(["a", "b"], rng=Random(1))):
        used.started("b")
        with pytest.raises(AlreadyInUse):
            run(used)
        used.finished("b")
        assert run(used).answered == 8


@pytest.mark.parametrize("settings", [{}, {"timeout": 9.0}], ids=["lines", "loop"])
def test_a_backend_without_server(settings: dict[str, Any]) -> None:
    class Other(RoundRobin[Any]):
        picked: Any = "c"

        def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[Any] = ()) -> Any:
            return self.picked

    class Informed(Other):
        def started(self, backend: Any, now: float = 0.0, bound: bool = False) -> None:
            return

    for kind in (Other, Informed):
        for servers in (Server(), {"a": Server()}):
            wrong: list[Any] = ["c", [], {}]
            for picked in wrong:
                balancer = kind(["a"])
                balancer.picked = picked
                with pytest.raises(InvalidPick):
                    run(balancer, servers=servers, **settings)


def test_a_script_may_add_backends_that_have_servers() -> None:
    balancer = LeastConnections(["a"])
    servers = {"a": Server(), "b": Server(speed=2)}
    script: Script = [(3.25, lambda _: balancer.put("b"))]
    result = run(balancer, servers=servers, script=script, service=Constant(4.0), warm_up=0.0)
    assert result.servers["b"].requests > 2
    balancer = LeastConnections(["a"])
    result = run(balancer, script=script)
    assert [*result.servers] == ["a", "b"]
    pool = Pool(LeastConnections[str](), [ConnectionLimit(1)])
    script = [(3.0, lambda now: pool.add("c", now=now))]
    result = run(pool, script=script, warm_up=0.0)
    assert (result.refused, result.answered) == (2, 8)


def test_a_script_that_raises() -> None:
    def fail(now: float) -> None:
        raise KeyError(now)

    with pytest.raises(ScriptFailed, match=r"KeyError at 3\.0 s") as caught:
        run(script=[(3.0, fail)])
    assert isinstance(caught.value.__cause__, KeyError)

    def entries() -> Iterator[tuple[float, Any]]:
        yield 1.0, abs
        raise OSError("gone")

    with pytest.raises(ScriptFailed, match=r"OSError at 1\.0 s"):
        run(script=entries())
    for backwards in ([(2.0, abs), (1.0, abs)], [(2.0, abs), 7]):
        with pytest.raises((InvalidTime, TypeError)):
            run(script=iter(backwards))


def test_endless_scripts_and_probes_end() -> None:
    calls: list[float] = []
    assert run(script=((float(each), calls.append) for each in count())).requests == 8
    assert calls[-1] == 10.0
    with pytest.raises(InvalidSetting, match=r"at 0\.0 s"):
        run(script=repeat((0.0, abs)))
    checks = ActiveChecks[str](rng=Random(1), interval=1e-7, timeout=1e-8)
    with pytest.raises(InvalidSetting, match="interval"):
        run(Pool(RoundRobin(["a"]), [checks]), probes=checks)


@pytest.mark.parametrize(
    "make",
    [
        partial(Retries, tries=0),
        partial(Retries, tries=True),
        partial(Retries, tries=10**9),
        partial(Retries, backoff=-1),
        partial(Retries, backoff=1e300),
        partial(Retries, deadline=0),
        partial(Retries, deadline=nan),
        partial(Retries, budget=cast("Any", 3)),
        partial(Server, speed=0),
        partial(Server, speed=nan),
        partial(Server, slots=0),
        partial(Server, slots=True),
        partial(Server, room=0),
        partial(Server, discipline=cast("Any", "lifo")),
    ],
)
def test_settings_of_retries_and_servers(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidSetting):
        make()


def test_a_budget_in_use_is_refused() -> None:
    budget = RetryBudget()
    with budget.request(), pytest.raises(InvalidSetting):
        Retries(budget=budget)


def test_progress_is_reported() -> None:
    seen: list[int] = []
    run(Pool(RoundRobin(["a"])), requests=40_000, arrivals=Every(1.0), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 40_000


def test_keys_reach_the_balancer() -> None:
    ring = HashRing(["a", "b", "c"])
    result = run(ring, keys=UniformKeys(100), service=Exponential(0.1), timeout=100.0, keep=True)
    assert result.answered == 8
    assert len({*result.records["backend"].tolist()}) > 1


@pytest.mark.parametrize("balancer", [RoundRobin(["a", "b"]), LeastConnections(["a", "b"])])
def test_a_server_that_is_too_slow_for_any_float(balancer: Any) -> None:
    """The end of a request is beyond the range of floats: an error, and no warning of NumPy."""
    servers = {"a": Server(speed=1e300), "b": Server(speed=1e-300)}
    with pytest.raises(InvalidTime):
        simulate(balancer, Poisson(1.0), Constant(1.0), requests=100, seed=1, servers=servers)

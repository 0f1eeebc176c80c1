"""Results add up exactly, in any chunks, and say when there is no steady state."""

import pickle
import tracemalloc
from collections import deque
from collections.abc import Collection
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import Event, HashRing, LeastConnections, Pool, PowerOfTwoChoices, RoundRobin
from balancers.errors import InvalidSetting, InvalidTime
from balancers.gates import Drain
from balancers.simulation import (
    Constant,
    Crash,
    Every,
    Exponential,
    Pareto,
    Poisson,
    RecordedTimes,
    RecordedWork,
    Retries,
    Server,
    Simulation,
    Stale,
    UniformKeys,
    ZipfKeys,
    simulate,
)
from balancers.simulation._engines import loop as event_loop
from balancers.simulation._engines import quiet
from balancers.simulation._engines.setup import Script
from balancers.simulation._engines.tally import sums_by_place
from tests.depth import runs


def least(load: float = 0.8, requests: int = 4000, **settings: Any) -> Simulation[int]:
    balancer = LeastConnections(range(5))
    return simulate(
        balancer, Poisson(5 * load), Exponential(1.0), requests=requests, seed=4, **settings
    )


@pytest.mark.parametrize("loop", [False, True])
def test_chunks_of_any_size_give_equal_results(loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"timeline": 7.0, "keep": True}
    if loop:
        settings |= {
            "timeout": 3.0,
            "faults": [Crash(1, 50.0, 90.0)],
            "retries": Retries(tries=3, backoff=0.1),
            "network": 0.01,
        }
    whole = least(**settings)
    for size in (1, 7, 1000):
        monkeypatch.setattr(quiet, "CHUNK", size)
        monkeypatch.setattr(event_loop, "CHUNK", size)
        assert least(**settings) == whole


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2**52) | st.integers(0, 2**31)), max_size=60
    )
)
@settings(max_examples=runs(300), deadline=None)
def test_sums_are_exact(values: list[tuple[int, int]]) -> None:
    places = np.array([place for place, _ in values], np.intp)
    seconds = np.array([ticks * 2.0**-30 for _, ticks in values])
    sums = sums_by_place(places, seconds, 4)
    assert sums.tolist() == [sum(t for p, t in values if p == place) for place in range(4)]


def test_what_a_server_did_follows_from_the_records() -> None:
    run = least(keep=True, warm_up=0.5)
    assert run.records is not None
    counted = run.records[2000:]
    window = counted["arrival"][-1] - counted["arrival"][0]
    for place, use in run.servers.items():
        mine = counted[counted["backend"] == place]
        assert use.requests == len(mine)
        assert use.in_flight == pytest.approx(mine["response"].sum() / window)
        assert use.utilisation == pytest.approx(mine["work"].sum() / window)
    assert run.response.count == run.answered == run.requests == 2000
    assert run.response.mean == pytest.approx(counted["response"].mean())
    assert run.duration == (run.records["arrival"] + run.records["response"]).max()


def test_the_utilisation_is_that_of_the_load() -> None:
    for slots, speed in ((1, 1.0), (4, 1.0), (1, 2.0), (2, 0.5)):
        run = simulate(
            RoundRobin(["a", "b"]),
            Poisson(2 * slots * speed * 0.6),
            Exponential(1.0),
            requests=30_000,
            seed=1,
            servers=Server(slots=slots, speed=speed),
        )
        assert run.steady
        for use in run.servers.values():
            assert abs(use.utilisation - 0.6) < 0.03


def test_a_timeline_follows_from_the_records() -> None:
    width = 4.0
    run = least(keep=True, timeline=width, timeout=2.0, retries=Retries(tries=1))
    timeline, records = run.timeline, run.records
    assert timeline is not None
    assert records is not None
    assert run.failed > 0
    ends = records["arrival"] + records["response"]
    for bucket, start in enumerate(timeline.times.tolist()):
        arrived = (records["arrival"] >= start) & (records["arrival"] < start + width)
        ended = (ends >= start) & (ends < start + width)
        assert timeline.arrivals[bucket] == arrived.sum()
        assert timeline.answered[bucket] == (ended & records["ok"]).sum()
        assert timeline.failed[bucket] == (ended & ~records["ok"]).sum()
        answered = records["response"][ended & records["ok"]]
        if len(answered):
            assert timeline.mean[bucket] == pytest.approx(answered.mean())
        else:
            assert np.isnan(timeline.mean[bucket])
        inside = np.minimum(ends, start + width) - np.maximum(records["arrival"], start)
        for place in range(5):
            mine = records["backend"] == place
            assert timeline.requests[place][bucket] == (arrived & mine).sum()
            area = inside[mine & (inside > 0)].sum()
            assert timeline.in_flight[place][bucket] == pytest.approx(area / width)
    assert timeline.arrivals.sum() == len(records)
    assert timeline.times[-1] <= run.duration < timeline.times[-1] + width


@pytest.mark.parametrize("loop", [False, True])
def test_memory_does_not_grow_with_the_requests(
    loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "CHUNK", 500)
    monkeypatch.setattr(event_loop, "CHUNK", 500)
    retries = Retries(tries=2, deadline=50.0)
    limits: dict[str, Any] = {"timeout": 20.0, "retries": retries} if loop else {}

    def peak(requests: int) -> int:
        tracemalloc.start()
        least(requests=requests, **limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(1000)
    assert peak(12_000) < 1.3 * peak(3000)


def test_a_timeline_has_a_limit() -> None:
    with pytest.raises(InvalidSetting, match="timeline"):
        simulate(RoundRobin(["a"]), Every(1e6), Constant(1.0), requests=4, seed=1, timeline=0.01)


def test_the_latest_time() -> None:
    last = 2.0**22
    run = simulate(
        RoundRobin(["a"]), RecordedTimes([0, last - 8]), RecordedWork([1, 8]), requests=2, seed=1
    )
    assert run.duration == last
    for service in (Constant(9.0), Constant(last)):
        for timeout in (None, last):
            with pytest.raises(InvalidTime):
                simulate(
                    LeastConnections(["a"]),
                    RecordedTimes([0, last - 8]),
                    service,
                    requests=2,
                    seed=1,
                    timeout=timeout,
                )


def test_results_are_equal_and_pickled() -> None:
    one, other = (least(timeline=5.0, keep=True) for _ in range(2))
    assert one == other
    assert not one != other  # noqa: SIM202 - tests the operator
    assert one.engine == "general"
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - made here
    assert one != least(timeline=5.0, keep=True, warm_up=0.5)
    assert one != least(timeline=6.0, keep=True)
    assert one != least(timeline=5.0)
    assert one.timeline != least(0.7, timeline=5.0).timeline
    assert one != 5
    assert one.timeline != 5
    for value in (one, one.timeline):
        with pytest.raises(TypeError):
            hash(value)
    assert "4000" not in repr(one)
    assert "3000 requests" in repr(one)


def test_one_request() -> None:
    run = simulate(RoundRobin(["a"]), Every(1.0), Constant(2.0), requests=1, seed=0)
    assert (run.requests, run.answered, run.duration) == (1, 1, 3.0)
    assert run.servers["a"] == (1, 0, 1.0, 1.0)
    burst = simulate(
        RoundRobin(["a"]), RecordedTimes([0] * 3), Constant(0.0001), requests=3, seed=0
    )
    assert burst.answered == 3


def test_events_of_pools_are_in_the_result() -> None:
    events: deque[Event] = deque(maxlen=100)
    drain = Drain[str]()
    pool = Pool(LeastConnections(["a", "b"]), [drain], events=events)
    script: Script = [(50.0, lambda now: drain.begin("a", now))]
    run = simulate(pool, Poisson(1.0), Exponential(1.0), requests=200, seed=1, script=script)
    draining = [event for event in run.events if event.reason == "draining"]
    assert (draining[0].at, draining[0].backend, draining[0].began) == (50.0, "a", True)
    assert pool.events == tuple(events)
    assert Pool(LeastConnections(["a"])).events == ()


def test_no_steady_state_in_total() -> None:
    for load in (1.0, 1.2, 3.0):
        run = least(load)
        assert not run.steady
        assert run.unsteady == f"the load is {load:g} in total"
    endless = simulate(RoundRobin(["a"]), Poisson(0.5), Pareto(1.0, 1.01), requests=50, seed=1)
    assert endless.steady
    assert least(0.9, 20_000).steady


def test_no_steady_state_on_one_server() -> None:
    """A load of 0.9 in total, but the key that is most frequent has a load of 1.7."""
    run = simulate(
        HashRing(range(10)),
        Poisson(9.0),
        Exponential(1.0),
        requests=20_000,
        seed=1,
        keys=ZipfKeys(1000, 1.1),
    )
    assert not run.steady
    assert run.unsteady.startswith("the keys of ")
    short = simulate(
        HashRing(range(10)),
        Poisson(9.0),
        Exponential(1.0),
        requests=10,
        seed=1,
        keys=ZipfKeys(1000, 1.1),
    )
    assert short.unsteady == run.unsteady
    even = simulate(
        HashRing(range(10)),
        Poisson(3.0),
        Exponential(1.0),
        requests=20_000,
        seed=1,
        keys=UniformKeys(1000),
    )
    assert even.steady


def test_no_steady_state_of_unknown_laws() -> None:
    """Where the means are not known, what is measured tells it."""

    class Drawing:
        def __init__(self, law: Any) -> None:
            self.draw = law.draw

    def unknown(law: Any) -> Any:
        return Drawing(law)

    for load, steady in ((0.9, True), (1.1, False)):
        run = simulate(
            RoundRobin(range(3)),
            unknown(Poisson(3 * load)),
            unknown(Exponential(1.0)),
            requests=20_000,
            seed=2,
        )
        assert run.steady is steady
    growing = simulate(
        RoundRobin(range(3)),
        unknown(Poisson(3.3)),
        unknown(Exponential(1.0)),
        requests=20_000,
        seed=2,
        servers=Server(discipline="shared"),
    )
    assert not growing.steady


def test_a_run_may_be_too_short_to_tell() -> None:
    """The load is 0.5 and not known, because there is a pool.  Only short runs are not steady."""
    for requests in (2, 5, 10, 100, 1000):
        found = [
            simulate(
                Pool(LeastConnections(range(30))),
                Poisson(15.0),
                Exponential(1.0),
                requests=requests,
                seed=seed,
                warm_up=0.0,
            )
            for seed in range(20)
        ]
        short = f"the run is too short to tell, with {requests} requests for 30 servers"
        assert {run.unsteady for run in found} <= {"", short}
        assert any(not run.steady for run in found) is (requests <= 100)


class _First(RoundRobin[int]):
    """Always picks the backend 0."""

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[int] = ()) -> int:
        del key, now, avoid
        return 0


def test_a_short_run_has_one_server_with_a_high_load() -> None:
    """Ten requests are enough, even if there are many idle servers."""
    for requests in (5, 9, 10, 100):
        pool = Pool(_First(range(1000)))
        run = simulate(pool, Every(1.0), Constant(4.0), requests=requests, seed=1, warm_up=0.0)
        assert not run.steady
        short = f"the run is too short to tell, with {requests} requests for 1000 servers"
        enough = f"the load of 0 is {4 * requests / (requests - 1):.4g}"
        assert run.unsteady == (short if requests < 10 else enough)


def test_a_limit_makes_a_steady_state() -> None:
    """A load of 2 is steady if what does not fit is refused or gives up."""
    limits: list[dict[str, Any]] = [{"servers": Server(room=3)}, {"timeout": 2.0}]
    for limit in limits:
        run = least(2.0, **limit)
        assert run.failed > 0
        assert run.steady, run.unsteady


def test_stale_loads_make_herds() -> None:
    def mean(balancer: Any) -> float:
        run = simulate(balancer, Poisson(9.0), Exponential(1.0), requests=20_000, seed=6)
        assert run.engine == "general"
        return run.response.mean

    fresh = mean(LeastConnections(range(10)))
    two = mean(Stale(PowerOfTwoChoices(range(10), rng=Random(1)), every=5.0))
    herd = mean(Stale(LeastConnections(range(10)), every=5.0))
    assert fresh < two < herd
    assert mean(Stale(LeastConnections(range(10)), every=2.0**-20)) < 1.2 * fresh

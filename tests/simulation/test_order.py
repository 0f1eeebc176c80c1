"""What happens first at one instant: ends, faults, script, answers, probes, retries, arrivals."""

from collections import deque
from collections.abc import Collection
from random import Random
from typing import Any

import pytest

from balancers import LeastConnections, Pool, RoundRobin
from balancers.gates import ActiveChecks, ConnectionLimit, Probe
from balancers.simulation import (
    Constant,
    Crash,
    Errors,
    Every,
    Freeze,
    RecordedTimes,
    RecordedWork,
    Retries,
    Server,
    Simulation,
    simulate,
)
from balancers.simulation._engines.setup import Script


def run(balancer: Any, times: list[float], works: list[float], **settings: Any) -> Simulation[Any]:
    return simulate(
        balancer,
        RecordedTimes(times),
        RecordedWork(works),
        requests=len(times),
        seed=1,
        warm_up=0.0,
        keep=True,
        **settings,
    )


class Log(RoundRobin[str]):
    """A round robin that logs what is reported to it."""

    def __init__(self, backends: list[str]) -> None:
        super().__init__(backends)
        self.log: list[tuple[float, str]] = []

    def pick(self, key: Any = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        self.log.append((now, "pick"))
        return super().pick(key, now, avoid)

    def finished(self, backend: str, outcome: Any = None, now: float = 0.0) -> None:
        self.log.append((now, "ok" if outcome.ok else "failed"))


@pytest.mark.parametrize("slow", [False, True], ids=["lines", "loop"])
def test_an_end_comes_before_an_arrival(slow: bool) -> None:
    for _ in range(2):
        pool = Pool(RoundRobin(["a"]), [ConnectionLimit(1)])
        settings: dict[str, Any] = {"timeout": 100.0} if slow else {}
        result = simulate(
            pool, Every(0.1), Constant(0.1), requests=2000, seed=1, warm_up=0.0, **settings
        )
        assert result.refused == 0


def test_an_end_comes_before_a_crash() -> None:
    result = run(RoundRobin(["a"]), [0.0], [1.0], faults=[Crash("a", 1.0, 2.0)])
    assert result.answered == 1


def test_an_end_comes_before_a_timeout() -> None:
    assert run(RoundRobin(["a"]), [0.0], [1.0], timeout=1.0).answered == 1
    deadline = Retries(tries=1, deadline=1.0)
    assert run(RoundRobin(["a"]), [0.0], [1.0], retries=deadline).answered == 1


def test_a_fault_comes_before_the_script() -> None:
    seen: list[int] = []
    lb = LeastConnections(["a"])
    script: Script = [(1.0, lambda now: seen.append(int(lb.load_of("a", now))))]
    run(lb, [0.0, 1.0], [5.0, 1.0], faults=[Crash("a", 1.0, 2.0)], script=script)
    assert seen == [0]


def test_the_script_comes_before_probes_and_answers() -> None:
    log: list[str] = []

    class Checks(ActiveChecks[str]):
        def probes(self, now: float) -> list[Probe[str]]:
            sent = super().probes(now)
            log.extend(f"probe at {now}" for _ in sent)
            return sent

        def answer(self, probe: Probe[str], ok: bool, now: float, immediate: bool = False) -> bool:
            log.append(f"answer at {now}")
            return super().answer(probe, ok, now, immediate)

    class Half(Random):
        def random(self) -> float:
            return 0.5  # no jitter

    two = [Checks(rng=Half(), interval=each, timeout=1.5) for each in (2.0, 4.0)]
    pool = Pool(RoundRobin(["a"]), two)
    script: Script = [(time, lambda now: log.append(f"script at {now}")) for time in (1.0, 2.0)]
    run(pool, [2.0], [1.0], probes=two, script=script, network=1.0)
    assert log[:7] == [
        "script at 1.0",
        "probe at 1.0",
        "script at 2.0",
        "answer at 2.0",
        "probe at 2.0",
        "answer at 3.0",
        "probe at 3.0",
    ]


def test_the_script_comes_before_retries_and_arrivals() -> None:
    lb = Log(["a"])
    lb.put("b", 0)

    def replace_a(now: float) -> None:
        lb.log.append((now, "script"))
        lb.discard("a")
        lb.put("b", 1)

    result = run(
        lb,
        [0.0, 2.0],
        [1.0, 1.0],
        script=[(2.0, replace_a)],
        faults=[Errors("a", 0.0, 5.0, share=1.0)],
        retries=Retries(tries=2, backoff=1.0),
    )
    assert result.answered == 2
    assert result.servers["b"].requests == 2


def test_a_retry_comes_before_an_arrival() -> None:
    """The retry takes the only slot; the request that arrives at that instant finds no room."""
    result = run(
        RoundRobin(["a"]),
        [0.0, 2.0],
        [1.0, 1.0],
        servers=Server(room=1),
        faults=[Errors("a", 0.0, 1.0, share=1.0)],
        retries=Retries(tries=2, backoff=1.0, deadline=5.0),
    )
    assert result.records is not None
    assert result.records["response"].tolist()[0] == 3.0
    assert result.records["tries"].tolist() == [2, 2]


def test_a_completion_frees_room_before_an_arrival() -> None:
    result = run(RoundRobin(["a"]), [0.0, 1.0], [1.0, 1.0], servers=Server(room=1))
    assert result.answered == 2


def test_a_freeze_holds_what_would_end_later_only() -> None:
    faults = [Freeze("a", 1.0, 3.0), Freeze("b", 1.0, 3.0)]
    result = run(RoundRobin(["a", "b"]), [0.0, 0.0], [1.0, 1.5], faults=faults)
    assert result.records is not None
    assert result.records["response"].tolist() == [1.0, 3.5]


def test_ends_at_one_instant_are_reported_in_the_order_of_their_starts() -> None:
    """Whatever the backends are, also if they cannot be ordered."""

    class Order(RoundRobin[Any]):
        ended: list[Any]

        def finished(self, backend: Any, outcome: Any = None, now: float = 0.0) -> None:
            self.ended.append(backend)

    names = ["z", 1, (2,), None, "a"]
    times, works = [0.0, 0.5, 1.0, 1.5, 1.75], [2.0, 1.5, 1.0, 0.5, 0.25]
    for settings in ({}, {"timeout": 50.0}, {"network": 0.5}, {"network": 0.5, "timeout": 50.0}):
        lb: Order = Order(names)
        lb.ended = []
        run(lb, times, works, **settings)
        assert lb.ended == names


def test_the_script_runs_until_the_last_request_has_ended() -> None:
    calls: list[float] = []
    script: Script = [(time, calls.append) for time in (0.0, 1.0, 2.0, 3.0)]
    run(RoundRobin(["a"]), [0.0], [2.0], script=script)
    assert calls == [0.0, 1.0]


def test_probes_are_sent_by_one_wakeup_each() -> None:
    """A wake-up after each probe and each answer would double them without end."""
    calls: deque[float] = deque()

    class Checks(ActiveChecks[str]):
        def probes(self, now: float) -> list[Probe[str]]:
            calls.append(now)
            return super().probes(now)

    checks = Checks(rng=Random(1), interval=1.0, timeout=0.5)
    pool = Pool(RoundRobin(["a", "b"]), [checks])
    run(pool, [0.0], [100.0], probes=checks, network=0.25)
    assert 180 < len(calls) < 420
    assert list(calls) == sorted(set(calls))


def test_a_refused_request_has_no_backend() -> None:
    pool = Pool(RoundRobin(["a"]), [ConnectionLimit(1)])
    result = run(pool, [0.0, 0.5], [1.0, 1.0])
    assert (result.answered, result.refused, result.failed) == (1, 1, 0)
    assert result.records is not None
    assert result.records["backend"].tolist() == [0, -1]


def test_a_timeout_comes_before_the_end_of_a_fault() -> None:
    """Without work, the request would be answered at the instant at which the freeze ends."""
    for freeze, ok in ((Freeze("a", 0.0, 1.0), False), (Freeze("a", 0.0, 0.75), True)):
        result = run(RoundRobin(["a"]), [0.5], [0.0], faults=[freeze], timeout=0.5)
        assert result.records is not None
        assert result.records["ok"].tolist() == [ok]

"""Servers that all their requests share progress as processor sharing does."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import RoundRobin
from balancers.simulation import (
    Constant,
    Crash,
    Exponential,
    Freeze,
    HyperExponential,
    Poisson,
    RecordedTimes,
    RecordedWork,
    Server,
    Service,
    Simulation,
    Slow,
    simulate,
)
from tests.depth import runs

QUARTERS = st.integers(0, 40).map(lambda number: number / 4)
WORKS = st.integers(1, 24).map(lambda number: number / 4)


def shared(
    times: Sequence[float], works: Sequence[float], slots: int = 1, **settings: Any
) -> Simulation[Any]:
    return simulate(
        RoundRobin(["a"]),
        RecordedTimes(times),
        RecordedWork(works),
        requests=len(times),
        seed=1,
        servers=Server(discipline="shared", slots=slots),
        warm_up=0.0,
        keep=True,
        **settings,
    )


def exact(times: Sequence[float], works: Sequence[float], slots: int) -> list[Fraction]:
    """Return the response times of processor sharing, in fractions, step by step."""
    left: dict[int, Fraction] = {}
    ends: dict[int, Fraction] = {}
    now, arrived = Fraction(0), 0
    while len(ends) < len(times):
        rate = min(Fraction(1), Fraction(slots, max(1, len(left))))
        done = now + min(left.values()) / rate if left else None
        if arrived < len(times) and (done is None or times[arrived] < done):
            then = Fraction(times[arrived])
            left = {each: rest - (then - now) * rate for each, rest in left.items()}
            left[arrived] = Fraction(works[arrived])
            now, arrived = then, arrived + 1
        elif done is not None:
            left = {each: rest - (done - now) * rate for each, rest in left.items()}
            now = done
            ended = [each for each, rest in left.items() if not rest]
            ends |= dict.fromkeys(ended, now)
            left = {each: rest for each, rest in left.items() if rest}
    return [ends[each] - Fraction(times[each]) for each in range(len(times))]


@given(
    st.lists(st.tuples(QUARTERS, WORKS), min_size=1, max_size=12),
    st.integers(1, 3),
)
@settings(max_examples=runs(1000), deadline=None)
def test_response_times_are_those_of_processor_sharing(
    requests: list[tuple[float, float]], slots: int
) -> None:
    times, works = zip(*sorted(requests, key=lambda request: request[0]), strict=True)
    run = shared(times, works, slots)
    assert run.records is not None
    responses = run.records["response"].tolist()
    for ours, true in zip(responses, exact(times, works, slots), strict=True):
        assert abs(ours - float(true)) <= len(times) * 2**-30


def test_one_request_at_a_time_is_served_as_in_a_line() -> None:
    run = shared([0.0, 5.0, 10.0], [1.1, 2.2, 3.3])
    lines = simulate(
        RoundRobin(["a"]),
        RecordedTimes([0.0, 5.0, 10.0]),
        RecordedWork([1.1, 2.2, 3.3]),
        requests=3,
        seed=1,
        warm_up=0.0,
        keep=True,
    )
    assert run.records is not None
    assert lines.records is not None
    assert run.records["response"].tolist() == lines.records["response"].tolist()
    assert run.servers == lines.servers


def test_the_mean_does_not_depend_on_the_law_of_service() -> None:
    """1 / (1 - load) for any service of processor sharing; 2 and 11 times as much in a line."""
    laws: list[Service] = [Constant(1.0), Exponential(1.0), HyperExponential(1.0, 4.0)]
    for law in laws:
        run = simulate(
            RoundRobin(["a"]),
            Poisson(0.5),
            law,
            requests=40_000,
            seed=3,
            servers=Server(discipline="shared"),
        )
        assert abs(run.response.mean - 2.0) < 0.1
        assert abs(run.servers["a"].utilisation - 0.5) < 0.02


def test_faults_hold_slow_and_end_what_is_shared() -> None:
    frozen = shared([0.0, 0.0], [1.0, 2.0], faults=[Freeze("a", 1.0, 2.5)])
    assert frozen.records is not None
    assert frozen.records["response"].tolist() == [3.5, 4.5]
    slow = shared([0.0, 0.0], [1.0, 2.0], faults=[Slow("a", 1.0, 2.0, factor=2)])
    assert slow.records is not None
    assert slow.records["response"].tolist() == [2.5, 3.5]
    crashed = shared([0.0, 1.0, 4.0], [1.0, 2.0, 1.0], faults=[Crash("a", 2.0, 3.0)])
    assert crashed.records is not None
    assert crashed.records["response"].tolist() == [1.0, 1.0, 1.0]
    assert crashed.records["ok"].tolist() == [True, False, True]
    joined = shared([0.0, 1.5], [1.0, 0.5], faults=[Freeze("a", 0.5, 2.0)])
    assert joined.records is not None
    assert joined.records["response"].tolist() == [3.0, 1.5]


def test_a_timeout_leaves_its_share_to_the_others() -> None:
    run = shared([0.0, 0.0], [9.0, 3.0], timeout=4.0)
    assert run.records is not None
    assert run.records["ok"].tolist() == [False, False]
    run = shared([0.0, 1.0], [9.0, 2.5], timeout=4.0)
    assert run.records is not None
    assert run.records["response"].tolist() == [4.0, 4.0]
    assert run.records["ok"].tolist() == [False, True]

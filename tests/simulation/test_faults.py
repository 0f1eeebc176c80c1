"""Faults, retries, probes and several balancers do what their descriptions say."""

from collections import deque
from dataclasses import replace
from math import inf, nan
from random import Random
from typing import Any

import pytest

from balancers import Event, LeastConnections, Pool, PowerOfTwoChoices, RoundRobin
from balancers.errors import InvalidSetting, InvalidTime
from balancers.gates import ActiveChecks, Probe
from balancers.overload import RetryBudget
from balancers.simulation import (
    Constant,
    Crash,
    Errors,
    Every,
    Exponential,
    FastFailures,
    Freeze,
    Incident,
    Poisson,
    RecordedTimes,
    RecordedWork,
    Retries,
    Server,
    Simulation,
    Slow,
    flap,
    simulate,
)
from balancers.simulation._engines.setup import Script


def run(times: list[float], works: list[float], **settings: Any) -> Simulation[Any]:
    balancer = settings.pop("balancer", None) or RoundRobin(["a"])
    return simulate(
        balancer,
        RecordedTimes(times),
        RecordedWork(works),
        requests=len(times),
        seed=settings.pop("seed", 1),
        warm_up=0.0,
        keep=True,
        **settings,
    )


def rows(result: Simulation[Any]) -> list[tuple[float, bool]]:
    assert result.records is not None
    return [(each["response"].item(), each["ok"].item()) for each in result.records]


def test_a_crash_fails_what_is_on_the_server_and_refuses_what_comes_later() -> None:
    crash = Crash("a", 1.0, 5.0, refuse_after=0.5)
    result = run([0.0, 0.5, 2.0, 4.75, 5.0], [2.0, 2.0, 1.0, 1.0, 1.0], faults=[crash])
    assert rows(result) == [(1.0, False), (0.5, False), (0.5, False), (0.5, False), (1.0, True)]
    assert result.servers["a"].failed == 4
    assert result.incidents == (Incident(1.0, 5.0, "Crash of 'a'"),)
    assert rows(run([0.0, 9.0], [1.0, 1.0], faults=[Crash("a", 0.0, inf)])) == [(0.0, False)] * 2


def test_the_network_is_on_the_way_of_answers_and_failures() -> None:
    result = run([0.0, 2.0], [0.5, 1.0], network=1.0, faults=[Crash("a", 2.5, 4.0)])
    assert rows(result) == [(1.5, True), (1.0, False)]


def test_a_frozen_server_continues() -> None:
    result = run([0.0, 0.5], [1.0, 1.0], faults=[Freeze("a", 0.75, 2.0)])
    assert rows(result) == [(2.25, True), (2.75, True)]


def test_a_slow_server_needs_longer_for_the_rest() -> None:
    result = run([0.0, 0.5], [1.0, 1.0], faults=[Slow("a", 0.5, 2.0, factor=3)])
    assert rows(result) == [(2.0, True), (2.5, True)]
    two = [Slow("a", 0.0, 9.0, factor=2), Slow("a", 0.0, 9.0, factor=3)]
    assert rows(run([0.0], [1.0], faults=two)) == [(6.0, True)]


def test_errors_cost_the_work_and_fast_failures_do_not() -> None:
    assert rows(run([0.0], [3.0], faults=[Errors("a", 0.0, 1.0, share=1.0)])) == [(3.0, False)]
    fast = FastFailures("a", 0.0, 9.0, after=0.25)
    assert rows(run([0.0, 0.0], [3.0, 3.0], faults=[fast])) == [(0.25, False)] * 2
    half = simulate(
        RoundRobin(["a"]),
        Every(1.0),
        Constant(0.5),
        requests=4000,
        seed=1,
        faults=[Errors("a", 0.0, inf, share=0.3)],
    )
    assert abs(half.failed / half.requests - 0.3) < 0.03
    assert half.response.count == half.answered == half.requests - half.failed


def test_a_server_that_flaps_is_down_again_and_again() -> None:
    crashes = flap("a", 1.0, down=1.0, up=2.0, times=2)
    result = run([0.5, 1.5, 2.5, 4.5, 5.5], [0.25] * 5, faults=crashes)
    assert [ok for _, ok in rows(result)] == [True, False, True, False, True]


def test_faults_that_overlap_end_with_the_last_one() -> None:
    faults = [Crash("a", 1.0, 3.0), Crash("a", 2.0, 4.0)]
    result = run([0.5, 3.5, 4.5], [0.25] * 3, faults=faults)
    assert [ok for _, ok in rows(result)] == [True, False, True]
    freezes = [Freeze("a", 0.5, 2.0), Freeze("a", 1.0, 3.0)]
    assert rows(run([0.0], [1.0], faults=freezes)) == [(3.5, True)]


def test_flaps_are_validated_before_they_are_made() -> None:
    wrong: list[Any] = ["0", None, True, [0.0], 10**400]
    for start in wrong:
        with pytest.raises(InvalidSetting, match="start"):
            flap("a", start, down=1.0, up=1.0, times=2)
    for start in (-1.0, nan, inf):
        with pytest.raises(InvalidTime):
            flap("a", start, down=1.0, up=1.0, times=2)
    for times in (2**40, 10**400):
        with pytest.raises(InvalidTime):
            flap("a", 0.0, down=1.0, up=1.0, times=times)


@pytest.mark.parametrize("discipline", ["fifo", "shared"])
def test_a_server_that_stands_still_by_many_faults(discipline: Any) -> None:
    """The product of the factors is more than a float can be."""
    faults = [Slow("a", 0.5, inf, factor=2.0**22)] * 60
    servers = Server(discipline=discipline)
    assert rows(run([0.0], [1.0], faults=faults, servers=servers, timeout=3.0)) == [(3.0, False)]
    for many in (46, 60):
        with pytest.raises(InvalidTime):
            run([0.0], [1.0], faults=faults[:many], servers=servers)


@pytest.mark.parametrize("kind", [Crash, Freeze])
def test_times_of_faults_are_validated(kind: Any) -> None:
    for start, end in ((2.0, 2.0), (3.0, 2.0), (-1.0, 2.0), (0.0, 1e-12), (0.0, 1e9)):
        with pytest.raises(InvalidTime):
            kind("a", start, end)
    for value in (float("nan"), "1", None, True):
        with pytest.raises((InvalidTime, InvalidSetting)):
            kind("a", value, 2.0)
    with pytest.raises(InvalidTime):
        Freeze("a", 0.0, inf)


def test_a_full_server_fails_a_request_at_once() -> None:
    result = run([0.0, 0.0, 0.0], [1.0] * 3, servers=Server(room=2))
    assert rows(result) == [(1.0, True), (2.0, True), (0.0, False)]


def test_retries_avoid_the_backends_that_were_tried() -> None:
    for balancer in (RoundRobin(["a", "b", "c"]), Pool(RoundRobin(["a", "b", "c"]))):
        faults = [Errors("a", 0.0, 9.0, share=1.0), Errors("b", 0.0, 9.0, share=1.0)]
        result = run([0.0], [1.0], balancer=balancer, faults=faults, retries=Retries(tries=3))
        assert rows(result) == [(3.0, True)]
        assert [use.requests for use in result.servers.values()] == [1, 1, 1]
        assert result.tries == 3
        assert result.servers["a"].failed == result.servers["b"].failed == 1


def test_a_retry_takes_a_tried_backend_if_there_is_no_other() -> None:
    result = run([0.0], [1.0], faults=[Errors("a", 0.0, 1.0, share=1.0)], retries=Retries(tries=2))
    assert rows(result) == [(2.0, True)]


def test_backoff_and_deadline_are_part_of_the_response() -> None:
    faults = [Errors("a", 0.0, 1.0, share=1.0)]
    patient = Retries(tries=2, backoff=2.5)
    assert rows(run([0.0], [1.0], faults=faults, retries=patient)) == [(4.5, True)]
    for deadline, response in ((4.0, 4.0), (3.0, 3.0), (0.5, 0.5)):
        hasty = replace(patient, deadline=deadline)
        assert rows(run([0.0], [1.0], faults=faults, retries=hasty)) == [(response, False)]


@pytest.mark.parametrize(("share", "load"), [(0.5, 1.875), (0.9, 3.439)])
def test_retries_multiply_the_load(share: float, load: float) -> None:
    """Four tries: (1 - p ** 4) / (1 - p) tries a request.

    With a budget, a fifth of the requests in flight are retries: at most 1 / (1 - 0.2).
    """
    faults = [Errors(each, 0.0, inf, share=share) for each in range(100)]

    def tries(retries: Retries) -> float:
        result = simulate(
            RoundRobin(range(100)),
            Poisson(1000.0),
            Exponential(0.1),
            requests=8000,
            servers=Server(slots=50),
            seed=5,
            faults=faults,
            retries=retries,
        )
        return result.tries / result.requests

    assert abs(tries(Retries(tries=4)) / load - 1) < 0.03
    limited = Retries(tries=4, budget=RetryBudget(share=0.2, min_retries=0))
    assert 1.2 < tries(limited) < 1.27


def test_a_budget_is_copied_for_each_simulation() -> None:
    budget = RetryBudget(share=1.0)
    retries = Retries(tries=2, budget=budget)
    first, second = (
        run([0.0, 0.5], [1.0, 1.0], faults=[Crash("a", 0.25, 0.75)], retries=retries)
        for _ in range(2)
    )
    assert first == second
    assert (budget.requests, budget.retries) == (0, 0)


def test_retries_without_backoff_end_while_everything_is_refused() -> None:
    balancer = LeastConnections({"a": 1})
    script: Script = [(0.0, lambda _: balancer.put("a", 0))]
    retries = Retries(tries=50)
    result = run([0.0, 1.0], [1.0, 1.0], balancer=balancer, script=script, retries=retries)
    assert (result.refused, result.tries, result.duration) == (2, 100, 1.0)


def probed(fault: Any, network: float = 0.0) -> list[Event]:
    checks = ActiveChecks[str](rng=Random(1), interval=1.0, timeout=0.75, unhealthy_threshold=1)
    events: deque[Event] = deque(maxlen=100)
    pool = Pool(RoundRobin(["a", "b"]), [checks], events=events)
    result = simulate(
        pool,
        Every(0.25),
        Constant(0.1),
        requests=80,
        seed=1,
        probes=checks,
        faults=[fault],
        network=network,
    )
    return [event for event in result.events if event.reason == "unhealthy"]


@pytest.mark.parametrize("network", [0.0, 0.125])
def test_probes_see_crashes_and_freezes_only(network: float) -> None:
    crash = Crash("a", 5.0, 9.0)
    for fault in (crash, replace(crash, refuse_after=30.0), Freeze("a", 5.0, 9.0)):
        events = probed(fault, network)
        assert [(event.began, event.backend) for event in events] == [(True, "a"), (False, "a")]
        assert 5.0 <= events[0].at <= 7.0
        assert 9.0 <= events[1].at <= 12.0
    unseen: list[Any] = [
        Slow("a", 5.0, 9.0, factor=3),
        Errors("a", 5.0, 9.0, share=1.0),
        FastFailures("a", 5.0, 9.0),
    ]
    for fault in unseen:
        begun = [event for event in probed(fault, network) if event.began]
        assert {event.detail for event in begun} <= {"by requests"}


@pytest.mark.parametrize(
    ("faults", "answer"),
    [
        ([], (3.0, True)),
        ([Crash("a", 0.5, 1.5)], (3.0, True)),
        ([Crash("a", 0.5, 3.0)], (3.0, False)),
        ([Crash("a", 1.5, 1.75)], (3.0, True)),
        ([Crash("a", 2.0, 2.5, refuse_after=1.0)], (4.0, False)),
        ([Freeze("a", 0.5, 2.0)], (3.0, True)),
        ([Freeze("a", 2.0, 5.0)], (6.0, True)),
        ([Freeze("a", 3.0, 6.0), Freeze("a", 1.0, 4.0)], (7.0, True)),
        ([Freeze("a", 1.0, 4.0), Freeze("a", 4.0, 6.0)], (5.0, True)),
        ([Freeze("a", 0.5, 8.0), Crash("a", 4.0, 6.0, refuse_after=2.0)], (5.0, False)),
        ([Freeze("a", 0.5, 8.0), Crash("a", 8.0, 9.0)], (9.0, True)),
        ([Freeze("a", 0.5, 8.0), Crash("b", 4.0, 6.0)], (9.0, True)),
    ],
)
def test_a_probe_is_on_its_server_after_the_way_there(
    faults: list[Any], answer: tuple[float, bool]
) -> None:
    """The probe is sent at 1 s, reaches its server at 2 s, and is answered as a request is."""

    class Checks:
        probes_due = 1.0
        answers: list[tuple[float, bool]]

        def probes(self, now: float) -> list[Probe[str]]:
            self.probes_due = inf
            return [Probe("a", 1, now, now + 50.0)]

        def answer(self, probe: Probe[str], ok: bool, now: float) -> None:
            self.answers.append((now, ok))

    checks = Checks()
    checks.answers = []
    balancer = RoundRobin({"a": 0, "b": 1})
    run([20.0], [1.0], balancer=balancer, network=2.0, faults=faults, probes=checks)
    assert checks.answers == [answer]


def test_a_short_freeze_only_delays_the_answer_to_a_probe() -> None:
    assert probed(Freeze("a", 5.0, 5.5)) == []


def test_requests_are_divided_among_several_balancers() -> None:
    fronts = [PowerOfTwoChoices(range(4), rng=Random(each)) for each in range(3)]
    several = simulate(fronts, Poisson(3.2), Exponential(1.0), requests=20_000, seed=2)
    alone = PowerOfTwoChoices(range(4), rng=Random(0))
    one = simulate(alone, Poisson(3.2), Exponential(1.0), requests=20_000, seed=2)
    assert several.engine == "general"
    assert several.answered == several.requests == 15_000
    assert one.response.mean < several.response.mean < 2 * one.response.mean
    assert all(front.load_of(each) == 0 for front in fronts for each in range(4))
    pools = [Pool(LeastConnections([1, 2])), Pool(LeastConnections([2, 3]))]
    mixed = simulate(pools, Poisson(2.0), Exponential(1.0), requests=3000, seed=2)
    assert [*mixed.servers] == [1, 2, 3]
    assert sum(use.requests for use in mixed.servers.values()) == mixed.requests

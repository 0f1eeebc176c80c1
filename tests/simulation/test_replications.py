"""Replications: intervals of independent runs, control variates, and bad input."""

import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from math import inf, isnan, nan
from random import Random
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from balancers import LeastConnections, Pool, RandomChoice, RoundRobin
from balancers.errors import InvalidSetting, NotSteady
from balancers.overload import RetryBudget
from balancers.simulation import (
    Constant,
    Errors,
    Every,
    Exponential,
    Interval,
    Pareto,
    Poisson,
    Replications,
    Retries,
    Server,
    Simulation,
    Times,
    replicate,
    simulate,
)
from balancers.simulation._streams import balancer_random
from balancers.simulation._student import student_quantile

NAMES = ("a", "b", "c")
RANDOM = partial(RandomChoice, NAMES)
ARRIVALS, SERVICE = Poisson(rate=2.0), Exponential(mean=1.0)


def runs(seeds: Sequence[int] = range(8), requests: int = 2000, **options: Any) -> Replications:
    return replicate(RANDOM, ARRIVALS, SERVICE, requests=requests, seeds=seeds, **options)


def test_each_run_is_a_simulation_with_its_seed() -> None:
    made_here = [
        simulate(
            RandomChoice(NAMES, rng=balancer_random(seed)),
            ARRIVALS,
            SERVICE,
            requests=2000,
            seed=seed,
        )
        for seed in (3, 1)
    ]
    assert runs([3, 1]).simulations == tuple(made_here)
    assert made_here[0] != made_here[1]


def test_an_interval_is_that_of_the_means() -> None:
    replications = runs()
    means = [one.response.mean for one in replications.simulations]
    interval = replications.interval()
    assert interval.mean == pytest.approx(fmean(means)) == replications.mean
    assert interval.half_width == pytest.approx(2.3646 * stdev(means) / 8**0.5, rel=1e-4)
    assert interval.confidence == 0.95
    wider = replications.interval(0.99)
    assert wider.half_width / interval.half_width == pytest.approx(3.4995 / 2.3646, rel=1e-4)
    late = [one.response.percentile(99) for one in replications.simulations]
    assert replications.percentile(99).mean == pytest.approx(fmean(late))
    shares = replications.interval(of=lambda run: run.servers["a"].requests / run.requests)
    assert 1 / 3 in shares
    assert replications.response.count == sum(one.answered for one in replications.simulations)


def test_controls_make_the_interval_narrower_and_keep_the_mean() -> None:
    """M/M/1 at a load of 2/3 has a mean response time of 3."""
    replications = runs(range(20), requests=8000)
    plain, controlled = replications.interval(0.999), replications.controlled(0.999)
    assert 3.0 in plain
    assert 3.0 in controlled
    assert controlled.half_width < 0.7 * plain.half_width


def test_the_controls_are_those_of_the_counted_requests() -> None:
    replications = runs([1, 2], requests=1000, warm_up=0.5, keep=True)
    for one, (work, gap) in zip(replications.simulations, replications.controls, strict=True):
        assert one.records is not None
        counted = one.records[500:]
        assert work == pytest.approx(counted["work"].mean() - 1, abs=1e-6)
        between = counted["arrival"][-1] - one.records["arrival"][499]
        assert gap == pytest.approx(between / 500 / 0.5 - 1, abs=1e-6)


def test_constant_laws_have_no_controls() -> None:
    replications = replicate(
        partial(RoundRobin, NAMES), Every(0.5), Constant(1.0), requests=300, seeds=range(8)
    )
    assert replications.controlled() == replications.interval() == Interval(1.0, 0.0, 0.95)


def test_an_infinite_mean_is_no_control() -> None:
    class Heavy:
        mean = inf

        def draw(self, rng: Any, start: int, count: int) -> Any:
            return 2.0 * rng.random(count)

    replications = replicate(RANDOM, Heavy(), SERVICE, requests=500, seeds=range(8))
    assert all(isnan(gap) and not isnan(work) for work, gap in replications.controls)
    assert replications.controlled().half_width > 0


def test_few_runs_have_plain_intervals() -> None:
    replications = runs(range(5))
    assert replications.controlled() == replications.interval()


def test_simulations_of_ones_own_have_no_controls() -> None:
    replications = Replications(runs().simulations)
    assert replications.controlled() == replications.interval() == runs().interval()


def test_threads_give_the_same_replications() -> None:
    with ThreadPoolExecutor(3) as executor:
        assert runs(executor=executor) == runs()


def test_a_replication_can_be_pickled() -> None:
    replications = runs([1, 2])
    assert pickle.loads(pickle.dumps(replications)) == replications  # noqa: S301 - made here


def test_no_interval_without_a_steady_state() -> None:
    replications = replicate(RANDOM, Poisson(6.0), SERVICE, requests=2000, seeds=[1, 2])
    assert not replications.steady
    assert "load" in replications.unsteady
    for call in (replications.interval, replications.controlled):
        with pytest.raises(NotSteady, match=r"without a steady state: .*load"):
            call()
    with pytest.raises(NotSteady):
        replications.percentile(99)
    assert replications.mean > 0


def test_one_unsteady_run_is_enough() -> None:
    one, other = runs([1, 2]).simulations
    for simulations in (
        [one, replace(other, unsteady="why")],
        [replace(one, unsteady="why"), other],
    ):
        with pytest.raises(NotSteady, match="why"):
            Replications(tuple(simulations)).interval()


def test_no_interval_without_answers() -> None:
    one, other = runs([1, 2]).simulations
    replications = Replications((one, replace(other, response=Times())))
    with pytest.raises(NotSteady, match="run 1 is nan"):
        replications.interval()
    with pytest.raises(NotSteady, match="run 0 is inf"):
        replications.interval(of=lambda _: inf)


def test_the_options_of_simulate() -> None:
    replications = runs(
        [1, 2], servers={name: Server(speed=2.0) for name in NAMES}, network=0.5, timeline=10.0
    )
    assert all(one.timeline is not None for one in replications.simulations)
    assert replications.mean == pytest.approx(0.5 + 0.75, abs=0.1)


def test_a_retry_budget_is_not_shared_by_the_runs() -> None:
    """Threads run at the same time, and each run counts its own retries."""
    budget = RetryBudget(share=0.1, min_retries=1)
    options: dict[str, Any] = {
        "retries": Retries(tries=2, budget=budget),
        "faults": (Errors("a", 0.0, 1e6, share=0.5),),
    }
    with ThreadPoolExecutor(4) as executor:
        together = runs(range(4), executor=executor, **options)
    assert together == runs(range(4), **options)
    assert any(one.tries > one.requests for one in together.simulations)
    assert budget.requests == budget.retries == 0


def test_pools_and_several_balancers() -> None:
    def pool() -> Pool[str]:
        return Pool(LeastConnections(NAMES))

    def two(rng: Random) -> list[Any]:
        return [RandomChoice(NAMES, rng=rng), RoundRobin(NAMES)]

    for make in (pool, two):
        assert replicate(make, ARRIVALS, SERVICE, requests=500, seeds=[1, 2]).mean > 1


@pytest.mark.parametrize("seeds", [[], [1], [1, 1], range(1), [1, 2, 1]])
def test_seeds_are_two_or_more_and_different(seeds: Any) -> None:
    with pytest.raises(InvalidSetting, match="seeds must be 2 or more different ints"):
        runs(seeds)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", None])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(InvalidSetting, match="seed must be an int"):
        runs([1, seed])


def test_replications_are_shown_in_short() -> None:
    few = runs([1, 2], requests=100)
    assert repr(few) == f"<Replications: 2 runs, mean {few.mean:.4g} s>"
    unsteady = replicate(
        partial(RoundRobin, NAMES), Poisson(9.0), Exponential(1.0), requests=2000, seeds=[1, 2]
    )
    assert repr(unsteady).endswith(" s, no steady state>")


@pytest.mark.parametrize("seeds", [8, None, "12", b"12"])
def test_seeds_are_iterable(seeds: Any) -> None:
    with pytest.raises(TypeError, match="seeds must be an iterable of ints, not"):
        runs(seeds)


def test_one_seed_is_no_option() -> None:
    with pytest.raises(TypeError, match="the argument seeds instead of seed"):
        runs([1, 2], 10, seed=1)


@pytest.mark.parametrize("q", [[50, 99], (50,), "50", None, nan, 101])
def test_bad_percentiles(q: Any) -> None:
    with pytest.raises(InvalidSetting, match="q must be"):
        runs([1, 2], requests=100).percentile(q)


@pytest.mark.parametrize("confidence", [0, 1, -1, 1.5, nan, inf, "0.95", None, True])
def test_bad_confidences(confidence: Any) -> None:
    with pytest.raises(InvalidSetting, match="confidence must be"):
        runs([1, 2], requests=100).interval(confidence)


@pytest.mark.parametrize("name", ["script", "probes"])
def test_what_belongs_to_one_pool_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: [(1.0, print)]}
    with pytest.raises(TypeError, match=rf"no argument {name}.*Replications"):
        runs([1, 2], 10, **options)


def test_options_with_a_state_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="options contains an iterator"):
        runs([1, 2], faults=iter([Errors("a", 0.0, 1.0, share=0.5)]))


def test_a_factory_that_cannot_be_pickled() -> None:
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(InvalidSetting, match=r"the run of seed 0 cannot be pickled .*partial"),
    ):
        replicate(lambda: RoundRobin(NAMES), ARRIVALS, SERVICE, requests=10, executor=executor)


def test_progress_counts_the_runs() -> None:
    calls: list[int] = []
    runs(range(3), 100, progress=calls.append)
    assert calls == [1, 2, 3]


def test_errors_of_simulate_are_raised_as_they_are() -> None:
    with pytest.raises(InvalidSetting, match="requests"):
        runs([1, 2], requests=0)
    with pytest.raises(TypeError, match="nonsense"):
        runs([1, 2], nonsense=1)


@pytest.mark.parametrize("simulations", [(), (1, 2)])
def test_bad_simulations(simulations: Any) -> None:
    with pytest.raises((InvalidSetting, TypeError), match="simulations must"):
        Replications(simulations)


def test_bad_controls() -> None:
    both: tuple[Simulation[Any], ...] = runs([1, 2], requests=100).simulations
    with pytest.raises(InvalidSetting, match="controls must be one per simulation"):
        Replications(both, ((0.0, 0.0),))
    with pytest.raises(InvalidSetting, match="2 or more, not 1"):
        Replications(both[:1])


def test_intervals() -> None:
    interval = Interval(1.939, 0.0164, 0.95)
    assert str(interval) == "1.939 ± 0.016"
    assert interval.low in interval
    assert interval.high in interval
    assert 1.9 not in interval
    assert not interval.__contains__(nan)


def test_heavy_tails_have_intervals_too() -> None:
    replications = replicate(RANDOM, ARRIVALS, Pareto(1.0, 2.5), requests=3000, seeds=range(8))
    interval = replications.interval()
    quantile = student_quantile(0.95, 7)
    means = np.array([one.response.mean for one in replications.simulations])
    assert interval.half_width == pytest.approx(quantile * means.std(ddof=1) / 8**0.5)


class Draws:
    """A law of an author without a mean, that returns lists."""

    def draw(self, rng: Any, start: int, count: int) -> Any:
        return rng.random(count).tolist()


class Mean(Draws):
    """The same law with its mean."""

    mean = 0.5


class Array(Mean):
    """The same law as an array."""

    def draw(self, rng: Any, start: int, count: int) -> Any:
        return np.array(super().draw(rng, start, count))


def test_a_law_without_a_mean_is_no_control() -> None:
    law: Any = Draws()
    some = replicate(RANDOM, law, law, requests=200, seeds=range(8))
    assert all(isnan(share) for pair in some.controls for share in pair)
    assert some.controlled() == some.interval()
    lists, arrays = (
        replicate(RANDOM, law, Exponential(0.1), requests=200, seeds=range(8))
        for law in (Mean(), Array())
    )
    assert lists.controls == arrays.controls
    assert not isnan(lists.controls[0][1])

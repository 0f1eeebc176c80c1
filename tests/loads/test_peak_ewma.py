"""The load by durations that follows peaks: against a slow model, and rule by rule."""

from copy import deepcopy
from functools import partial
from heapq import heappop, heappush
from math import exp, inf, isfinite, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers import FAILURE, SUCCESS, UNKNOWN, Outcome, Pool, PowerOfTwoChoices
from balancers.algorithms import LeastLoaded
from balancers.errors import InvalidSetting, InvalidTime
from balancers.loads import PeakEwma

TAU, PENALTY, MAX_AGE = 5.0, 10.0, 30.0


class Model:
    """The rules of the docstring, computed from the whole history at each reading."""

    def __init__(self, probes: int) -> None:
        self.probes = probes
        self.calls: list[tuple[str, str, float, Outcome]] = []

    def value(self, backend: str, now: float) -> float:  # noqa: C901, PLR0912, PLR0915 - rules
        """Replay all calls.  Unmeasured is None."""
        average: dict[str, float | None] = {}
        heard: dict[str, float] = {}
        failures: dict[str, int] = {}
        flying: dict[str, int] = {}
        successes: dict[str, int] = {}
        members = set[str]()
        mean: float | None = None
        usual = 0.0
        mean_at = latest = -inf
        for call, name, at, outcome in self.calls:
            latest = time = max(at, latest)
            if call == "started":
                members.add(name)
            elif call == "removed":
                members.discard(name)
            if call == "started":
                if not flying.get(name) and time - heard.get(name, -inf) > MAX_AGE:
                    for table in (average, heard, failures):
                        table.pop(name, None)
                    successes.pop(name, None)
                flying[name] = flying.get(name, 0) + 1
                continue
            if call == "removed":
                for table in (average, heard, failures, flying):
                    table.pop(name, None)
                successes.pop(name, None)
                continue
            if not flying.get(name):
                continue
            flying[name] -= 1
            old = average.get(name)
            if outcome.ok and outcome.elapsed is None:
                failures[name] = 0
                if not successes.get(name):
                    average.pop(name, None)
                    heard.pop(name, None)
            elif outcome.ok:
                new = max(outcome.elapsed or 0.0, 1e-6)
                if mean is None:  # the penalties so far become known
                    for failed, count in failures.items():
                        average[failed] = penalty(new, count) if count else average.get(failed)
                    old = average.get(name)
                    mean, mean_at = new, time
                else:
                    mean = new + (mean - new) * exp((mean_at - time) / TAU)
                if old is None:  # it begins at the usual average
                    old, heard[name] = usual, mean_at
                else:  # it was valid from the result before to now
                    valid = time - heard[name]
                    usual += (old - usual) * valid / (valid + TAU * len(members))
                if new < old:
                    new += (old - new) * exp((heard[name] - time) / TAU)
                mean_at = time
                average[name], heard[name], failures[name] = new, time, 0
                successes[name] = successes.get(name, 0) + 1
            elif outcome.ok is False:
                failures[name] = failures.get(name, 0) + 1
                heard[name] = time
                if mean is not None:
                    least = max(penalty(mean, failures[name]), outcome.elapsed or 0.0)
                    average[name] = max(least, old or 0.0)
        busy = flying.get(backend, 0)
        age = max(now, latest) - heard.get(backend, -inf)
        if busy < self.probes and age > MAX_AGE and (not busy or backend not in heard):
            return 0.0
        own = average.get(backend)
        known = successes.get(backend, 0)
        if own is None or (busy >= self.probes and not known):
            return inf
        few = max(1.0, (busy + 1) / (known + self.probes)) if known else 1.0
        return own * (busy + 1) * few


def penalty(mean: float, failures: int) -> float:
    """Return the average after so many failures in a row."""
    return mean * min(PENALTY * 2.0 ** (failures - 1), PENALTY**2)


OUTCOMES = st.sampled_from([SUCCESS, FAILURE, UNKNOWN]) | st.builds(
    Outcome,
    st.sampled_from([True, True, False, None]),
    st.sampled_from([0.0, 0.1, 0.5, 2.0, 60.0]),
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["started", "started", "finished", "finished", "removed"]),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.0, 31.0, -3.0]),
        OUTCOMES,
    ),
    max_size=40,
)


def perform(load: Any, call: str, backend: str, now: float, outcome: Outcome) -> None:
    if call == "started":
        load.started(backend, now)
    elif call == "finished":
        load.finished(backend, outcome, now)
    else:
        load.removed(backend)


@given(CALLS, st.integers(1, 3))
def test_the_load_equals_a_model_that_replays_everything(calls: Any, probes: int) -> None:
    load, model, now = PeakEwma[str](TAU, probes=probes), Model(probes), 100.0
    for call, backend, step, outcome in calls:
        now += step
        perform(load, call, backend, now, outcome)
        model.calls.append((call, backend, now, outcome))
        for name in "abcd":
            for when in (now, now + 40.0):
                found, expected = load.value(name, when), model.value(name, when)
                if expected == inf:  # without a measurement, and not to be measured now
                    assert 1e150 <= found < inf
                else:
                    assert found == pytest.approx(expected, rel=1e-9, abs=0)


@given(CALLS, st.none() | st.sampled_from([0.0, 0.1, 60.0]), st.sampled_from([0.0, 1.0, 40.0]))
def test_a_failure_never_makes_a_backend_more_attractive(
    calls: Any, elapsed: float | None, later: float
) -> None:
    """Nor does it make another backend less attractive."""
    load, now = PeakEwma[str](), 100.0
    for call, backend, step, outcome in calls:
        now += step
        perform(load, call, backend, now, outcome)
    load.started("a", now)
    twin = deepcopy(load)
    load.finished("a", Outcome(ok=False, elapsed=elapsed), now)
    twin.finished("a", UNKNOWN, now)
    assert load.value("a", now + later) >= twin.value("a", now + later)
    for other in "bc":
        assert load.value(other, now + later) == twin.value(other, now + later)


def measured(*seconds: float, **settings: Any) -> PeakEwma[str]:
    """Return a load with a success of these durations on a, b, c, at the time 0."""
    load = PeakEwma[str](**settings)
    for backend, duration in zip("abc", seconds, strict=False):
        load.started(backend, 0.0)
        load.finished(backend, Outcome(elapsed=duration), 0.0)
    return load


def request(load: PeakEwma[str], backend: str, outcome: Outcome, now: float) -> float:
    load.started(backend, now)
    load.finished(backend, outcome, now)
    return load.value(backend, now)


def test_the_average_jumps_up_and_decays_down() -> None:
    load = measured(1.0)
    assert request(load, "a", Outcome(elapsed=4.0), 2.0) == 4.0
    assert request(load, "a", Outcome(elapsed=1.0), 7.0) == pytest.approx(1 + 3 * exp(-1))
    assert request(load, "a", Outcome(elapsed=1.0), 7.0) == pytest.approx(1 + 3 * exp(-1))
    assert load.value("a", 30.0) == pytest.approx(1 + 3 * exp(-1)), "reading must not decay"


def test_a_frozen_average_is_within_five_per_cent_after_thirty_seconds() -> None:
    """With a tau of 10 it is not, which is the time constant of Finagle's examples."""
    for tau, value in ((5.0, 1.022), (10.0, 1.448)):
        load = measured(10.0, tau=tau)
        for tenth in range(1, 301):
            request(load, "a", Outcome(elapsed=1.0), tenth / 10)
        assert load.value("a", 30.0) == pytest.approx(value, abs=1e-3)


def test_a_new_backend_begins_at_the_usual_average() -> None:
    load = PeakEwma[str](TAU)
    for second in range(100):
        request(load, "a", Outcome(elapsed=1.0), float(second))
    usual = load.value("a", 99.0)
    assert request(load, "fast", Outcome(elapsed=0.01), 99.0) == pytest.approx(usual, rel=1e-6)
    assert request(load, "slow", Outcome(elapsed=3.0), 99.0) == 3.0
    later = 0.01 + (usual - 0.01) * exp(-6)
    assert request(load, "fast", Outcome(elapsed=0.01), 99.0 + 6 * TAU) == pytest.approx(later)


def test_the_first_averages_of_all_are_their_own_durations() -> None:
    load = PeakEwma[str](TAU)
    for backend, seconds in (("a", 1.0), ("b", 0.1), ("c", 0.5)):
        assert request(load, backend, Outcome(elapsed=seconds), 7.0) == seconds


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("exponential", "most"), [(True, 0.3), (False, 0.22)])
def test_one_fast_answer_attracts_no_flood(
    exponential: bool, most: float, full: bool, seed: int
) -> None:
    """The fifth backend is new, and answers its first request at once.

    The durations are 0.2 s on average, or 1 s give or take a fifth.  Then each of the others has
    ten requests in flight.
    """
    load = PeakEwma[str]()
    lb: LeastLoaded[str] | PowerOfTwoChoices[str] = (
        LeastLoaded([*"abcd"], load=load)
        if full
        else PowerOfTwoChoices([*"abcd"], rng=Random(seed), load=load)
    )
    rng, flying, picks, joined = Random(seed + 1), list[tuple[float, int, str]](), "", False
    take = partial(rng.expovariate, 5) if exponential else partial(rng.uniform, 0.8, 1.2)
    for number in range(40 * 32):
        now = number / 40
        if now >= 30 and not joined:
            lb.put("e", 1.0)
            joined = True
        while flying and flying[0][0] <= now:
            ended, began, backend = heappop(flying)
            lb.finished(backend, Outcome(elapsed=ended - began / 40), ended)
        backend = "e" if joined and not picks else lb.pick(now=now)
        lb.started(backend, now)
        duration = 0.001 if joined and not picks else take()
        heappush(flying, (now + duration, number, backend))
        picks += backend if joined else ""
    assert 0.05 * len(picks) <= picks.count("e") <= most * len(picks)


def test_requests_in_flight_multiply_the_average() -> None:
    load = measured(0.5)
    for _ in range(3):
        request(load, "a", Outcome(elapsed=0.5), 0.0)
    for busy in range(1, 5):
        load.started("a", 1.0)
        assert load.value("a", 1.0) == 0.5 * (busy + 1)


@pytest.mark.parametrize("probes", [1, 3])
def test_the_value_is_higher_with_more_requests_in_flight_than_successes(probes: int) -> None:
    load = measured(0.5, probes=probes)
    for successes in (1, 2):
        for busy in range(1, 9):
            load.started("a", 1.0)
            few = (busy + 1) / (successes + probes) if busy >= successes + probes else 1.0
            assert load.value("a", 1.0) == pytest.approx(0.5 * (busy + 1) * few)
        for _ in range(7):
            load.finished("a", UNKNOWN, 1.0)
        load.finished("a", Outcome(elapsed=0.5), 1.0)


def test_in_a_burst_after_a_quiet_time_a_slow_backend_gets_few_requests() -> None:
    """Each backend serves one request after the other, and has answered a few of them before."""
    load = PeakEwma[str]()
    lb = LeastLoaded([*"abcdefghij"], load=load)
    rng, flying, free = Random(1), list[tuple[float, float, str]](), dict[str, float]()
    picks, now = "", 0.0
    while now < 62.0:
        now += 0.5 if now < 60 else 0.004
        while flying and flying[0][0] <= now:
            ended, began, backend = heappop(flying)
            lb.finished(backend, Outcome(elapsed=ended - began), ended)
        backend = lb.pick(now=now)
        lb.started(backend, now)
        duration = rng.expovariate(1 if backend == "a" else 10)
        begins = max(now, free.get(backend, now))
        free[backend] = begins + duration
        heappush(flying, (begins + duration, now, backend))
        picks += backend if now > 60 else ""
    assert picks.count("a") <= 0.05 * len(picks), "a fair share is 0.1"


@pytest.mark.parametrize("probes", [1, 2, 4])
def test_a_request_that_hangs_attracts_no_others(probes: int) -> None:
    """The last result is older than ``max_age``, but the backend is not idle."""
    load = measured(0.1, 0.2, probes=probes)
    load.started("a", 1.0)
    assert [load.value(backend, 100.0) for backend in "abc"] == [0.2, 0.0, 0.0]


@pytest.mark.parametrize("probes", [1, 2, 4])
@pytest.mark.parametrize("make", ["two", "all"])
def test_a_new_backend_gets_no_more_probes_than_allowed(probes: int, make: str) -> None:
    """However busy the others are, until its first answer, also if that is unknown."""
    load = measured(0.01, 0.02, probes=probes)
    lb: Any
    if make == "two":
        lb = PowerOfTwoChoices(list("ab"), rng=Random(3), load=load)
    else:
        lb = LeastLoaded(list("ab"), load=load)
    pool: Pool[str] = Pool(lb)
    for _ in range(50):
        pool.acquire(0.5)
    pool.add("new", now=1.0)
    leases = [pool.acquire(1.0) for _ in range(300)]
    mine = [lease for lease in leases if lease.backend == "new"]
    assert len(mine) == probes
    pool.release(mine[0], 2.0, ok=None)
    assert sum(pool.acquire(2.0).backend == "new" for _ in range(100)) == 1
    assert pool.in_flight("new") == probes


def test_backends_without_results_are_compared_by_requests_in_flight() -> None:
    lb = LeastLoaded(list("abc"), load=PeakEwma[str]())
    for _ in range(30):
        lb.started(lb.pick(now=0.0), 0.0)
    assert [lb.load_of(backend, 0.0) for backend in "abc"] == [11e150] * 3


def test_a_backend_that_was_not_heard_of_is_measured_again() -> None:
    load = measured(9.0, 1.0)
    assert [load.value("a", now) for now in (30.0, 30.1)] == [9.0, 0.0]
    load.started("a", 31.0)
    assert load.value("a", 31.0) > 1e100
    assert request(load, "b", Outcome(elapsed=1.0), 31.0) == 1.0
    load.finished("a", Outcome(elapsed=2.0), 33.0)
    assert load.value("a", 33.0) == 2.0, "the old average must be forgotten"


def test_a_backend_with_long_requests_does_not_expire() -> None:
    """Otherwise all traffic would go to the backend whose answer was the last one."""
    load = measured(9.0, 9.0)
    for now in range(1, 100):
        load.started("a", float(now))
        load.started("b", float(now))
    load.finished("b", Outcome(elapsed=90.0), 100.0)
    assert load.value("a", 100.0) == 9.0 * 100 * 100 / 2
    assert load.value("b", 100.0) == 90.0 * 99 * 99 / 3


def test_failures_count_as_multiples_of_the_mean_of_successes() -> None:
    load = measured(0.2, 0.2, 0.2)
    assert request(load, "a", Outcome(ok=False, elapsed=0.001), 0.0) == pytest.approx(2.0)
    assert request(load, "a", FAILURE, 0.0) == pytest.approx(4.0)
    values = [request(load, "a", FAILURE, 0.0) for _ in range(6)]
    assert values == pytest.approx([8.0, 16.0, 20.0, 20.0, 20.0, 20.0])
    assert request(load, "b", FAILURE, 0.0) == pytest.approx(2.0), "failures are not in the mean"
    assert request(load, "c", Outcome(ok=False, elapsed=60.0), 0.0) == 60.0
    assert request(load, "a", Outcome(elapsed=0.2), 5.0) == pytest.approx(0.2 + 19.8 * exp(-1))
    assert request(load, "a", FAILURE, 5.0) == pytest.approx(0.2 + 19.8 * exp(-1)), "first in a row"


def test_a_failure_before_the_first_success_does_not_attract() -> None:
    """The backend that fails at once is the only idle one, while the first answers are awaited."""
    lb = LeastLoaded(list("abcd"), load=PeakEwma[str]())
    pool: Pool[str] = Pool(lb)
    picked: list[str] = []
    flying: list[Any] = []
    for number in range(40):
        lease = pool.acquire(number / 1000)
        picked.append(lease.backend)
        if lease.backend == "a":
            pool.release(lease, number / 1000, ok=False)
        else:
            flying.append(lease)
    assert picked.count("a") == 2, "once, and again when the others have nine each"
    pool.release(flying[0], 1.0)
    assert lb.load_of("a", 1.0) == pytest.approx(0.999 * 20.0), "two failures in a row"


def test_all_backends_fail_and_recover() -> None:
    """The first one that recovers does not get everything."""
    lb = LeastLoaded(list("abc"), load=PeakEwma[str]())
    pool: Pool[str] = Pool(lb)
    for number in range(300):
        pool.release(pool.acquire(number / 10), number / 10 + 0.05, ok=False)
    counts = dict.fromkeys("abc", 0)
    leases: list[Any] = []
    for number in range(3000):
        now = 31.0 + number / 100
        leases.append((pool.acquire(now), now))
        counts[leases[-1][0].backend] += 1
        if number >= 20:
            pool.release(leases[-21][0], now)
    assert min(counts.values()) > 500, counts


def test_unknown_outcomes_say_nothing() -> None:
    load = measured(0.5)
    for elapsed in (None, 0.0, 60.0):
        assert request(load, "a", Outcome(ok=None, elapsed=elapsed, first=1.0), 40.0) == 0.0
    assert request(load, "b", Outcome(ok=None, elapsed=0.1), 0.0) == 0.0


def test_a_success_without_a_duration_ends_only_the_penalty() -> None:
    load = measured(0.5)
    assert request(load, "b", FAILURE, 0.0) == 5.0
    assert request(load, "b", SUCCESS, 0.0) == 0.0
    assert request(load, "a", SUCCESS, 20.0) == 0.5
    assert load.value("a", 30.1) == 0.0, "it is no result"


def test_a_success_without_a_duration_ends_a_row_of_failures() -> None:
    load = measured(0.5, 0.5)
    assert request(load, "a", FAILURE, 0.0) == 5.0
    assert request(load, "a", SUCCESS, 0.0) == 5.0
    assert request(load, "a", FAILURE, 0.0) == 5.0
    assert request(load, "a", FAILURE, 0.0) == 10.0


def test_the_mean_follows_all_successes_over_time() -> None:
    load = measured(1.0)
    mean = 1.0
    for now in (5.0, 10.0, 11.0):
        request(load, "b", Outcome(elapsed=0.2), now)
        request(load, "b", Outcome(ok=False, elapsed=9.0), now)
        mean = 0.2 + (mean - 0.2) * exp(-(5.0 if now < 11 else 1.0) / TAU)
    load.started("c", 11.0)
    load.finished("c", FAILURE, 11.0)
    assert load.value("c", 11.0) == pytest.approx(PENALTY * mean)


def test_an_earlier_time_counts_as_the_latest() -> None:
    load = measured(0.5)
    load.started("b", 31.0)
    assert [load.value("a", now) for now in (31.0, 5.0, -1e9)] == [0.0, 0.0, 0.0]


def test_the_pool_measures_durations() -> None:
    load = PeakEwma[str]()
    pool: Pool[str] = Pool(LeastLoaded(["a"], load=load))
    pool.release(pool.acquire(1.0), 3.5)
    assert load.value("a", 3.5) == 2.5
    pool.release(pool.acquire(4.0), 5.0, elapsed=4.0)
    assert load.value("a", 5.0) == 4.0


def test_with_first_the_time_to_the_first_byte_counts_once() -> None:
    load = PeakEwma[str](first=True)
    pool: Pool[str] = Pool(LeastLoaded(["a"], load=load))
    lease = pool.acquire(0.0)
    pool.progress(lease, 0.5)
    assert load.value("a", 0.5) == 1.0
    other = pool.acquire(1.0)
    pool.progress(other, 3.0)
    assert load.value("a", 3.0) == 6.0
    pool.release(lease, 60.0)
    assert load.value("a", 60.0) == 4.0, "the first byte came long ago, and has been counted"
    pool.release(other, 61.0, ok=None)
    pool.release(pool.acquire(61.0), 70.0, first=9.0)
    assert load.value("a", 70.0) == 9.0, "an outcome without progress counts"
    pool.release(pool.acquire(70.0), 99.0)
    assert load.value("a", 99.0) == 9.0, "the whole duration does not count"


def test_a_request_that_ends_without_its_first_byte_leaves_nothing_behind() -> None:
    load = PeakEwma[str](first=True)
    load.started("a", 0.0)
    load.progressed("a", 1.0, 1.0)
    load.finished("a", SUCCESS, 2.0)
    assert request(load, "a", Outcome(first=3.0), 4.0) == 3.0


def test_progress_without_a_request_is_ignored() -> None:
    load = PeakEwma[str](first=True)
    load.progressed("a", 1.0, 0.0)
    assert load.value("a", 0.0) == 0.0
    load.started("a", 0.0)
    for seconds in (1.0, 5.0):
        load.progressed("a", seconds, 1.0)
    assert load.value("a", 1.0) == 2.0, "one request progresses once"
    plain = PeakEwma[str]()
    plain.started("a", 0.0)
    plain.progressed("a", 1.0, 0.0)
    assert plain.value("a", 0.0) > 1e100, "without first, progress is not measured"


def test_durations_are_limited_and_values_finite() -> None:
    load = measured(0.0, 1e300)
    for _ in range(1000):
        load.started("a", 1.0)
        load.started("b", 1.0)
    assert load.value("a", 1.0) == pytest.approx(1e-6 * 1001 * 1001 / 2)
    assert isfinite(load.value("b", 1.0))
    for elapsed in (1, 10**300):
        load.started("c", 1.0)
        load.finished("c", Outcome(elapsed=elapsed), 1.0)
        assert isinstance(load.value("c", 1.0), float)
    load.removed("c")
    load.started("c", 1.0)
    load.finished("c", Outcome(ok=False, elapsed=10**300), 1.0)
    assert isfinite(load.value("c", 1.0))


@pytest.mark.parametrize("now", [nan, inf, -inf, 1e301, "1", None, True])
def test_an_invalid_time_changes_nothing(now: Any) -> None:
    load = measured(0.5, first=False)
    load.started("a", 1.0)
    with pytest.raises(InvalidTime):
        load.started("a", now)
    with pytest.raises(InvalidTime):
        load.finished("a", SUCCESS, now)
    assert load.value("a", 1.0) == 1.0


SETTINGS: list[tuple[str, Any]] = [
    *(("tau", value) for value in (0, -1.0, nan, inf, "5", None, True)),
    *(("max_age", value) for value in (0, -1.0, nan, inf, "5", None, True)),
    *(("penalty", value) for value in (-1, -0.1, nan, inf, 1e10, "5", None, True)),
    *(("probes", value) for value in (0, -1, 1.0, True, "1", None, nan)),
    *(("first", value) for value in (0, 1, None, "yes", nan)),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_bad_settings(name: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match=name):
        PeakEwma(**{name: value})


def test_the_repr_counts_the_measured_backends() -> None:
    load = measured(1.0, 2.0)
    load.started("c", 0.0)
    assert repr(load) == "<PeakEwma: 2 measured>"

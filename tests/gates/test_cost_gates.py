"""Limits of cost and of rates, each beside a simple model with fractions."""

from collections import deque
from fractions import Fraction
from math import inf, nan, nextafter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancers import Event, LeastConnections, NoBackendAvailable, Pool, RoundRobin
from balancers.errors import InvalidSetting, UnknownBackend
from balancers.gate import NoRoom
from balancers.gates import CostLimit, CostRateLimit, RequestRateLimit
from balancers.gates._ranking import Ranking
from tests.depth import runs

TICK = Fraction(1, 2**30)


class Bucket:
    """A token bucket in fractions: the amount at a time, which never decreases by itself."""

    def __init__(self, limit: int, period: Fraction, burst: int, now: float) -> None:
        self.limit, self.period, self.burst = limit, period, burst
        self.level, self.at = Fraction(burst), Fraction(now)

    def level_at(self, now: float) -> Fraction:
        flow = (Fraction(now) - self.at) * self.limit / self.period
        return min(Fraction(self.burst), self.level + flow)

    def take(self, units: int, now: float) -> None:
        self.level, self.at = self.level_at(now) - units, Fraction(now)

    def set(self, limit: int, burst: int, now: float) -> None:
        """What was taken out stays taken."""
        self.take(self.burst - burst, now)
        self.limit, self.burst = limit, burst


@given(
    limit=st.integers(1, 1000),
    period=st.sampled_from([1.0, 60.0, 0.1, 0.7, 7.0, 3600.0]),
    burst=st.integers(1, 1000),
    start=st.sampled_from([0.0, 1.0, -5.25, 1.7e9, 12345.678]),
    steps=st.lists(
        st.tuples(
            st.integers(0, 1 << 40),
            st.integers(1, 300),
            st.none() | st.tuples(st.integers(1, 300), st.none() | st.integers(1, 300)),
        ),
        max_size=40,
    ),
)
@settings(max_examples=runs(1600))
def test_a_bucket_against_fractions(
    limit: int,
    period: float,
    burst: int,
    start: float,
    steps: list[tuple[int, int, tuple[int, int | None] | None]],
) -> None:
    """The times are multiples of a tick, so both are exact and equal."""
    gate: CostRateLimit[str] = CostRateLimit(limit, period, burst)
    start = float(int(start * 1024)) / 1024
    gate.added("a", start)
    model = Bucket(limit, Fraction(str(period)), burst, start)
    now = start
    for pause, cost, new in steps:
        now += (pause >> 15) / 1024
        if new is not None:
            limit, burst = new[0], new[1] or new[0]
            gate.set("a", new[0], now, new[1])
            model.set(limit, burst, now)
        level = model.level_at(now)
        assert gate.level("a", now) == pytest.approx(float(level), abs=1e-9)
        assert gate.factor("a", now) == (level >= 1)
        without_room = gate.without_room(cost, now)
        assert set(gate.changes(now)) <= {"a"}
        if cost > burst:
            assert without_room == {"a": NoRoom("too large")}
        elif 1 <= level < cost:
            assert without_room["a"][:2] == ("rate limited", False)
            opens_at = without_room["a"].retry_at
            assert model.level_at(opens_at) >= cost
            assert model.level_at(nextafter(opens_at - float(TICK), -inf)) < cost
        else:
            assert without_room == {}
        if level >= 1:
            gate.charged("a", cost, now)
            model.take(cost, now)
        else:
            opens_at = gate.state_of("a").opens_at
            assert gate.due in {opens_at, -inf}
            assert gate.factor("a", opens_at) == 1
            assert gate.factor("a", nextafter(opens_at, -inf)) == 0
            assert model.level_at(opens_at) >= 1


@pytest.mark.parametrize("start", [0.0, 1e-9, 1.7e9, 1e15, -3.3, 1e299])
def test_a_bucket_never_drifts(start: float) -> None:
    """After any number of requests, all of them together are within the limit, exactly."""
    gate: RequestRateLimit[str] = RequestRateLimit(3, 1.0, burst=1)
    pool = Pool(RoundRobin(["a"]), [gate], now=start)
    served, now = 0, start
    for _ in range(3000):
        try:
            pool.acquire(now)
            served += 1
        except NoBackendAvailable as error:
            assert error.retry_at > now  # noqa: PT017 - the loop needs the error
            now = error.retry_at
            if now > start + 1e20:
                break
    elapsed = Fraction(now) - Fraction(start)
    assert served - 1 <= elapsed * 3
    assert served >= 1499 or start > 1e20


def test_the_rate_of_a_minute() -> None:
    gate: CostRateLimit[str] = CostRateLimit(60_000, period=60.0, burst=10_000)
    pool = Pool(LeastConnections(["a", "b"]), [gate])
    rng, now, taken = Random(1), 0.0, 0
    while now < 600:
        cost = rng.randint(1, 9000)
        try:
            pool.release(pool.acquire(now, cost=cost), now)
            taken += cost
        except NoBackendAvailable as error:
            assert error.full == 0  # noqa: PT017 - the loop needs the error
            assert now < error.retry_at < now + 10  # noqa: PT017 - the loop needs the error
            now = error.retry_at
    assert 2 * (600_000 - 9000) < taken <= 2 * (600_000 + 10_000 + 9000)


def test_only_a_rise_is_taken_out() -> None:
    gate: CostRateLimit[str] = CostRateLimit(60, 60.0, 100)
    pool = Pool(LeastConnections(["a"]), [gate])
    lease = pool.acquire(0.0, cost=40)
    assert gate.level("a", 0.0) == 60
    pool.progress(lease, 0.0, cost=0)
    assert gate.level("a", 0.0) == 60
    pool.progress(lease, 0.0, cost=70)
    assert (gate.level("a", 0.0), gate.factor("a", 0.0)) == (-10, 0)
    pool.release(lease, 1.0)
    assert gate.level("a", 1.0) == -9
    with pytest.raises(NoBackendAvailable) as refused:
        pool.acquire(1.0)
    assert (refused.value.reason, refused.value.retry_at) == ("rate limited", 11.0)
    assert pool.acquire(11.0, cost=1).backend == "a"


def test_the_rate_of_requests_has_nothing_to_do_with_cost() -> None:
    gate: RequestRateLimit[str] = RequestRateLimit(2, 1.0)
    pool = Pool(LeastConnections(["a"]), [gate])
    pool.release(pool.acquire(0.0, cost=10**9), 0.0)
    pool.release(pool.acquire(0.0), 0.0)
    with pytest.raises(NoBackendAvailable, match="rate limited"):
        pool.acquire(0.0)
    assert pool.acquire(0.5).backend == "a"


def test_a_backend_that_joins_again_has_a_full_bucket() -> None:
    gate: CostRateLimit[str] = CostRateLimit(10, 60.0)
    pool = Pool(LeastConnections(["a", "b"]), [gate])
    for backend in "ab":
        pool.acquire(0.0, prefer=backend, cost=10)
    pool.remove("a", 1.0)
    pool.add("a", now=1.0)
    assert gate.level("a", 1.0) == 10
    assert pool.acquire(1.0, cost=10).backend == "a"


def test_a_backend_with_a_rate_of_its_own() -> None:
    gate: CostRateLimit[str] = CostRateLimit(60, 60.0)
    pool = Pool(RoundRobin(["a", "b"]), [gate])
    gate.set("a", 600, burst=1000)
    assert gate.level("a", 0.0) == 1000
    assert set(gate.without_room(61, 0.0)) == {"b"}
    pool.acquire(0.0, cost=1000)
    assert gate.level("a", 1.0) == 10
    assert gate.without_room(60, 0.0) == {}  # a is closed, and b has room
    gate.set("a", None, 1.0)
    assert gate.level("a", 1.0) == -930
    assert gate.without_room(61, 1.0) == {"a": NoRoom("too large"), "b": NoRoom("too large")}
    gate.set("a", 931, 1.0)
    assert (gate.level("a", 1.0), gate.factor("a", 1.0)) == (-59, 0)
    gate.set("a", 1000, 1.0)
    assert (gate.level("a", 1.0), gate.factor("a", 1.0)) == (10, 1)
    assert gate.without_room(11, 1.0)["a"].retry_at == pytest.approx(1.06)
    for gone in (lambda: gate.set("x", 1), lambda: gate.level("x", 0.0)):
        with pytest.raises(UnknownBackend):
            gone()


def test_a_rate_of_none_restores_the_limit_and_the_burst_of_the_gate() -> None:
    gate: RequestRateLimit[str] = RequestRateLimit(60, burst=3)
    gate.added("a", 0.0)
    gate.set("a", 1, 0.0)
    assert gate.level("a", 0.0) == 1
    gate.set("a", None, 0.0)
    assert gate.level("a", 0.0) == 3
    gate.set("a", None, 0.0, burst=7)
    assert gate.level("a", 0.0) == 7
    gate.started("a", 0, 0.0)
    assert (gate.level("a", 0.0), gate.level("a", 0.5), gate.level("a", 1.0)) == (6, 6.5, 7)


def test_backends_with_rates_of_their_own_are_all_asked() -> None:
    gate: CostRateLimit[str] = CostRateLimit(60)
    for backend, limit in (("a", 5), ("b", 6), ("c", None), ("d", 120), ("e", None)):
        gate.added(backend, 0.0)
        gate.set(backend, limit, 0.0)
    gate.charged("c", 58, 0.0)
    gate.charged("d", 115, 0.0)
    gate.charged("gone", 9, 0.0)
    large = NoRoom("too large")
    assert gate.without_room(7, 0.0) == {
        "a": large,
        "b": large,
        "c": NoRoom("rate limited", retry_at=5.0),
        "d": NoRoom("rate limited", retry_at=1.0),
    }
    for backend in "abcde":
        gate.removed(backend, 0.0)
    assert gate.without_room(10**9, 0.0) == {}
    assert gate._rankings == {}


def test_the_events_of_limits() -> None:
    events: deque[Event] = deque(maxlen=99)
    rate, limit = CostRateLimit[str](6, 6.0), CostLimit[str](9)
    pool = Pool(LeastConnections(["a"]), [rate, limit], events=events)
    events.clear()
    lease = pool.acquire(1.0, cost=6)
    pool.progress(lease, 1.5, cost=9)
    pool.release(lease, 2.0)
    with pytest.raises(NoBackendAvailable):
        pool.acquire(3.0)
    pool.acquire(6.0)
    assert {e.backend for e in events} == {"a"}
    assert [(e.at, e.reason, e.began, e.detail) for e in events] == [
        (1.0, "rate limited", True, "6 per 6.0 s"),
        (1.5, "saturated", True, "cost 9 of 9"),
        (2.0, "saturated", False, "cost 0 of 9"),
        (5.0, "rate limited", False, ""),
    ]


def test_a_bucket_that_stays_open_makes_no_events() -> None:
    events: deque[Event] = deque(maxlen=99)
    pool = Pool(LeastConnections(["a"]), [RequestRateLimit(1, 1.0, burst=3)], events=events)
    events.clear()
    for _ in range(2):
        pool.acquire(0.0)
    assert not events, "exactly one is left"
    pool.acquire(0.0)
    pool.acquire(1.0)
    assert [(e.at, e.began) for e in events] == [(0.0, True), (1.0, False), (1.0, True)]


@pytest.mark.parametrize("gate", [RequestRateLimit(2, 1.0), CostRateLimit(2, 1.0), CostLimit(2)])
def test_another_limit_opens_and_closes_at_once(gate: Any) -> None:
    events: deque[Event] = deque(maxlen=99)
    pool = Pool(LeastConnections(["a", "b"]), [gate], events=events)
    events.clear()
    pool.acquire(0.0, prefer="a", cost=1)
    gate.set("a", 1, 0.0)
    assert pool.state("a") == (gate.reason,)
    assert pool.acquire(0.0, among=["a", "b"], cost=1).backend == "b"
    gate.set("a", 2, 0.25)
    assert (pool.state("a"), set(pool.plan(0.25))) == ((), {"a", "b"})
    pool.acquire(5.0)
    assert [(e.at, e.backend, e.began) for e in events] == [(0.0, "a", True), (0.25, "a", False)]


@pytest.mark.parametrize("kind", [CostRateLimit, RequestRateLimit])
def test_bad_settings_of_a_rate(kind: Any) -> None:
    for limit in (0, -1, 1.5, True, None, "9", nan):
        with pytest.raises(InvalidSetting, match="limit"):
            kind(limit)
    for period in (0, -1.0, nan, inf, 1e301, "60", True):
        with pytest.raises(InvalidSetting, match="period"):
            kind(5, period)
    for burst in (0, 2.5, True, nan):
        with pytest.raises(InvalidSetting, match="burst"):
            kind(5, 60.0, burst)
    gate = kind(5, 60)
    gate.added("a", 0.0)
    for arguments in ((0, 0.0), (0, 0.0, 5), (1.5, 0.0), (5, 0.0, 0), (5, nan)):
        before = gate.level("a", 0.0)
        with pytest.raises(ValueError, match=r"must be"):
            gate.set("a", *arguments)
        assert gate.level("a", 0.0) == before


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None, "9", nan])
def test_bad_settings_of_a_limit(limit: Any) -> None:
    with pytest.raises(InvalidSetting, match="limit"):
        CostLimit(limit)
    gate: CostLimit[str] = CostLimit(5)
    gate.added("a", 0.0)
    if limit is not None:
        with pytest.raises(InvalidSetting, match="limit"):
            gate.set("a", limit)
    with pytest.raises(UnknownBackend):
        gate.cost_on("b")


@given(
    changes=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(-3, 12) | st.none()), max_size=40
    ),
    questions=st.lists(st.tuples(st.integers(-4, 12), st.integers(-4, 13)), min_size=1, max_size=5),
)
@settings(max_examples=runs(2000))
def test_a_ranking_against_a_dict(
    changes: list[tuple[str, int | None]], questions: list[tuple[int, int]]
) -> None:
    ranking: Ranking[str] = Ranking()
    model: dict[str, int] = {}
    for number, (backend, value) in enumerate(changes):
        if value is None:
            ranking.discard(backend)
            model.pop(backend, None)
        else:
            ranking.put(backend, value)
            model[backend] = value
        low, high = questions[number % len(questions)]
        found = list(ranking.between(low, high))
        assert sorted(found) == sorted(b for b, v in model.items() if low <= v < high)
        assert [model[b] for b in found] == sorted(model[b] for b in found)
        assert (len(ranking), {*ranking}) == (len(model), {*model})
        assert {*ranking._members} == {serial for _, serial in ranking._entries.values()}


@pytest.mark.parametrize("seed", range(runs(100)))
def test_the_rooms_of_a_limit_against_a_dict(seed: int) -> None:
    rng, gate = Random(seed), CostLimit[str](9)
    costs: dict[str, int] = {}
    limits: dict[str, int] = {}
    for _ in range(60):
        backend, what = rng.choice("abc"), rng.randrange(8)
        if what == 0 and backend in costs:
            gate.removed(backend, 0.0)
            del costs[backend], limits[backend]
        elif backend not in costs:
            gate.added(backend, 0.0)
            costs[backend], limits[backend] = 0, 9
        elif what == 1:
            limit = rng.choice([None, 1, 4, 20])
            gate.set(backend, limit, 0.0)
            limits[backend] = limit or 9
        else:
            change = rng.randrange(-4, 7)
            gate.charged(backend, change, 0.0)
            costs[backend] = max(0, costs[backend] + change)
        for cost in (1, 2, 5, 9, 10, 21):
            expected: dict[str, NoRoom] = {}
            for each, limit in limits.items():
                if cost > limit:
                    expected[each] = NoRoom("too large")
                elif 0 < limit - costs[each] < cost:
                    expected[each] = NoRoom("saturated", full=True)
            assert gate.without_room(cost, 0.0) == expected
        assert {each: gate.cost_on(each) for each in costs} == costs
        assert len(gate._limits) == len(costs)


def test_the_answer_that_all_fit_takes_the_same_work_for_any_number_of_members() -> None:
    """The members are not sorted while all have room."""
    gates: list[Any] = [CostLimit[int](10**6), CostRateLimit[int](10**6)]
    for gate in gates:
        for backend in range(1000):
            gate.added(backend, 0.0)
            gate.charged(backend, backend, 0.0)
        assert gate.without_room(1000, 0.0) == {}
    assert not gates[0]._rooms._order
    (ranking,) = gates[1]._rankings.values()
    assert not ranking._order
    assert len(gates[0].without_room(10**6 - 990, 0.0)) == 9
    assert len(gates[1].without_room(10**6 - 990, 0.0)) == 9

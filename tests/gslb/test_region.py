"""When a region is healthy: exact thresholds, no ping-pong, and the state of a pool."""

import pickle
from collections.abc import Iterator
from copy import deepcopy
from fractions import Fraction
from itertools import pairwise, product
from math import ceil, inf, nan
from random import Random
from typing import Any

import pytest

from balancers import Drain, HealthChecks, Pool, RoundRobin, WeightedRoundRobin
from balancers.errors import InvalidSetting, InvalidTime, InvalidWeight, UnknownBackend
from balancers.gates import Consecutive, CoolDown
from balancers.gslb import Client, Failover, Place, Region
from tests.depth import runs

THRESHOLDS: list[Any] = [0, 0.01, 0.07, 0.29, 1 / 3, 0.5, 0.57, 0.58, 0.99, 1, Fraction(1, 3)]


def with_down(region: Region, down: list[Any]) -> Region:
    for member in down:
        region.set_up(member, False, 0.0)
    return region


def needed(up_thresh: Any, total: int) -> int:
    """The documented formula, with the decimal that the threshold is written as."""
    share = up_thresh if isinstance(up_thresh, Fraction) else Fraction(repr(up_thresh))
    return max(1, ceil(share * total))


@pytest.mark.parametrize("up_thresh", THRESHOLDS)
def test_every_number_of_members_and_of_those_up(up_thresh: float) -> None:
    for total in (1, 2, 3, 4, 7, 10, 100):
        region = Region("r", range(total), up_thresh=up_thresh)
        for down in range(total + 1):
            up = total - down
            assert region.healthy(0.0) == (up >= needed(up_thresh, total)), (total, up)
            assert region.status(0.0) == f"{up} of {total} up, needs {needed(up_thresh, total)}"
            if up:
                region.set_up(down, False, 0.0)


def test_a_float_does_not_round_up() -> None:
    """In floats, 0.07 * 100 is 7.000000000000001, so that 8 would be needed."""
    assert ceil(0.07 * 100) == 8
    region = with_down(Region("r", range(100), up_thresh=0.07), [*range(93)])
    assert region.healthy(0.0)
    assert not with_down(region, [93]).healthy(0.0)


@pytest.mark.parametrize("seed", range(10))
def test_weights_count(seed: int) -> None:
    rng = Random(seed)
    weights = {name: rng.randrange(1, 2**20) for name in "abcdef"}
    up_thresh = rng.choice(THRESHOLDS)
    for states in product((True, False), repeat=6):
        up = [name for name, is_up in zip(weights, states, strict=True) if is_up]
        region = with_down(Region("r", weights, up_thresh=up_thresh), [*{*weights} - {*up}])
        enough = sum(weights[name] for name in up) >= needed(up_thresh, sum(weights.values()))
        assert region.healthy(0.0) == (enough and bool(up))
        members = region.answer(Client(), 0.0).members
        assert members == (tuple(up) if region.healthy(0.0) else tuple(weights))


def test_the_unit_of_fractional_weights_has_no_effect() -> None:
    for unit in (0.1, 0.5, 3, 1e-9, 1e200):
        region = Region("r", {"a": unit, "b": unit, "c": 2 * unit}, up_thresh=0.5)
        assert with_down(region, ["a", "b"]).healthy(0.0)
        assert not with_down(region, ["c"]).healthy(0.0)


def test_members_of_weight_0_do_not_count() -> None:
    region = Region("r", {"a": 1, "b": 1, "spare": 0}, up_thresh=1.0)
    region.set_up("spare", False, 0.0)
    assert region.healthy(0.0)
    region.set_up("spare", True, 0.0)
    assert region.answer(Client(), 0.0).members == ("a", "b")
    assert with_down(region, ["a"]).answer(Client(), 0.0).members == ("a", "b", "spare")
    quiesced = Region("r", {"a": 0})
    assert not quiesced.healthy(0.0)
    assert quiesced.status(0.0) == "no member has a weight"


def test_all_down_answers_everything_and_says_so() -> None:
    region = with_down(Region("r", ["a", "b"]), ["a", "b"])
    answer = region.answer(Client(), 0.0)
    assert answer.members == ("a", "b")
    assert answer.health_ignored
    assert answer.degraded
    assert answer.reason == "everything is down, so health is ignored: the only region"


def test_probes_are_counted_by_gdnsds_rule() -> None:
    """Every other probe fails: the member goes down once, and stays down."""
    region = Region("r", ["a"])
    states: list[bool] = []
    for at in range(99):
        region.observe("a", at % 2 == 1, float(at))
        states.append(region.healthy(float(at)))
    assert states == [True] * 18 + [False] * 81
    for at in range(100, 119):
        assert not region.observe("a", True, float(at))
    assert region.observe("a", True, 119.0)
    assert region.healthy(119.0)


def test_another_rule() -> None:
    region = Region("r", ["a", "b"], rule=Consecutive(1, 1), up_thresh=1.0)
    assert region.observe("a", False, 0.0)
    assert not region.healthy(0.0)
    assert region.observe("a", True, 1.0)
    assert region.healthy(1.0)
    with pytest.raises(TypeError, match="rule"):
        Region("r", ["a"], rule=Consecutive)  # type: ignore[arg-type]  # a wrong argument


def flips(rng: Random) -> Iterator[tuple[float, bool]]:
    now = 0.0
    for _ in range(60):
        now += rng.choice([0.5, 1.0, 3.0, 10.0, 29.0, 31.0])
        yield now, rng.random() < 0.5


@pytest.mark.parametrize("seed", range(runs(200)))
def test_a_region_is_held_until_it_was_up_without_interruption(seed: int) -> None:
    """Beside a plain search in the history of what was reported."""
    rng = Random(seed)
    region = Region("r", ["a"], hold=30.0)
    history: list[tuple[float, bool]] = [(-inf, True)]
    for now, up in flips(rng):
        region.set_up("a", up, now)
        history.append((now, up))
        for asked in (now, now + 0.25):
            rises = [at for (_, was), (at, is_up) in pairwise(history) if is_up and not was]
            since = max(rises, default=-inf)
            assert region.held(asked) == up
            assert region.healthy(asked) == (up and asked >= since + 30.0)


def test_a_flip_at_each_probe_moves_the_clients_once() -> None:
    first, second = Region("first", ["a"], hold=30.0), Region("second", ["b"])
    policy = Failover([first, second])
    ranking = policy.rank(Client(), 0.0)
    moves, before = 0, "first"
    for probe in range(1, 200):
        first.set_up("a", probe % 2 == 0, 10.0 * probe)
        kept = ranking.answer(10.0 * probe).regions[0]
        names = {policy.answer(Client(), 10.0 * probe).regions[0], kept}
        assert len(names) == 1
        moves += names != {before}
        (before,) = names
    assert (moves, before) == (1, "second")
    first.set_up("a", True, 3000.0)
    assert ranking.first(3029.9) is second
    assert first.status(3029.9) == "1 of 1 up, needs 1, held until 3030.0"
    assert ranking.first(3030.0) is first


def test_a_held_region_is_better_than_one_that_is_down() -> None:
    first, second = Region("first", ["a"]), Region("second", ["b", "c"], hold=30.0)
    for member in "bc":
        second.set_up(member, False, 0.0)
    for member in "bc":
        second.set_up(member, True, 1.0)
    first.set_up("a", False, 2.0)
    answer = Failover([first, second]).answer(Client(), 2.0)
    assert answer.regions == ("second",)
    assert answer.health_ignored


def test_a_held_region_answers_only_what_is_up() -> None:
    region = Region("r", ["a", "b", "c"], hold=30.0)
    for member in "ab":
        region.set_up(member, False, 0.0)
    policy = Failover([region])
    assert policy.answer(Client(), 0.0).members == ("a", "b", "c")
    region.set_up("b", True, 1.0)
    answer = policy.answer(Client(), 2.0)
    assert (answer.members, answer.health_ignored) == (("b", "c"), True)
    assert region.answer(Client(), 2.0).members == ("b", "c")


def test_an_earlier_time_counts_as_the_latest() -> None:
    region = Region("r", ["a"], hold=10.0)
    region.set_up("a", False, 100.0)
    region.set_up("a", True, 50.0)
    assert not region.healthy(105.0)
    assert region.healthy(110.0)


def pool_of(*gates: Any, **settings: Any) -> Pool[str]:
    return Pool(RoundRobin(["a", "b", "c", "d"]), gates=gates, **settings)


def test_a_pool_that_is_drained() -> None:
    drain = Drain[str]()
    pool = pool_of(drain)
    region = Region("r", pool)
    assert region.status(0.0) == "4 of 4 up, needs 2"
    for member in "ab":
        drain.begin(member, 1.0)
    assert region.healthy(1.0)
    assert region.answer(Client(), 1.0).members == ("c", "d")
    drain.begin("c", 2.0)
    assert not region.healthy(2.0)
    assert region.answer(Client(), 2.0).members == ("a", "b", "c", "d")
    drain.cancel("a", 3.0)
    assert region.healthy(3.0)


def test_a_panicking_pool_is_judged_by_what_is_really_open() -> None:
    checks = HealthChecks[str](unhealthy_threshold=1)
    pool = pool_of(checks, panic=0.9)
    region = Region("r", pool, up_thresh=0.5)
    for member in "abc":
        checks.observe(member, False, 1.0)
    assert pool.panicking
    assert all(pool.admits(member) for member in "abcd")
    assert region.status(1.0) == "1 of 4 up, needs 2"
    assert not region.healthy(1.0)
    assert region.up_members(1.0) == ("d",)


def test_weights_of_a_pool_count() -> None:
    drain = Drain[str]()
    pool = Pool(WeightedRoundRobin({"a": 5, "b": 1, "c": 1}), gates=[drain])
    region = Region("r", pool)
    drain.begin("a", 1.0)
    assert region.status(1.0) == "2 of 7 up, needs 4"
    pool.set_weight("a", 0, 1.0)
    assert region.status(1.0) == "2 of 2 up, needs 1"


def test_a_pool_that_is_empty_or_becomes_empty() -> None:
    pool = Pool(RoundRobin[str]([]))
    region = Region("r", pool)
    assert not region.healthy(0.0)
    assert region.status(0.0) == "no members"
    answer = Failover([region, Region("s", ["x"])]).answer(Client(), 0.0)
    assert answer.members == ("x",)
    assert answer.skipped == (("r", "no members"),)
    alone = Failover([region]).answer(Client(), 0.0)
    assert alone.members == ()
    assert alone.health_ignored
    pool.add("a", now=1.0)
    assert region.healthy(1.0)


def test_a_pool_without_traffic_recovers_with_time() -> None:
    """No request advances the pool's time while the region is down: ``now`` does."""
    pool = Pool(RoundRobin(["a"]), gates=[CoolDown(rng=Random(1))])
    region = Region("r", pool)
    pool.release(pool.acquire(0.0), 0.0, ok=False, retry_after=30.0)
    assert not region.healthy(1.0)
    assert not region.healthy(29.9)
    assert region.healthy(30.0)


def test_members_that_leave_do_not_count() -> None:
    pool = pool_of()
    region = Region("r", pool, up_thresh=1.0)
    lease = pool.acquire(0.0)
    pool.update(["b", "c"], 1.0, keep=60.0)
    assert lease.backend == "a"
    assert region.status(1.0) == "2 of 2 up, needs 2"
    assert region.up_members(1.0) == ("b", "c")


def test_members_that_leave_are_not_answered_if_health_is_ignored() -> None:
    drain = Drain[str]()
    pool = pool_of(drain)
    pool.acquire(0.0)
    pool.update(["b", "c"], 1.0, keep=60.0)
    for member in "bc":
        drain.begin(member, 1.0)
    answer = Failover([Region("r", pool)]).answer(Client(), 1.0)
    assert (answer.members, answer.health_ignored) == (("b", "c"), True)


def test_a_pool_is_not_held_at_first_but_after_a_failure() -> None:
    drain = Drain[str]()
    region = Region("r", Pool(RoundRobin(["a"]), gates=[drain]), hold=30.0)
    assert region.healthy(0.0)
    drain.begin("a", 1.0)
    assert not region.healthy(1.0)
    drain.cancel("a", 2.0)
    assert not region.healthy(2.0)
    assert not region.healthy(31.9)
    assert region.healthy(32.0)


def test_copies_are_independent_and_pickles_equal() -> None:
    region = Region("r", {"a": 1, "b": 2}, hold=5.0, place=Place("EU", latitude=1, longitude=2))
    region.set_up("b", False, 1.0)
    copies = [deepcopy(region), pickle.loads(pickle.dumps(region))]  # noqa: S301 - own
    for copy in copies:
        assert copy.status(1.0) == region.status(1.0)
        copy.set_up("b", True, 2.0)
        assert copy.status(2.0) == "3 of 3 up, needs 2, held until 7.0"
        assert region.status(2.0) == "1 of 3 up, needs 2"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"members": []}, InvalidSetting),
        ({"members": {}}, InvalidSetting),
        ({"members": ["a"], "up_thresh": 1.1}, InvalidSetting),
        ({"members": ["a"], "up_thresh": -0.1}, InvalidSetting),
        ({"members": ["a"], "up_thresh": nan}, InvalidSetting),
        ({"members": ["a"], "up_thresh": True}, InvalidSetting),
        ({"members": ["a"], "up_thresh": "half"}, InvalidSetting),
        ({"members": ["a"], "hold": -1}, InvalidSetting),
        ({"members": ["a"], "hold": inf}, InvalidSetting),
        ({"members": ["a"], "bias": 100}, InvalidSetting),
        ({"members": ["a"], "bias": nan}, InvalidSetting),
        ({"members": ["a"], "capacity": -1}, InvalidSetting),
        ({"members": ["a"], "capacity": nan}, InvalidSetting),
        ({"members": {"a": -1}}, InvalidWeight),
        ({"members": {"a": nan}}, InvalidWeight),
        ({"members": 5}, TypeError),
        ({"members": "ab"}, TypeError),
        ({"members": ["a"], "place": "Tokyo"}, TypeError),
        ({"members": ["a"], "name": 5}, TypeError),
    ],
)
def test_wrong_settings(settings: dict[str, Any], error: type[Exception]) -> None:
    given: dict[str, Any] = {"name": "r", **settings}
    with pytest.raises(error):
        Region(**given)


def test_a_capacity_is_no_time() -> None:
    with pytest.raises(InvalidSetting, match=r"^capacity must be finite, 0 or more, not -1$"):
        Region("r", ["a"], capacity=-1)


def test_wrong_reports_change_nothing() -> None:
    region = Region("r", ["a"])
    for change in (region.set_up, region.observe):
        with pytest.raises(UnknownBackend):
            change("b", False, 0.0)
        with pytest.raises(TypeError):
            change("a", "down", 0.0)  # type: ignore[arg-type]  # a wrong argument
        with pytest.raises(InvalidTime):
            change("a", False, nan)
    assert region.healthy(0.0)
    over_pool = Region("r", pool_of())
    with pytest.raises(InvalidSetting, match="pool"):
        over_pool.set_up("a", False, 0.0)
    for ask in (region.healthy, region.held, region.status, region.up_members, over_pool.healthy):
        with pytest.raises(InvalidTime):
            ask(nan)

"""The shares and the picks of every small state, beside a rule written from the description."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement, product
from math import inf
from random import Random

import pytest

from balancers import NoBackendAvailable, RoundRobin
from balancers.algorithms import Tiers
from balancers.balancer import Key
from balancers.interop.envoy.priorities import Health, loads
from tests.algorithms.tier_members import (
    CONDITIONS,
    State,
    expected_shares,
    members,
    set_condition,
    tier_of,
    tiers,
)
from tests.depth import DEEP, runs

FACTORS = (1.4, inf, 0.5)


def states_of(size: int) -> list[State]:
    return [
        state
        for count in range(size + 1)
        for state in combinations_with_replacement(CONDITIONS, count)
    ]


def every_state() -> Iterator[tuple[State, ...]]:
    yield from product(states_of(4 if DEEP else 3), repeat=2)
    yield from product(states_of(2 if DEEP else 1), repeat=3)
    rng = Random(15)
    for _ in range(runs(8_000)):
        yield tuple(tuple(rng.choices(CONDITIONS, k=rng.randrange(5))) for _ in range(3))


def set_states(lb: Tiers[str], states: Iterable[State]) -> None:
    """Make the members of a balancer those of the states, by as few changes as possible."""
    wanted = {
        f"{'abcd'[tier]}{number}": condition
        for tier, state in enumerate(states)
        for number, condition in enumerate(state)
    }
    for backend in [*lb.weights]:
        if backend not in wanted:
            lb.discard(backend)
    for backend, condition in wanted.items():
        if backend not in lb.weights:
            lb.put(backend)
        set_condition(lb, backend, condition)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_shares_of_every_small_state(factor: float) -> None:
    lb: dict[int, Tiers[str]] = {count: tiers([0] * count, factor) for count in (2, 3)}
    for states in every_state():
        balancer = lb[len(states)]
        set_states(balancer, states)
        assert balancer.shares == expected_shares(states, factor), states


def allowed(states: Sequence[State], share: Sequence[Fraction], overflow: bool) -> set[str] | None:
    """Return the members that may be picked, or None if a refusal is right.

    A tier whose turn it is serves, or is full and overflows.  All tiers with a share are possible.
    """
    picks: set[str] = set()
    for tier, each in enumerate(share):
        if not each:
            continue
        order = [tier, *range(tier + 1, len(states)), *range(tier)]
        for other in order:
            usable = {
                f"{'abcd'[other]}{number}"
                for number, condition in enumerate(states[other])
                if condition == "open"
            }
            if usable:
                picks |= usable
                break
            if "full" in states[other] and not overflow:
                break
    return picks or None


@pytest.mark.parametrize("overflow", [True, False])
@pytest.mark.parametrize("factor", [1.4, inf])
def test_the_picks_of_every_small_state(factor: float, overflow: bool) -> None:
    lb = tiers([0] * 3, factor, overflow=overflow)
    for states in product(states_of(2), states_of(2), states_of(2 if DEEP else 1)):
        set_states(lb, states)
        shares = expected_shares(states, factor)
        possible = allowed(states, shares, overflow)
        seen: Counter[str] = Counter()
        for _ in range(12):
            try:
                seen[lb.pick()] += 1
            except NoBackendAvailable as error:
                seen[error.reason] += 1
        refused = {*seen} - {*lb.weights}
        assert {*seen} - refused == (possible or set()), states
        if overflow:
            assert bool(refused) is (possible is None), states
        elif any(shares):
            assert refused <= {"saturated"}, states
            served = ["open" in state for state, share in zip(states, shares, strict=True) if share]
            assert not refused or not all(served), states


@pytest.mark.parametrize("factor", [140, 100, 200])
def test_the_shares_are_those_of_envoy_but_for_whole_percents(factor: int) -> None:
    for counts in product(range(5), repeat=3):
        lb = tiers((4, 4, 4), factor / 100)
        for tier, healthy in enumerate(counts):
            for backend in members(tier, 4)[healthy:]:
                set_condition(lb, backend, "down")
        if not any(counts):
            continue
        envoy = loads(
            [Health(4, healthy) for healthy in counts],
            overprovisioning_factor=factor,
            healthy_panic_threshold=0,
        )
        for ours, percent in zip(lb.shares, envoy.healthy, strict=True):
            assert abs(100 * ours - percent) < len(counts), (counts, lb.shares, envoy)


def test_an_exact_share_is_served_exactly_in_each_lap() -> None:
    for down in range(8):
        lb = tiers((7, 3))
        for backend in members(0, 7)[:down]:
            set_condition(lb, backend, "down")
        share = lb.shares[0]
        for _ in range(3):
            picks = [lb.pick()[0] for _ in range(5 * share.denominator)]
            assert picks.count("a") == 5 * share.numerator, down


def deviations(lb: Tiers[str], flips: Iterator[tuple[str, str]], picks: int) -> Iterator[Fraction]:
    """Change a member before each pick.  Yield how far each tier is from the sum of its shares."""
    off = [Fraction(0)] * len(lb.balancers)
    for _ in range(picks):
        set_condition(lb, *next(flips))
        if not any(lb.shares):
            continue
        off = [each + share for each, share in zip(off, lb.shares, strict=True)]
        off[tier_of(lb.pick())] -= 1
        yield max(map(abs, off))


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("factor", [0.3, 1, 1.4])
def test_shares_that_change_before_each_pick_are_still_served(count: int, factor: float) -> None:
    for seed in range(runs(20)):
        rng = Random(seed)
        lb = tiers([rng.randrange(1, 5) for _ in range(count)], factor)

        def flips(lb: Tiers[str] = lb, rng: Random = rng) -> Iterator[tuple[str, str]]:
            while True:
                yield rng.choice([*lb.weights]), rng.choice(("open", "open", "down", "leaving"))

        # a member that is down is not usable; so the tier of a share always serves
        worst = max(deviations(lb, flips(), 300))
        assert worst <= (Fraction(1, 2) + Fraction(1, 10**9) if count == 2 else count / 2)


def test_a_flap_at_each_pick_does_not_starve_a_tier() -> None:
    """The shares are 1 : 0 and 0.7 : 0.3 in turn, so the second tier is owed 15 of 100."""
    lb = tiers((4, 4))
    set_condition(lb, "a0", "down")
    picks: list[str] = []
    for number in range(1000):
        set_condition(lb, "a1", "down" if number % 2 else "open")
        picks.append(lb.pick()[0])
    assert picks.count("b") == 150


def test_a_tier_without_a_usable_member_is_not_asked() -> None:
    class Counted(RoundRobin[str]):
        asked = 0

        def pick(
            self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
        ) -> str:
            self.asked += 1
            return super().pick(key, now, avoid)

    first, second = Counted(members(0, 2)), Counted(members(1, 2))
    lb = Tiers([first, second], tier=tier_of)
    for backend in members(0, 2):
        lb.pick()
        set_condition(lb, backend, "full")
    assert [lb.pick()[0] for _ in range(3)] == ["b"] * 3
    assert (first.asked, second.asked) == (2, 3)
    set_condition(lb, "a1", "open")
    assert lb.pick() == "a1"
    assert (first.asked, second.asked) == (3, 3)


def test_without_a_keyed_balancer_a_key_has_a_hash_of_its_own() -> None:
    lb, other = tiers((2, 1)), tiers((1,), 1)
    assert lb.hash_key("user:42") == lb.hash_key(b"user:42") == other.hash_key("user:42")
    assert lb.hash_key("user:43") != lb.hash_key("user:42")


def test_retries_spread_over_the_next_tier_but_plans_take_none_of_its_turns() -> None:
    lb = tiers((1, 3))
    assert [lb.plan(2) for _ in range(3)] == [["a0", "b0"]] * 3
    assert [lb.pick(avoid=["a0"]) for _ in range(3)] == members(1, 3)

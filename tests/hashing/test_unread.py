"""The tokens left to compute of requests in flight, beside an exact account of each request."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from balancers.hashing._unread import Unread
from tests.depth import runs

steps = st.lists(st.tuples(st.sampled_from("spcf"), st.integers(0, 9), st.integers(1, 40)))


@given(steps)
def test_requests_with_different_costs_are_never_confused(
    actions: list[tuple[str, int, int]],
) -> None:
    """Costs are different; requests begin, get their first token, or end, in any order."""
    unread = Unread()
    flying: dict[int, tuple[int, int]] = {}  # number: cost, tokens left
    for number, (action, place, size) in enumerate(actions):
        if action == "s" or not flying:
            cost, cached = 1000 + number, size * 20
            unread.start(7)
            unread.price(cost, cached)
            flying[number] = cost, cost - cached
        else:
            chosen = [*flying][place % len(flying)]
            cost, _ = flying[chosen]
            if action == "f" and size % 2:  # the pool may report the end before the last charge
                unread.finish()
            if cost:
                unread.charge(-cost)
            if action == "f":
                if not size % 2:
                    unread.finish()
                del flying[chosen]
            else:
                flying[chosen] = 0, 0
        assert unread.tokens == sum(left for _, left in flying.values())
        assert unread.requests == len(flying)


def end(unread: Unread, cost: int, rng: Random) -> None:
    first = rng.random() < 0.5
    if first:
        unread.finish()
    if cost:
        unread.charge(-cost)
    if not first:
        unread.finish()


def test_nothing_is_left_when_all_requests_have_ended() -> None:
    """Also with equal costs, costs that change, requests without cost, and costs that are tiny."""
    rng = Random(4)
    for _ in range(runs(2000)):
        unread = Unread()
        flying: list[int] = []
        for _ in range(rng.randrange(1, 40)):
            if rng.random() < 0.5 or not flying:
                unread.start(rng.randrange(1, 50))
                cost = rng.choice((0, 1, 5, 5, 90))
                if cost:
                    unread.price(cost, rng.choice((0, 4, 80, 200)))
                flying.append(cost)
            elif rng.random() < 0.5:
                place, new = rng.randrange(len(flying)), rng.choice((0, 3, 5, 95))
                if new != flying[place]:
                    unread.charge(new - flying[place])
                flying[place] = new
            else:
                cost = flying.pop(rng.randrange(len(flying)))
                end(unread, cost, rng)
            assert unread.tokens >= 0
        for cost in flying:
            if cost:
                unread.charge(-cost)
            unread.finish()
        assert (unread.tokens, unread.requests) == (0, 0)
        unread.finish()
        assert (unread.tokens, unread.requests) == (0, 0)


def test_requests_without_cost_count_until_they_end() -> None:
    unread = Unread()
    for tokens in (100, 20, 3):
        unread.start(tokens)
    assert unread.tokens == 123
    unread.finish()
    assert unread.tokens == 23, "the oldest one is assumed to have ended"
    unread.finish()
    unread.finish()
    assert unread.tokens == 0

"""Policies that draw: every answer has the odds that are documented."""

from collections import Counter
from collections.abc import Mapping
from itertools import permutations, product
from random import Random
from typing import Any

import pytest

from balancers.gslb import Answer, Client, Failover, Multivalue, Part, Region, Weighted
from tests.depth import runs

DRAWS = 600


def regions(up: Mapping[str, bool]) -> dict[str, Region]:
    made = {name: Region(name, [name]) for name in up}
    for name, is_up in up.items():
        made[name].set_up(name, is_up, 0.0)
    return made


def answers(policy: Part, draws: int = DRAWS) -> Counter[tuple[str, ...]]:
    return Counter(policy.answer(Client(), 0.0).members for _ in range(draws))


def check_odds(found: Counter[tuple[str, ...]], odds: Mapping[tuple[str, ...], float]) -> None:
    """Each count is within 5 standard deviations, and nothing else is drawn."""
    draws = found.total()
    for answer in {*found, *odds}:
        chance = odds.get(answer, 0.0)
        bound = 5 * (draws * chance * (1 - chance)) ** 0.5
        assert abs(found[answer] - draws * chance) <= bound + 1e-6, (answer, chance, found)


def odds_of_one(weights: Mapping[str, float], up: set[str]) -> dict[tuple[str, ...], float]:
    """The rule of Route 53."""
    for names in (
        [name for name in weights if name in up and weights[name]],
        [name for name in weights if name in up],
        [name for name in weights if weights[name]],
        [*weights],
    ):
        if names:
            total = sum(weights[name] for name in names)
            return {(n,): weights[n] / total if total else 1 / len(names) for n in names}
    return {}


@pytest.mark.parametrize("weights", [(1, 2, 3), (0, 1, 3), (0, 0, 5), (0, 0, 0), (0.1, 0.2, 1e9)])
def test_one_item_by_weight_for_every_combination_of_health(weights: tuple[float, ...]) -> None:
    by_name = dict(zip("abc", weights, strict=True))
    for states in product((True, False), repeat=3):
        up = dict(zip("abc", states, strict=True))
        made = regions(up)
        policy = Weighted({made[n]: w for n, w in by_name.items()}, rng=Random(1))
        alive = {name for name, is_up in up.items() if is_up}
        check_odds(answers(policy), odds_of_one(by_name, alive))
        answer = policy.answer(Client(), 0.0)
        assert answer.health_ignored == (not alive)
        assert policy.healthy(0.0) == bool(alive)


@pytest.mark.parametrize("weights", [(45, 60, 60), (1, 1, 1), (0, 2, 4), (0, 0, 0)])
def test_several_items_by_the_greatest_weight(weights: tuple[int, ...]) -> None:
    by_name = dict(zip("abc", weights, strict=True))
    for states in product((True, False), repeat=3):
        up = dict(zip("abc", states, strict=True))
        made = regions(up)
        policy = Weighted({made[n]: w for n, w in by_name.items()}, rng=Random(2), multi=True)
        used = [name for name in by_name if up[name]] or [*by_name]
        if any(by_name[name] for name in used):
            most = max(by_name[name] for name in used)
            chances = {name: by_name[name] / most for name in used}
        else:
            chances = dict.fromkeys(used, 1.0)
        odds: dict[tuple[str, ...], float] = {}
        for inside in product((True, False), repeat=len(used)):
            names = tuple(n for n, is_in in zip(used, inside, strict=True) if is_in)
            chance = 1.0
            for name, is_in in zip(used, inside, strict=True):
                chance *= chances[name] if is_in else 1 - chances[name]
            if chance:
                odds[names] = chance
        check_odds(answers(policy), odds)


def test_below_the_threshold_the_configured_weights_count() -> None:
    """gdnsd's weighted: 45 + 60 of 180 are enough for 0.5, and 60 alone are not."""
    made = regions({"a": True, "b": True, "c": False})
    weights = {made["a"]: 45, made["b"]: 60, made["c"]: 75}
    policy = Weighted(weights, rng=Random(3), up_thresh=0.5)
    assert policy.status(0.0) == "weight 105 of 180 up, needs 90"
    check_odds(answers(policy), {("a",): 45 / 105, ("b",): 60 / 105})
    made["a"].set_up("a", False, 1.0)
    assert not policy.healthy(1.0)
    check_odds(answers(policy), {("a",): 45 / 180, ("b",): 60 / 180, ("c",): 75 / 180})
    answer = policy.answer(Client(), 1.0)
    assert answer.health_ignored
    assert answer.reason.startswith("health is ignored: weight 60 of 180 up, needs 90; ")
    assert Failover([policy, *regions({"z": True}).values()]).answer(Client(), 1.0).members == (
        "z",
    )


def held_and_dead() -> tuple[Region, Region]:
    """Return a region that is up again and held back, and one that is down."""
    held, dead = Region("held", ["h"], hold=60.0), Region("dead", ["d"])
    for region in (held, dead):
        region.set_up(region.members[0], False, 1.0)
    held.set_up("h", True, 2.0)
    return held, dead


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("weighted", ["mapping", "zero", "iterable"])
def test_a_part_that_is_only_held_back_is_drawn_before_one_that_is_down(
    multi: bool, weighted: str
) -> None:
    held, dead = held_and_dead()
    weight = int(weighted == "mapping")
    parts: Any = [held, dead] if weighted == "iterable" else {held: weight, dead: 3 * weight}
    policy = Weighted(parts, rng=Random(1), multi=multi)
    for part in (policy, Failover([policy, Region("far", ["f"])])):
        nothing_healthy = part is policy
        name = "h" if nothing_healthy else "f"
        assert answers(part, 50) == {(name,): 50}
        assert part.answer(Client(), 3.0).health_ignored is nothing_healthy
    assert not policy.healthy(61.9)
    assert policy.healthy(62.0)


def test_multivalue_answers_parts_that_are_only_held_back_before_those_that_are_down() -> None:
    held, dead = held_and_dead()
    policy = Multivalue([dead, held], rng=Random(1))
    answer = policy.answer(Client(), 3.0)
    assert (answer.members, answer.health_ignored) == (("h",), True)
    held.set_up("h", False, 4.0)
    assert sorted(policy.answer(Client(), 5.0).members) == ["d", "h"]


def test_a_part_below_its_threshold_is_not_drawn_by_what_is_left_of_it() -> None:
    weak, good = Region("weak", ["a", "b", "c"]), Region("good", ["d"])
    for member in "ab":
        weak.set_up(member, False, 1.0)
    assert answers(Weighted([weak, good], rng=Random(1)), 50) == {("d",): 50}


def groups(up: Mapping[str, bool], multi: bool, rng: Random) -> Weighted:
    made = regions(up)
    parts = [
        Weighted({made["a"]: 10, made["b"]: 20}, rng=rng, multi=not multi, name="g1"),
        Weighted({made["c"]: 30, made["d"]: 30}, rng=rng, multi=not multi, name="g2"),
    ]
    return Weighted(parts, rng=rng, multi=multi, up_thresh=0.5)


def test_one_group_by_the_sum_and_several_items_in_it() -> None:
    policy = groups(dict.fromkeys("abcd", True), False, Random(4))
    check_odds(answers(policy), {("a", "b"): 1 / 6, ("b",): 1 / 6, ("c", "d"): 2 / 3})
    policy = groups({"a": True, "b": True, "c": False, "d": True}, False, Random(5))
    check_odds(answers(policy), {("a", "b"): 1 / 4, ("b",): 1 / 4, ("d",): 1 / 2})
    policy = groups({"a": False, "b": True, "c": False, "d": False}, False, Random(6))
    check_odds(answers(policy), {("a", "b"): 1 / 6, ("b",): 1 / 6, ("c", "d"): 2 / 3})


def test_several_groups_by_the_sum_and_one_item_in_each() -> None:
    policy = groups({"a": False, "b": True, "c": True, "d": True}, True, Random(7))
    check_odds(
        answers(policy),
        {("b", "c"): 1 / 6, ("b", "d"): 1 / 6, ("c",): 1 / 3, ("d",): 1 / 3},
    )


def test_the_first_of_an_order_is_drawn_by_weight_and_the_next_among_the_rest() -> None:
    made = regions(dict.fromkeys("abcz", True))
    weights = {made["a"]: 1, made["b"]: 2, made["c"]: 3, made["z"]: 0}
    policy = Weighted(weights, rng=Random(8))
    orders = Counter(policy.rank(Client(), 0.0).names for _ in range(DRAWS))
    odds: dict[tuple[str, ...], float] = {}
    weight = {"a": 1, "b": 2, "c": 3}
    for first, second, third in permutations("abc"):
        chance = weight[first] / 6 * weight[second] / (6 - weight[first])
        odds[first, second, third, "z"] = chance
    check_odds(orders, odds)
    assert policy.rank(Client(), 0.0)[3].reason == "drawn with weight 0 of 6"


def test_a_kept_ranking_draws_at_each_answer_of_a_part() -> None:
    made = regions(dict.fromkeys("ab", True))
    drawn = Weighted({made["a"]: 1, made["b"]: 1}, rng=Random(9), name="drawn")
    kept = Failover([drawn, *regions({"z": True}).values()]).rank(Client(), 0.0)
    assert kept.names == ("drawn", "z")
    found = Counter(kept.answer(0.0).regions for _ in range(200))
    assert found.keys() == {("a",), ("b",)}
    made["a"].set_up("a", False, 1.0)
    assert {kept.answer(1.0).regions for _ in range(50)} == {("b",)}
    made["b"].set_up("b", False, 2.0)
    assert kept.answer(2.0).regions == ("z",)
    assert kept.answer(2.0).skipped == (("drawn", "weight 0 of 2 up, needs 0"),)


def test_the_same_seed_gives_the_same_answers() -> None:
    def drawn() -> list[Answer]:
        made = regions(dict.fromkeys("abc", True))
        rng = Random(10)
        policies = [
            Weighted(dict.fromkeys(made.values(), 1), rng=rng),
            Multivalue(made.values(), rng=rng),
        ]
        return [policy.answer(Client(), 0.0) for policy in policies for _ in range(50)]

    assert drawn() == drawn()


@pytest.mark.parametrize("seed", range(runs(100)))
def test_multivalue_answers_healthy_members_up_to_the_limit(seed: int) -> None:
    rng = Random(seed)
    count, limit = rng.randrange(1, 15), rng.randrange(1, 10)
    up = {f"m{i}": rng.random() < 0.6 for i in range(count)}
    policy = Multivalue(regions(up).values(), rng=rng, limit=limit)
    answer = policy.answer(Client(), 0.0)
    candidates = [name for name, is_up in up.items() if is_up] or [*up]
    assert len({*answer.members}) == len(answer.members) == min(limit, len(candidates))
    assert {*answer.members} <= {*candidates}
    assert answer.health_ignored == (not any(up.values()))
    words = f"{len(answer.members)} of {len(candidates)} members at random"
    assert answer.reason.endswith(words)


def test_multivalue_gives_every_member_the_same_odds() -> None:
    region = Region("r", [f"m{i}" for i in range(4)])
    policy = Multivalue([region, *regions({"x": True}).values()], rng=Random(11), limit=2)
    found: Counter[tuple[str, ...]] = Counter()
    for _ in range(DRAWS):
        found.update((member,) for member in policy.answer(Client(), 0.0).members)
    for count in found.values():
        assert count == pytest.approx(DRAWS * 2 / 5, abs=5 * (DRAWS * 0.4 * 0.6) ** 0.5)
    assert len(found) == 5

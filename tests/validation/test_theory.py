"""The closed forms and chains have their published values, and agree where they meet."""

from itertools import islice, pairwise
from math import factorial

import pytest

from tests.validation import theory
from tests.validation.published import HALFIN_WHITT, SUPERMARKET

LIMITS = {
    2: (1.2657, 1.6145, 1.9474, 2.6141, 3.3830, 5.4320),
    3: (1.1252, 1.3568, 1.5809, 2.0279, 2.5351, 3.8578),
    5: (1.0313, 1.1681, 1.3289, 1.6329, 1.9888, 2.9017),
}
LOADS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def digits(value: float, count: int) -> str:
    return f"{value:.{count}f}"


# many servers


@pytest.mark.parametrize("choices", LIMITS)
def test_the_limit_of_many_servers(choices: int) -> None:
    found = [theory.supermarket_limit(load, choices) for load in LOADS]
    assert [digits(value, 4) for value in found] == [digits(v, 4) for v in LIMITS[choices]]


@pytest.mark.parametrize("load", LOADS)
def test_one_choice_is_a_single_queue_in_the_limit(load: float) -> None:
    assert theory.supermarket_limit(load, 1) == pytest.approx(1 / (1 - load), rel=1e-9)
    for percent in (50, 99, 99.9):
        exact = theory.exponential_percentile(percent, 1 / (1 - load))
        assert theory.supermarket_percentile(percent, load, 1) == pytest.approx(exact, rel=1e-6)


def test_the_tails_of_two_choices() -> None:
    found = islice(theory.supermarket_tails(0.9, 2), 7)
    assert [digits(value, 6) for value in found] == [
        "1.000000", "0.900000", "0.729000", "0.478297", "0.205891", "0.038152", "0.001310",
    ]  # fmt: skip


FURTHER = {2: 0.0085, 3: 0.018, 5: 0.032}
"""How far the expansion is below the column at load 0.99, where terms of 1/n² count."""


@pytest.mark.parametrize("choices", SUPERMARKET)
@pytest.mark.parametrize("load", LOADS)
def test_the_expansion_for_a_hundred_servers_agrees_with_the_published_column(
    load: float, choices: int
) -> None:
    share = {0.95: 0.004, 0.99: FURTHER[choices]}.get(load, 0.001)
    published = SUPERMARKET[choices][load]
    assert theory.supermarket(load, choices, 100) == pytest.approx(published, rel=share)
    assert theory.supermarket_limit(load, choices) < published


def test_the_expansion_tells_sampling_with_and_without_replacement_apart() -> None:
    assert digits(theory.supermarket(0.9, 2, 100), 2) == "2.64"  # 2.6463 with terms of 1/n²
    assert digits(theory.supermarket(0.9, 2, 100, distinct=False), 3) == "2.658"


def test_the_expansion_has_no_correction_for_one_choice() -> None:
    """Each server is then M/M/1, whatever their number."""
    assert theory.supermarket(0.3, 1, 10) == pytest.approx(1 / 0.7, rel=1e-9)


def test_a_percentile_of_two_choices_is_below_that_of_a_hundred_servers() -> None:
    assert theory.supermarket_percentile(99, 0.9, 2) == pytest.approx(8.91, rel=0.015)


# queues


def test_erlang_c() -> None:
    found = {
        (slots, load): theory.erlang_c(slots, load)
        for slots, load in [(10, 0.9), (2, 0.5), (3, 0.7), (5, 0.8), (100, 0.99)]
    }
    assert found == {
        (10, 0.9): pytest.approx(0.66873152, abs=5e-9),
        (2, 0.5): pytest.approx(1 / 3, abs=1e-15),
        (3, 0.7): pytest.approx(0.4923445, abs=5e-8),
        (5, 0.8): pytest.approx(0.55411255, abs=5e-9),
        (100, 0.99): pytest.approx(0.88276846, abs=5e-9),
    }
    assert digits(theory.many_slots(10, 0.9), 6) == "1.668732"
    assert digits(theory.many_slots(100, 0.99), 6) == "1.882768"


@pytest.mark.parametrize(("slots", "work"), [(1, 0.5), (2, 1.0), (10, 9.0), (20, 30.0)])
def test_erlang_b_is_the_share_of_the_last_state(slots: int, work: float) -> None:
    states = [work**count / factorial(count) for count in range(slots + 1)]
    assert theory.erlang_b(slots, work) == pytest.approx(states[-1] / sum(states), rel=1e-12)


def test_the_limit_of_halfin_and_whitt() -> None:
    for beta, (limit, hundred) in HALFIN_WHITT.items():
        assert digits(theory.halfin_whitt(beta), 4) == digits(limit, 4)
        assert digits(theory.erlang_c(100, 1 - beta / 10), 4) == digits(hundred, 4)
        distances = [
            abs(theory.erlang_c(slots, 1 - beta / slots**0.5) - theory.halfin_whitt(beta))
            for slots in (100, 400, 1600, 6400)
        ]
        assert all(near < 0.6 * far for far, near in pairwise(distances))


@pytest.mark.parametrize("load", [0.3, 0.7, 0.95])
def test_one_slot_is_a_single_queue(load: float) -> None:
    mean = 1 / (1 - load)
    assert theory.many_slots(1, load) == pytest.approx(mean)
    assert theory.single_queue(load, 1) == pytest.approx(mean)
    assert theory.round_robin(load, 1) == pytest.approx(mean)
    assert theory.processor_sharing(load) == pytest.approx(mean)
    for percent in (50, 99):
        exact = theory.exponential_percentile(percent, mean)
        assert theory.many_slots_percentile(percent, 1, load) == pytest.approx(exact)


@pytest.mark.parametrize(("slots", "load"), [(2, 0.5), (4, 0.75), (10, 0.9), (100, 0.9)])
def test_the_percentiles_of_one_queue_have_its_mean(slots: int, load: float) -> None:
    """The mean is the integral of the percentiles.  With 2 and 4 slots, waits have mean 1 too."""
    steps = 20_000
    percents = [100 * (step + 0.5) / steps for step in range(steps)]
    found = [theory.many_slots_percentile(percent, slots, load) for percent in percents[::20]]
    assert sum(found) / len(found) == pytest.approx(theory.many_slots(slots, load), rel=0.01)


def test_the_percentiles_of_a_single_queue() -> None:
    assert digits(theory.exponential_percentile(99, 10), 4) == "46.0517"


def test_round_robin() -> None:
    found = [theory.round_robin(load, n) for n in (10, 100) for load in (0.7, 0.9, 0.95)]
    assert [digits(value, 4) for value in found] == [
        "2.0198", "5.6603", "11.1549", "1.8905", "5.2268", "10.2707",
    ]  # fmt: skip
    assert theory.round_robin(0.9, 100_000) == pytest.approx(5.1787, abs=1e-4)  # D/M/1


def test_a_single_queue_by_its_service() -> None:
    assert [theory.single_queue(0.8, variation) for variation in (0, 1, 4)] == pytest.approx(
        [3.0, 5.0, 11.0]
    )


# two servers


def test_join_the_shortest_of_two_queues() -> None:
    found = [theory.two_servers(load) for load in (0.5, 0.7, 0.8, 0.9)]
    assert [digits(value, 5) for value in found[:3]] == ["1.42632", "2.10820", "2.95574"]
    assert digits(found[3], 4) == "5.4749"


def test_two_choices_with_replacement_among_two() -> None:
    found = [theory.two_servers(load, shorter=0.75) for load in (0.5, 0.7, 0.8, 0.9)]
    assert [digits(value, 5) for value in found[:3]] == ["1.59656", "2.36231", "3.26795"]
    assert digits(found[3], 4) == "5.8647"


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_two_servers_at_random_are_two_single_queues(load: float) -> None:
    assert theory.two_servers(load, shorter=0.5, width=120) == pytest.approx(1 / (1 - load))


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_the_bound_on_the_difference_of_two_queues_changes_nothing(load: float) -> None:
    narrow, wide = (theory.two_servers(load, width=width) for width in (40, 80))
    assert narrow == pytest.approx(wide, rel=1e-12)


# retries


def test_the_load_of_retries() -> None:
    assert theory.retry_load(0.5, 3) == 1.875
    assert theory.retry_load(0.9, 3) == pytest.approx(3.439)
    assert theory.retry_load(0.0, 3) == 1
    worst = theory.retry_load(1 - 1e-12, 2)
    assert worst**3 == pytest.approx(27)  # three tiers of three tries

"""Weighted least connections does not work more than before after weights or members have changed.

The work is counted in executed lines, without a clock.
"""

from collections.abc import Callable
from random import Random

import pytest

from balancers import WeightedLeastConnections
from balancers.algorithms import weighted_least_connections
from tests.references import NaiveWeightedLeastConnections
from tests.work import work_of

BORDER = weighted_least_connections._MAX_SCANNED_MEMBERS

Lb = WeightedLeastConnections[str]


def equal(n: int) -> dict[str, float]:
    return {f"b{index}": 1 for index in range(n)}


def lines_per_request(lb: Lb, requests: int = 50) -> float:
    def serve() -> None:
        for _ in range(requests):
            backend = lb.pick()
            lb.started(backend)
            lb.finished(backend)

    return work_of(serve).lines / requests


def reweigh_one(lb: Lb) -> None:
    for number in range(2000):
        lb.put("b0", 1 + number / 1000)
    lb.put("b0", 1)


def reweigh_one_between_picks(lb: Lb) -> None:
    for number in range(2000):
        lb.put("b0", 1 + number / 1000)
        lb.pick()
    lb.put("b0", 1)


def give_all_different_weights(lb: Lb) -> None:
    for number, backend in enumerate(list(lb.weights)):
        lb.put(backend, 1 + number / 1000)
    for backend in list(lb.weights):
        lb.put(backend, 1)


def join_and_leave_with_different_weights(lb: Lb) -> None:
    for number in range(1000):
        lb.put(f"extra{number}", 2 + number)
    for number in range(1000):
        lb.discard(f"extra{number}")


def close_those_with_different_weights(lb: Lb) -> None:
    for number in range(1000):
        lb.put(f"extra{number}", 2 + number)
    for number in range(1000):
        lb.put(f"extra{number}", 0)


def start_different_numbers_of_requests(lb: Lb) -> None:
    for number, backend in enumerate(list(lb.weights)[:100]):
        for _ in range(number):
            lb.started(backend)
        lb.pick()
    for number, backend in enumerate(list(lb.weights)[:100]):
        for _ in range(number):
            lb.finished(backend)
        lb.pick()


def busy_with_different_weights(lb: Lb) -> None:
    for number, backend in enumerate(list(lb.weights)):
        lb.put(backend, 1 + number)
        lb.started(backend)
    lb.pick()
    for backend in list(lb.weights):
        lb.finished(backend)
        lb.put(backend, 1)


HISTORIES = [
    reweigh_one,
    reweigh_one_between_picks,
    give_all_different_weights,
    join_and_leave_with_different_weights,
    close_those_with_different_weights,
    start_different_numbers_of_requests,
    busy_with_different_weights,
]


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_many_different_weights_then_all_1(history: Callable[[Lb], None]) -> None:
    fresh = lines_per_request(WeightedLeastConnections(equal(1000)))
    lb = WeightedLeastConnections(equal(1000))
    history(lb)
    lb.pick()
    assert lines_per_request(lb) <= 1.5 * fresh + 12
    assert len(lb._moved) <= 1000


@pytest.mark.parametrize("from_above", [False, True])
@pytest.mark.parametrize("n", range(BORDER - 7, BORDER + 4))
@pytest.mark.parametrize("which", ["b0", "last"])
def test_a_member_that_flaps_at_the_border_does_not_rebuild(
    n: int, from_above: bool, which: str
) -> None:
    lb = WeightedLeastConnections(equal(BORDER + 10 if from_above else n))
    for backend in list(lb.weights)[n:]:
        lb.discard(backend)

    def flap() -> None:
        lb.put(which, 2)
        lb.pick()
        lb.discard(which)
        lb.pick()

    def flap_ten_times() -> None:
        for _ in range(10):
            flap()

    flap()
    assert work_of(flap_ten_times).lines <= 10 * 400, "a rebuild costs about 1400"


def test_picks_do_not_depend_on_the_way_to_a_size() -> None:
    rng = Random(11)
    lb, plain = WeightedLeastConnections[str](), NaiveWeightedLeastConnections()
    for size in [BORDER, *(rng.randint(BORDER - 6, BORDER + 2) for _ in range(60))]:
        for each in (lb, plain):
            members = list(each.weights)
            for backend in members[size:]:
                each.discard(backend)
            for index in range(len(members), size):
                each.put(f"b{index}", 1 + index % 3)
        for _ in range(10):
            backend = lb.pick()
            assert backend == plain.pick()
            lb.started(backend)
            plain.started(backend)
            other = rng.choice(list(lb.weights))
            lb.finished(other)
            plain.finished(other)

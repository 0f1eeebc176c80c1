"""Every right but unusual balancer, gate and load passes the laws, with no excuse."""

import pytest

from balancers.testing import check_balancer, check_gate, check_load
from tests.depth import DEEP, runs
from tests.laws.odd import Odd
from tests.laws.odd_balancers import ODD_BALANCERS
from tests.laws.odd_gates import ODD_GATES, OddGate
from tests.laws.odd_keyed import ODD_KEYED
from tests.laws.odd_loads import ODD_LOADS, OddLoad
from tests.laws.odd_shapes import ODD_SHAPES

BALANCERS = [*ODD_BALANCERS, *ODD_KEYED, *ODD_SHAPES]
EXAMPLES = 70 if DEEP else 20
EVERY = 1 if DEEP else 3


@pytest.mark.parametrize("odd", BALANCERS[::EVERY], ids=lambda odd: str(odd.name))
def test_an_unusual_balancer_is_right(odd: Odd) -> None:
    check_balancer(odd.make, odd.traits, examples=EXAMPLES, **odd.options)


@pytest.mark.parametrize("odd", ODD_GATES, ids=lambda odd: str(odd.name))
def test_an_unusual_gate_is_right(odd: OddGate) -> None:
    check_gate(odd.make, examples=runs(200), events=odd.events)


@pytest.mark.parametrize("odd", ODD_LOADS, ids=lambda odd: str(odd.name))
def test_an_unusual_load_is_right(odd: OddLoad) -> None:
    check_load(odd.make, examples=runs(1000))

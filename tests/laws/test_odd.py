"""Every right but unusual balancer, gate and load passes the laws, with no excuse."""

import pytest

from balancers.testing import check_balancer
from tests.depth import runs
from tests.laws.odd import Odd
from tests.laws.odd_balancers import ODD_BALANCERS
from tests.laws.odd_keyed import ODD_KEYED
from tests.laws.odd_shapes import ODD_SHAPES


@pytest.mark.parametrize(
    "odd", [*ODD_BALANCERS, *ODD_KEYED, *ODD_SHAPES], ids=lambda odd: str(odd.name)
)
def test_an_unusual_balancer_is_right(odd: Odd) -> None:
    check_balancer(odd.make, odd.traits, examples=runs(1000), **odd.options)

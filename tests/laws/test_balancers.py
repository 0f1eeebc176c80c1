"""Every balancer of the package keeps the laws, except for its documented properties."""

import pytest

from balancers.testing import check_balancer
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name

EXAMPLES = runs(1000)
FALSE_ALARM = 1e-9


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_the_laws_hold(kind: Kind) -> None:
    report = check_balancer(kind.make, examples=EXAMPLES, **kind.check_arguments)
    assert {result.law for result in report.results if result.excuse} == set(kind.excuses)
    assert report.false_alarm < FALSE_ALARM
    assert not [result for result in report.results if result.note.startswith("not tested")]

"""Every load of the package keeps the laws, except for its documented properties."""

import pytest

from balancers.testing import check_load
from tests.depth import runs
from tests.kinds import LOADS, LoadKind, by_name


@pytest.mark.parametrize("kind", LOADS, ids=by_name)
def test_the_laws_hold(kind: LoadKind) -> None:
    report = check_load(kind.make, excuses=kind.excuses, examples=runs(1000), seed=1)
    assert {result.law for result in report.results if result.excuse} == set(kind.excuses)
    assert not [result for result in report.results if result.note.startswith("not tested")]

"""Every balancer of the package keeps the laws, except for its documented properties."""

import pytest

from balancers.testing import check_balancer
from tests.depth import DEEP
from tests.kinds import KINDS, PRESETS, Kind, by_name

EXAMPLES = 300 if DEEP else 70
"""`make durations` checks with 1000."""
PRESET_EXAMPLES = 60
"""Fewer, because the picks of presets are compared with those of the real programs."""
FALSE_ALARM = 1e-9


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_the_laws_hold(kind: Kind) -> None:
    check(kind, EXAMPLES)


@pytest.mark.deep
@pytest.mark.parametrize("kind", PRESETS, ids=by_name)
def test_presets_break_only_the_laws_that_their_programs_break(kind: Kind) -> None:
    check(kind, PRESET_EXAMPLES)


def check(kind: Kind, examples: int) -> None:
    report = check_balancer(kind.make, examples=examples, **kind.check_arguments)
    assert {result.law for result in report.results if result.excuse} == set(kind.excuses)
    assert report.false_alarm < FALSE_ALARM
    assert not [result for result in report.results if result.note.startswith("not tested")]

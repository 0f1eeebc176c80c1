"""Every gate of the package keeps the laws, except for its documented properties."""

from typing import Any

import pytest

from balancers.testing import check_gate
from tests.depth import DEEP
from tests.kinds import GATES, GateKind, by_name

EXAMPLES = 140 if DEEP else 70


@pytest.mark.parametrize("kind", GATES, ids=by_name)
def test_the_laws_hold(kind: GateKind) -> None:
    report = check_gate(
        kind.make, events=kind.events, excuses=kind.excuses, examples=EXAMPLES, seed=1
    )
    assert {result.law for result in report.results if result.excuse} == set(kind.excuses)
    assert not [result for result in report.results if result.note.startswith("not tested")]


def test_gates_are_used_in_all_ways() -> None:
    """The histories close and open gates, so that the laws test something."""
    closed: dict[str, bool] = {}
    for kind in GATES:
        made: list[Any] = []

        def make(kind: GateKind = kind, made: list[Any] = made) -> Any:
            made.append(Watched(kind.make()))
            return made[-1]

        check_gate(make, events=kind.events, laws=["changes_settle"], examples=20)
        closed[kind.name] = any(gate.factors - {1} for gate in made)
    never = {name for name, seen in closed.items() if not seen}
    assert never == {"OutlierEjection-dry-run"}


class Watched:
    """A gate that records the factors of another one."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.factors: set[float] = set()

    def factor(self, backend: str, now: float) -> float:
        self.factors.add(self.gate.factor(backend, now))
        return float(self.gate.factor(backend, now))

    def __getattr__(self, name: str) -> Any:
        if name == "gate":
            raise AttributeError(name)
        return getattr(self.gate, name)

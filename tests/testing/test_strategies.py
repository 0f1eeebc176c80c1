"""Strategies, the state machine, and vectors."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from balancers import LeastConnections, RoundRobin, WeightedRoundRobin
from balancers.errors import InvalidSetting
from balancers.hashing import Jump
from balancers.keys import key_bytes
from balancers.testing import BalancerMachine, strategies, vectors
from tests.kinds import KINDS, Kind, by_name
from tests.testing.subjects import Leaking, Stuck

VECTORS = Path(__file__).parents[1] / "vectors"
WITHOUT_SHRINKING = settings(max_examples=300, phases=[Phase.generate], report_multiple_bugs=False)
FEW = settings(max_examples=10, stateful_step_count=30)


def machine_of(make: Any, traits: Any = (), **attributes: Any) -> type[BalancerMachine]:
    def make_one(_: BalancerMachine) -> Any:
        return make()

    body: dict[str, Any] = {"make": make_one, "traits": traits, **attributes}
    return type("Machine", (BalancerMachine,), body)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "no_backend_starves" not in kind.excuses], ids=by_name
)
def test_every_balancer_passes_the_machine(kind: Kind) -> None:
    options = {"keys": kind.keys[:6]} if kind.keys else {}
    run_state_machine_as_test(machine_of(kind.make, kind.traits, **options), settings=FEW)


@pytest.mark.parametrize(
    ("wrong", "traits"), [(Stuck, ()), (Leaking, ["least_loaded"]), (Leaking, ())]
)
def test_the_machine_catches_wrong_balancers(wrong: Any, traits: Any) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_of(wrong, traits), settings=WITHOUT_SHRINKING)


def test_a_machine_without_make_says_so() -> None:
    with pytest.raises(NotImplementedError):
        BalancerMachine()


@given(strategies.histories(), strategies.histories(stacked=True))
def test_a_history_leads_to_its_members(history: Any, stacked: Any) -> None:
    lb: RoundRobin[str] = RoundRobin()
    assert list(strategies.apply(history, lb).items()) == list(lb.weights.items())
    jump: Jump[str] = Jump()
    assert strategies.apply(stacked, jump) == dict(jump.weights)


@given(strategies.traffic(), strategies.weights(whole=True), strategies.weights(zero=False))
def test_values_are_what_the_names_say(requests: Any, whole: float, positive: float) -> None:
    assert whole == int(whole)
    assert positive > 0
    assert [request.start for request in requests] == sorted(r.start for r in requests)
    for request in requests:
        key_bytes(request.key)


@given(st.data())
def test_names_are_few(data: Any) -> None:
    assert data.draw(strategies.backends(3)) in {"a", "b", "c"}


def test_published_sequences_are_picked() -> None:
    cases = vectors()
    assert len({case.name for case in cases}) == len(cases) >= 10
    for case in cases:
        assert case.source
        if case.policy == "smooth weighted round robin":
            lb = WeightedRoundRobin(case.config["weights"])
            assert [lb.pick() for _ in case.picks] == case.picks
        if case.policy == "jump hash":
            jump = Jump(range(case.config["buckets"]))
            assert [jump.pick_hashed(key) for key in case.keys or ()] == case.picks


def test_recorded_files_are_read() -> None:
    cases = vectors(VECTORS)
    names = {
        path.stem for path in VECTORS.rglob("*.json") if "picks" in json.loads(path.read_text())
    }
    assert (VECTORS / "gslb/geo.json").is_file()  # and other recordings without picks
    assert {case.name for case in cases} == names
    case = next(case for case in cases if case.name == "caddy_wrr_unavailable")
    assert case.source == "caddy 2.11.7"
    assert case.details["n"] == len(case.picks) == 80


def test_files_that_are_no_vectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no JSON files"):
        vectors(tmp_path)
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "needs oracle"),
        ('{"nodes": 1}', "needs oracle"),
        ('{"oracle": 1}', "needs"),
        ('{"picks": []}', "needs"),
    ):
        (tmp_path / "case.json").write_text(text)
        with pytest.raises(InvalidSetting, match=message):
            vectors(tmp_path)


def test_least_connections_of_the_page_passes() -> None:
    run_state_machine_as_test(machine_of(LeastConnections, ["least_loaded"]), settings=FEW)

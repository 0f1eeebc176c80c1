"""Which failures in a row count as what, and which detected outliers are ejected."""

import copy
import pickle
from collections import Counter, deque
from math import inf, nan
from random import Random
from typing import Any

import numpy as np
import pytest

from balancers import SUCCESS, Event, Outcome, Pool, RoundRobin
from balancers.errors import InvalidSetting
from balancers.gates import FailurePercentage, MedianGap, OutlierEjection, SuccessRate

GATEWAY, LOCAL, ALL = (
    "consecutive gateway failures",
    "consecutive local failures",
    "consecutive failures",
)
ENVOY: dict[str, Any] = {
    "consecutive_failures": 5,
    "consecutive_gateway_failures": 5,
    "rules": (SuccessRate(), FailurePercentage()),
    "enforcing": {GATEWAY: 0, "FailurePercentage": 0},
    "max_ejected_share": 1.0,
}
"""The defaults of Envoy, but for the share."""
BROKEN = Outcome(ok=False)


def answer(status: int) -> Outcome:
    """Return the outcome of a response, as Envoy counts it: 5xx is a failure."""
    return Outcome(ok=status < 500, status=status)


def gate_of(
    members: int = 2, **settings: Any
) -> tuple[OutlierEjection[int], Pool[int], deque[Event]]:
    settings.setdefault("rules", ())
    settings.setdefault("max_ejected_share", 1.0)
    events: deque[Event] = deque(maxlen=1000)
    gate: OutlierEjection[int] = OutlierEjection(**settings)
    pool = Pool(RoundRobin(range(members)), [gate], events=events)
    events.clear()
    return gate, pool, events


def report(gate: OutlierEjection[int], *outcomes: Outcome | int, now: float = 1.0) -> list[str]:
    """Report the outcomes of requests to backend 0; return the rules that eject it now."""
    for outcome in outcomes:
        known = answer(outcome) if isinstance(outcome, int) else outcome
        gate.finished(0, known, 0, now, now)
    return [ejection.rule for ejection in gate.ejections()]


@pytest.mark.parametrize("status", [502, 503, 504, None])
def test_gateway_failures_in_a_row_eject(status: int | None) -> None:
    gate, _, _ = gate_of(consecutive_failures=None, consecutive_gateway_failures=3)
    failure = Outcome(ok=False, status=status)
    assert report(gate, failure, failure) == []
    assert report(gate, failure) == [GATEWAY]
    assert gate.ejections() == [(0, GATEWAY, 1.0, 31.0)]


@pytest.mark.parametrize("status", [500, 501, 505, 511, 599, 404, 0, -1, 10**9])
def test_another_failure_ends_a_row_of_gateway_failures(status: int) -> None:
    gate, _, _ = gate_of(consecutive_failures=None, consecutive_gateway_failures=3)
    other = Outcome(ok=False, status=status)
    assert report(gate, 502, 503, other, 504, 502) == []
    assert report(gate, 503) == [GATEWAY]


def test_a_success_ends_every_row() -> None:
    gate, _, _ = gate_of(
        consecutive_failures=3, consecutive_gateway_failures=3, consecutive_local_failures=3
    )
    for success in (SUCCESS, Outcome(), answer(200), answer(404), Outcome(elapsed=0.1)):
        assert report(gate, 502, 502, BROKEN, BROKEN, success) == []
    assert report(gate, 502, 502, BROKEN, BROKEN) == []
    assert report(gate, 502) == [GATEWAY]


def test_all_failures_count_in_the_row_of_all() -> None:
    rows: list[list[Outcome | int]] = [[500] * 5, [502, 500, BROKEN, 504, 599], [BROKEN] * 5]
    for kinds in rows:
        gate, _, _ = gate_of()
        assert report(gate, *kinds[:4]) == []
        assert report(gate, kinds[4]) == [ALL]


def test_separate_local_failures_count_only_there() -> None:
    """As in Envoy with ``split_external_local_origin_errors``."""
    gate, _, _ = gate_of(
        consecutive_failures=3, consecutive_gateway_failures=2, consecutive_local_failures=3
    )
    assert report(gate, BROKEN, 502, BROKEN, BROKEN) == []  # a response ends the local row
    assert report(gate, 502) == [GATEWAY]  # a local failure does not end the row of responses
    gate.restore(0, 1.0)
    assert report(gate, 502, BROKEN, BROKEN, BROKEN) == [LOCAL]
    gate.restore(0, 1.0)
    assert report(gate, 500, BROKEN, 500, BROKEN, 500) == [ALL]


@pytest.mark.parametrize("response", [200, 404, 500, 502])
def test_a_response_of_any_status_ends_a_row_of_local_failures(response: int) -> None:
    gate, _, _ = gate_of(consecutive_failures=None, consecutive_local_failures=2)
    assert report(gate, BROKEN, response, BROKEN, response, BROKEN) == []
    assert report(gate, BROKEN) == [LOCAL]


def test_local_rules_alone_separate_local_failures() -> None:
    gate, _, _ = gate_of(consecutive_failures=2, local_rules=[SuccessRate()])
    assert report(gate, *[BROKEN] * 50) == []
    assert report(gate, 500, BROKEN, 500) == [ALL]


def test_what_counts_as_neither_changes_no_row() -> None:
    for separate in ({}, {"consecutive_local_failures": 3}):
        gate, _, _ = gate_of(consecutive_failures=None, consecutive_gateway_failures=3, **separate)
        neither = (Outcome(ok=None), Outcome(ok=False, status=503, retry_after=1.0))
        assert report(gate, 502, *neither, 502, *neither) == []
        assert report(gate, 502) == [GATEWAY]


def test_the_verdict_decides_what_is_a_failure_and_the_status_its_kind() -> None:
    def all_fail(_: Outcome) -> bool:
        return False

    gate, _, _ = gate_of(
        consecutive_failures=None,
        consecutive_gateway_failures=2,
        consecutive_local_failures=2,
        verdict=all_fail,
    )
    slow = Outcome(ok=True, elapsed=9.0)  # it has no status, but the backend did answer
    assert report(gate, BROKEN, slow, BROKEN, slow) == []
    assert report(gate, Outcome(ok=None), BROKEN) == [LOCAL]
    gate.restore(0, 1.0)
    overloaded = Outcome(ok=False, status=503, retry_after=1.0)
    assert report(gate, overloaded, overloaded) == [GATEWAY]


def test_results_of_before_the_ejection_count_in_no_row() -> None:
    gate, _, _ = gate_of(
        consecutive_failures=9, consecutive_gateway_failures=2, consecutive_local_failures=2
    )
    assert report(gate, 502, 502, now=5.0) == [GATEWAY]
    gate.restore(0, 6.0)
    for outcome in (answer(502), BROKEN) * 5:
        gate.finished(0, outcome, 0, 5.5, 7.0)
    assert gate.ejections() == []


def test_both_counters_reach_their_threshold_at_once_as_in_envoy() -> None:
    """The gateway counter is first.  If it is not enforced, the other one ejects."""
    for shares, rule in (({}, GATEWAY), ({GATEWAY: 0}, ALL)):
        gate, _, events = gate_of(consecutive_gateway_failures=5, enforcing=shares)
        assert report(gate, *[BROKEN] * 5) == [rule]
        details = [(event.reason, event.began, event.detail) for event in events]
        skipped = [("outlier", began, f"{GATEWAY}, not enforced") for began in (True, False)]
        assert details == [*(skipped if shares else []), ("ejected", True, rule)]


def test_the_flow_of_envoy() -> None:
    """The default settings: broken connections eject for 30 s; then four do not, and five do."""
    gate, _, _ = gate_of(**ENVOY)
    assert report(gate, BROKEN, 200, *[BROKEN] * 4, now=0.0) == []
    assert report(gate, BROKEN, now=0.0) == [ALL]
    list(gate.changes(9.999))
    assert gate.factor(0, 29.999) == 0
    list(gate.changes(30.0))
    assert gate.ejections() == []
    assert report(gate, *[BROKEN] * 4, now=40.0) == []
    assert report(gate, BROKEN, now=40.0) == [ALL]
    assert gate.ejections()[0].until == 100.0


def test_a_row_begins_again_after_a_rule_that_is_not_enforced() -> None:
    gate, _, events = gate_of(consecutive_failures=3, enforcing=0)
    for _ in range(4):
        assert report(gate, 500, 500) == []
        assert not events
        assert report(gate, 500) == []
        assert [(event.at, event.reason, event.backend) for event in events] == [
            (1.0, "outlier", 0)
        ] * 2
        events.clear()
    assert gate.factor(0, 1.0) == 1


def test_a_rule_that_is_not_enforced_takes_nothing_of_the_budget_and_lengthens_nothing() -> None:
    gate, _, _ = gate_of(
        consecutive_failures=1,
        consecutive_local_failures=1,
        enforcing={LOCAL: 0.0},
        min_remaining=1,
    )
    for _ in range(10):
        gate.finished(1, BROKEN, 0, 1.0, 1.0)
    assert report(gate, BROKEN) == []
    assert report(gate, 500) == [ALL]
    assert gate.ejections()[0].until == 31.0


def test_no_outlier_is_recorded_when_the_budget_is_spent() -> None:
    gate, _, events = gate_of(consecutive_failures=1, enforcing=0.5, rng=Random(1))
    while not gate.ejections():
        gate.finished(1, BROKEN, 0, 1.0, 1.0)
    events.clear()
    assert report(gate, *[500] * 50) == [ALL]  # of backend 1
    assert not events


@pytest.mark.parametrize("share", [0.25, 0.8])
@pytest.mark.parametrize("single", [True, False])
def test_the_share_of_detected_outliers_that_are_ejected(share: float, single: bool) -> None:
    gate, _, events = gate_of(
        consecutive_failures=1, enforcing=share if single else {ALL: share}, rng=Random(7)
    )
    for _ in range(4000):
        report(gate, 500)
        gate.restore(0, 1.0)
    counted = Counter(event.reason for event in events if event.began)
    assert sum(counted.values()) == 500  # the deque holds a thousand, each with its end
    assert abs(counted["ejected"] / 500 - share) < 0.07


def test_a_share_of_0_or_1_needs_no_chance() -> None:
    """So the draws for the jitter are the same as without the setting."""
    expected = 1.0 + 30.0 * (1 + Random(3).random())
    for enforcing in (1.0, {ALL: 1}, {LOCAL: 0}):
        gate, _, _ = gate_of(
            consecutive_failures=1,
            consecutive_local_failures=9,
            enforcing=enforcing,
            jitter=1.0,
            rng=Random(3),
        )
        report(gate, 500)
        assert gate.ejections()[0].until == expected


def failing(gate: OutlierEjection[int], bad: Outcome, members: int, of: int = 20) -> list[str]:
    """Report ``of`` requests to each member; those to member 0 end as ``bad``."""
    for backend in range(members):
        for _ in range(of):
            gate.finished(backend, bad if backend == 0 else answer(200), 0, 1.0, 1.0)
    list(gate.changes(11.0))
    return [ejection.rule for ejection in gate.ejections()]


@pytest.mark.parametrize(
    ("bad", "local", "expected"),
    [
        (BROKEN, True, ["local FailurePercentage"]),
        (BROKEN, False, ["FailurePercentage"]),
        (answer(500), True, ["FailurePercentage"]),
        (answer(503), False, ["FailurePercentage"]),
        (answer(200), True, []),
    ],
)
def test_local_rules_compare_local_failures(bad: Outcome, local: bool, expected: list[str]) -> None:
    rule = FailurePercentage(minimum_hosts=3, request_volume=10)
    gate, _, _ = gate_of(
        4, consecutive_failures=None, rules=[rule], local_rules=[rule] if local else []
    )
    assert failing(gate, bad, 4) == expected


def test_local_failures_are_no_requests_to_the_other_rules() -> None:
    """A backend that never answers has no success rate, and does not lower the mean of all."""
    seen: list[dict[int, tuple[int, int]]] = []

    class Recorder:
        def threshold(self, counts: Any) -> tuple[float, dict[Any, float]]:
            seen.append(dict(counts))
            return -inf, {}

    gate, _, _ = gate_of(3, consecutive_failures=None, rules=[Recorder()], local_rules=[Recorder()])
    report(gate, *[BROKEN] * 7)
    for outcome in (BROKEN, answer(500), answer(200), answer(200), Outcome(ok=None)):
        gate.finished(1, outcome, 0, 1.0, 1.0)
    list(gate.changes(11.0))
    assert seen == [{1: (2, 3)}, {0: (0, 7), 1: (3, 4)}]


def test_local_rules_do_not_compare_what_the_other_rules_ejected() -> None:
    gate, _, _ = gate_of(
        4,
        consecutive_failures=None,
        rules=[FailurePercentage(50, minimum_hosts=1, request_volume=1)],
        local_rules=[FailurePercentage(50, minimum_hosts=4, request_volume=1)],
    )
    report(gate, 500)
    for backend in range(4):
        for outcome in (BROKEN, answer(200)):
            gate.finished(backend, outcome, 0, 1.0, 1.0)
    list(gate.changes(11.0))
    assert [(one.backend, one.rule) for one in gate.ejections()] == [(0, "FailurePercentage")]


def test_a_rule_of_rates_may_be_recorded_only() -> None:
    rule = MedianGap(request_volume=10)
    gate, _, events = gate_of(
        4, consecutive_failures=None, rules=[rule], enforcing={"MedianGap": 0}
    )
    assert failing(gate, answer(500), 4) == []
    assert [event.detail for event in events] == ["MedianGap, not enforced"] * 2
    assert gate.due == inf  # nothing is left to end


def test_all_rules_share_budget_backoff_and_dry_run() -> None:
    gate, pool, events = gate_of(
        4,
        consecutive_failures=3,
        consecutive_gateway_failures=2,
        consecutive_local_failures=1,
        max_ejected_share=0.25,
        dry_run=True,
    )
    assert report(gate, BROKEN) == [LOCAL]
    gate.finished(1, BROKEN, 0, 1.0, 1.0)
    assert len(gate.ejections()) == 1
    assert pool.admits(0)
    gate.restore(0, 1.0)
    assert report(gate, 502, 502) == [GATEWAY]
    gate.restore(0, 1.0)
    assert report(gate, 500, 500, 500) == [ALL]
    assert gate.ejections()[0].until == 91.0
    assert [event.detail for event in events if event.began] == [
        f"{rule}, dry run" for rule in (LOCAL, GATEWAY, ALL)
    ]


def test_copies_count_on_by_themselves() -> None:
    gate, pool, _ = gate_of(
        consecutive_failures=4,
        consecutive_gateway_failures=3,
        consecutive_local_failures=2,
        enforcing={LOCAL: 0.5},
        rng=Random(1),
    )
    report(gate, 502, 502, BROKEN)
    for copied in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):  # noqa: S301 - its own pickle
        same: Any = copied._gates[0]
        assert repr(same) == repr(gate)
        assert report(same, 502) == [GATEWAY]
    assert gate.ejections() == []
    assert report(gate, 500, 500) == [ALL]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"consecutive_gateway_failures": 0}, "consecutive_gateway_failures must be an int"),
        ({"consecutive_gateway_failures": 1.0}, "consecutive_gateway_failures must be an int"),
        ({"consecutive_local_failures": -1}, "consecutive_local_failures must be an int"),
        ({"consecutive_local_failures": True}, "consecutive_local_failures must be an int"),
        ({"enforcing": 1.1}, "enforcing must be 0 to 1, not 1.1"),
        ({"enforcing": -0.1}, "enforcing must be 0 to 1"),
        ({"enforcing": nan}, "enforcing must be 0 to 1"),
        ({"enforcing": 0.5}, "enforcing must be 0 or 1 without an rng, not 0.5"),
        ({"enforcing": "all"}, "enforcing must be a number, not 'all'"),
        ({"enforcing": None}, "enforcing must be a number"),
        ({"enforcing": True}, "enforcing must be a number"),
        ({"enforcing": {ALL: 100}}, "enforcing of 'consecutive failures' must be 0 to 1, not 100"),
        ({"enforcing": {ALL: "1"}}, "enforcing of 'consecutive failures' must be a number"),
        ({"enforcing": {ALL: 0.5}}, "enforcing of 'consecutive failures' must be 0 or 1 without"),
        ({"enforcing": {GATEWAY: 1}}, f"enforcing has no rule '{GATEWAY}'; the rules are '{ALL}'"),
        ({"enforcing": {SuccessRate: 1}}, "enforcing has no rule .*; the rules are"),
        ({"enforcing": {"MedianGap": 1}, "consecutive_failures": None, "rules": ()}, "are none"),
    ],
)
def test_settings_outside_their_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        OutlierEjection(**settings)


@pytest.mark.parametrize("rules", [SuccessRate(), 3, [SuccessRate], [None], "x"])
def test_local_rules_are_a_list_of_rules(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"local_rules must be .*outlier rules, not"):
        OutlierEjection[str](local_rules=rules)


def test_numbers_of_other_kinds_are_shares() -> None:
    shares: Any = {ALL: np.float32(0.5), "SuccessRate": np.float64(0.0)}
    gate: OutlierEjection[str] = OutlierEjection(enforcing=shares, rng=Random(1))
    shares.clear()  # the gate has its own
    assert "'consecutive failures' 0.5, enforcing 'SuccessRate' 0.0" in repr(gate)


def test_the_repr_shows_what_is_set() -> None:
    assert repr(OutlierEjection[str](**ENVOY)) == (
        "<OutlierEjection: consecutive_failures 5, consecutive_gateway_failures 5, "
        "rules SuccessRate, FailurePercentage, max_ejected_share 1.0, "
        "enforcing 'consecutive gateway failures' 0, enforcing 'FailurePercentage' 0, "
        "0 of 0 ejected>"
    )
    local: OutlierEjection[str] = OutlierEjection(
        None, (), consecutive_local_failures=3, local_rules=[SuccessRate()]
    )
    assert repr(local) == (
        "<OutlierEjection: consecutive_failures None, consecutive_local_failures 3, "
        "rules local SuccessRate, max_ejected_share 0.1, 0 of 0 ejected>"
    )

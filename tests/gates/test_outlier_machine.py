"""Every rule of outlier ejection at once, against a model that recomputes all from a list.

The model keeps the results of each backend as a list, and looks at the end of it; the gate counts.
"""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancers import SUCCESS, HealthChecks, Outcome, Pool, RoundRobin
from balancers.gates import FailurePercentage, OutlierEjection
from tests.depth import runs

NAMES = st.sampled_from("abcde")
KINDS = st.sampled_from(["ok", "error", "gateway", "gateway", "local", "local", "neither"])
ACTIONS = [
    "requests_end",
    "requests_end",
    "requests_end",
    "time_passes",
    "a_probe_ends",
    "the_interval_ends",
    "a_copy_goes_on",
]
Draw = Callable[[st.SearchStrategy[Any]], Any]
OUTCOMES = {
    "ok": SUCCESS,
    "error": Outcome(ok=False, status=500),
    "gateway": Outcome(ok=False, status=502),
    "local": Outcome(ok=False),
    "neither": Outcome(ok=False, status=503, retry_after=1.0),
}
GATEWAY, LOCAL, ALL = (
    "consecutive gateway failures",
    "consecutive local failures",
    "consecutive failures",
)
THRESHOLDS = {LOCAL: 2, GATEWAY: 2, ALL: 3}
BASE, LONGEST, INTERVAL = 4.0, 10.0, 1000.0
PERCENTAGE = FailurePercentage(60, minimum_hosts=2, request_volume=3)
SHARES: list[dict[str, float]] = [
    {},
    {GATEWAY: 0},
    {ALL: 0, LOCAL: 0.5},
    {GATEWAY: 0.5, "FailurePercentage": 0.5},
    {"FailurePercentage": 0},
]


def probes_only(_: Outcome) -> None:
    """The health checks do not count requests."""


class Rules(RuleBasedStateMachine):
    separate: bool
    counts: Counter[str]

    @initialize(
        shares=st.sampled_from(SHARES),
        jitter=st.sampled_from([0.0, 0.5]),
        reverse=st.booleans(),
        dry_run=st.booleans(),
    )
    def begin(self, shares: dict[str, float], jitter: float, reverse: bool, dry_run: bool) -> None:
        self.shares = {b: s for b, s in shares.items() if self.separate or b != LOCAL}
        self.outliers: OutlierEjection[str] = OutlierEjection(
            THRESHOLDS[ALL],
            [PERCENTAGE],
            consecutive_gateway_failures=THRESHOLDS[GATEWAY],
            consecutive_local_failures=THRESHOLDS[LOCAL] if self.separate else None,
            local_rules=[PERCENTAGE] if self.separate else [],
            enforcing=self.shares,
            interval=INTERVAL,
            base_ejection_time=BASE,
            max_ejection_time=LONGEST,
            jitter=jitter,
            max_ejected_share=0.4,
            dry_run=dry_run,
            rng=Random(5),
        )
        self.health: HealthChecks[str] = HealthChecks(
            2, 2, restores=self.outliers, verdict=probes_only
        )
        self.jitter, self.dry_run, self.rng = jitter, dry_run, Random(5)
        gates: list[Any] = [self.health, self.outliers]
        self.pool: Pool[str] = Pool(RoundRobin(list("abcde")), gates[::-1] if reverse else gates)
        self.now = 0.0
        self.interval_ends = inf
        self.rows: dict[str, list[str]] = {b: [] for b in "abcde"}
        self.results: dict[str, list[str]] = {b: [] for b in "abcde"}
        self.until: dict[str, float] = {}
        self.earlier: Counter[str] = Counter()
        self.changed_at: dict[str, float] = dict.fromkeys("abcde", 0.0)
        self.probes: dict[str, list[bool]] = {b: [True, True] for b in "abcde"}

    @rule(action=st.sampled_from(ACTIONS), data=st.data())
    def step(self, action: str, data: st.DataObject) -> None:
        getattr(self, action)(data.draw)

    def requests_end(self, draw: Draw) -> None:
        backend, first, times = draw(NAMES), draw(KINDS), draw(st.integers(1, 4))
        ago = draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0]))
        for kind in [first] * times + [draw(KINDS)]:
            started_at = self.now - ago
            self.outliers.finished(backend, OUTCOMES[kind], 0, started_at, self.now)
            if kind != "neither" and started_at >= self.changed_at[backend]:
                self.count(backend, kind)

    def count(self, backend: str, kind: str) -> None:
        if not self.results[backend] and self.interval_ends == inf:
            self.interval_ends = self.now + INTERVAL
        self.results[backend].append(kind)
        row = self.rows[backend]
        row.append(kind)
        if kind == "ok":
            row.clear()
            return
        separate = kind == "local" and self.separate
        for name in [LOCAL] if separate else [GATEWAY, ALL]:
            if self.length(row, name) == THRESHOLDS[name]:
                row.append(f"reset {name}")
                self.detect(backend, name)

    def length(self, row: list[str], name: str) -> int:
        """Return how many failures at the end of the row count for the name."""
        length = 0
        for kind in reversed(row):
            if kind.startswith("reset"):
                if kind == f"reset {name}":
                    break
            elif kind == "local" and self.separate:
                length += name == LOCAL
            elif name == LOCAL or (name == GATEWAY and kind == "error"):
                break
            else:
                length += 1
        return length

    def detect(self, backend: str, name: str) -> None:
        type(self).counts[name] += 1
        if backend in self.until or len(self.until) >= 2:
            return
        share = self.shares.get(name, 1.0)
        if share == 0 or (share < 1 and self.rng.random() >= share):
            type(self).counts["not enforced"] += 1
            return
        number = min(self.earlier[backend] + 1, 4)
        self.earlier[backend] = number
        pause = min(BASE * number, LONGEST) * (1 + self.jitter * self.rng.random())
        self.until[backend] = self.now + pause
        self.changed_at[backend] = self.now
        if self.interval_ends == inf:
            self.interval_ends = self.now + INTERVAL

    def restore(self, backend: str, when: float) -> None:
        del self.until[backend]
        self.rows[backend], self.results[backend] = [], []
        self.changed_at[backend] = when

    def time_passes(self, draw: Draw) -> None:
        self.advance(draw(st.sampled_from([0.5, 1.0, 3.0, 9.0])))

    def advance(self, step: float) -> None:
        self.now += step
        for backend, until in list(self.until.items()):
            if until <= self.now:
                self.restore(backend, until)
        self.outliers.settle(self.now)

    def the_interval_ends(self, _: Draw) -> None:
        if self.interval_ends == inf or self.interval_ends <= self.now:
            return
        began = self.interval_ends - INTERVAL
        self.advance(self.interval_ends - self.now)
        list(self.outliers.changes(self.now))
        self.interval_ends = inf
        results, self.results = self.results, {b: [] for b in "abcde"}
        for backend in set("abcde") - set(self.until):
            quiet = (self.now - max(self.changed_at[backend], began)) // INTERVAL
            self.earlier[backend] -= min(self.earlier[backend], int(quiet))
        if self.separate:
            answers = {b: [kind for kind in results[b] if kind != "local"] for b in "abcde"}
            self.compare("FailurePercentage", answers, {"error", "gateway"})
            self.compare("local FailurePercentage", results, {"local"})
        else:
            self.compare("FailurePercentage", results, {"error", "gateway", "local"})
        if self.interval_ends == inf and any(self.earlier.values()):
            self.interval_ends = self.now + INTERVAL

    def compare(self, name: str, results: dict[str, list[str]], failures: set[str]) -> None:
        """Detect each backend of which 60 % of three or more results are failures."""
        shares = {
            backend: sum(kind in failures for kind in kinds) / len(kinds)
            for backend, kinds in results.items()
            if backend not in self.until and len(kinds) >= 3
        }
        if len(shares) >= 2:
            for backend in sorted(shares, key=shares.__getitem__, reverse=True):
                if shares[backend] >= 0.6:
                    self.detect(backend, name)

    def a_probe_ends(self, draw: Draw) -> None:
        backend = draw(st.sampled_from(sorted(self.until)) if self.until else NAMES)
        passes = draw(st.sampled_from([True, True, False]))
        ago = draw(st.sampled_from([None, None, 0.0, 1.0]))
        started_at = None if ago is None else self.now - ago
        flipped = self.health.state_of(backend).flipped_at
        self.health.observe(backend, passes, self.now, started_at)
        if started_at is not None and started_at < flipped:
            return
        self.probes[backend].append(passes)
        healthy = True
        for before, after in zip(self.probes[backend], self.probes[backend][1:], strict=False):
            healthy = after if before == after else healthy
        early = started_at is not None and started_at < self.changed_at[backend]
        if passes and healthy and backend in self.until and not early:
            type(self).counts["restored"] += 1
            self.restore(backend, self.now)
            assert self.outliers.due == -inf or self.dry_run

    def a_copy_goes_on(self, draw: Draw) -> None:
        pickled = draw(st.booleans())
        self.pool = pickle.loads(pickle.dumps(self.pool)) if pickled else copy.deepcopy(self.pool)  # noqa: S301 - its own pickle
        gates: dict[type, Any] = {type(gate): gate for gate in self.pool._gates}
        self.health, self.outliers = gates[HealthChecks], gates[OutlierEjection]

    @invariant()
    def the_model_agrees(self) -> None:
        if not hasattr(self, "pool"):
            return
        ejected = {one.backend: one.until for one in self.outliers.ejections()}
        assert ejected == pytest.approx(self.until)
        assert len(ejected) <= 2
        for backend in self.pool.backends:
            closed = backend in self.until and not self.dry_run
            assert self.outliers.factor(backend, self.now) == (0 if closed else 1)
        assert self.outliers.due <= min([self.interval_ends, *self.until.values()])


@pytest.mark.parametrize("separate", [False, True])
def test_all_rules_against_a_model(separate: bool) -> None:
    counts: Counter[str] = Counter()
    machine = type(f"separate {separate}", (Rules,), {"separate": separate, "counts": counts})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs(300), stateful_step_count=40)
    )
    expected = {GATEWAY, ALL, "FailurePercentage", "not enforced", "restored"}
    if separate:
        expected |= {LOCAL, "local FailurePercentage"}
    assert expected <= set(counts), counts

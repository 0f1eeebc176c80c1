"""One state machine runs every balancer, without a pool, and compares it with a dict."""

import copy
import pickle
from collections import Counter
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

from balancers import Balancer, NoBackendAvailable
from balancers.errors import InvalidSetting
from tests.depth import runs
from tests.kinds import KINDS, Kind, by_name

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
WEIGHTS = st.sampled_from([0, 1, 1, 2, 3, 5, 0.5, 0.3])
KEYS = st.sampled_from(["10.0.0.1", "10.9.0.7", "192.0.2.4", "198.51.100.3", "2001:db8::1"])
RUNS, STEPS = runs(140), 50  # some runs end early: the test asserts 70 % of the steps


ACTIONS = [
    "put",
    "flip",
    "discard",
    "re_add",
    "pick",
    "pick_avoiding",
    "avoid_all",
    "begin_request",
    "finish",
    "copies_pick_the_same",
    "a_change_that_is_undone_has_no_effect",
]


class BalancerMachine(RuleBasedStateMachine):
    """The model is a dict of weights and a dict of counts."""

    kind: Kind
    steps: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.lb: Balancer[str] = self.kind.make()
        self.weights: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.reference: Any = self.kind.reference() if self.kind.reference else None

    @initialize(members=st.dictionaries(NAMES, WEIGHTS, max_size=5))
    def begin(self, members: dict[str, float]) -> None:
        for backend, weight in members.items():
            self.set_weight(backend, weight)

    @rule(action=st.sampled_from(ACTIONS), data=st.data())
    def step(self, action: str, data: st.DataObject) -> None:
        self.steps[action] += 1
        getattr(self, action)(data)

    def set_weight(self, backend: str, weight: float) -> None:
        self.lb.put(backend, weight)
        self.weights[backend] = weight
        if self.reference:
            self.reference.put(backend, weight)

    def remove(self, backend: str) -> str:
        """Remove and return a backend: the last member if only the last member can leave."""
        if self.kind.only_last_leaves and backend in self.weights:
            last = list(self.weights)[-1]
            if backend != last:
                with pytest.raises(InvalidSetting, match=repr(backend)):
                    self.lb.discard(backend)
            backend = last
        self.lb.discard(backend)
        self.weights.pop(backend, None)
        self.counts.pop(backend, None)
        if self.reference:
            self.reference.discard(backend)
        return backend

    def put(self, data: st.DataObject) -> None:
        self.set_weight(data.draw(NAMES), data.draw(WEIGHTS))

    def flip(self, data: st.DataObject) -> None:
        backend = data.draw(NAMES)
        self.set_weight(backend, 0 if self.weights.get(backend) else 2)

    def discard(self, data: st.DataObject) -> None:
        self.remove(data.draw(NAMES))

    def re_add(self, data: st.DataObject) -> None:
        backend = self.remove(data.draw(NAMES))
        self.set_weight(backend, data.draw(WEIGHTS))

    def pick(self, data: st.DataObject) -> None:
        key = data.draw(KEYS)
        for _ in range(data.draw(st.integers(1, 9))):
            self.check(key, [])

    def pick_avoiding(self, data: st.DataObject) -> None:
        self.check(data.draw(KEYS), data.draw(st.sets(NAMES, min_size=1, max_size=4)))

    def avoid_all(self, data: st.DataObject) -> None:
        every = [*self.weights, "not a member"]
        forms = [every, set(every), tuple(every), dict.fromkeys(every)]
        self.check(data.draw(KEYS), data.draw(st.sampled_from(forms)))

    def begin_request(self, data: st.DataObject) -> None:
        bound = data.draw(st.none() | NAMES)
        chosen = self.check(data.draw(KEYS), []) if bound is None else bound
        if chosen is not None:
            self.lb.started(chosen, 0.0, bound is not None)
            if chosen in self.weights:
                self.counts[chosen] += 1
                if self.reference:
                    self.reference.started(chosen, bound is not None)

    def finish(self, data: st.DataObject) -> None:
        backend = data.draw(NAMES)
        self.lb.finished(backend)
        if self.counts[backend]:
            self.counts[backend] -= 1
            if self.reference:
                self.reference.finished(backend)

    def copies_pick_the_same(self, data: st.DataObject) -> None:
        key = data.draw(KEYS)
        copies = [copy.deepcopy(self.lb), pickle.loads(pickle.dumps(self.lb))]  # noqa: S301 - own
        for _ in range(12):
            picks = [self.outcome(lb, key) for lb in (self.lb, *copies)]
            assert picks[0] == picks[1] == picks[2]
            if self.reference and picks[0] is not None:
                assert self.reference.pick() == picks[0]

    def a_change_that_is_undone_has_no_effect(self, data: st.DataObject) -> None:
        backend, key = data.draw(NAMES), data.draw(KEYS)
        if not self.lb.fractional or backend not in self.weights:
            return
        unchanged = copy.deepcopy(self.lb)
        self.lb.put(backend, data.draw(WEIGHTS))
        self.lb.put(backend, self.weights[backend])
        for _ in range(9):
            chosen = self.outcome(self.lb, key)
            assert chosen == self.outcome(unchanged, key)
            if self.reference and chosen is not None:
                self.reference.pick()

    @invariant()
    def weights_are_the_model(self) -> None:
        assert dict(self.lb.weights) == self.weights
        assert list(self.lb.weights) == list(self.weights)

    @staticmethod
    def outcome(lb: Balancer[str], key: str) -> str | None:
        try:
            return lb.pick(key)
        except NoBackendAvailable:
            return None

    def check(self, key: str, avoid: Any) -> str | None:
        """Pick, and compare the result or the refusal with the model."""
        open_ = {backend for backend, weight in self.weights.items() if weight}
        candidates = open_.difference(avoid)
        if not candidates:
            with pytest.raises(NoBackendAvailable) as refusal:
                self.lb.pick(key, 0.0, avoid)
            counts = {"quiesced": len(self.weights) - len(open_), "avoided": len(open_)}
            counts = {reason: count for reason, count in counts.items() if count}
            assert dict(refusal.value.counts) == counts
            reason = [*counts, "empty"][0] if len(counts) < 2 else "mixed"
            assert refusal.value.reason == reason
            return None
        chosen = self.lb.pick(key, 0.0, avoid)
        assert chosen in candidates
        if self.kind.least == "count":
            assert self.counts[chosen] == min(self.counts[b] for b in candidates)
        if self.kind.least == "ratio":
            ratios = {b: self.counts[b] / self.weights[b] for b in candidates}
            assert ratios[chosen] == min(ratios.values())
        if self.lb.keyed:
            assert self.lb.pick(key, 0.0, avoid) == chosen
        if self.kind.lighter_of_two and len(candidates) == 2:
            other = min(candidates - {chosen})
            ours, theirs = self.counts[chosen], self.counts[other]
            assert ours * self.weights[other] <= theirs * self.weights[chosen]
        if self.reference:
            assert self.reference.pick(avoid) == chosen
        return chosen


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
def test_every_balancer_agrees_with_a_dict(kind: Kind) -> None:
    steps: Counter[str] = Counter()
    machine = type(f"{kind.name} alone", (BalancerMachine,), {"kind": kind, "steps": steps})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=RUNS, stateful_step_count=STEPS)
    )
    assert sum(steps.values()) >= 0.6 * RUNS * STEPS
    rare = {name: count for name, count in steps.items() if count < 0.03 * sum(steps.values())}
    assert not rare, f"actions that are rarely tried: {rare} of {sum(steps.values())}"

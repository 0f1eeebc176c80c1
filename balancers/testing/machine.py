"""Defines a state machine for balancers, to extend.  It needs the package ``hypothesis``."""

import copy
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from balancers import SUCCESS, UNKNOWN, Key, NoBackendAvailable, Outcome
from balancers.testing import strategies
from balancers.testing._palettes import FORMS, NAMES
from balancers.testing.programs import held_requests

__all__ = ["BalancerMachine"]

_NAMES = NAMES[:6]
_TURNS = 40


class BalancerMachine(RuleBasedStateMachine):
    """Drives a balancer with random calls, and compares it with a dict of weights.

    A subclass defines :meth:`make`, and may add rules and invariants for what its balancer
    promises.  ``lb`` is the balancer, ``weights`` the members with their weights in order of
    insertion, ``in_flight`` the requests in flight for each backend, ``now`` the time in seconds.

    The class attributes describe the balancer as the arguments of
    :func:`~balancers.testing.check_balancer` do.  With the trait "keyed", a key must keep its
    backend between two changes.  With "least_loaded", a pick must have the fewest requests in
    flight while all weights are equal.  With "stacked", only the last member leaves.

    >>> from hypothesis import settings
    >>> from balancers import LeastConnections
    >>> class LeastConnectionsMachine(BalancerMachine):
    ...     traits = ["least_loaded"]
    ...     def make(self):
    ...         return LeastConnections()
    >>> TestLeastConnections = LeastConnectionsMachine.TestCase
    >>> TestLeastConnections.settings = settings(max_examples=5, deadline=None)
    >>> TestLeastConnections().runTest()
    """

    traits: ClassVar[Collection[str]] = ()
    keys: ClassVar[Sequence[Key]] = ("k", "key-1", "key-2", 7, "", b"\x00")
    allowed_weights: ClassVar[Sequence[float]] = (1, 2, 5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.lb: Any = self.make()
        self.weights: dict[str, float] = {}
        self.in_flight: Counter[str] = Counter()
        self.now: float = 0.0

    def make(self) -> Any:
        """Return a new balancer without members.  A subclass must define it."""
        raise NotImplementedError

    def eligible(self, avoid: Collection[str] = ()) -> list[str]:
        """Return the backends that may be picked."""
        return [b for b, weight in self.weights.items() if weight and b not in avoid]

    @rule(backend=st.sampled_from(_NAMES), data=st.data())
    def put(self, backend: str, data: st.DataObject) -> None:
        """Insert a backend, or change its weight."""
        weight = data.draw(st.sampled_from([*self.allowed_weights, 0]), label="weight")
        self.lb.put(backend, weight=weight)
        self.weights[backend] = weight

    @rule(backend=st.sampled_from(_NAMES))
    def discard(self, backend: str) -> None:
        """Remove a backend."""
        if "stacked" in self.traits and backend in self.weights:
            backend = [*self.weights][-1]
        self.lb.discard(backend)
        self.weights.pop(backend, None)
        self.in_flight.pop(backend, None)

    @rule(data=st.data(), form=st.sampled_from(FORMS))
    def pick(self, data: st.DataObject, form: Any) -> None:
        """Pick, some backends being avoided, and compare the pick with the model."""
        avoid = data.draw(st.lists(st.sampled_from(_NAMES), unique=True, max_size=4), label="avoid")
        self.picked(data.draw(st.sampled_from(self.keys), label="key"), form(avoid))

    @rule(data=st.data())
    def request(self, data: st.DataObject) -> None:
        """Pick, and start the request."""
        backend = self.picked(data.draw(st.sampled_from(self.keys), label="key"))
        if backend is not None:
            self.lb.started(backend, now=self.now)
            self.in_flight[backend] += 1

    @rule(backend=st.sampled_from(_NAMES))
    def bound_request(self, backend: str) -> None:
        """Start a request that was not picked."""
        if backend in self.weights:
            self.lb.started(backend, now=self.now, bound=True)
            self.in_flight[backend] += 1

    @rule(data=st.data(), outcome=strategies.outcomes())
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        """Report the end of a request; sometimes of one that never started, which is ignored."""
        flying = [backend for backend, count in self.in_flight.items() if count]
        backend = data.draw(st.sampled_from([*flying, *flying, *_NAMES]), label="backend")
        self.lb.finished(backend, outcome=outcome, now=self.now)
        if self.in_flight[backend]:
            self.in_flight[backend] -= 1

    @rule(seconds=st.sampled_from([0.25, 1.0, 60.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @precondition(lambda self: self.eligible() and "keyed" not in self.traits)
    @rule(data=st.data(), outcome=st.sampled_from([SUCCESS, UNKNOWN]))
    def every_backend_is_served(self, data: st.DataObject, outcome: Outcome) -> None:
        """Let many requests of one backend start and end in a copy; all must then be picked."""
        lb = copy.deepcopy(self.lb)
        weights = [self.weights[backend] for backend in self.eligible()]
        requests = int(_TURNS * sum(weights) / min(weights)) + 1
        busy = data.draw(st.sampled_from(self.eligible()), label="busy")
        for _ in range(requests):
            lb.started(busy, now=self.now)
        for backend, count in {**self.in_flight, busy: self.in_flight[busy] + requests}.items():
            for _ in range(count):
                lb.finished(backend, outcome=outcome, now=self.now)
        counts = held_requests(lb, requests)
        starving = [backend for backend in self.eligible() if not counts[backend]]
        assert not starving, f"{starving} got no request after all requests had ended"

    @invariant()
    def weights_are_those_that_were_put(self) -> None:
        """Compare the members, their weights and their order."""
        assert [*self.lb.weights.items()] == [*self.weights.items()]

    def picked(self, key: Key, avoid: Collection[str] = ()) -> str | None:
        """Pick, compare the result with the model, and return it; None for a right refusal."""
        arguments: dict[str, Any] = {"key": key} if "keyed" in self.traits else {}
        eligible = self.eligible(avoid)
        try:
            backend: str = self.lb.pick(**arguments, now=self.now, avoid=avoid)
        except NoBackendAvailable:
            assert not eligible, f"refused, although {eligible} can be picked"
            return None
        assert backend in eligible, f"{backend!r} was picked, eligible are {eligible}"
        if "keyed" in self.traits:
            again = self.lb.pick(**arguments, now=self.now, avoid=avoid)
            assert again == backend, f"{key!r} was picked {backend!r}, then {again!r}"
        if "least_loaded" in self.traits and len({self.weights[b] for b in eligible}) == 1:
            least = min(self.in_flight[b] for b in eligible)
            busy = self.in_flight[backend]
            assert busy == least, f"{backend!r} has {busy} in flight, another {least}"
        return backend

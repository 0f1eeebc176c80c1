"""Stores the state of one backend from when it joins the pool until it leaves."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Generic

from balancers._internal.copying import remember
from balancers._internal.types import B

__all__ = ["Member"]


class Member(Generic[B]):
    """Stores the state of one backend from when it joins the pool until it leaves.

    If the backend leaves and joins again, a new Member with a higher ``generation`` is created.
    """

    __slots__ = (
        "backend",
        "closed_by",
        "cost",
        "departing",
        "effective_weight",
        "factors",
        "failures",
        "finished",
        "former",
        "fractions",
        "generation",
        "in_flight",
        "owner",
        "requests",
        "started",
        "weight",
    )

    def __init__(self, backend: B, weight: float, owner: object, generation: int) -> None:
        self.backend: B = backend
        self.weight: float = weight
        self.owner: object = owner
        self.generation: int = generation
        self.factors: list[float] = []
        """The factor of each gate, in the order of the gates."""
        self.closed_by: int = 0
        """The reasons that close the backend, as a combination (see
        :mod:`balancers.pool._gate_set`)."""
        self.fractions: bool = False
        """Whether at least one factor is neither 0 nor 1."""
        self.effective_weight: float = 0
        """The weight that the balancer was given last."""
        self.started: Callable[..., None] | None = None
        self.finished: Callable[..., None] | None = None
        """Report the start and the end of a request to the balancers.  A copy does not have them.
        """
        self.in_flight: int = 0
        self.cost: int = 0
        """The sum of the costs of the requests in flight."""
        self.requests: int = 0
        """The number of leases so far."""
        self.failures: int = 0
        """The number of leases that were released as failures so far."""
        self.departing: bool = False
        """Whether the backend is leaving or has left the pool."""
        self.former: bool = False
        """Whether the backend has left the pool."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Member[B]":
        clone = Member(self.backend, self.weight, self.owner, self.generation)
        remember(memo, self, clone)  # the owner refers to its members
        clone.owner, clone.backend = deepcopy(self.owner, memo), deepcopy(self.backend, memo)
        clone.factors = self.factors.copy()
        clone.closed_by, clone.fractions = self.closed_by, self.fractions
        clone.effective_weight, clone.in_flight = self.effective_weight, self.in_flight
        clone.requests, clone.failures, clone.cost = self.requests, self.failures, self.cost
        clone.departing, clone.former = self.departing, self.former
        return clone

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        left_out = ("started", "finished")
        state = {name: getattr(self, name) for name in Member.__slots__ if name not in left_out}
        return None, {**state, "started": None, "finished": None}

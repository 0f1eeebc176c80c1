"""Computes what sticky sessions cost in evenness, compared with a free choice per request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from balancers._internal.types import B
from balancers.quality._arguments import not_negative_number, positive_weights
from balancers.quality._table import table
from balancers.quality.skew import SessionSkew, session_skew

__all__ = ["StickinessCost", "stickiness_cost"]


@dataclass(frozen=True, repr=False)
class StickinessCost(Generic[B]):
    """Describes what sticky sessions cost.  ``print`` shows a table.

    With a free choice per request, each backend can have its fair share of the load.  Sessions that
    stay where they are keep the backend with the most sessions per weight busier than that.

    >>> from balancers.quality import stickiness_cost
    >>> cost = stickiness_cost({"old": 60, "new": 20}, {"old": 1, "new": 1}, load=0.8)
    >>> print(cost)
    usable 66.7 % of the capacity; 25 % of the sessions would have to move
    backend  sessions  fair  ratio  load
    old            60    40    1.5   1.2
    new            20    40    0.5   0.4
    >>> cost.overloaded
    ('old',)
    """

    skew: SessionSkew[B]
    """The sessions of each backend, compared with its fair number."""
    usable: float
    """The largest total load, as a fraction of the total capacity, for which no backend has a load
    above 1.  It is 1 for a free choice."""
    extra_capacity: float
    """The additional capacity that a fleet with sticky sessions needs to serve as much as one with
    a free choice, as a fraction: 1 / ``usable`` - 1."""
    to_move: float
    """The fraction of the sessions that would have to move so that each backend has its fair
    number."""
    load: float | None
    """The total load, as a fraction of the total capacity."""
    loads: Mapping[B, float]
    """The load of each backend with a positive weight.  It is empty if ``load`` is None."""

    @property
    def overloaded(self) -> tuple[B, ...]:
        """The backends with a load of 1 or more, in the order of the weights."""
        return tuple(backend for backend, load in self.loads.items() if load >= 1)

    def __repr__(self) -> str:
        return f"<StickinessCost: {100 * self.usable:.3g} % of the capacity is usable>"

    def __str__(self) -> str:
        head = ["backend", "sessions", "fair", "ratio"]
        rows: list[list[object]] = [[each, *share] for each, share in self.skew.shares.items()]
        if self.load is not None:
            head.append("load")
            for backend, row in zip(self.skew.shares, rows, strict=True):
                row.append(self.loads.get(backend, ""))
        return (
            f"usable {100 * self.usable:.3g} % of the capacity; "
            f"{100 * self.to_move:.3g} % of the sessions would have to move\n{table(head, rows)}"
        )


def stickiness_cost(
    counts: Mapping[B, float], weights: Mapping[B, float], load: float | None = None
) -> StickinessCost[B]:
    """Return what sticky sessions cost, compared with a free choice per request; O(n).

    ``counts`` contains the number of sessions on each backend, or anything else that stays with its
    backend, for example requests per second of the sessions.  ``weights`` contains the capacity of
    each backend.  ``load`` is the total load as a fraction of the total capacity.

    >>> cost = stickiness_cost({"a": 50, "b": 30, "c": 20}, {"a": 1, "b": 1, "c": 1})
    >>> round(cost.usable, 3), round(cost.extra_capacity, 3), round(cost.to_move, 3)
    (0.667, 0.5, 0.167)

    A backend of weight 0 has no capacity: its sessions have to move, and are otherwise left out.
    If there are no sessions, stickiness costs nothing.

    Raises UnknownBackend for a backend that is in ``counts`` but not in ``weights``.  Raises
    InvalidWeight for an invalid weight, and if the sum of the weights is 0.  Raises InvalidSetting
    if a count or ``load`` is negative, NaN, infinite or above 1e300.
    """
    valid = positive_weights(weights)
    skew = session_skew(counts, valid)
    if load is not None:
        load = not_negative_number("load", load)
    total = sum(share.sessions for share in skew.shares.values())
    peak = max(1.0, skew.peak)
    above = sum(max(0.0, share.sessions - share.fair) for share in skew.shares.values())
    return StickinessCost(
        skew=skew,
        usable=1 / peak,
        extra_capacity=peak - 1,
        to_move=above / total if total else 0.0,
        load=load,
        loads={
            backend: load * (share.ratio if total else 1.0)
            for backend, share in skew.shares.items()
            if load is not None and valid[backend]
        },
    )

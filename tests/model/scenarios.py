"""The pools that are checked: a balancer, two gates, and the settings of the pool."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from balancers import (
    Balancer,
    ConnectionLimit,
    Drain,
    HealthChecks,
    LeastConnections,
    RoundRobin,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from tests.model.gate_models import DrainModel, GateModel, HealthModel, LimitModel

__all__ = ["SCENARIOS", "Op", "Scenario"]

Op = tuple[Any, ...]
"""The name of an operation, and its arguments."""


@dataclass(frozen=True)
class Scenario:
    """A pool that starts with the backends "a" and "b", of weight 1."""

    name: str
    balancer: Callable[[Iterable[str]], Balancer[str]]
    gates: Callable[[], list[Any]]
    models: Callable[[], list[GateModel]]
    ops: list[Op]
    """Each names an operation of ``World`` and its arguments; 0 and 1 are the places of gates."""
    starts: list[tuple[Op, ...]]
    """Sequences after which a shorter search finds what a longer one would find."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    least: str = ""

    def with_every_op(self) -> "Scenario":
        """Return the same pool with all operations of all scenarios that fit its gates."""
        own = [op for op in self.ops if op[0] in GATE_CALLS]
        others = [op for scenario in SCENARIOS for op in scenario.ops if op[0] not in GATE_CALLS]
        every = [op for place, op in enumerate(others) if op not in others[:place]]
        return replace(self, ops=[*every, *own])


GATE_CALLS = {"observe", "begin", "cancel", "drained", "set_limit"}
PICK: Op = ("acquire", None, False, "", 0.0)
AVOID_A: Op = ("acquire", None, False, "a", 0.0)
PREFER_A: Op = ("acquire", "a", False, "", 0.0)
ONLY_A: Op = ("acquire", "a", True, "", 0.0)
FAILED: Op = ("release", 0, False)
KEEP_B: Op = ("update", (("b", 1),), 3.0)
LATE: Op = ("acquire", "b", True, "b", -2.0)
"""A request for "b" only, which also avoids it, at a time that is earlier than the latest."""

SCENARIOS = [
    Scenario(
        "health+drain",
        RoundRobin[str],
        lambda: [HealthChecks[str](2, 1, 3.0), Drain[str](4.0)],
        lambda: [HealthModel(2, 1, 3.0), DrainModel(4.0)],
        [
            PICK,
            PREFER_A,
            LATE,
            ("release", 0, True),
            FAILED,
            ("release", 0, None),
            ("release", -1, False),
            ("wait", 1.0),
            ("wait", 4.0),
            ("remove", "a"),
            ("add", "a", 1),
            ("observe", 0, "a", False),
            ("observe", 0, "a", True),
            ("begin", 1, "a"),
            ("cancel", 1, "a"),
            ("drained", 1),
        ],
        [
            (PREFER_A, PREFER_A, FAILED, FAILED, ("wait", 4.0)),
            (PREFER_A, PICK, ("begin", 1, "a"), ("wait", 4.0)),
        ],
    ),
    Scenario(
        "limit+drain",
        LeastConnections[str],
        lambda: [ConnectionLimit[str](1), Drain[str](4.0, last_resort=True)],
        lambda: [LimitModel(1), DrainModel(4.0, last_resort=True)],
        [
            PICK,
            AVOID_A,
            PREFER_A,
            ONLY_A,
            ("release", 0, True),
            ("release", -1, False),
            ("wait", 4.0),
            ("set_weight", "a", 0),
            ("set_weight", "a", 2),
            KEEP_B,
            ("update", (("b", 2), ("a", 1)), None),
            ("set_limit", 0, "a", 2),
            ("set_limit", 0, "a", None),
            ("begin", 1, "a"),
            ("begin", 1, "b"),
            ("cancel", 1, "b"),
            ("remove", "a"),
        ],
        [
            (PREFER_A, KEEP_B, ("wait", 4.0)),
            (PREFER_A, KEEP_B, ("wait", 4.0), AVOID_A),
            (PREFER_A, PICK, ("begin", 1, "a"), ("begin", 1, "b")),
        ],
        {"limit": 2},
        least="count",
    ),
    Scenario(
        "panic",
        WeightedRoundRobin[str],
        lambda: [Drain[str](4.0, last_resort=True), HealthChecks[str](1, 1, 3.0)],
        lambda: [DrainModel(4.0, last_resort=True), HealthModel(1, 1, 3.0)],
        [
            PICK,
            ONLY_A,
            AVOID_A,
            FAILED,
            ("wait", 4.0),
            ("remove", "b"),
            ("add", "b", 2),
            ("set_weight", "a", 0),
            ("set_weight", "a", 1),
            ("update", (("a", 1),), None),
            ("begin", 0, "a"),
            ("cancel", 0, "a"),
            ("begin", 0, "b"),
            ("observe", 1, "a", False),
            ("observe", 1, "a", True),
            ("observe", 1, "b", False),
        ],
        [
            (ONLY_A, ONLY_A, FAILED),
            (("observe", 1, "a", False), ("observe", 1, "b", False), PICK),
        ],
        {"panic": 0.4, "calm": 0.9},
    ),
    Scenario(
        "down+limit",
        WeightedLeastConnections[str],
        lambda: [HealthChecks[str](1, 2, 3.0, initial="down"), ConnectionLimit[str](1)],
        lambda: [HealthModel(1, 2, 3.0, initial="down"), LimitModel(1)],
        [
            PICK,
            PREFER_A,
            ONLY_A,
            ("release", 0, True),
            FAILED,
            ("wait", 4.0),
            ("add", "a", 1),
            ("remove", "a"),
            ("set_weight", "b", 0),
            ("update", (), 3.0),
            ("update", (("b", 2), ("a", 1)), 3.0),
            ("observe", 0, "a", False),
            ("observe", 0, "a", True),
            ("observe", 0, "b", True),
            ("observe", 0, "b", False),
            ("set_limit", 1, "a", 2),
        ],
        [
            (("observe", 0, "a", True), ("observe", 0, "b", True), PICK, PICK),
            (PREFER_A, ("observe", 0, "a", True), ("observe", 0, "a", True), PREFER_A),
        ],
        {"panic": 0.6},
        least="ratio",
    ),
]

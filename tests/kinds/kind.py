"""The rows of the registries: one balancer, one gate, or one load under the shared tests."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from balancers import Balancer

__all__ = ["Event", "GateKind", "Kind", "LoadKind", "by_name"]

Event = Callable[[Any, str, float], object]
"""A call of a gate's own method: it takes the gate, a member and the time."""


@dataclass(frozen=True)
class Kind:
    """One balancer under the shared tests."""

    name: str
    make: Callable[..., Balancer[Any]]
    """Takes the backends, none by default, and returns a new balancer.

    That of a random balancer also takes ``rng``, by name, with a default.
    """
    reference: Callable[[], Any] | None = None
    """Makes a slow implementation of the same algorithm, from ``tests.references``."""
    least: str = ""
    """``count`` or ``ratio``: the pick has the least in flight, or the least for its weight."""
    lighter_of_two: bool = False
    """Whether of two candidates the pick is the one with the lower load for its weight."""
    large: Callable[[], Balancer[Any]] | None = None
    """Makes the balancer for 100 000 backends, if ``make`` cannot hold as many or is too slow."""
    limits_weights: bool = False
    """Whether a weight takes memory, so that ``put`` raises RingTooLarge for a huge one."""
    only_last_leaves: bool = False
    """Whether ``discard`` raises InvalidSetting for a member that is not the last."""
    even: bool = False
    """Whether keys are shared as evenly as chance makes them."""
    traits: tuple[str, ...] = ()
    """What the laws of ``balancers.testing`` may expect of it."""
    keys: Sequence[Any] | None = None
    """The keys that it accepts, if it does not accept every key."""
    weights: Literal["whole"] | Sequence[float] | None = None
    """The weights that it accepts, if it does not accept every weight."""
    max_members: int | None = None
    """How many members it can hold, if there is a limit."""
    bound: float | None = None
    """The load that a backend may have, in fair shares, if the balancer is ``bounded``."""
    hashes: bool = False
    """Whether it hashes keys and the names of backends, although it needs no key."""
    excuses: Mapping[str, str] = field(default_factory=dict[str, str])
    """The laws that it breaks by its documentation, with the reasons."""

    @property
    def check_arguments(self) -> dict[str, Any]:
        """The arguments of ``check_balancer`` for this balancer, except the factory."""
        limits: dict[str, Any] = {
            "keys": self.keys,
            "weights": self.weights,
            "max_members": self.max_members,
            "bound": self.bound,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        return {"traits": self.traits, "excuses": self.excuses, **given}

    def leavers(self, members: Iterable[str], backend: str) -> list[str]:
        """Return the members to remove, in this order, so that ``backend`` leaves.

        That is ``backend``, after every later member if only the last one can leave.
        """
        listed = list(members)
        if not self.only_last_leaves or backend not in listed:
            return [backend]
        return listed[listed.index(backend) :][::-1]


@dataclass(frozen=True)
class GateKind:
    """One gate with certain settings under the shared tests."""

    name: str
    """The name of the class, followed by the settings if another row has the same class."""
    make: Callable[..., Any]
    """Returns a new gate.  Takes further settings of the class by name."""
    events: Mapping[str, Event] = field(default_factory=dict[str, Event])
    """The gate's own calls that change its state, for a member."""
    closes_at_once: bool = False
    """Whether one failed request closes its backend."""
    excuses: Mapping[str, str] = field(default_factory=dict[str, str])
    """The laws that it breaks by its documentation, with the reasons."""


@dataclass(frozen=True)
class LoadKind:
    """One load under the shared tests."""

    name: str
    make: Callable[[], Any]
    """Returns a new load."""
    excuses: Mapping[str, str] = field(default_factory=dict[str, str])
    """The laws that it breaks by its documentation, with the reasons."""


def by_name(kind: Kind | GateKind | LoadKind) -> str:
    """Name a test's parameter."""
    return kind.name

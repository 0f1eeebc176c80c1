"""The register of plausible but wrong balancers, gates and loads, each with the law it breaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["WRONG_BALANCERS", "WRONG_GATES", "WRONG_LOADS", "Wrong", "wrong_balancer"]

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Wrong:
    """One wrong object, the law that it breaks, and the arguments of the check."""

    make: Callable[..., Any]
    """Its docstring says what is wrong, and the program or the number of the bug."""
    law: str
    traits: tuple[str, ...] = ()
    keys: Sequence[Any] | None = None
    weights: str | Sequence[float] | None = None
    max_members: int | None = None
    bound: float | None = None
    events: Mapping[str, Callable[[Any, Any, float], object]] | None = None

    @property
    def name(self) -> str:
        return str(self.make.__name__)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the check."""
        given = {
            "keys": self.keys,
            "weights": self.weights,
            "max_members": self.max_members,
            "bound": self.bound,
            "events": self.events,
        }
        return {name: value for name, value in given.items() if value is not None}


WRONG_BALANCERS: list[Wrong] = []
WRONG_GATES: list[Wrong] = []
WRONG_LOADS: list[Wrong] = []


def wrong_balancer(law: str, *traits: str, **options: Any) -> Callable[[T], T]:
    """Register the decorated class or function as a wrong balancer that breaks the law."""

    def register(make: T) -> T:
        WRONG_BALANCERS.append(Wrong(make, law, traits, **options))
        return make

    return register


def wrong_gate(law: str, **events: Callable[[Any, Any, float], object]) -> Callable[[T], T]:
    """Register the decorated class as a wrong gate, with its own calls."""

    def register(make: T) -> T:
        WRONG_GATES.append(Wrong(make, law, events=events or None))
        return make

    return register


def wrong_load(law: str) -> Callable[[T], T]:
    """Register the decorated class as a wrong load."""

    def register(make: T) -> T:
        WRONG_LOADS.append(Wrong(make, law))
        return make

    return register

"""A mutant: a plausible wrong version of one method or function of the library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["MUTANTS", "Mutant", "candidates", "genuine", "mutant"]


@dataclass(frozen=True)
class Mutant:
    """``replacement`` replaces ``owner.attribute``; the test ``caught_by`` must fail then."""

    name: str
    owner: object
    """A class or a module."""
    attribute: str
    replacement: Callable[..., Any]
    caught_by: str

    @property
    def replacing(self) -> object:
        """What is put in the place of the attribute: a property for a property."""
        if isinstance(getattr(self.owner, self.attribute), property):
            return property(self.replacement)
        return self.replacement


MUTANTS: list[Mutant] = []


def mutant(owner: object, attribute: str, caught_by: str) -> Callable[[Any], Any]:
    """Register the decorated function as a mutant; its name is the mutant's name.

    It replaces a method or property of a class, or a function where a module has it.
    """

    def register(replacement: Any) -> Any:
        entry = Mutant(replacement.__name__, owner, attribute, replacement, f"tests/{caught_by}")
        MUTANTS.append(entry)
        return replacement

    return register


def genuine(owner: Any, attribute: str) -> Any:
    """Return the original method, for a mutant that calls it."""
    return getattr(owner, attribute)


def candidates(lb: Any, avoid: Any) -> dict[Any, float]:
    """Return the weights of the backends that a balancer may pick.  Raises NoBackendAvailable."""
    left = {b: weight for b, weight in lb.weights.items() if weight and b not in avoid}
    if not left:
        raise lb.refusal()
    return left

"""One backend during one generation of its membership."""

from typing import Generic

from balancers._internal.types import B

__all__ = ["Member"]


class Member(Generic[B]):
    """The accounting of a backend from when it joins until it leaves.

    A backend that leaves and joins again is another member, of a higher generation.
    """

    __slots__ = (
        "backend",
        "closed_by",
        "effective_weight",
        "factors",
        "former",
        "fractions",
        "generation",
        "in_flight",
        "owner",
        "weight",
    )

    def __init__(self, backend: B, weight: float, owner: object, generation: int) -> None:
        self.backend = backend
        self.weight = weight
        self.owner = owner
        self.generation = generation
        self.factors: list[float] = []
        """Of each gate, in the order of the gates."""
        self.closed_by = 0
        """The reasons that close it, as a combination of :class:`~balancers.pool._gate_set`."""
        self.fractions = False
        """Whether a factor is strictly between 0 and 1."""
        self.effective_weight: float = 0
        """What the balancer was given."""
        self.in_flight = 0
        self.former = False
        """Whether it has left."""

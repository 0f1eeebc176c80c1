"""One backend during one generation of its membership."""

from typing import Generic

from balancers._internal.types import B

__all__ = ["Account"]


class Account(Generic[B]):
    """The pool's books for one backend during one generation of its membership."""

    __slots__ = (
        "backend",
        "factors",
        "former",
        "in_flight",
        "in_panic",
        "ledger",
        "number",
        "pushed",
        "usual",
        "weight",
    )

    def __init__(
        self, backend: B, weight: float, ledger: dict[B, "Account[B]"], number: int
    ) -> None:
        self.backend = backend
        self.weight = weight
        self.ledger = ledger
        self.number = number
        self.factors: list[float] = []
        self.usual: float = 0  # effective under all gates
        self.in_panic: float = 0  # and under the hard ones alone
        self.pushed: float = 0  # what the balancer was told
        self.in_flight = 0
        self.former = False

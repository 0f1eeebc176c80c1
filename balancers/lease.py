"""What a pool hands out, and how it ended."""

from dataclasses import dataclass
from math import inf
from typing import Any, Generic, NoReturn, TypeVar

from balancers.errors import InvalidSetting

__all__ = ["FAILURE", "SUCCESS", "UNKNOWN", "Account", "Lease", "Outcome"]

B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    ``ok``: True, False, or None where nobody knows (cancelled): None counts nowhere.
    ``elapsed`` and ``retry_after`` are seconds, None where not measured or not sent.

    >>> Outcome(ok=False, retry_after=2.0)
    Outcome(ok=False, elapsed=None, retry_after=2.0)

    Raises InvalidSetting for a duration that is negative, NaN or infinite.
    """

    ok: bool | None = True
    elapsed: float | None = None
    retry_after: float | None = None

    def __post_init__(self) -> None:
        for name in ("elapsed", "retry_after"):
            value: Any = getattr(self, name)
            known = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (known and 0 <= value < inf):
                raise InvalidSetting(f"{name} must be finite seconds, 0 or more, not {value!r}")


SUCCESS = Outcome(ok=True)
FAILURE = Outcome(ok=False)
UNKNOWN = Outcome(ok=None)


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


class Lease(Generic[B]):
    """One request on one backend, from :meth:`Pool.acquire` to :meth:`Pool.release`.

    ``backend`` serves it; ``key`` is what it was picked by; ``bound`` tells that it was preferred
    rather than picked; ``panic`` that soft gates were ignored; ``acquired_at`` is in seconds.
    It belongs to the pool that gave it, and is neither copied nor pickled.
    """

    __slots__ = ("account", "acquired_at", "backend", "bound", "key", "panic")

    account: Account[B] | None
    """The pool's own; None once released."""

    def __init__(
        self,
        backend: B,
        account: Account[B],
        acquired_at: float,
        key: object = None,
        bound: bool = False,
        panic: bool = False,
    ) -> None:
        self.backend = backend
        self.account = account
        self.acquired_at = acquired_at
        self.key = key
        self.bound = bound
        self.panic = panic

    @property
    def released(self) -> bool:
        """Whether it was given back."""
        return self.account is None

    def __repr__(self) -> str:
        state = "released" if self.released else f"since {self.acquired_at!r}"
        marks = "".join(f", {name}" for name in ("bound", "panic") if getattr(self, name))
        return f"<Lease of {self.backend!r}, {state}{marks}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a lease is released once, so it is not copied: {self!r}")

"""What a resolver found: whose session a request belongs to, or why it belongs to nobody's."""

from typing import Generic, NamedTuple

from balancers._internal.types import B

__all__ = [
    "ABSENT",
    "CLOSED",
    "EXPIRED",
    "FORGED",
    "MALFORMED",
    "NOT_YET_VALID",
    "OUT_OF_PATH",
    "UNKNOWN_BACKEND",
    "Binding",
]

ABSENT = "absent"
MALFORMED = "malformed"
FORGED = "forged"
EXPIRED = "expired"
NOT_YET_VALID = "not yet valid"
UNKNOWN_BACKEND = "unknown backend"
CLOSED = "closed"
OUT_OF_PATH = "out of path"


class Binding(NamedTuple, Generic[B]):
    """The backend that has a request's session: what ``pool.acquire`` is to prefer.

    ``reason`` is empty when bound, and otherwise one of

    * absent: the client showed nothing, or nothing that a table remembers
    * malformed: no token, name or address at all, or a header given twice
    * forged: sealed under none of the keys
    * expired, or not yet valid, by the wall clock
    * unknown backend: it left the pool
    * closed: it is a member that not even a bound request gets into, when the pool last looked
    * out of path: a cookie set here would not come back here

    ``backend`` is known when bound or closed, and None otherwise.  A closed one may as well be
    preferred: the pool decides when it is asked, and picks another, or refuses when ``strict``.
    ``ticket`` is what the resolver's ``issue`` needs to know.
    """

    backend: B | None = None
    reason: str = ABSENT
    strict: bool = False
    ticket: object = None

    @property
    def bound(self) -> bool:
        """Whether the request belongs to a backend that takes it."""
        return not self.reason

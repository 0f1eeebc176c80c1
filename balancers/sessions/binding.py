"""The result of looking up the session of a request."""

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
    """The backend that has the session of a request, which ``pool.acquire`` should prefer.

    ``reason`` is empty when the request is bound.  Otherwise it is one of:

    * absent: the request carries no session, or one that the table does not contain
    * malformed: the value is no token, name or address, or a header occurs twice
    * forged: the token was sealed with none of the keys
    * expired, or not yet valid: judged by the wall clock
    * unknown backend: the backend left the pool
    * closed: the backend is a member, but when the pool was last evaluated it refused even bound
      requests
    * out of path: the client would not send back a cookie that is set here

    ``backend`` is set when the request is bound or the reason is closed, and None otherwise.  A
    closed backend can be preferred too: the pool decides at that moment.  It picks another backend,
    or refuses the request when ``strict``.  ``ticket`` is for the ``issue`` method of the resolver.
    """

    backend: B | None = None
    reason: str = ABSENT
    strict: bool = False
    ticket: object = None

    @property
    def bound(self) -> bool:
        """Whether the request belongs to a backend that accepts it."""
        return not self.reason

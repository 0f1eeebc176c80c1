"""Defines the result of looking up the session of a request."""

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
    """Says which backend has the session of a request.

    Pass ``backend`` to ``pool.acquire`` as ``prefer``, and pass ``strict`` too.

    A request is bound if its session is on a backend that accepts it.  ``reason`` says why the
    request is not bound.  It is empty if the request is bound.  The reasons are:

    * absent: the request has no session, or the table does not contain its session
    * malformed: the value is not a token, a name or an address, or the header occurs twice
    * forged: none of the keys sealed the token
    * expired: the token is too old according to the wall clock
    * not yet valid: the times of the token are in the future according to the wall clock
    * unknown backend: the backend has left the pool
    * closed: the backend is a member, but at the time of the look-up it refused all requests, also
      bound requests; ``full`` says whether only limits of requests in flight closed it
    * out of path: the request has no cookie, and its target is outside the path of the cookie, so
      the client would not send the cookie with such a request

    ``backend`` is set if the request is bound or if the reason is closed.  In all other cases it is
    None.  A closed backend can be passed to the pool too, because it may have opened since.  If it
    is still closed, the pool picks another backend, or refuses the request if ``strict`` is True.
    A full backend keeps its session: this request is served elsewhere, and the next request of the
    session prefers the full backend again.

    Pass the binding to the ``issue`` method of the object that returned it.  ``ticket`` is used by
    that method only.  It can contain what is known about the client, for example when its session
    started, so the repr of a binding does not show it.

    >>> Binding("10.0.0.1:80", "closed", full=True)
    Binding(backend='10.0.0.1:80', reason='closed', strict=False, full=True)
    """

    backend: B | None = None
    reason: str = ABSENT
    strict: bool = False
    ticket: object = None
    full: bool = False

    @property
    def bound(self) -> bool:
        """Whether the session of the request is on a backend that accepts the request."""
        return not self.reason

    def __repr__(self) -> str:
        shown = f"backend={self.backend!r}, reason={self.reason!r}, strict={self.strict!r}"
        return f"Binding({shown}, full={self.full!r})"

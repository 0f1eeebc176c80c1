"""``cookie``: the cookie of a client names its upstream by an HMAC."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from hmac import HMAC

from balancers._internal.checks import checked_avoid
from balancers.balancer import Balancer, Key
from balancers.interop.caddy.fallback import FallsBack
from balancers.interop.caddy.sequences import First
from balancers.keys import key_bytes

__all__ = ["Cookie"]


class Cookie(FallsBack):
    """``cookie`` of caddy 2.11.7: the key is the value of the cookie in the request.

    If the value is the :meth:`value` of an available upstream, that upstream is picked.  Otherwise
    the ``fallback`` picks, and the response should set the cookie to the value of its pick.  The
    fallback of caddy picks at random by default; here it is :class:`First`.

    >>> policy = Cookie(["10.0.0.1:80", "10.0.0.2:80"], secret="s3cr3t")
    >>> policy.pick(), policy.pick(policy.value("10.0.0.2:80"))
    ('10.0.0.1:80', '10.0.0.2:80')

    Cost: ``pick`` O(1) and the cost of the fallback, ``put`` one HMAC.
    """

    def __init__(
        self,
        backends: Iterable[str] | Mapping[str, float] = (),
        *,
        secret: str | bytes = b"",
        fallback: Balancer[str] | None = None,
    ) -> None:
        self._secret = key_bytes(secret)
        self._fallback = First() if fallback is None else fallback
        self._values: dict[bytes, str] = {}
        super().__init__(self._all_members(backends))

    def value(self, backend: str) -> str:
        """Return the cookie value of an upstream: HMAC-SHA-256 of its dial string, in hex."""
        return HMAC(self._secret, key_bytes(backend), sha256).hexdigest()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the upstream of a cookie, or the pick of the fallback.

        Raises NoBackendAvailable.
        """
        if avoid:
            checked_avoid(avoid)
        upstream = None if key is None else self._values.get(key_bytes(key))
        if upstream is not None and self._weights[upstream] and upstream not in avoid:
            return upstream
        return self._pick_from_fallback(now, avoid)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        value = self.value(backend).encode()
        self._update_fallback(backend, new)
        if old is None:
            self._values[value] = backend
        elif new is None:
            del self._values[value]

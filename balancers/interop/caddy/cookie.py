"""``cookie``: the client says where it belongs, in a way that it cannot make up."""

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
    """``cookie`` of caddy 2.11.7: the key is the value of the request's cookie.

    A value that :meth:`value` gave out leads to its upstream while that is available; else the
    ``fallback`` picks (caddy's draws by default; here it is :class:`First`), and the answer sets
    the cookie to its value.

    >>> policy = Cookie(["10.0.0.1:80", "10.0.0.2:80"], secret="s3cr3t")
    >>> policy.pick(), policy.pick(policy.value("10.0.0.2:80"))
    ('10.0.0.1:80', '10.0.0.2:80')

    Cost: ``pick`` O(1) and the fallback's, ``put`` a HMAC.
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
        super().__init__(self._together(backends))

    def value(self, backend: str) -> str:
        """Give the cookie's value for an upstream: HMAC-SHA-256 of its dial string, in hex."""
        return HMAC(self._secret, key_bytes(backend), sha256).hexdigest()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Give the upstream of a cookie, or the fallback's.  Raises NoBackendAvailable."""
        if avoid:
            checked_avoid(avoid)
        known = None if key is None else self._values.get(key_bytes(key))
        if known is not None and self._weights[known] and known not in avoid:
            return known
        return self._fall_back(now, avoid)

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        value = self.value(backend).encode()
        self._tell(backend, new)
        if old is None:
            self._values[value] = backend
        elif new is None:
            del self._values[value]

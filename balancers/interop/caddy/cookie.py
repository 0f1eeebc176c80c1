"""Picks the upstream that the cookie of a client names by an HMAC, as ``cookie`` of caddy does."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from hmac import HMAC

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers.balancer import Balancer, Key
from balancers.errors import InvalidSetting
from balancers.interop.caddy.fallback import FallsBack
from balancers.interop.caddy.sequences import First
from balancers.keys import key_bytes

__all__ = ["Cookie"]


class Cookie(FallsBack):
    """Picks what ``cookie`` of caddy 2.11.7 picks.  The key is the cookie's value in the request.

    If the key equals the :meth:`value` of an available upstream, that upstream is picked.  If not,
    the balancer ``fallback`` picks the upstream.  The response should then set the cookie to the
    :meth:`value` of that upstream.  The default fallback is :class:`First`, but the default
    fallback of caddy picks at random.

    >>> policy = Cookie(["10.0.0.1:80", "10.0.0.2:80"], secret="s3cr3t")
    >>> policy.pick(), policy.pick(policy.value("10.0.0.2:80"))
    ('10.0.0.1:80', '10.0.0.2:80')

    Cost: ``pick`` O(1), plus a pick of the fallback if it is used; ``put`` one HMAC.
    Raises InvalidSetting for a ``secret`` that is neither bytes nor a text that can be encoded.  A
    pickle and a copy contain the secret.
    """

    def __init__(
        self,
        backends: Iterable[str] | Mapping[str, float] | None = None,
        *,
        secret: str | bytes = b"",
        fallback: Balancer[str] | None = None,
    ) -> None:
        self._secret = _secret_bytes(secret)
        self._fallback = First() if fallback is None else fallback
        self._values: dict[bytes, str] = {}
        members = self._all_members(backends)
        with self._wrapping():
            super().__init__(members)

    def value(self, backend: str) -> str:
        """Return the cookie value of an upstream: the HMAC-SHA-256 of its dial string, in hex."""
        return HMAC(self._secret, key_bytes(backend), sha256).hexdigest()

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the upstream of a cookie.

        If the cookie names no available upstream, the pick of the fallback is returned.
        Raises NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        upstream = self._named(key, avoid)
        return self._pick_from_fallback(now, avoid) if upstream is None else upstream

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the upstream of a cookie, and then those of the fallback's plan.

        If the cookie names no available upstream, the plan of the fallback is returned.  If it
        names one, and ``n`` is more than 1, the fallback takes one turn too, unlike in a pick.
        Raises what :meth:`pick` raises, InvalidSetting unless ``n`` is an int of 1 or more, and
        NotPlannable if the fallback has no ``plan``.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        upstream = self._named(key, avoid)
        if upstream is None:
            return self._plan_from_fallback(n, now, avoid)
        others = (each for each, weight in self._weights.items() if weight and each != upstream)
        if n == 1 or all(each in avoid for each in others):
            return [upstream]
        return [upstream, *self._plan_from_fallback(n - 1, now, {*avoid, upstream})]

    def _named(self, key: Key | None, avoid: Collection[str]) -> str | None:
        """Return the available upstream that a cookie names, or None."""
        upstream = None if key is None else self._values.get(key_bytes(key))
        if upstream is None or not self._weights[upstream] or upstream in avoid:
            return None
        return upstream

    def update_index(self, backend: str, old: float | None, new: float | None) -> None:
        value = self.value(backend).encode()
        self._update_fallback(backend, new)
        if old is None:
            self._values[value] = backend
        elif new is None:
            del self._values[value]


def _secret_bytes(secret: object) -> bytes:
    """Return the bytes of a secret.  No error contains the secret."""
    if isinstance(secret, bytes):
        return secret
    if not isinstance(secret, str):
        raise InvalidSetting(f"secret must be str or bytes, not {type(secret).__name__}")
    with suppress(UnicodeEncodeError):
        return secret.encode()
    raise InvalidSetting("secret must be encodable as UTF-8, without lone surrogates")

"""Picks the upstream with the highest score for a key, as the hashing policies of caddy do."""

from collections.abc import Collection, Iterable, Mapping

from balancers._internal.checks import NO_BACKENDS, at_least, checked_avoid
from balancers.balancer import Balancer, Key
from balancers.interop.caddy.fallback import FallsBack
from balancers.keys import Identity, XXHash64, key_bytes, name_of
from balancers.named_membership import NamedMembership

__all__ = ["Rendezvous"]


class Rendezvous(FallsBack, NamedMembership[str]):
    """Picks what the hashing policies of caddy 2.11.7 pick.

    The policies are ``header``, ``query``, ``uri_hash``, ``ip_hash`` and ``client_ip_hash``.  The
    score of an upstream is XXH64 of its dial string followed by the key.  The upstream with the
    highest score is picked.  ``"1.2.3.4:80"`` and ``"tcp/1.2.3.4:80"`` are different dial strings.
    All positive weights have the same effect.

    If the header or the parameter is missing or empty, pass no key or an empty key.  The balancer
    ``fallback`` then picks the upstream.  The fallback gets the same members.  By default there is
    no fallback, because the default fallback of caddy picks at random.

    >>> from balancers.interop.caddy import First
    >>> policy = Rendezvous(["10.0.0.1:80", "10.0.0.2:80"], fallback=First())
    >>> policy.pick("user:42"), policy.pick("")
    ('10.0.0.2:80', '10.0.0.1:80')

    Cost: ``pick`` O(n) hashes, all other methods O(1).  Raises ImportError without xxhash.
    """

    def __init__(
        self,
        backends: Iterable[str] | Mapping[str, float] | None = None,
        *,
        fallback: Balancer[str] | None = None,
        identity: Identity[str] = name_of,
    ) -> None:
        self._fallback = fallback
        members, hasher = self._all_members(backends), XXHash64()
        with self._wrapping():
            super().__init__(members, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()) -> str:
        """Return the upstream of the key.

        If the key is None or empty, the pick of the fallback is returned.
        Raises MissingKey if there is neither a key nor a fallback, InvalidKey, NoBackendAvailable.
        """
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        data = b"" if key is None else key_bytes(key)
        if not data:
            return self._pick_from_fallback(now, avoid)
        highest, best = 0, None  # as in caddy, a score of 0 is never picked
        for upstream, weight in self._weights.items():
            if weight and upstream not in avoid:
                score = self._hasher(self._names[upstream] + data)
                if score > highest:
                    highest, best = score, upstream
        if best is None:
            raise self.refusal()
        return best

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[str] = ()
    ) -> list[str]:
        """Return the ``n`` upstreams with the highest scores for the key; O(upstreams) hashes.

        If the key is None or empty, the plan of the fallback is returned.
        Raises what :meth:`pick` raises, InvalidSetting unless ``n`` is an int of 1 or more, and
        NotPlannable if the fallback has no ``plan``.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        data = b"" if key is None else key_bytes(key)
        if not data:
            return self._plan_from_fallback(n, now, avoid)
        scores = {
            upstream: self._hasher(self._names[upstream] + data)
            for upstream, weight in self._weights.items()
            if weight and upstream not in avoid
        }
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        ranked = [upstream for upstream in ranked if scores[upstream]][:n]
        if not ranked:
            raise self.refusal()
        return ranked

    def update_named_index(
        self, backend: str, name: bytes, old: float | None, new: float | None
    ) -> None:
        self._update_fallback(backend, new)

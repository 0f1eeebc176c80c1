"""Tokens: a backend's identity and two instants, sealed so that only key holders can tell.

A token is 80 bytes as base64url without padding, 107 characters for every backend::

    nonce, 16 | identity, issued at, refreshed at: 32, XOR HMAC(hiding key, nonce) | tag, 32

The tag is HMAC-SHA-256 (RFC 2104) of what stands before it, so nothing is decrypted that was not
sealed here.  Both keys are derived from the one given.  Two tokens for one backend share nothing
but their form.  Instants are wall-clock seconds, so tokens outlive a restart and cross processes.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from copy import copy
from hmac import compare_digest, digest
from math import inf
from random import Random
from struct import Struct
from typing import Any, NamedTuple, Self

from balancers._internal.checks import LATEST, duration, number
from balancers.errors import InvalidKey, InvalidSetting, InvalidTime
from balancers.sessions.binding import EXPIRED, FORGED, MALFORMED, NOT_YET_VALID

__all__ = ["Claim", "SessionTokens"]

_IDENT, _NONCE, _SIGNED, _LENGTH = 16, 16, 48, 107
_SHORTEST_KEY = 16
_BLOCK = Struct(">16sdd")
_FORM = re.compile(r"[A-Za-z0-9_-]+")
_FROM_URL, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_REFRESH = 4
"""A token is issued anew when the fourth part of its idle time is gone."""


class Claim(NamedTuple):
    """What an authentic token says."""

    ident: bytes
    issued_at: float
    refreshed_at: float
    key: int
    """The place of the key that sealed it."""


class SessionTokens:
    """Seals and opens the tokens of one secret.

    ``keys``: secrets of 16 bytes or more; the first seals, all open, so that a key is rotated by
    putting a new one first and dropping the old when its tokens are over.  Wall-clock seconds:
    ``idle_timeout`` since the client was last seen, ``lifetime`` since the session began with its backend,
    ``clock_skew`` a token may come from the future, as clocks differ.  ``rng`` draws 16 bytes a token:
    pass ``random.SystemRandom()``, since a nonce used twice would tell two tokens' difference.
    For the same reason copies share the generator.  A pickle repeats it, state and all, but a
    SystemRandom has no state, and comes back as another one.

    >>> from random import SystemRandom
    >>> tokens = SessionTokens([b"a secret of 32 random bytes here"], rng=SystemRandom())
    >>> token = tokens.seal(b"sixteen bytes id", wall=1000.0)
    >>> tokens.open(token, wall=1060.0)
    Claim(ident=b'sixteen bytes id', issued_at=1000.0, refreshed_at=1000.0, key=0)
    >>> tokens.open(token[::-1], wall=1060.0), tokens.open(token, wall=9000.0)
    ('forged', 'expired')

    Cost: two HMACs of a short text, and one more for each key that does not fit.
    Raises InvalidSetting for no key, a short one or one twice, and for durations out of range.
    """

    def __init__(
        self,
        keys: Iterable[bytes],
        *,
        rng: Random,
        idle_timeout: float = 1800.0,
        lifetime: float = 86400.0,
        clock_skew: float = 60.0,
    ) -> None:
        secrets = list(keys)
        for secret in secrets:
            if not isinstance(secret, bytes) or len(secret) < _SHORTEST_KEY:
                raise InvalidSetting(f"each key must be {_SHORTEST_KEY} bytes or more")
        if not secrets or len(set(secrets)) < len(secrets):
            raise InvalidSetting(f"keys must be one or more, all different: {len(secrets)} given")
        if not 0 <= number("clock_skew", clock_skew) < inf:
            raise InvalidSetting(
                f"clock_skew must be finite seconds, 0 or more, not {clock_skew!r}"
            )
        self.idle_timeout = duration("idle_timeout", idle_timeout, endless=True)
        self.lifetime = duration("lifetime", lifetime, endless=True)
        if not isinstance(rng, Random):
            raise InvalidSetting(f"rng must be a random.Random, not {rng!r}")
        self._clock_skew = clock_skew
        self._rng = rng
        self._keys = [(_derived(secret, b"seal"), _derived(secret, b"hide")) for secret in secrets]

    def seal(self, ident: bytes, wall: float, issued_at: float | None = None) -> str:
        """Write a token for 16 bytes of identity, refreshed now and issued now or then.

        Raises InvalidTime, InvalidKey for another length.
        """
        wall = _valid_wall(wall)
        if len(ident) != _IDENT:
            raise InvalidKey(f"an identity is {_IDENT} bytes, not {ident!r}")
        seal, hide = self._keys[0]
        block = _BLOCK.pack(ident, wall if issued_at is None else _valid_wall(issued_at), wall)
        nonce = self._rng.randbytes(_NONCE)
        return _written(nonce + _masked(block, hide, nonce), seal).decode()

    def open(self, token: str, wall: float) -> Claim | str:
        """Read a token, or say why not: malformed, forged, expired or not yet valid.

        A token is authentic if it is, character for character, what the tag makes of it; the
        comparison takes the same time wherever they differ.  Raises InvalidTime.
        """
        wall = _valid_wall(wall)
        if len(token) != _LENGTH or not _FORM.fullmatch(token):
            return MALFORMED
        given = token.encode()
        signed = a2b_base64(given.translate(_FROM_URL) + b"=")[:_SIGNED]
        for place, (seal, hide) in enumerate(self._keys):
            if compare_digest(_written(signed, seal), given):
                return self._claim(signed, hide, place, wall)
        return FORGED

    def worn(self, claim: Claim, wall: float, max_age: float = inf) -> bool:
        """Whether to issue it anew: a fourth of ``idle_timeout`` or ``max_age`` is gone, or its key is old.

        So a session lasts between three fourths of the idle time and all of it.
        """
        gone = _valid_wall(wall) - claim.refreshed_at
        return claim.key > 0 or gone >= min(self.idle_timeout, max_age) / _REFRESH

    def _claim(self, signed: bytes, hide: bytes, place: int, wall: float) -> Claim | str:
        """Read what is authentic, unless its time is over or has not come."""
        block = _masked(signed[_NONCE:], hide, signed[:_NONCE])
        ident, issued_at, refreshed_at = _BLOCK.unpack(block)
        if max(issued_at, refreshed_at) > wall + self._clock_skew:
            return NOT_YET_VALID
        if wall - refreshed_at > self.idle_timeout or wall - issued_at > self.lifetime:
            return EXPIRED
        return Claim(ident, issued_at, refreshed_at, place)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)

    def __getstate__(self) -> dict[str, Any]:
        try:
            self._rng.getstate()
        except NotImplementedError:
            return self.__dict__ | {"_rng": type(self._rng)}
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        rng = state["_rng"]
        self.__dict__.update(state, _rng=rng() if isinstance(rng, type) else rng)

    def __repr__(self) -> str:
        times = f"idle_timeout {self.idle_timeout} s, lifetime {self.lifetime} s"
        return f"<SessionTokens: {len(self._keys)} keys, {times}>"


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return digest(secret, b"balancers session token 1: " + purpose, "sha256")


def _masked(block: bytes, hide: bytes, nonce: bytes) -> bytes:
    """Hide a block of 32 bytes, or show it again."""
    stream = digest(hide, nonce, "sha256")
    return (int.from_bytes(block, "big") ^ int.from_bytes(stream, "big")).to_bytes(32, "big")


def _written(signed: bytes, seal: bytes) -> bytes:
    tagged = signed + digest(seal, signed, "sha256")
    return b2a_base64(tagged, newline=False).translate(_TO_URL)[:_LENGTH]


def _valid_wall(wall: float) -> float:
    if not -LATEST <= wall <= LATEST:
        raise InvalidTime(f"wall must be finite seconds, not {wall!r}")
    return wall

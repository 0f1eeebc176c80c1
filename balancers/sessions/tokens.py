"""Seals and opens tokens that contain the identity of a backend and two times.

A sealed token is encrypted and authenticated.  It has 80 bytes, which are written as base64url
without padding.  So every token has 107 characters::

    nonce, 16 | identity, issued at, refreshed at: 32, XOR HMAC(mask key, nonce) | tag, 32

The tag is the HMAC-SHA-256 (RFC 2104) of all bytes before it.  The tag is checked first, so only
tokens that were sealed with one of the keys are decrypted.  The tag key and the mask key are
derived from one secret and from the contexts, see :meth:`SessionTokens.with_context`.  Two tokens
for the same backend have no bytes in common, except by chance.  Times are in seconds of the wall
clock, so tokens are valid after a restart and in other processes.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from hmac import compare_digest, digest
from math import inf
from random import Random, SystemRandom
from struct import Struct
from typing import Any, NamedTuple, Self

from balancers._internal.checks import LATEST, checked_rng, duration, not_negative, shown
from balancers.errors import InvalidKey, InvalidSetting, InvalidTime
from balancers.sessions.binding import EXPIRED, FORGED, MALFORMED, NOT_YET_VALID

__all__ = ["Claim", "SessionTokens"]

_IDENT_BYTES, _NONCE_BYTES, _SIGNED_BYTES, _TOKEN_LENGTH = 16, 16, 48, 107
_MIN_KEY_BYTES = 16
_BLOCK = Struct(">16sdd")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_FROM_URL, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_SYSTEM_RANDOM = SystemRandom()
"""The default generator.  It has no state and no seed: the operating system generates its bytes."""
_REFRESHES_PER_TIMEOUT = 4
"""A token is renewed when a quarter of the idle timeout has passed since it was sealed."""


class Claim(NamedTuple):
    """Holds the content of an authentic token."""

    ident: bytes
    """The 16 bytes that identify the backend."""
    issued_at: float
    """The time in seconds when the session started on the backend."""
    refreshed_at: float
    """The time in seconds when the token was sealed."""
    key: int
    """The index in ``keys`` of the key that sealed the token."""


class _Keys(NamedTuple):
    """Holds what is derived from one secret in one context."""

    tag: bytes
    mask: bytes
    further: bytes
    """The secret from which the keys of a further context are derived."""

    def __repr__(self) -> str:
        return "<keys hidden>"


class SessionTokens:
    """Seals and opens session tokens.

    ``keys`` are secrets of 16 bytes or more; 32 random bytes are best.  Make one with
    ``secrets.token_bytes(32)``, and store it where the other secrets of your service are stored.
    With a key, anyone can read tokens and create valid ones, and so choose a backend.  New tokens
    are sealed with the first key.  Tokens that were sealed with any of the keys can be opened.  To
    replace a key, put the new key before it.  Remove the old key when all tokens that it sealed
    have expired.  If a key has become known to others, remove it at once: its tokens are then
    ``forged``, and their sessions are bound again.

    A token is valid only in the ``context`` in which it was sealed.  By default the context is
    empty.  :class:`CookieSessions` and :class:`HeaderSessions` add a context for the pool, and the
    name of the cookie or header, see :meth:`with_context`.

    Three durations are in seconds of the wall clock.  A token expires ``idle_timeout`` seconds
    after it was sealed, and ``lifetime`` seconds after its session started on the backend.  The
    times in a token may be up to ``clock_skew`` seconds in the future, because the clocks of two
    machines can differ.

    ``rng`` generates 16 random bytes, the nonce, for each token.  The default is a
    ``random.SystemRandom``.  Pass a ``random.Random`` with a seed only in tests, because two tokens
    with the same nonce reveal how their contents differ.  For the same reason, a copy of this
    object shares the generator.

    A pickle of this object, its ``__dict__`` and any copy contain the keys that are derived from
    ``keys``, but not ``keys`` themselves.  So handle a pickle as a secret.  It also contains the
    generator and its state.  A SystemRandom has no state, so a new one is created when the pickle
    is loaded.

    >>> tokens = SessionTokens([b"a secret of 32 random bytes here"])
    >>> token = tokens.seal(b"sixteen bytes id", wall=1000.0)
    >>> tokens.open(token, wall=1060.0)
    Claim(ident=b'sixteen bytes id', issued_at=1000.0, refreshed_at=1000.0, key=0)
    >>> tokens.open(token[::-1], wall=1060.0), tokens.open(token, wall=9000.0)
    ('forged', 'expired')

    The constructor computes three HMACs for each key, and four more if there is a context.
    ``seal`` and ``open`` compute two HMACs of a short text.  ``open`` computes one more for each
    key that does not match.
    Raises InvalidSetting if there is no key, if a key is too short or occurs twice, if the context
    is neither bytes nor a text that can be encoded, or if a duration is out of range.  Raises
    TypeError for an ``rng`` that is not a ``random.Random``.
    """

    def __init__(
        self,
        keys: Iterable[bytes],
        *,
        context: str | bytes = b"",
        rng: Random = _SYSTEM_RANDOM,
        idle_timeout: float = 1800.0,
        lifetime: float = 86400.0,
        clock_skew: float = 60.0,
    ) -> None:
        secrets = list(keys)
        for secret in secrets:
            if not isinstance(secret, bytes) or len(secret) < _MIN_KEY_BYTES:
                raise InvalidSetting(f"each key must be {_MIN_KEY_BYTES} bytes or more")
        derived = [_keys_of(secret) for secret in secrets]
        if not derived or len(set(derived)) < len(derived):
            raise InvalidSetting(
                f"keys must be at least one, and all different; {len(derived)} given, "
                f"{len(set(derived))} different"
            )
        not_negative("clock_skew", clock_skew)
        self.idle_timeout: float = duration("idle_timeout", idle_timeout, endless=True)
        self.lifetime: float = duration("lifetime", lifetime, endless=True)
        self._clock_skew = clock_skew
        self._rng = checked_rng(rng)
        label = _context_bytes(context)
        self._keys = [_in_context(keys, label) for keys in derived] if label else derived

    def with_context(self, context: str | bytes) -> Self:
        """Return tokens with the same keys, settings and generator in a further context.

        A token of one context is ``forged`` in every other one.  A context is added to those before
        it, so their order and their boundaries count.  A text is its UTF-8 bytes.  The new object
        cannot open or seal tokens of this object, which does not change.

        :class:`CookieSessions` uses ``tokens.with_context(context).with_context("cookie NAME")``.
        :class:`HeaderSessions` uses ``"header name"`` with the name in lower case.

        >>> tokens = SessionTokens([b"a secret of 32 random bytes here"])
        >>> shop, admin = tokens.with_context("shop"), tokens.with_context("admin")
        >>> admin.open(shop.seal(b"sixteen bytes id", wall=1000.0), wall=1000.0)
        'forged'

        Computes four HMACs for each key.  Raises InvalidSetting for a context that is neither bytes
        nor a text that can be encoded.
        """
        label, bound = _context_bytes(context), copy(self)
        bound._keys = [_in_context(keys, label) for keys in self._keys]  # noqa: SLF001 - own class
        return bound

    def seal(self, ident: bytes, wall: float, issued_at: float | None = None) -> str:
        """Return a token for an identity of 16 bytes that is sealed at the time ``wall``.

        ``issued_at`` is the time when the session started.  By default it is ``wall``.
        Raises InvalidTime, and InvalidKey for an identity of another length.
        """
        wall = _valid_wall(wall)
        if len(ident) != _IDENT_BYTES:
            raise InvalidKey(f"ident must be {_IDENT_BYTES} bytes, not {shown(ident)}")
        keys = self._keys[0]
        block = _BLOCK.pack(ident, wall if issued_at is None else _valid_wall(issued_at), wall)
        nonce = self._rng.randbytes(_NONCE_BYTES)
        return _encoded(nonce + _masked(block, keys.mask, nonce), keys.tag).decode()

    def open(self, token: str, wall: float) -> Claim | str:
        """Return the claim of a token, or the reason why it is refused.

        The reason is ``malformed``, ``forged``, ``expired`` or ``not yet valid``.  To check the
        token, it is encoded again with the correct tag.  It is authentic if the result equals the
        token.  The two texts are compared in constant time.  Raises InvalidTime.
        """
        wall = _valid_wall(wall)
        if len(token) != _TOKEN_LENGTH or not _BASE64URL.fullmatch(token):
            return MALFORMED
        given = token.encode()
        signed = a2b_base64(given.translate(_FROM_URL) + b"=")[:_SIGNED_BYTES]
        for place, keys in enumerate(self._keys):
            if compare_digest(_encoded(signed, keys.tag), given):
                return self._claim(signed, keys.mask, place, wall)
        return FORGED

    def needs_renewal(self, claim: Claim, wall: float, max_age: float = inf) -> bool:
        """Return whether the token should be replaced by a new one.

        It should be replaced if a quarter of ``idle_timeout`` or of ``max_age`` has passed since it
        was sealed, or if it was not sealed with the first key.  So after the last request of a
        session, its token stays valid for at least three quarters of the idle timeout and at most
        for the whole idle timeout.  Raises InvalidTime.
        """
        age = _valid_wall(wall) - claim.refreshed_at
        return claim.key > 0 or age >= min(self.idle_timeout, max_age) / _REFRESHES_PER_TIMEOUT

    def _claim(self, signed: bytes, mask_key: bytes, place: int, wall: float) -> Claim | str:
        """Return the claim of an authentic token, or the reason if its times are not valid."""
        block = _masked(signed[_NONCE_BYTES:], mask_key, signed[:_NONCE_BYTES])
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


def _context_bytes(context: object) -> bytes:
    """Return the bytes of a context.

    The message of the error does not contain it, because a key may have been passed by mistake.
    """
    if isinstance(context, bytes):
        return context
    if not isinstance(context, str):
        raise InvalidSetting(f"context must be str or bytes, not {type(context).__name__}")
    with suppress(UnicodeEncodeError):
        return context.encode()
    raise InvalidSetting("context must be encodable as UTF-8, without lone surrogates")


def _keys_of(secret: bytes) -> _Keys:
    return _Keys(_derived(secret, b"seal"), _derived(secret, b"hide"), _derived(secret, b"bind"))


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return digest(secret, b"balancers session token 1: " + purpose, "sha256")


def _in_context(keys: _Keys, context: bytes) -> _Keys:
    return _keys_of(digest(keys.further, context, "sha256"))


def _masked(block: bytes, mask_key: bytes, nonce: bytes) -> bytes:
    """Return a block of 32 bytes, encrypted or decrypted by XOR with an HMAC of the nonce."""
    stream = digest(mask_key, nonce, "sha256")
    return (int.from_bytes(block, "big") ^ int.from_bytes(stream, "big")).to_bytes(32, "big")


def _encoded(signed: bytes, tag_key: bytes) -> bytes:
    """Return the bytes and their tag, encoded as base64url."""
    tagged = signed + digest(tag_key, signed, "sha256")
    return b2a_base64(tagged, newline=False).translate(_TO_URL)[:_TOKEN_LENGTH]


def _valid_wall(wall: float) -> float:
    if not -LATEST <= wall <= LATEST:
        raise InvalidTime(f"wall must be finite seconds, not {shown(wall)}")
    return wall

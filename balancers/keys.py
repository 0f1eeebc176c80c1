"""From anything to 64 bits: keys, names of backends, and hash functions.

Never ``hash()``, which differs between processes.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import cast

from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey, InvalidSetting, MissingKey

__all__ = ["Hasher", "Identity", "KeyedBlake2", "Murmur3", "XXHash64", "key_bytes", "name_of"]

Hasher = Callable[[bytes], int]
"""64 bits of a string of bytes, as an int; one of 32 would put every key on the first points."""
Identity = Callable[[B], bytes | str]
"""The name of a backend, for hashing."""

_HIGHEST_SEED = 0xFFFFFFFF
_HIGHEST_LONG_SEED = 0xFFFFFFFFFFFFFFFF
_HIGHEST_PORT = 65535


class Murmur3:
    """MurmurHash3 x64 128, the first 64 bits; fast, and the default.

    For keys an attacker cannot choose, or does not care to: whoever knows the seed can find keys
    that meet.  Picklable.

    >>> Murmur3()(b"user:42") == Murmur3(seed=0)(b"user:42") != Murmur3(seed=1)(b"user:42")
    True

    Raises InvalidSetting for a seed beyond 32 bits.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_SEED:
            raise InvalidSetting(f"seed must be an int of 32 bits, not {seed!r}")
        from mmh3 import mmh3_x64_128_utupledigest  # noqa: PLC0415 - 2 ms, for keys alone

        self._digest = mmh3_x64_128_utupledigest
        self.seed = seed

    def __call__(self, data: bytes) -> int:
        """Hash; O(bytes)."""
        return self._digest(data, self.seed)[0]


class KeyedBlake2:
    """BLAKE2b (RFC 7693) under a secret: for keys an attacker chooses.

    Every process that must agree needs the same secret, of 1 to 64 bytes.  Picklable, with the
    secret inside.

    >>> KeyedBlake2(b"secret")(b"user:42") == KeyedBlake2(b"another")(b"user:42")
    False

    Raises InvalidSetting for a secret of another length.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not isinstance(secret, bytes) or not 1 <= len(secret) <= blake2b.MAX_KEY_SIZE:
            raise InvalidSetting("secret must be 1 to 64 bytes")
        self._secret = secret

    def __call__(self, data: bytes) -> int:
        """Hash; O(bytes)."""
        return int.from_bytes(blake2b(data, digest_size=8, key=self._secret).digest(), "little")


class XXHash64:
    """XXH64: what Envoy and caddy hash with; as fast as Murmur3.  Needs ``balancers[xxhash]``.

    For keys an attacker cannot choose.  Picklable.

    >>> hex(XXHash64()(b""))
    '0xef46db3751d8e999'

    Raises InvalidSetting for a seed beyond 64 bits, ImportError without the package.
    """

    __slots__ = ("_digest", "seed")

    def __init__(self, seed: int = 0) -> None:
        if type(seed) is not int or not 0 <= seed <= _HIGHEST_LONG_SEED:
            raise InvalidSetting(f"seed must be an int of 64 bits, not {seed!r}")
        try:
            from xxhash import xxh64_intdigest  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImportError("XXH64 needs the package xxhash: balancers[xxhash]") from error
        self._digest = xxh64_intdigest
        self.seed = seed

    def __call__(self, data: bytes) -> int:
        """Hash; O(bytes)."""
        return self._digest(data, self.seed)


def key_bytes(key: Key | None) -> bytes:
    r"""Give the bytes of a key: UTF-8 of a str, 8 bytes little-endian two's complement of an int.

    >>> key_bytes("é"), key_bytes(-2)
    (b'\xc3\xa9', b'\xfe\xff\xff\xff\xff\xff\xff\xff')

    Raises MissingKey for None, InvalidKey for a lone surrogate or an int beyond 64 bits, TypeError
    for any other type, bool included.
    """
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        try:
            return key.encode()
        except UnicodeEncodeError as error:
            raise InvalidKey(f"no UTF-8: {key!r}") from error
    if isinstance(key, int) and not isinstance(key, bool):
        try:
            return key.to_bytes(8, "little", signed=True)
        except OverflowError:
            raise InvalidKey(f"beyond 64 bits: {key!r}") from None
    if key is None:
        raise MissingKey("this balancer picks by key, and got none")
    raise TypeError(f"a key is bytes, str or int, not {key!r}")


def name_of(backend: object) -> bytes | str:
    """Name a backend that is a str, bytes, int or (host, port), which is ``host:port``.

    >>> name_of(("10.0.0.1", 80)), name_of(("::1", 80))
    ('10.0.0.1:80', '[::1]:80')

    Raises TypeError for anything else: it must be named by ``identity``, since a repr may hold an
    address.
    """
    if isinstance(backend, str | bytes):
        return backend
    if isinstance(backend, int) and not isinstance(backend, bool):
        return key_bytes(backend)
    if isinstance(backend, tuple):
        pair = cast("tuple[object, ...]", backend)
        match pair:
            case (str(host), int(port)) if (
                not isinstance(port, bool) and 0 <= port <= _HIGHEST_PORT
            ):
                return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            case _:
                pass
    raise TypeError(f"say how to name {backend!r}: identity=")

"""Computes the hash of a request by the hash policies of a route."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from re import Pattern

from balancers._internal.checks import shown
from balancers.addresses import address_of, ntop_text
from balancers.errors import InvalidKey, InvalidSetting
from balancers.hashing.hashed_balancer import BITS
from balancers.http.request import Request
from balancers.keys import XXHash64, key_bytes

__all__ = ["Cookie", "HashPolicy", "Header", "QueryParameter", "SourceIP", "request_hash"]


class HashPolicy(ABC):
    """The base class of hash policies: an entry of ``hash_policy`` in a route of Envoy."""

    __slots__ = ()

    terminal: bool
    """Whether the next policies are ignored if there is a hash by then."""

    @abstractmethod
    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has nothing to hash."""
        ...


@dataclass(frozen=True, slots=True)
class Header(HashPolicy):
    """Hashes the value of a header with XXH64.

    The value is the whole line as received.  An empty value is hashed too.  If the request has
    several such lines, their values are sorted.  The hash of each value is then the seed for the
    hash of the next value.

    ``pattern`` and ``substitution`` are those of ``regex_rewrite``: every match of the pattern is
    replaced before hashing.  The pattern is a Python regular expression.  Envoy uses RE2, which has
    the same syntax except for look-around and back-references.
    """

    name: str
    pattern: Pattern[str] | None = None
    substitution: str = ""
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.pattern is not None and not isinstance(self.pattern, Pattern):
            raise InvalidSetting(f"pattern must be a compiled pattern, not {shown(self.pattern)}")

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has no such header."""
        values = request.header(self.name)
        if self.pattern is not None:
            values = tuple(self.pattern.sub(self.substitution, value) for value in values)
        digest = None
        for value in sorted(map(key_bytes, values)):
            digest = XXHash64(digest or 0)(value)
        return digest


@dataclass(frozen=True, slots=True)
class Cookie(HashPolicy):
    """Hashes the value of a cookie with XXH64.

    Double quotes that enclose the value are removed.  An empty value has no hash.  If the name
    occurs several times, the first value is used.  Policies with a ``ttl``, for which Envoy itself
    sets the cookie, are not covered.
    """

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash.

        Return None if the request has no such cookie, or if the value is empty.
        """
        for line in request.header("cookie"):
            for pair in line.split(";"):
                name, equals, value = pair.partition("=")
                if equals and name.lstrip(" ") == self.name:
                    if len(value) > 1 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    return XXHash64()(key_bytes(value)) if value else None
        return None


@dataclass(frozen=True, slots=True)
class QueryParameter(HashPolicy):
    """Hashes the first value of a query parameter with XXH64.

    ``%`` and ``+`` are not decoded.
    """

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the request has no such parameter."""
        for pair in request.target.partition("?")[2].split("&"):
            name, _, value = pair.partition("=")
            if name == self.name and pair:
                return XXHash64()(key_bytes(value))
        return None


@dataclass(frozen=True, slots=True)
class SourceIP(HashPolicy):
    """Hashes the address of the client with XXH64, as text and without the port.

    The text is that of ``inet_ntop`` of glibc, with which Envoy is built.  An IPv6 address is
    compressed and in lower case.  IPv4-mapped and IPv4-compatible addresses end in dotted IPv4, as
    in ``::ffff:192.0.2.1`` and ``::192.0.2.1``.  Envoy writes a zone as a number, so pass it as a
    number: ``fe80::1%2``.
    """

    terminal: bool = False

    def hash(self, request: Request) -> int | None:
        """Return the 64-bit hash, or None if the client has no IP address."""
        try:
            address = address_of(request.client)
        except InvalidKey:
            return None
        return XXHash64()(ntop_text(address).encode())


def request_hash(policies: Iterable[HashPolicy], request: Request) -> int | None:
    """Return the 64-bit hash by which Envoy 1.40.0 picks a host.

    The result is None if no policy has a hash.  Envoy then picks by a random number of 64 bits.

    The hashes of several policies are combined in order.  The combined hash is rotated left by one
    bit, and then the hash of the next policy is XORed.  After a policy with ``terminal=True``, the
    other policies are ignored if there is a hash by then.

    Envoy's hash has no secret, so clients can construct many requests that have the same hash.  Do
    not use it for keys that an attacker may choose; see :class:`~balancers.keys.KeyedBlake2`.

    >>> request = Request(target="/?id=7", headers=[("X-User", "42"), ("Cookie", "a=1")])
    >>> hex(request_hash([Header("x-user")], request))
    '0x6de6f5d076d742b9'
    >>> policies = [Header("x-none"), Cookie("a", terminal=True), Header("x-user")]
    >>> request_hash(policies, request) == request_hash([Cookie("a")], request)
    True

    Raises InvalidKey for a value with a lone surrogate, InvalidSetting for an object that is not a
    policy, and ImportError without ``balancers[xxhash]``.
    """
    if isinstance(policies, HashPolicy):
        raise InvalidSetting(f"policies must be an iterable of policies, not {shown(policies)}")
    digest: int | None = None
    for policy in policies:
        if not isinstance(policy, HashPolicy):
            raise InvalidSetting(f"policies must contain hash policies only, not {shown(policy)}")
        found = policy.hash(request)
        if found is not None:
            mixed = 0 if digest is None else (digest << 1 & BITS) | digest >> 63
            digest = mixed ^ found
        if policy.terminal and digest is not None:
            break
    return digest


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidSetting(f"name must be a str, not {shown(name)}")

"""The hash of a request: what the hash policies of a route make of it, each a few plain rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from re import Pattern

from balancers.addresses import address_of
from balancers.errors import InvalidKey, InvalidSetting
from balancers.hashing.hashed_balancer import BITS
from balancers.http.request import Request
from balancers.keys import XXHash64, key_bytes

__all__ = ["Cookie", "HashPolicy", "Header", "QueryParameter", "SourceIP", "request_hash"]


@dataclass(frozen=True, slots=True)
class Header:
    """XXH64 of a header's value, the whole line as it came; an empty one counts.

    Of several lines the values are sorted, and each is the seed of the next one's hash.
    ``pattern`` and ``substitution`` are ``regex_rewrite``: every match is replaced first.  The
    pattern is Python's; Envoy's is RE2, which is written alike but for look-around and
    back-references.
    """

    name: str
    pattern: Pattern[str] | None = None
    substitution: str = ""
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.pattern is not None and not isinstance(self.pattern, Pattern):
            raise InvalidSetting(f"pattern must be a compiled one, not {self.pattern!r}")

    def hash(self, request: Request) -> int | None:
        """Give 64 bits, or None without such a header."""
        values = request.header(self.name)
        if self.pattern is not None:
            values = tuple(self.pattern.sub(self.substitution, value) for value in values)
        digest = None
        for value in sorted(map(key_bytes, values)):
            digest = XXHash64(digest or 0)(value)
        return digest


@dataclass(frozen=True, slots=True)
class Cookie:
    """XXH64 of a cookie's value, without the pair of double quotes around it; not when empty.

    Of one name given several times the first counts.  A policy with ``ttl``, which makes Envoy set
    the cookie, is not offered.
    """

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Give 64 bits, or None without such a cookie."""
        for line in request.header("cookie"):
            for pair in line.split(";"):
                name, equals, value = pair.partition("=")
                if equals and name.lstrip(" ") == self.name:
                    if len(value) > 1 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    return XXHash64()(key_bytes(value)) if value else None
        return None


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """XXH64 of a query parameter's first value as it came: neither ``%`` nor ``+`` is decoded."""

    name: str
    terminal: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)

    def hash(self, request: Request) -> int | None:
        """Give 64 bits, or None without such a parameter."""
        for pair in request.target.partition("?")[2].split("&"):
            name, _, value = pair.partition("=")
            if name == self.name and pair:
                return XXHash64()(key_bytes(value))
        return None


@dataclass(frozen=True, slots=True)
class SourceIP:
    """XXH64 of the client's address as text, without the port, IPv6 compressed in lower case."""

    terminal: bool = False

    def hash(self, request: Request) -> int | None:
        """Give 64 bits, or None where the client is no IP address."""
        try:
            address = address_of(request.client)
        except InvalidKey:
            return None
        text = str(address)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            text = f"::ffff:{address.ipv4_mapped}"
        return XXHash64()(text.encode())


HashPolicy = Header | Cookie | QueryParameter | SourceIP
"""One entry of ``hash_policy``."""


def request_hash(policies: Iterable[HashPolicy], request: Request) -> int | None:
    """Give the 64-bit hash that Envoy 1.40.0 looks up, or None when no policy yields one.

    Each hash is mixed into those before it, rotated left by one bit; a ``terminal`` policy is the
    last as soon as there is a hash.  Without one Envoy looks up a random number of 64 bits.

    >>> request = Request(target="/?id=7", headers=[("X-User", "42"), ("Cookie", "a=1")])
    >>> hex(request_hash([Header("x-user")], request))
    '0x6de6f5d076d742b9'
    >>> policies = [Header("x-none"), Cookie("a", terminal=True), Header("x-user")]
    >>> request_hash(policies, request) == request_hash([Cookie("a")], request)
    True

    Raises InvalidKey for a value with a lone surrogate, InvalidSetting for what is no policy,
    ImportError without ``balancers[xxhash]``.
    """
    if isinstance(policies, HashPolicy):
        raise InvalidSetting(f"policies are a list, not {policies!r}")
    digest: int | None = None
    for policy in policies:
        if not isinstance(policy, HashPolicy):
            raise InvalidSetting(f"policies are a list of them, not of {policy!r}")
        found = policy.hash(request)
        if found is not None:
            mixed = 0 if digest is None else (digest << 1 & BITS) | digest >> 63
            digest = mixed ^ found
        if policy.terminal and digest is not None:
            break
    return digest


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidSetting(f"a policy names what it hashes, not {name!r}")

"""Networks and addresses: a set of networks contains what :mod:`ipaddress` says, and no more."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from balancers.addresses import Address, Prefixes, address_of, unmapped
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http import Networks
from balancers.http.networks import normalised
from tests.fuzz.choices import Choices
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"10.0.0.0/8", b"::/0", b"fd00::/8", b"::ffff:10.0.0.0/104", b"/33", b"%eth0", b"0.0.0.0"),
    *(b"/255.0.0.0", b"/0.0.0.255", b"010.0.0.1", b"1.2.3", b"::ffff:1.2.3.4", b"\n", b"/129"),
)
MAPPED = IPv6Network("::ffff:0:0/96")


def check(data: bytes) -> None:
    """The bytes are networks as text, one on each line, and after a NUL the packed addresses."""
    text, _, packed = data.partition(b"\0")
    accepted: list[str] = []
    for line in text.decode("latin-1").split("\n")[:50]:
        with suppress(InvalidSetting):
            Networks([line])
            accepted.append(line)
    networks = Networks(accepted)
    choices = Choices(packed)
    for _ in range(8):
        for address in (choices.take(4), choices.take(16), bytes(10) + b"\xff\xff" + packed[:4]):
            if len(address) in {4, 16}:
                check_address(networks, accepted, address_of(address))
    with suppress(InvalidKey):
        check_address(networks, accepted, address_of(text.decode("latin-1")))


def check_address(networks: Networks, given: list[str], address: Address) -> None:
    """Assert that the set and the prefixes agree with a naive search."""
    plain = int(normalised(address)), normalised(address).version
    expected = any(
        version == plain[1] and first <= plain[0] <= last
        for version, first, last in map(bounds, given)
    )
    assert (address in networks) == expected
    lines = work_of(lambda: address in networks).lines
    assert lines <= 40 + 4 * (33 + 129)
    for bits in (0, 1, 24, 32):
        network = Prefixes(bits, bits + 64).network(address)
        whole = unmapped(address)
        keep = bits if isinstance(whole, IPv4Address) else bits + 64
        mask = (1 << whole.max_prefixlen) - (1 << (whole.max_prefixlen - keep))
        assert int.from_bytes(network, "big") == int(whole) & mask


def bounds(given: str) -> tuple[int, int, int]:
    """Return the version and the first and last address of a network, mapped ones as IPv4."""
    network = ip_network(given)
    version, first, last = network.version, network[0], network[-1]
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        version = 4
        return version, int(first) & 0xFFFFFFFF, int(last) & 0xFFFFFFFF
    assert isinstance(first, IPv4Address | IPv6Address)
    return version, int(first), int(last)

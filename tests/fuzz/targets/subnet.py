"""A client subnet option: refused or written as it was read, at every cut and with a scope."""

from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

from balancers.errors import InvalidSetting, MalformedClientSubnet
from balancers.gslb import ClientSubnet, NetworkTable
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"\x00\x01\x18\x00\xc0\x00\x02", b"\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x00\x00"),
    *(b"\x00\x01\x00\x00", b"\x00\x02\x80\x00", b"\x00\x03", b"\x00\x01\x20\x20", b"\x00\x01\x21"),
    *(b"\xff\xff", b"\x20\x02", b"\x00\x64\xff\x9b", b"\x20\x01\x00\x00", b"\x7f\xff"),
)
TABLE = NetworkTable(
    {"12.1.0.0/16": 1, "12.1.7.0/24": 2, "192.0.2.0/24": 1, "2001:db8::/32": 3, "::/1": 4}
)


def check(data: bytes) -> None:
    """The bytes are an option, and the address in one whose length is made right."""
    check_option(data)
    assert work_of(lambda: parsed(data)).lines <= 60
    for family, bits in ((1, 32), (2, 128)):
        source = min(data[0] if data else 0, bits)
        size = (source + 7) // 8
        address = bytearray(data[1 : 1 + size].ljust(size, b"\0"))
        if source % 8:
            address[-1] &= 0xFF << 8 - source % 8
        option = bytes((0, family, source, 0)) + address
        assert check_option(option) is not None
        for cut in range(len(option)):
            assert parsed(option[:cut]) is None
        assert parsed(option + b"\0") is None


def check_option(option: bytes) -> ClientSubnet | None:
    """Assert that an option is refused, or a network that is written as the same bytes."""
    with suppress(MalformedClientSubnet):
        assert ClientSubnet.parse(option, answer=True).encode() == option
    subnet = parsed(option)
    if subnet is None:
        return None
    assert subnet.scope == 0
    assert subnet.encode() == option
    kind = IPv4Network if subnet.address.max_prefixlen == 32 else IPv6Network
    network = kind((subnet.address, subnet.source))
    found = TABLE.find(subnet.address)
    answer = subnet.answer(found.scope)
    assert ClientSubnet.parse(answer.encode(), answer=True) == answer
    assert answer.scope == (found.scope if subnet.source else 0)
    if found.scope < subnet.source:
        assert TABLE.get(network[-1]) == found.value
    with suppress(InvalidSetting):
        subnet.answer(129)
        raise AssertionError("a scope longer than the address")
    return subnet


def parsed(option: bytes) -> ClientSubnet | None:
    """Return the subnet, or None if the option is malformed."""
    with suppress(MalformedClientSubnet):
        return ClientSubnet.parse(option)
    return None

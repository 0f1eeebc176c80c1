"""Hostile networks and addresses: no text is read as a larger network than it says."""

from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random

import pytest

from balancers.errors import InvalidSetting
from balancers.http import Networks
from tests.depth import runs
from tests.hostile.shown import shown
from tests.work import work_of

REFUSED: list[object] = [
    *("", " ", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8"),
    *("10.0.0.1/8", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0 /8", "10.0.0.0/ 8", "10.0.0.0/8\n"),
    *("10.0.0.0/08x", "10.0.0.0/0x8", "10.0.0.0/8.0", "10.0.0.0/٨", "10.0.0.0/²", "10.0.0.0/1_0"),
    *(
        "10",
        "10.0",
        "10.0.0",
        "10.0.0.0.0",
        "010.0.0.0/8",
        "10.0.0.00/8",
        "10.0.0.256",
        "0x0a000000",
    ),
    *("10.*.*.*", "10.0.0.0-10.0.0.9", "10.0.0.0,10.0.0.1", "localhost", "all", "*", "any", "0/0"),
    *(
        "10.0.0.0/255.0.255.0",
        "10.0.0.0/256.0.0.0",
        "::/129",
        "::/-1",
        "::1/64",
        "::g",
        ":::",
        "::/",
    ),
    *("[::1]", "[::]/0", "fe80::1%eth0/64", "1::2::3", "::ffff:10.0.0.1/100", "::1.2.3.256"),
    *("\0", "10.0.0.0\0", "\ud800", "１０.0.0.0/8", "10。0.0.0", "10.0.0.0/8#x", "10.0.0.0/8;x"),  # noqa: RUF001 - meant
    *(b"\x0a\0\0\0", b"10.0.0.0/8", 0, 10, 2**127, 1.5, True, None, ("10.0.0.0", 8), ["::1"]),
    *(
        float("nan"),
        Fraction(1),
        object,
        {},
        "9" * 5000,
        "1." * 5000,
        ":" * 5000,
        "10.0.0.0/" + "8" * 5000,
    ),
]


@pytest.mark.parametrize("network", REFUSED, ids=shown)
def test_what_is_no_network_is_refused(network: object) -> None:
    with pytest.raises(InvalidSetting):
        Networks([network])  # type: ignore[list-item]  # the test
    with pytest.raises(InvalidSetting):
        Networks(["10.0.0.0/8", network])  # type: ignore[list-item]  # the test


@pytest.mark.parametrize("networks", ["10.0.0.0/8", b"\x0a\0\0\0", IPv4Network("10.0.0.0/8")])
def test_a_single_network_is_not_read_as_a_collection(networks: object) -> None:
    with pytest.raises(TypeError):
        Networks(networks)  # type: ignore[arg-type]  # the test


@pytest.mark.parametrize("address", ["10.0.0.1", b"\x0a\0\0\1", 167772161, None, (), 1.5, "::1"])
def test_only_addresses_are_looked_up(address: object) -> None:
    with pytest.raises(TypeError):
        _ = address in Networks(["0.0.0.0/0", "::/0"])


def test_the_border_of_every_prefix_length() -> None:
    rng = Random(1)
    for version, width in ((4, 32), (6, 128)):
        for bits in range(width + 1):
            first = rng.getrandbits(width) >> (width - bits) << (width - bits)
            last = first + (1 << (width - bits)) - 1
            address = IPv4Address if version == 4 else IPv6Address
            if version == 6 and first >> 32 == 0xFFFF:
                continue
            networks = Networks([f"{address(first)}/{bits}"])
            inside, outside = {first, last}, {first - 1, last + 1}
            assert all(address(number) in networks for number in inside)
            assert not any(
                address(number) in networks for number in outside if 0 <= number < 1 << width
            )


def test_the_whole_of_one_family_contains_nothing_of_the_other() -> None:
    rng = Random(2)
    four, six = Networks(["0.0.0.0/0"]), Networks(["::/0"])
    for _ in range(runs(2000)):
        number = rng.getrandbits(32)
        plain = IPv4Address(number)
        mapped = IPv6Address(0xFFFF << 32 | number)
        translated = IPv6Address(0x64FF9B << 96 | number)
        compatible = IPv6Address(number)
        assert plain in four
        assert mapped in four
        assert plain not in six
        assert mapped not in six
        for other in (translated, compatible):
            assert other in six
            assert other not in four


def test_a_mapped_network_is_the_network_that_it_maps() -> None:
    for bits in range(33):
        number = 0x0A000000 >> (32 - bits) << (32 - bits)
        plain = IPv4Network((number, bits))
        mapped = Networks([IPv6Network((0xFFFF << 32 | number, 96 + bits))])
        for address in {plain[0], plain[-1]}:
            assert address in mapped
            assert IPv6Address(f"::ffff:{address}") in mapped
    wider = Networks(["::/64"])
    assert IPv4Address("10.0.0.1") not in wider
    assert IPv6Address("::ffff:10.0.0.1") not in wider


def test_a_zone_neither_opens_nor_closes_a_network() -> None:
    networks = Networks(["fe80::/10"])
    for zone in ("eth0", "1", "x" * 1000, "é", "10.0.0.1", "\0"):
        assert IPv6Address(f"fe80::1%{zone}") in networks
        assert IPv6Address(f"::1%{zone}") not in networks


def test_many_networks_cost_no_more_than_their_different_lengths() -> None:
    rng = Random(3)
    many = Networks([IPv4Address(rng.getrandbits(32)) for _ in range(20_000)])
    address = IPv4Address("192.0.2.1")
    assert work_of(lambda: address in many).lines <= 40
    lengths = Networks([IPv6Network((0, bits)) for bits in range(129)])
    assert work_of(lambda: IPv6Address("8000::") in lengths).lines <= 40 + 129 * 4

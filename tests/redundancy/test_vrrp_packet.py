"""Packets of VRRP: every field, every fault, every cut, and random bytes."""

import pickle
import struct
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.redundancy.vrrp import (
    ALL_ROUTERS_IPV4,
    ALL_ROUTERS_IPV6,
    DROP_REASONS,
    Advertisement,
    Checksum,
    Datagram,
    MalformedPacket,
    VirtualRouter,
    announcement_frame,
    decode,
    encode,
    ipv4_datagram,
    virtual_mac,
)
from tests.depth import runs
from tests.redundancy.vrrp_packets import advert, summed, words

IPV4 = ("10.77.0.1", ["10.77.0.100", "10.77.0.101"])
IPV6 = ("fe80::1", ["fe80::77", "fd77::100"])
CHECKSUMS: tuple[Checksum, ...] = ("pseudo-header", "plain", "either")


def reason(datagram: Datagram, checksum: Checksum = "pseudo-header") -> str:
    """Return why a packet is refused, or "" if it is accepted."""
    try:
        decode(datagram, checksum)
    except MalformedPacket as error:
        return error.reason
    return ""


def test_the_error_has_the_reason() -> None:
    with pytest.raises(MalformedPacket, match=r"malformed VRRP packet: version") as caught:
        decode(advert(*IPV4, first=0x21))
    assert caught.value.reason in DROP_REASONS
    assert pickle.loads(pickle.dumps(caught.value)).reason == "version"  # noqa: S301 - own


@st.composite
def contents(draw: st.DrawFn, size: int) -> Advertisement:
    first = bytes.fromhex("fe80") + bytes(6) if size == 16 else b""
    rest = st.binary(min_size=size, max_size=size)
    start = draw(st.binary(min_size=size - len(first), max_size=size - len(first)))
    addresses = (first + start, *draw(st.lists(rest, max_size=254)))
    return Advertisement(
        draw(st.integers(1, 255)), draw(st.integers(0, 255)), draw(st.integers(1, 4095)), addresses
    )


@given(data=st.data(), size=st.sampled_from([4, 16]), checksum=st.sampled_from(CHECKSUMS))
def test_what_is_encoded_is_decoded_and_has_the_checksum_of_rfc_1071(
    data: st.DataObject, size: int, checksum: Checksum
) -> None:
    content = data.draw(contents(size))
    source = data.draw(st.binary(min_size=size, max_size=size))
    group = ALL_ROUTERS_IPV4 if size == 4 else ALL_ROUTERS_IPV6
    payload = encode(content, source, group, checksum)
    pseudo = size == 16 or checksum != "plain"
    assert payload == summed(payload, source, group, pseudo=pseudo)
    datagram = Datagram(source, group, 255, payload)
    assert decode(datagram, checksum) == content
    assert reason(datagram, "either") == ""
    for reserved in range(16):
        other = bytes([*payload[:4], reserved << 4 | payload[4], *payload[5:]])
        other = summed(other, source, group, pseudo=pseudo)
        assert decode(Datagram(source, group, 255, other), checksum) == content


@pytest.mark.parametrize(("source", "addresses"), [IPV4, IPV6])
def test_every_cut_and_every_wrong_bit_is_refused(source: str, addresses: list[str]) -> None:
    whole = advert(source, addresses)
    router = VirtualRouter(51, addresses, "fe80::2" if ":" in source else "10.77.0.2")
    router.startup(0.0)
    before = router.snapshot(0.0)
    for end in range(len(whole.payload)):
        cut = whole._replace(payload=whole.payload[:end])
        assert reason(cut) == "truncated"
        assert router.receive(cut, 0.0) == ()
    assert router.drops["truncated"] == len(whole.payload)
    for bit in range(len(whole.payload) * 8):
        flipped = bytearray(whole.payload)
        flipped[bit // 8] ^= 1 << bit % 8
        wrong = whole._replace(payload=bytes(flipped))
        assert reason(wrong) != ""
        assert router.receive(wrong, 0.0) == ()
    assert router.snapshot(0.0) == before
    assert sum(router.drops.values()) == len(whole.payload) * 9


@pytest.mark.parametrize(("source", "addresses"), [IPV4, IPV6])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"priority": 0}, ""),
        ({"reserved": 15}, ""),
        ({"hop_limit": 254}, "hop limit"),
        ({"hop_limit": 0}, "hop limit"),
        ({"first": 0x21}, "version"),
        ({"first": 0x41}, "version"),
        ({"first": 0x30}, "type"),
        ({"first": 0x3F}, "type"),
        ({"first": 0x22}, "version"),
        ({"count": 3}, "truncated"),
        ({"count": 255}, "truncated"),
        ({"count": 1}, "trailing bytes"),
        ({"count": 0}, "trailing bytes"),
        ({"vrid": 0}, "vrid"),
        ({"cs": 0}, "interval"),
        ({"cs": 4095}, ""),
        ({"hop_limit": 254, "first": 0x21, "cs": 0}, "hop limit"),  # the first fault counts
    ],
)
def test_the_reason_is_the_first_fault(
    source: str, addresses: list[str], fields: dict[str, int], expected: str
) -> None:
    assert reason(advert(source, addresses, **fields)) == expected  # type: ignore[arg-type]  # of ints


@pytest.mark.parametrize(("source", "addresses"), [IPV4, IPV6])
def test_a_packet_without_addresses_is_refused(source: str, addresses: list[str]) -> None:
    assert reason(advert(source, [])) == "no addresses"
    assert reason(advert(source, [addresses[0]])) == ""


def test_the_first_ipv6_address_must_be_link_local() -> None:
    for first, expected in [
        ("fe80::", ""),
        ("febf:ffff::1", ""),
        ("fec0::1", "not link-local"),
        ("fe7f:ffff::1", "not link-local"),
        ("fd77::100", "not link-local"),
        ("::", "not link-local"),
    ]:
        assert reason(advert("fe80::1", [first, "fe80::77"])) == expected


def test_the_checksum_setting_is_for_ipv4_only() -> None:
    pseudo, plain = (advert(*IPV4, pseudo=pseudo) for pseudo in (True, False))
    assert [reason(pseudo, checksum) for checksum in CHECKSUMS] == ["", "checksum", ""]
    assert [reason(plain, checksum) for checksum in CHECKSUMS] == ["checksum", "", ""]
    pseudo, plain = (advert(*IPV6, pseudo=pseudo) for pseudo in (True, False))
    assert [reason(pseudo, checksum) for checksum in CHECKSUMS] == [""] * 3
    assert [reason(plain, checksum) for checksum in CHECKSUMS] == ["checksum"] * 3
    zero = pseudo._replace(payload=pseudo.payload[:6] + b"\0\0" + pseudo.payload[8:])
    assert {reason(zero, checksum) for checksum in CHECKSUMS} == {"checksum"}


def test_a_checksum_of_zero_can_be_sent_and_both_zeros_are_accepted() -> None:
    """A sum of 0xFFFF has the checksum 0, which 0xFFFF equals in ones' complement."""
    for last in range(1 << 16):
        address = bytes([10, 77, last >> 8, last & 255])
        payload = encode(
            Advertisement(51, 100, 100, (address,)), bytes([10, 0, 0, 1]), ALL_ROUTERS_IPV4, "plain"
        )
        if payload[6:8] == b"\0\0":
            break
    else:
        pytest.fail("no checksum of 0")
    datagram = Datagram(bytes([10, 0, 0, 1]), ALL_ROUTERS_IPV4, 255, payload)
    assert reason(datagram, "plain") == ""
    other = datagram._replace(payload=payload[:6] + b"\xff\xff" + payload[8:])
    assert reason(other, "plain") == ""


def test_families_must_match() -> None:
    datagram = advert(*IPV4)
    for source, destination in [
        (b"", datagram.destination),
        (datagram.source, b""),
        (datagram.source, ALL_ROUTERS_IPV6),
        (bytes(5), bytes(5)),
    ]:
        wrong = datagram._replace(source=source, destination=destination)
        assert reason(wrong) == "family"


@pytest.mark.parametrize("family", [4, 6])
def test_random_packets_are_counted_and_change_nothing(family: int) -> None:
    """Some are random from the beginning, others are valid except for a few bytes."""
    rng = Random(family)
    source, addresses = IPV4 if family == 4 else IPV6
    router = VirtualRouter(51, addresses, source, priority=200)
    router.startup(0.0)
    before = router.snapshot(0.0)
    valid = advert("fe80::9" if family == 6 else "10.77.0.9", addresses)
    accepted = 0
    count = runs(500_000)
    for _ in range(count):
        payload = bytearray(valid.payload)
        if rng.random() < 0.5:
            payload = bytearray(rng.randbytes(rng.randrange(60)))
            payload[:1] = b"\x31"
        for _ in range(rng.randrange(4)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        datagram = valid._replace(payload=bytes(payload))
        dropped = sum(router.drops.values())
        assert router.receive(datagram, 0.0) == ()
        dropped = sum(router.drops.values()) - dropped
        assert dropped == (reason(datagram) != "" or payload[1] != 51)
        accepted += not dropped
        if not dropped:  # a priority below 200 is ignored by a backup that pre-empts
            router.restore(before, 0.0)
        assert router.snapshot(0.0) == before
    assert 0 < accepted < count
    assert sum(router.drops.values()) == count - accepted


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ((0, 100, 100, (bytes(4),)), "vrid"),
        ((256, 100, 100, (bytes(4),)), "vrid"),
        ((True, 100, 100, (bytes(4),)), "vrid"),
        ((1, -1, 100, (bytes(4),)), "priority"),
        ((1, 256, 100, (bytes(4),)), "priority"),
        ((1, 1.0, 100, (bytes(4),)), "priority"),
        ((1, 100, 0, (bytes(4),)), "interval_cs"),
        ((1, 100, 4096, (bytes(4),)), "interval_cs"),
        ((1, 100, 1 << 5000, (bytes(4),)), "interval_cs"),
        ((1, 100, 100, ()), "addresses"),
        ((1, 100, 100, (bytes(4),) * 256), "addresses"),
        ((1, 100, 100, (bytes(16),)), "address"),
        ((1, 100, 100, ("10.0.0.1",)), "address"),
    ],
)
def test_an_advertisement_that_does_not_fit_is_refused(
    content: tuple[int, int, int, tuple[bytes, ...]], name: str
) -> None:
    with pytest.raises(InvalidSetting, match=name):
        encode(Advertisement(*content), bytes(4), ALL_ROUTERS_IPV4, "pseudo-header")


def test_wrong_arguments_are_refused() -> None:
    content = Advertisement(1, 100, 100, (bytes(4),))
    with pytest.raises(InvalidSetting, match="checksum must be"):
        encode(content, bytes(4), ALL_ROUTERS_IPV4, "md5")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidSetting, match="checksum must be"):
        decode(advert(*IPV4), "md5")  # type: ignore[arg-type]  # on purpose
    for source, destination in [(bytes(5), bytes(5)), (bytes(4), ALL_ROUTERS_IPV6)]:
        with pytest.raises(InvalidSetting, match="source and destination"):
            encode(content, source, destination, "plain")
    for mac in (b"", bytes(5), bytes(7), "02:00:00:00:00:01"):
        with pytest.raises(InvalidSetting, match="mac must be 6 bytes"):
            announcement_frame(ip_address("10.0.0.1"), mac)  # type: ignore[arg-type]  # on purpose
    for vrid, version in [(0, 4), (256, 4), (1.0, 4), (1, 5)]:
        with pytest.raises(InvalidSetting):
            virtual_mac(vrid, version)  # type: ignore[arg-type]  # on purpose


def test_virtual_macs() -> None:
    assert virtual_mac(1, 4).hex(":") == "00:00:5e:00:01:01"
    assert virtual_mac(255, 6).hex(":") == "00:00:5e:00:02:ff"


@pytest.mark.parametrize("mac", ["02000000d6af", "02000000d6b0", "000000000000", "ffffffffffff"])
def test_the_checksum_of_a_neighbour_advertisement(mac: str) -> None:
    """With the first MAC, the sum of all other words is 0xFFFF, so the checksum is 0."""
    frame = announcement_frame(ip_address("fe80::77"), bytes.fromhex(mac))
    payload = frame[54:]
    pseudo_header = frame[22:54] + struct.pack("!II", len(payload), 58)
    assert payload[2:4] == struct.pack(
        "!H", 0xFFFF - words(pseudo_header + payload[:2] + payload[4:])
    )


def test_an_ipv4_packet_is_taken_apart_at_every_length_of_its_header() -> None:
    datagram = advert(*IPV4)
    for options in range(11):
        header = 20 + 4 * options
        length = header + len(datagram.payload)
        fixed = struct.pack("!BBHIBBH", 0x45 + options, 0xC0, length, 0, 255, 112, 0)
        packet = fixed + datagram.source + datagram.destination + bytes(4 * options)
        packet += datagram.payload
        assert ipv4_datagram(packet) == datagram
        assert ipv4_datagram(packet + b"padding") == datagram
        for end in range(len(packet)):
            with pytest.raises(MalformedPacket, match="truncated"):
                ipv4_datagram(packet[:end])
    packet = b"\x45\0\0\x20" + bytes(28)
    assert ipv4_datagram(packet).payload == bytes(12)
    for first in (0x44, 0x65, 0x00):
        with pytest.raises(MalformedPacket, match="truncated"):
            ipv4_datagram(bytes([first, *packet[1:]]))
    with pytest.raises(MalformedPacket, match="truncated"):
        ipv4_datagram(b"\x45\0\0\x13" + packet[4:])

"""PROXY headers of an attacker, compared with a second reader that is written from the text."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from balancers.proxy_protocol import Endpoint, ProxyHeader, Tlv, read_proxy_header
from tests.depth import runs

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4, V6 = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2]), bytes(range(32)) + b"\0\1\0\2"
MAPPED = bytes(10) + b"\xff\xff"
BLOCKS = {1: V4, 2: V6, 3: b"/run/a".ljust(108, b"\0") + b"\0b".ljust(108, b"\0")}
ALL = 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
HALF = 0x01, 0x02, 0x10, 0x20, 0x30
"""The protocol bytes with all addresses, and those with one unspecified half."""

Fields = tuple[bytes, bytes, int, int]


def binary(protocol: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, protocol]) + len(block).to_bytes(2, "big") + block


def number(text: bytes) -> int | None:
    """A port: decimal digits without a leading zero, at most 65535."""
    if not text or len(text) > 5 or any(byte not in b"0123456789" for byte in text):
        return None
    value = 0
    for byte in text:
        value = value * 10 + byte - 48
    return value if value <= 65535 and (text[0] != 48 or text == b"0") else None


def packed(text: bytes, family: socket.AddressFamily) -> bytes | None:
    """An address, by ``inet_pton`` of the machine; IPv4-mapped IPv6 is IPv4."""
    if not text.isascii() or b"\0" in text:
        return None
    try:
        found = socket.inet_pton(family, text.decode())
    except OSError:
        return None
    return found[12:] if found[:12] == MAPPED else found


def second_reader(line: bytes) -> Fields | str | None:
    """Return the fields of a complete line, "UNKNOWN", or None if the line is refused."""
    end = line.find(b"\r\n")
    if end < 0 or end > 105:
        return None
    words = line[:end].split(b" ")
    if words[:2] == [b"PROXY", b"UNKNOWN"]:
        return "UNKNOWN"
    families = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
    if len(words) != 6 or words[0] != b"PROXY" or words[1] not in families:
        return None
    family = families[words[1]]
    source, destination = packed(words[2], family), packed(words[3], family)
    ports = number(words[4]), number(words[5])
    if source is None or destination is None or ports[0] is None or ports[1] is None:
        return None
    return source, destination, ports[0], ports[1]


def fields_of(header: ProxyHeader) -> Fields | str:
    source, destination = header.source, header.destination
    if not isinstance(source, Endpoint) or not isinstance(destination, Endpoint):
        return "UNKNOWN"
    return source.address.packed, destination.address.packed, source.port, destination.port


def check_line(line: bytes) -> None:
    """Both readers agree about a line that is followed by more data."""
    sent = line + b"GET / HTTP/1.1\r\n\r\n"
    header, reason, size = read_proxy_header(sent)
    expected = second_reader(sent)
    if expected is None:
        assert header is None
        assert reason in {"malformed line", "no signature", "too long"}
    else:
        assert header is not None, reason
        assert fields_of(header) == expected
        assert size == sent.find(b"\r\n") + 2
        assert read_proxy_header(header.build()) == (header, "", len(header.build()))


WORDS = (
    *("PROXY", "TCP4", "TCP6", "UNKNOWN"),
    *(" ", "  ", "\t", "\r", "\n", "\r\n", "\0", "\x0b", "\xa0"),
    *("1.2.3.4", "255.255.255.255", "1.2.3.256", "01.2.3.4", "1.2.3", "0x1.2.3.4", "::", "::1"),
    *("::ffff:1.2.3.4", "::FFFF:102:304", "::1.2.3.4", "::ffff:1.2.3.04", "1::2::3", "::1%lo"),
    *("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "12345::", "[::1]", ":::", "1:2:3:4:5:6:7::"),
    *("0", "1", "65535", "65536", "00", "01", "-1", "+1", "1_0", "99999", "4294967297", "\xb2"),
)
LINES = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
ADDRESS_WORDS = st.sampled_from([word for word in WORDS if "." in word or ":" in word])
PORT_WORDS = st.sampled_from([word for word in WORDS if word.strip("+-_\xb2").isdigit()])
ALMOST = st.tuples(
    st.sampled_from(["PROXY TCP4", "PROXY TCP6", "PROXY UNKNOWN"]),
    *(ADDRESS_WORDS, ADDRESS_WORDS, PORT_WORDS, PORT_WORDS),
).map(" ".join)
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)
VALID = st.tuples(ADDRESSES, ADDRESSES, st.integers(0, 66000), st.integers(0, 66000)).map(
    lambda parts: " ".join(["PROXY", f"TCP{parts[0].version}", *map(str, parts)])
)


@settings(max_examples=runs(4000))
@given(LINES | ALMOST | VALID, st.sampled_from(["\r\n", "\n", "\r", "\r\r\n", " \r\n", "\0\r\n"]))
@example("PROXY UNKNOWN" + "x", "\r\n")
@example("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "\n\r\n")
def test_two_readers_agree_about_every_line(line: str, end: str) -> None:
    check_line((line + end).encode("latin-1"))


@pytest.mark.parametrize(
    ("line", "alphabet"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n", range(256)),
        (
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1234 80\r\n",
            [*range(16), *b" !/:%[7aF", 0x7F, 0x80, 0xA0, 0xC2, 0xFF],
        ),
    ],
)
def test_no_byte_in_a_line_is_ignored(line: bytes, alphabet: Sequence[int]) -> None:
    """A byte that is inserted or replaced anywhere changes what is read, or refuses the line."""
    for byte, at in product(alphabet, range(len(line))):
        check_line(line[:at] + bytes([byte]) + line[at:])
        check_line(line[:at] + bytes([byte]) + line[at + 1 :])


@pytest.mark.parametrize("port", ["00", "01", "080", "65536", "99999", "1" * 50, "-0", "+1", "1.0"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_port_has_one_spelling(port: str, place: int) -> None:
    ports = ["1", "1"]
    ports[place] = port
    line = f"PROXY TCP4 192.0.2.1 192.0.2.2 {ports[0]} {ports[1]}\r\n".encode()
    assert read_proxy_header(line).reason == "malformed line"


@pytest.mark.parametrize("size", [15, 16, 57, 105, 106, 107, 108, 109, 120, 4096])
@pytest.mark.parametrize("limit", [16, 57, 106, 107, 108, 65551])
def test_a_line_is_at_most_107_bytes_and_the_limit(size: int, limit: int) -> None:
    line = b"PROXY UNKNOWN".ljust(size - 2) + b"\r\n"
    expected = ("", size) if size <= min(107, limit) else ("too long", 0)
    assert read_proxy_header(line + b"x" * 200, limit)[1:] == expected
    for cut in range(size):
        _, reason, least = read_proxy_header(line[:cut], limit)
        assert reason in {"incomplete", "too long"}
        assert reason != "incomplete" or cut < least <= min(107, limit)


@pytest.mark.parametrize("protocol", range(256))
def test_every_protocol_byte_after_the_command_proxy(protocol: int) -> None:
    family, transport = divmod(protocol, 16)
    tlv = b"\x01\x00\x02h2"
    block = BLOCKS.get(family, b"") + tlv
    header, reason, size = read_proxy_header(binary(protocol, block) + b"next")
    if protocol in ALL:
        assert header is not None, reason
        assert (header.source is not None, header.destination is not None) == (True, True)
        assert header.datagram == (transport == 2)
        assert header.tlvs == (Tlv(1, b"h2"),)
    elif protocol == 0:
        assert header == ProxyHeader(tlvs=(Tlv(1, b"h2"),))
    elif protocol in HALF:
        assert header == ProxyHeader()
    else:
        assert (header, reason, size) == (None, "unknown protocol", 0)
    if header is not None:
        assert size == 16 + len(block)
        assert read_proxy_header(header.build()).header == header


@pytest.mark.parametrize("protocol", [0, *HALF])
def test_a_half_specified_header_is_accepted_whatever_follows(protocol: int) -> None:
    for block in (b"", b"\x01", bytes(11), bytes(300), b"\x03\x00\x04abcd", b"\x01\xff\xff"):
        header, reason, size = read_proxy_header(binary(protocol, block))
        if protocol == 0 and block == b"\x03\x00\x04abcd":
            assert reason == "wrong checksum"
        else:
            assert header is not None, reason
            assert (header.source, header.destination, size) == (None, None, 16 + len(block))


def test_every_protocol_byte_after_the_command_local() -> None:
    blocks = (b"", V4, bytes(300), b"\x03\x00\x04abcd")
    for protocol, block in product(range(256), blocks):
        read = read_proxy_header(binary(protocol, block, 0x20) + b"next")
        assert read == (ProxyHeader(local=True), "", 16 + len(block)), protocol


def test_every_other_command_is_refused() -> None:
    for command, protocol in product(set(range(256)) - {0x20, 0x21}, (0x00, 0x11, 0xFF)):
        expected = "unknown command" if command >> 4 == 2 else "unknown version"
        assert read_proxy_header(binary(protocol, V4, command))[1:] == (expected, 0), command


def test_a_length_is_exact_for_every_number_of_bytes() -> None:
    for protocol, size in product((0x11, 0x21, 0x31), range(260)):
        least = len(BLOCKS[protocol >> 4])
        block = BLOCKS[protocol >> 4][:size].ljust(size, b"\x04")
        _, reason, _ = read_proxy_header(binary(protocol, block))
        if size < least:
            assert reason == "addresses cut short"
        elif size == least:
            assert reason == ""
        else:  # the rest is 04 04 04 ..., a TLV that announces 1028 bytes
            assert reason == "TLV cut short"


def lengths() -> Iterator[int]:
    yield from range(64)
    yield from (255, 256, 257, 1024, 32767, 32768, 65534, 65535)


def test_an_announced_length_is_awaited_and_never_exceeded() -> None:
    for length in lengths():
        head = SIGNATURE + b"\x20\x00" + length.to_bytes(2, "big")
        data = head + bytes(length) + b"GET /"
        assert read_proxy_header(data) == (ProxyHeader(local=True), "", 16 + length)
        for short in {0, 1, length // 2, length - 1} & set(range(length)):
            assert read_proxy_header(head + bytes(short))[1:] == ("incomplete", 16 + length)
        for limit in {16 + length - 1, 16 + length, 65551} - set(range(16)):
            expected = "" if 16 + length <= limit else "too long"
            assert read_proxy_header(data, limit).reason == expected
            assert read_proxy_header(head, limit).reason in {"too long", "incomplete", ""}


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=8)), max_size=6))
def test_tlvs_are_read_exactly_or_refused(tlvs: list[tuple[int, bytes]]) -> None:
    block = V4 + b"".join(bytes([kind, 0, len(value)]) + value for kind, value in tlvs)
    header, reason, _ = read_proxy_header(binary(0x11, block))
    checksums = [value for kind, value in tlvs if kind == 3]
    if checksums:
        malformed = len(checksums) > 1 or len(checksums[0]) != 4
        assert reason == ("malformed checksum" if malformed else "wrong checksum") or header
    else:
        assert header is not None, reason
        assert header.tlvs == tuple(Tlv(*each) for each in tlvs)


@pytest.mark.parametrize("copies", [2, 3, 50])
def test_a_repeated_checksum_is_refused_even_if_one_is_right(copies: int) -> None:
    right = ProxyHeader(
        Endpoint(IPv4Address("192.0.2.1"), 1), Endpoint(IPv4Address("192.0.2.2"), 2), checksum=True
    ).build()
    assert read_proxy_header(binary(0x11, right[16:])).reason == ""
    sent = binary(0x11, right[16:] + right[-7:] * (copies - 1))
    assert read_proxy_header(sent).reason == "malformed checksum"


MAPPED_OR_NOT = st.ip_addresses(v=4).map(
    lambda address: IPv6Address(MAPPED + address.packed)
) | st.ip_addresses(v=6)
ENDS = st.builds(Endpoint, st.ip_addresses(v=4) | MAPPED_OR_NOT, st.integers(0, 65535))


def plain(end: Endpoint) -> Endpoint:
    mapped = end.address.ipv4_mapped if isinstance(end.address, IPv6Address) else None
    return end if mapped is None else Endpoint(mapped, end.port)


@settings(max_examples=runs(1000))
@given(ENDS, ENDS, st.booleans(), st.sampled_from([1, 2]))
def test_a_mapped_address_is_received_as_ipv4_and_sent_again_unchanged(
    source: Endpoint, destination: Endpoint, datagram: bool, version: int
) -> None:
    sent = ProxyHeader(source, destination, datagram and version == 2, version=version)
    header, reason, _ = read_proxy_header(sent.build())
    assert header is not None, reason
    assert header == replace(sent, source=plain(source), destination=plain(destination))
    again = header.build()
    assert read_proxy_header(again) == (header, "", len(again))


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        pytest.param("TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2", "192.0.2.1", "192.0.2.2", id="both"),
        ("TCP6 ::FFFF:c000:201 2001:db8::2", "192.0.2.1", "2001:db8::2"),
        ("TCP6 2001:db8::1 ::ffff:a00:0", "2001:db8::1", "10.0.0.0"),
        ("TCP6 0:0:0:0:0:ffff:192.0.2.1 ::1", "192.0.2.1", "::1"),
        ("TCP6 ::192.0.2.1 ::1", "::c000:201", "::1"),
        ("TCP6 ::ffff:0:192.0.2.1 64:ff9b::192.0.2.1", "::ffff:0:c000:201", "64:ff9b::c000:201"),
    ],
)
def test_which_addresses_become_ipv4(line: str, source: str, destination: str) -> None:
    text = f"PROXY {line} 1 2\r\n".encode()
    words = line.split()
    block = b"".join(IPv6Address(word).packed for word in words[1:]) + b"\0\1\0\2"
    expected = Endpoint(ip_address(source), 1), Endpoint(ip_address(destination), 2)
    for data in (text, binary(0x21, block), binary(0x22, block)):
        header, reason, _ = read_proxy_header(data)
        assert header is not None, reason
        assert (header.source, header.destination) == expected


def test_a_mixed_pair_is_sent_as_ipv6_as_haproxy_sends_it() -> None:
    client = Endpoint(IPv4Address("192.0.2.1"), 1)
    server = Endpoint(IPv6Address("::1"), 2)
    line = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"
    block = MAPPED + bytes([192, 0, 2, 1]) + bytes(15) + b"\1\0\1\0\2"
    assert ProxyHeader(client, server, version=1).build() == line
    assert ProxyHeader(client, server).build() == binary(0x21, block)
    assert ProxyHeader(client, server, datagram=True).build() == binary(0x22, block)
    swapped = ProxyHeader(server, client, version=1)
    assert swapped.build() == b"PROXY TCP6 ::1 ::ffff:192.0.2.1 2 1\r\n"


@settings(max_examples=runs(2000))
@given(st.binary(max_size=8), st.binary(max_size=80))
def test_any_bytes_after_the_signature(head: bytes, rest: bytes) -> None:
    """The result is stable: more bytes change nothing, and fewer are incomplete or refused."""
    data = SIGNATURE + head + rest
    found = read_proxy_header(data)
    if found.reason != "incomplete":
        assert read_proxy_header(data + b"more") == found
    for cut in range(len(data)):
        part = read_proxy_header(data[:cut])
        if part.reason not in {"", "incomplete"}:
            assert found == part
        if part.header is not None:
            assert found == part

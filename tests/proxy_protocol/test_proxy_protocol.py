"""The PROXY protocol: round trips, the bytes of its specification, every cut, corrupted bytes."""

import copy
import pickle
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers.addresses import unmapped
from balancers.errors import InvalidSetting
from balancers.proxy_protocol import Endpoint, ProxyHeader, Tlv, read_proxy_header
from balancers.proxy_protocol._crc32c import crc32c
from tests.work import work_of

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
PORTS = st.integers(0, 65535)
PATHS = (st.binary(max_size=108) | st.binary(max_size=107).map(lambda name: b"\0" + name)).map(
    lambda path: path.rstrip(b"\0")
)
IPV4, IPV6 = (
    st.builds(Endpoint, st.ip_addresses(v=4), PORTS),
    st.builds(Endpoint, st.ip_addresses(v=6), PORTS).map(
        lambda end: Endpoint(unmapped(end.address), end.port)
    ),
)
Endpoints = tuple[Endpoint, Endpoint] | tuple[bytes, bytes] | tuple[None, None]
ENDPOINTS: st.SearchStrategy[Endpoints] = st.tuples(IPV4 | IPV6, IPV4 | IPV6) | st.tuples(
    PATHS, PATHS
)
TLVS = st.lists(
    st.builds(Tlv, st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=40)),
    max_size=4,
).map(tuple)
NO_ENDPOINTS: st.SearchStrategy[Endpoints] = st.just((None, None))


def addressed(
    endpoints: Endpoints, datagram: bool, tlvs: tuple[Tlv, ...], checksum: bool
) -> ProxyHeader:
    return ProxyHeader(endpoints[0], endpoints[1], datagram, tlvs=tlvs, checksum=checksum)


def unspecified(tlvs: tuple[Tlv, ...], checksum: bool) -> ProxyHeader:
    return ProxyHeader(tlvs=tlvs, checksum=checksum)


def line(endpoints: Endpoints) -> ProxyHeader:
    return ProxyHeader(endpoints[0], endpoints[1], version=1)


HEADERS = (
    st.builds(addressed, ENDPOINTS, st.booleans(), TLVS, st.booleans())
    | st.builds(unspecified, TLVS, st.booleans())
    | st.builds(line, st.tuples(IPV4 | IPV6, IPV4 | IPV6) | NO_ENDPOINTS)
    | st.just(ProxyHeader(local=True))
)


def reason(data: bytes) -> str:
    read = read_proxy_header(data)
    assert (read.header is None) == (read.reason != "")
    assert (read.size == 0) == (read.reason not in {"", "incomplete"})
    return read.reason


def binary(command: int, protocol: int, block: bytes, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes([command, protocol]) + size.to_bytes(2, "big") + block


@given(HEADERS, st.binary(max_size=40))
def test_a_built_header_is_parsed_and_the_stream_is_ignored(
    header: ProxyHeader, stream: bytes
) -> None:
    data = header.build()
    assert read_proxy_header(data + stream) == (header, "", len(data))
    assert read_proxy_header(memoryview(data + stream)) == (header, "", len(data))


@given(HEADERS)
def test_every_cut_is_incomplete_and_the_size_never_exceeds_the_header(header: ProxyHeader) -> None:
    data = header.build()
    requested = 0
    for cut in range(len(data)):
        read = read_proxy_header(data[:cut])
        assert (read.header, read.reason) == (None, "incomplete")
        assert cut < read.size <= len(data)
        assert read.size >= requested
        requested = read.size


@given(HEADERS)
def test_reading_only_the_requested_size_consumes_no_byte_of_the_stream(
    header: ProxyHeader,
) -> None:
    data = header.build() + b"stream"
    read, size, rounds = read_proxy_header(b""), 0, 0
    while read.reason == "incomplete":
        size, rounds = read.size, rounds + 1
        read = read_proxy_header(data[:size])
    assert (read.header, read.size) == (header, size)
    assert header.version == 1 or rounds <= 3


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: SIGNATURE + rest))
@example(b"PROXY TCP6 ::1%a ::1 1 1\r\n")
@example(b"PROXY TCP4 \xff.1.1.1 1.1.1.1 1 1\r\n")
def test_no_data_raises(data: bytes) -> None:
    reason(data)


@given(HEADERS, st.data())
def test_a_corrupted_byte_of_a_header_with_a_checksum_is_refused(
    header: ProxyHeader, data: st.DataObject
) -> None:
    if header.version == 1 or header.local:
        return
    summed = ProxyHeader(
        header.source, header.destination, header.datagram, tlvs=header.tlvs, checksum=True
    )
    sent = bytearray(summed.build())
    at = data.draw(st.integers(len(sent) - 4, len(sent) - 1) | st.integers(0, len(sent) - 1))
    sent[at] ^= data.draw(st.integers(1, 255))
    read = read_proxy_header(bytes(sent))
    assert read.header is None or read.header.local or not read.header.checksum
    if at >= len(sent) - 4:
        assert read.reason == "wrong checksum"


def test_the_line_of_the_specification() -> None:
    line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    header = ProxyHeader(
        Endpoint(IPv4Address("192.168.0.1"), 56324),
        Endpoint(IPv4Address("192.168.0.11"), 443),
        version=1,
    )
    request = b"GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"
    assert header.build() == line
    assert read_proxy_header(line + request) == (header, "", 47)


@pytest.mark.parametrize(
    ("sent", "size"),
    [
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56),
        (b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", 104),
        (b"PROXY UNKNOWN\r\n", 15),
        (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", 107),
        (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", 32),
        (b"PROXY TCP6 ::1 ::FFFF:1.2.3.4 1 2\r\n", 35),
        (b"PROXY UNKNOWN \r\n", 16),
        (b"PROXY UNKNOWN \n\r\x00\xff\r\n", 20),
    ],
)
def test_lines_of_many_lengths(sent: bytes, size: int) -> None:
    read = read_proxy_header(sent + b"PROXY")
    assert (read.reason, read.size) == ("", size)
    assert read.header is not None
    unknown = sent.startswith(b"PROXY UNKNOWN")
    assert (read.header.source is None) == (read.header.destination is None) == unknown


@pytest.mark.parametrize(
    "sent",
    [
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n", b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n", b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 ::2 1 2\r\n", b"PROXY TCP6 ::1%lo ::2 1 2\r\n",
        b"PROXY TCP6 [::1] ::2 1 2\r\n", b"PROXY TCP6 1::2::3 ::2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1\x00 2.2.2.2 1 2\r\n", b"PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n",
        b"PROXY TCP4 \xd9\xa1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY TCP4 \r\n",
        b"PROXY UNKNOWNS\r\n", b"PROXY UNKNOWN\t\r\n",
    ],
)  # fmt: skip
def test_a_malformed_line_is_refused(sent: bytes) -> None:
    assert reason(sent) == "malformed line"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"SSH-2.0-x\r\n", b"proxy TCP4 ",
        b"PROXY  TCP4", b"PROXY\t",
        b"PROXY TCP5", b"PROXY UDP4", b"PROXY TCP4\t", b"PROXY\r\n", b"PROXY UNKNOWM", b" PROXY",
        b"\n",        b"\r\n\r\n\x00\r\nQUIT\r", b"\r\n\r\nGET /",
    ],
)  # fmt: skip
def test_data_without_a_signature_is_refused(sent: bytes) -> None:
    assert reason(sent) == "no signature"


def test_a_line_ends_within_107_bytes() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * 91
    assert read_proxy_header(longest + b"\r\n")[1:] == ("", 107)
    assert reason(longest + b"x\r\n") == "too long"
    assert read_proxy_header(longest)[1:] == ("incomplete", 107)
    assert read_proxy_header(longest + b"\r")[1:] == ("incomplete", 107)
    assert reason(longest + b"x") == "too long"
    assert reason(b"PROXY UNKNOWN " + b"x" * 65536) == "too long"


@pytest.mark.parametrize(
    ("tail", "header"),
    [
        ("20 00 0000", ProxyHeader(local=True)),
        ("21 00 0000", ProxyHeader()),
        (
            "21 11 000c c0a80001 c0a8000b dc04 01bb",
            ProxyHeader(
                Endpoint(IPv4Address("192.168.0.1"), 56324),
                Endpoint(IPv4Address("192.168.0.11"), 443),
            ),
        ),
        (
            "21 12 000c c0a80001 c0a8000b dc04 0035",
            ProxyHeader(
                Endpoint(IPv4Address("192.168.0.1"), 56324),
                Endpoint(IPv4Address("192.168.0.11"), 53),
                datagram=True,
            ),
        ),
        (
            "21 21 0024" + "20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02 ffff 0000",
            ProxyHeader(
                Endpoint(IPv6Address("2001:db8::1"), 65535), Endpoint(IPv6Address("2001:db8::2"), 0)
            ),
        ),
        (
            "21 31 00d8" + b"/run/a".hex() + "00" * 102 + "00" + b"abstract".hex() + "00" * 99,
            ProxyHeader(b"/run/a", b"\0abstract"),
        ),
        ("21 32 00d8" + "00" * 216, ProxyHeader(b"", b"", datagram=True)),
        (
            "21 11 001a 01010101 02020202 0001 0002 010002 6832 040000 ea0003 76706e",
            ProxyHeader(
                Endpoint(IPv4Address("1.1.1.1"), 1),
                Endpoint(IPv4Address("2.2.2.2"), 2),
                tlvs=(Tlv(1, b"h2"), Tlv(4, b""), Tlv(0xEA, b"vpn")),
            ),
        ),
    ],
)
def test_the_bytes_of_version_2(tail: str, header: ProxyHeader) -> None:
    data = SIGNATURE + bytes.fromhex(tail)
    assert header.build() == data
    assert read_proxy_header(data) == (header, "", len(data))


@pytest.mark.parametrize("protocol", [0x00, 0x11, 0x21, 0x33, 0x44, 0xFF])
@pytest.mark.parametrize("block", [b"", b"\x01\x02", bytes(300), b"\x03\x00\x04abcd"])
def test_a_local_block_is_skipped_whatever_it_contains(protocol: int, block: bytes) -> None:
    read = read_proxy_header(binary(0x20, protocol, block) + b"next")
    assert read == (ProxyHeader(local=True), "", 16 + len(block))


@pytest.mark.parametrize("protocol", [0x00, 0x01, 0x02, 0x10, 0x20, 0x30])
def test_unspecified_addresses_are_skipped(protocol: int) -> None:
    read = read_proxy_header(binary(0x21, protocol, b"\x01\x02\x03\x04\x05") + b"next")
    assert read == (ProxyHeader(), "", 21)
    tlvs = () if protocol else (Tlv(4, b""),)
    assert read_proxy_header(binary(0x21, protocol, b"\x04\x00\x00")).header == ProxyHeader(
        tlvs=tlvs
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (binary(0x11, 0x11, bytes(12)), "unknown version"),
        (binary(0x30, 0x00, b""), "unknown version"),
        (binary(0x22, 0x11, bytes(12)), "unknown command"),
        (binary(0x2F, 0x00, b""), "unknown command"),
        (binary(0x21, 0x41, bytes(12)), "unknown protocol"),
        (binary(0x21, 0x13, bytes(12)), "unknown protocol"),
        (binary(0x21, 0xF0, bytes(12)), "unknown protocol"),
        (binary(0x21, 0x11, bytes(11)), "addresses cut short"),
        (binary(0x21, 0x21, bytes(35)), "addresses cut short"),
        (binary(0x21, 0x31, bytes(215)), "addresses cut short"),
        (binary(0x21, 0x11, bytes(12) + b"\x01"), "TLV cut short"),
        (binary(0x21, 0x11, bytes(12) + b"\x01\x00"), "TLV cut short"),
        (binary(0x21, 0x11, bytes(12) + b"\x01\x00\x01"), "TLV cut short"),
        (binary(0x21, 0x11, bytes(12) + b"\x01\xff\xff" + bytes(20)), "TLV cut short"),
        (binary(0x21, 0x11, bytes(12) + b"\x03\x00\x03abc"), "malformed checksum"),
        (binary(0x21, 0x11, bytes(12) + b"\x03\x00\x04abcd"), "wrong checksum"),
        (binary(0x21, 0x00, b"\x03\x00\x04abcd"), "wrong checksum"),
        (binary(0x21, 0x11, bytes(12) + b"\x05\x00\x81" + bytes(129)), "unique id too long"),
    ],
)
def test_an_invalid_header_is_refused_with_its_reason(sent: bytes, expected: str) -> None:
    assert reason(sent) == expected


def test_two_checksums_are_refused() -> None:
    header = ProxyHeader(tlvs=(Tlv(0xE0, b""),), checksum=True).build()
    twice = binary(0x21, 0x00, header[16:] + header[-7:])
    assert reason(twice) == "malformed checksum"


def test_a_checksum_may_precede_other_tlvs() -> None:
    block = bytes(12) + b"\x03\x00\x04" + bytes(4) + b"\x01\x00\x02h2"
    zeroed = binary(0x21, 0x11, block)
    at = 16 + 12 + 3
    data = zeroed[:at] + crc32c(zeroed).to_bytes(4, "big") + zeroed[at + 4 :]
    header = read_proxy_header(data).header
    assert header is not None
    assert (header.tlvs, header.checksum) == ((Tlv(1, b"h2"),), True)


@pytest.mark.parametrize("cut", [13, 14])
def test_invalid_bytes_are_refused_before_the_header_is_complete(cut: int) -> None:
    assert reason(binary(0x41, 0x11, b"")[:cut]) == "unknown version"
    assert reason(binary(0x2E, 0x11, b"")[:cut]) == "unknown command"
    assert (reason(binary(0x21, 0x91, b"")[:cut]) == "unknown protocol") == (cut > 13)


def test_a_header_that_is_too_long_is_refused_at_once() -> None:
    announced = binary(0x21, 0x11, b"", 65535)
    assert read_proxy_header(announced)[1:] == ("incomplete", 65551)
    assert read_proxy_header(announced, max_size=536)[1:] == ("too long", 0)
    assert read_proxy_header(binary(0x21, 0x11, b"", 520), max_size=536)[1:] == ("incomplete", 536)
    line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert read_proxy_header(line, max_size=47)[1:] == ("", 47)
    assert read_proxy_header(line, max_size=46)[1:] == ("too long", 0)
    assert read_proxy_header(line[:-2], max_size=46)[1:] == ("too long", 0)


@pytest.mark.parametrize("max_size", [15, -1, 536.0, None])
def test_a_bound_below_16_bytes_is_refused(max_size: Any) -> None:
    with pytest.raises(InvalidSetting, match="max_size"):
        read_proxy_header(b"", max_size)


@pytest.mark.parametrize(
    "block", [b"\x03\x00\x04abcd", b"\x03\x00\x00", b"\x04\x00\x00", b"\x04\x01\x00"]
)
def test_the_cost_is_linear_in_the_length_of_the_block(block: bytes) -> None:
    """32 KiB of TLVs run about four times the lines of code of 8 KiB."""

    def lines(size: int) -> int:
        tlvs = (block + bytes(size))[:size] if len(block) > 3 else block * (size // 3)
        data = binary(0x21, 0x11, bytes(12) + tlvs)
        return work_of(lambda: read_proxy_header(data)).lines

    assert lines(1 << 15) <= 4.2 * lines(1 << 13) + 200
    assert lines(60_000) <= 10 * 60_000


def test_data_after_the_header_costs_nothing() -> None:
    data = ProxyHeader(local=True).build()
    long = data + bytes(1 << 20)
    lines = work_of(lambda: read_proxy_header(long)).lines
    assert lines == work_of(lambda: read_proxy_header(data)).lines


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E), (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)  # fmt: skip
def test_known_checksums(data: bytes, checksum: int) -> None:
    """The check value of the algorithm, and RFC 3720, appendix B.4."""
    assert crc32c(data) == checksum


V4, V6 = Endpoint(IPv4Address("1.1.1.1"), 1), Endpoint(IPv6Address("::1"), 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"source": V4}, {"destination": V4}, {"source": b"", "destination": V6},
        {"source": V4, "destination": b""}, {"source": "1.1.1.1", "destination": "2.2.2.2"},
        {"source": ("1.1.1.1", 1), "destination": ("1.1.1.1", 1)},
        {"source": Endpoint(IPv4Address("1.1.1.1"), 65536), "destination": V4},
        {"source": Endpoint(IPv4Address("1.1.1.1"), True), "destination": V4},
        {"source": Endpoint(IPv6Address("::1%lo"), 1), "destination": V6},
        {"source": b"a" * 109, "destination": b""}, {"source": b"a\0", "destination": b""},
        {"datagram": True}, {"checksum": 1}, {"checksum": "yes"}, {"local": 0}, {"datagram": None},
        {"local": True, "source": V4, "destination": V4},
        {"local": True, "checksum": True}, {"local": True, "tlvs": (Tlv(1, b""),)},
        {"version": 1, "local": True}, {"version": 1, "checksum": True},
        {"version": 1, "tlvs": (Tlv(1, b""),)}, {"version": 1, "source": b"", "destination": b""},
        {"version": 1, "source": V4, "destination": V4, "datagram": True},
        {"version": 0}, {"version": 3}, {"version": "2"}, {"version": True},
        {"tlvs": [Tlv(1, b"")]}, {"tlvs": ((1, b""),)}, {"tlvs": (Tlv(3, b"abcd"),)},
        {"tlvs": (Tlv(256, b""),)}, {"tlvs": (Tlv(-1, b""),)}, {"tlvs": (Tlv(5, bytes(129)),)},
        {"tlvs": (Tlv(1, bytes(65533)),)}, {"tlvs": (Tlv(1, bytes(65532)),), "checksum": True},
        {"tlvs": (Tlv(1, bytes(40000)), Tlv(1, bytes(40000)))},
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_sent_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        ProxyHeader(**fields)


def test_the_longest_possible_header() -> None:
    header = ProxyHeader(tlvs=(Tlv(0xE0, bytes(65532)),))
    data = header.build()
    assert len(data) == 65551
    assert read_proxy_header(data) == (header, "", 65551)


def test_a_copy_equals_the_header() -> None:
    header = ProxyHeader(V4, V4, tlvs=(Tlv(1, b"h2"),), checksum=True)
    assert copy.deepcopy(header) == header == pickle.loads(pickle.dumps(header))  # noqa: S301 - own pickle

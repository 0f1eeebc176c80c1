"""A PROXY header: no exception, consistent at every cut, and a parsed header can be built."""

from dataclasses import replace

from balancers.proxy_protocol import read_proxy_header
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"PROXY TCP4 ", b"PROXY UNKNOWN", b"\r\n", b"65536", b"256", b" 01", b"1.1.1.1", b"::1"),
    *(b"\x20\x00\x00\x00", b"\x21\x11\x00\x0c", b"\x21\x22\x00\x24", b"\x21\x31\x00\xd8"),
    *(b"\x03\x00\x04", b"\x05\x00\x81", b"\x04\x00\x00", b"\x01\x00\x02h2"),
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def check(data: bytes) -> None:
    """The bytes start a connection, follow a signature, or fill in an almost valid header."""
    for sent in {data, b"PROXY TCP4 " + data, b"PROXY TCP6 " + data, SIGNATURE + data}:
        check_consistent(sent)
    for sent in almost_valid(data):
        check_consistent(sent)


def almost_valid(data: bytes) -> tuple[bytes, bytes]:
    """Return a line and a block that are valid except, possibly, for their numbers."""
    ports = (int.from_bytes(data[at : at + 3], "big") >> 4 for at in (0, 3))
    address = ".".join(str(byte) for byte in data[6:10])
    line = " ".join([f"PROXY TCP4 {address} 192.0.2.1", *map(str, ports)])
    block = data[1:]
    binary = SIGNATURE + b"\x21" + data[:1] + len(block).to_bytes(2, "big") + block
    return line.encode() + b"\r\n", binary


def check_consistent(sent: bytes) -> None:
    """Assert that the result for these bytes agrees with the results for more and fewer bytes."""
    header, reason, size = read_proxy_header(sent)
    if reason == "incomplete":
        assert header is None
        assert size > len(sent)
    elif header is None:
        assert size == 0
        assert read_proxy_header(sent + b"more") == (None, reason, 0)
    else:
        assert 0 < size <= len(sent)
        assert read_proxy_header(sent[:size] + b"more") == (header, "", size)
        for cut in {0, 1, size // 2, size - 1}:
            part = read_proxy_header(sent[:cut])
            assert part.reason == "incomplete"
            assert cut < part.size <= size
        built = header.build()
        assert read_proxy_header(built) == (header, "", len(built))
        if header.version == 2 and not header.local and header.source is not None:
            summed = replace(header, checksum=True).build()
            broken = summed[:-1] + bytes([summed[-1] ^ 1])
            assert read_proxy_header(broken) == (None, "wrong checksum", 0)
    assert work_of(lambda: read_proxy_header(sent)).lines <= 15 * len(sent) + 200

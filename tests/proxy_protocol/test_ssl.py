"""The TLV of the TLS connection: round trips, every cut, repeated and malformed sub-TLVs."""

import copy
import pickle
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.proxy_protocol import ProxyHeader, ReadSsl, Ssl, Tlv, TlvType, read_proxy_header
from tests.work import work_of

SUB_TLVS = st.lists(
    st.builds(Tlv, st.integers(0, 255), st.binary(max_size=20)),
    max_size=5,
    unique_by=lambda tlv: tlv.type,
).map(tuple)
SSL = st.builds(
    Ssl,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 0xFFFFFFFF) | st.just(0),
    SUB_TLVS,
)


def parsed(value: bytes) -> ReadSsl:
    """Read a header that contains this value, as received."""
    header = read_proxy_header(ProxyHeader(tlvs=(Tlv(0x20, value),)).build()).header
    assert header is not None
    found = header.read_ssl()
    assert (found.ssl is None) == (found.reason != "")
    return found


@given(SSL)
def test_a_description_is_received_as_it_was_sent(ssl: Ssl) -> None:
    assert parsed(ssl.tlv().value) == (ssl, "")
    assert ssl.tlv().type == 0x20
    assert copy.deepcopy(ssl) == ssl == pickle.loads(pickle.dumps(ssl))  # noqa: S301 - own pickle


@given(SSL)
def test_every_cut_is_refused_or_ends_between_two_sub_tlvs(ssl: Ssl) -> None:
    value = ssl.tlv().value
    ends = [5]
    for tlv in ssl.tlvs:
        ends.append(ends[-1] + 3 + len(tlv.value))
    for cut in range(len(value)):
        found = parsed(value[:cut])
        if cut in ends:
            assert found.ssl is not None
            assert found.ssl.tlvs == ssl.tlvs[: ends.index(cut)]
        else:
            assert found.reason == ("too short" if cut < 5 else "sub-TLV cut short")


@given(st.binary(max_size=60))
def test_no_value_raises(value: bytes) -> None:
    for sent in (value, b"\x07\0\0\0\0" + value):
        ssl, _ = parsed(sent)
        if ssl is not None:
            rebuilt = ssl.tlv().value
            assert rebuilt == bytes([sent[0] & 0x07]) + sent[1:]
            assert parsed(rebuilt).ssl == ssl


def test_the_bytes_of_the_specification() -> None:
    value = bytes.fromhex("07 00000000 21 0007") + b"TLSv1.3" + b"\x22\0\x0bexample.com"
    ssl = Ssl(
        tls=True,
        certificate_on_connection=True,
        certificate_in_session=True,
        verify=0,
        tlvs=(Tlv(TlvType.SSL_VERSION, b"TLSv1.3"), Tlv(TlvType.SSL_CN, b"example.com")),
    )
    assert ssl.tlv() == Tlv(0x20, value)
    assert parsed(value) == (ssl, "")
    assert ssl.find(0x21) == ssl.find(TlvType.SSL_VERSION) == b"TLSv1.3"
    assert ssl.find(TlvType.SSL_CIPHER) is None


def test_what_haproxy_sends_for_a_client_without_a_certificate() -> None:
    """Recorded from HAProxy 2.6.12 with ``proxy-v2-options ssl,cert-cn,cert-key,cert-sig,...``."""
    value = (
        b"\x01\x00\x00\x00\x00!\x00\x07TLSv1.3%\x00\x07RSA2048$\x00\nRSA-SHA256"
        b"#\x00\x16TLS_AES_256_GCM_SHA384"
    )
    ssl, reason = parsed(value)
    assert ssl is not None, reason
    assert (ssl.tls, ssl.verify, ssl.verified) == (True, 0, False)
    names = [TlvType(tlv.type).name for tlv in ssl.tlvs]
    assert names == ["SSL_VERSION", "SSL_KEY_ALG", "SSL_SIG_ALG", "SSL_CIPHER"]
    assert ssl.tlv().value == value


@pytest.mark.parametrize("verify", [0, 1, 0x80000000, 0xFFFFFFFF])
def test_only_a_verified_certificate_over_tls_is_verified(verify: int) -> None:
    for client in range(256):
        ssl, reason = parsed(bytes([client]) + verify.to_bytes(4, "big"))
        assert ssl is not None, reason
        assert (ssl.tls, ssl.verify) == (bool(client & 1), verify)
        assert ssl.certificate_on_connection == bool(client & 2)
        assert ssl.certificate_in_session == bool(client & 4)
        assert ssl.verified == (bool(client & 1) and bool(client & 6) and verify == 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "too short"),
        (b"\x01", "too short"),
        (b"\x01\0\0\0", "too short"),
        (b"\x01\0\0\0\0", ""),
        (b"\x01\0\0\0\0\x21", "sub-TLV cut short"),
        (b"\x01\0\0\0\0\x21\0", "sub-TLV cut short"),
        (b"\x01\0\0\0\0\x21\0\0", ""),
        pytest.param(b"\x01\0\0\0\0\x21\0\1", "sub-TLV cut short", id="without-its-value"),
        (b"\x01\0\0\0\0\x21\xff\xffTLSv1", "sub-TLV cut short"),
        (b"\x01\0\0\0\0\x22\0\1a\x22\0\1b", "repeated sub-TLV"),
        (b"\x01\0\0\0\0\x22\0\1a\x21\0\0\x22\0\1a", "repeated sub-TLV"),
        (b"\x01\0\0\0\0\x28\0\0\x28\0\0", "repeated sub-TLV"),
        (b"\x01\0\0\0\0\x29\0\0\x29\0\0", ""),
        (b"\x01\0\0\0\0\x20\0\0\x20\0\0", ""),
        (b"\x01\0\0\0\0\x03\0\4abcd\x03\0\0", ""),  # no checksum at this level
        (b"\x01\0\0\0\0\x05\0\x81" + bytes(129), ""),
    ],
)
def test_a_malformed_value_has_a_reason(value: bytes, reason: str) -> None:
    assert parsed(value).reason == reason


def test_a_header_has_one_description_or_a_reason() -> None:
    tlv = Ssl().tlv()
    assert ProxyHeader().read_ssl() == (None, "absent")
    assert ProxyHeader(local=True).read_ssl() == (None, "absent")
    assert ProxyHeader(tlvs=(Tlv(1, b"h2"),)).read_ssl() == (None, "absent")
    assert ProxyHeader(tlvs=(Tlv(1, b"h2"), tlv)).read_ssl() == (Ssl(), "")
    assert ProxyHeader(tlvs=(tlv, tlv)).read_ssl() == (None, "repeated")
    assert ProxyHeader(tlvs=(tlv, Tlv(0x20, b""))).read_ssl() == (None, "repeated")


WRONG_VALUE: Any = "TLSv1.3"


@pytest.mark.parametrize(
    "given_",
    [
        {"tls": 1}, {"certificate_on_connection": None}, {"certificate_in_session": "yes"},
        {"verify": -1}, {"verify": 1 << 32}, {"verify": False}, {"verify": 0.0}, {"verify": None},
        {"tlvs": [Tlv(0x21, b"")]}, {"tlvs": ((0x21, b""),)}, {"tlvs": Tlv(0x21, b"")},
        {"tlvs": (Tlv(256, b""),)}, {"tlvs": (Tlv(-1, b""),)}, {"tlvs": (Tlv(True, b""),)},
        {"tlvs": (Tlv(0x21, WRONG_VALUE),)}, {"tlvs": (Tlv(0x21, b""), Tlv(0x21, b""))},
        {"tlvs": (Tlv(0x21, bytes(65528)),)}, {"tlvs": (Tlv(0x21, bytes(1 << 17)),)},
        {"tlvs": (Tlv(1, bytes(40000)), Tlv(1, bytes(40000)))},
    ],
)  # fmt: skip
def test_an_invalid_description_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        Ssl(**given_)


def test_the_longest_possible_description() -> None:
    ssl = Ssl(tlvs=(Tlv(TlvType.SSL_CLIENT_CERT, bytes(65524)),))
    header = ProxyHeader(tlvs=(ssl.tlv(),))
    found = read_proxy_header(header.build()).header
    assert found is not None
    assert found.read_ssl() == (ssl, "")
    longest = Ssl(tlvs=(Tlv(TlvType.SSL_CLIENT_CERT, bytes(65527)),))
    assert len(longest.tlv().value) == 65535
    with pytest.raises(InvalidSetting):
        ProxyHeader(tlvs=(longest.tlv(),))


def test_a_description_says_nothing_by_default() -> None:
    assert Ssl().tls
    assert not Ssl().verified
    assert not Ssl(certificate_on_connection=True).verified
    assert [field.name for field in fields(Ssl)][-2:] == ["verify", "tlvs"]


def test_the_cost_is_linear_in_the_number_of_sub_tlvs() -> None:
    def lines(count: int) -> int:
        header = ProxyHeader(tlvs=(Tlv(0x20, bytes(5) + b"\x30\0\0" * count),))
        return work_of(header.read_ssl).lines

    assert lines(4000) <= 4.2 * lines(1000) + 200


def test_the_registered_types() -> None:
    """The numbers of the specification, and the values that :class:`Tlv` accepts."""
    named = {kind.name: int(kind) for kind in TlvType}
    assert named == {
        "ALPN": 0x01, "AUTHORITY": 0x02, "CRC32C": 0x03, "NOOP": 0x04, "UNIQUE_ID": 0x05,
        "SSL": 0x20, "SSL_VERSION": 0x21, "SSL_CN": 0x22, "SSL_CIPHER": 0x23,
        "SSL_SIG_ALG": 0x24, "SSL_KEY_ALG": 0x25, "SSL_GROUP": 0x26, "SSL_SIG_SCHEME": 0x27,
        "SSL_CLIENT_CERT": 0x28, "NETNS": 0x30,
    }  # fmt: skip
    for kind in set(TlvType) - {TlvType.CRC32C}:
        header = ProxyHeader(tlvs=(Tlv(kind, b"x"),))
        assert header.build() == ProxyHeader(tlvs=(Tlv(int(kind), b"x"),)).build()
        assert read_proxy_header(header.build()).header == header
    with pytest.raises(InvalidSetting):
        ProxyHeader(tlvs=(Tlv(TlvType.CRC32C, b"abcd"),))

"""Defines TLVs: the additional properties in a PROXY header of version 2.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05, and three types that were added later.
"""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["UNIQUE_ID_BYTES", "Tlv", "TlvType", "is_valid", "spans", "tlv_bytes", "tlv_head"]

UNIQUE_ID_BYTES = 128

_HEAD_SIZE = 3
_HIGHEST_TYPE = 0xFF


class TlvType(IntEnum):
    """The registered types of TLVs, for :class:`Tlv`.

    An unregistered type is a plain int.  Types from 0xE0 to 0xEF are for your own applications, and
    types from 0xF0 to 0xF7 are for experiments.

    The types that begin with ``SSL_`` are found inside a TLV of the type ``SSL``.  The texts in
    them are ASCII, except for ``SSL_CN``, which should be UTF-8.

    >>> Tlv(TlvType.ALPN, b"h2") == Tlv(0x01, b"h2")
    True
    """

    ALPN = 0x01
    """The protocol of the layer above, as TLS negotiates it (RFC 7301), such as ``h2``."""
    AUTHORITY = 0x02
    """The host name that the client sent, in UTF-8.  With TLS, it is the server name."""
    CRC32C = 0x03
    """The checksum of the header.  It is never in ``ProxyHeader.tlvs``."""
    NOOP = 0x04
    """Padding."""
    UNIQUE_ID = 0x05
    """An identifier of the connection, of at most 128 bytes."""
    SSL = 0x20
    """The TLS connection of the client: see :class:`Ssl`."""
    SSL_VERSION = 0x21
    """The version of TLS, such as ``TLSv1.3``."""
    SSL_CN = 0x22
    """The common name in the certificate of the client."""
    SSL_CIPHER = 0x23
    """The name of the cipher."""
    SSL_SIG_ALG = 0x24
    """The algorithm that signed the certificate of the proxy, such as ``RSA-SHA256``."""
    SSL_KEY_ALG = 0x25
    """The algorithm of the key of the proxy's certificate, such as ``RSA2048``."""
    SSL_GROUP = 0x26
    """The algorithm of the key exchange, such as ``secp256r1``."""
    SSL_SIG_SCHEME = 0x27
    """The algorithm that the proxy signed the handshake with, such as ``rsa_pss_rsae_sha256``."""
    SSL_CLIENT_CERT = 0x28
    """The certificate of the client, as DER."""
    NETNS = 0x30
    """The name of the network namespace."""


class Tlv(NamedTuple):
    """Holds one additional property of a connection.

    TLV stands for type, length and value.  ``type`` is an int from 0 to 255 that says what the
    property is; :class:`TlvType` has names for the registered types.  ``value`` is the bytes of
    the property.

    >>> Tlv(0x01, b"h2")
    Tlv(type=1, value=b'h2')
    """

    type: int
    value: bytes


def is_valid(tlv: object) -> bool:
    """Return whether an object is a TLV whose type and value have the right types and ranges."""
    if not isinstance(tlv, Tlv):
        return False
    kind: object = tlv.type
    if not isinstance(kind, int) or isinstance(kind, bool) or not isinstance(tlv.value, bytes):
        return False
    return 0 <= kind <= _HIGHEST_TYPE


def spans(data: bytes, at: int) -> list[tuple[int, int, int]] | None:
    """Return the type of each TLV from ``at`` on, and the indices where its value starts and ends.

    Return None if the data ends before the end of the last TLV.
    """
    found: list[tuple[int, int, int]] = []
    while at < len(data):
        start = at + _HEAD_SIZE
        end = start + int.from_bytes(data[at + 1 : start], "big")
        found.append((data[at], start, end))
        at = end
    return found if at == len(data) else None


def tlv_head(kind: int, size: int) -> bytes:
    """Return the type and the length, which precede the value of a TLV."""
    return bytes([kind]) + size.to_bytes(_HEAD_SIZE - 1, "big")


def tlv_bytes(tlv: Tlv) -> bytes:
    """Return the bytes of a TLV."""
    return tlv_head(tlv.type, len(tlv.value)) + tlv.value

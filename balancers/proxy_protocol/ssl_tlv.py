"""Parses and builds the TLV that describes the TLS connection of a client.

Source: HAProxy's ``doc/proxy-protocol.txt`` of 2020-03-05, section 2.2.6.
"""

from dataclasses import dataclass
from typing import NamedTuple

from balancers._internal.checks import check_flags, shown
from balancers.errors import InvalidSetting
from balancers.proxy_protocol.tlv import Tlv, TlvType, is_valid, spans, tlv_bytes

__all__ = ["ReadSsl", "Ssl", "ssl_in"]

_TLS, _CERTIFICATE_ON_CONNECTION, _CERTIFICATE_IN_SESSION = 0x01, 0x02, 0x04
_FIXED_SIZE = 1 + 4
_MAX_SIZE = 0xFFFF
_HIGHEST_VERIFY = 0xFFFFFFFF
_ONCE = frozenset(range(TlvType.SSL_VERSION, TlvType.SSL_CLIENT_CERT + 1))
"""The types of sub-TLVs that occur at most once."""


@dataclass(frozen=True, slots=True)
class Ssl:
    r"""Describes the connection between the client and the proxy that received it.

    ``tls`` is True if the client connected with TLS.  ``certificate_on_connection`` is True if the
    client sent a certificate on this connection.  ``certificate_in_session`` is True if it sent one
    at least once in this TLS session.  ``verify`` is the result of the verification of the
    certificate, a 32-bit number.  ``tlvs`` contains further properties, with the types of
    :class:`TlvType` that begin with ``SSL_``.

    Use :attr:`verified` and not ``verify`` to decide whether the client is authenticated: HAProxy
    sends 0 as ``verify`` for a client without a certificate too.

    >>> ssl = Ssl(True, True, True, verify=0, tlvs=(Tlv(TlvType.SSL_CN, b"shop"),))
    >>> ssl.verified, ssl.find(TlvType.SSL_CN), ssl.find(TlvType.SSL_VERSION)
    (True, b'shop', None)
    >>> ssl.tlv()
    Tlv(type=32, value=b'\x07\x00\x00\x00\x00"\x00\x04shop')

    Raises InvalidSetting for an invalid field, for more than 65535 bytes, and for two sub-TLVs of
    one of these types.
    """

    tls: bool = True
    certificate_on_connection: bool = False
    certificate_in_session: bool = False
    verify: int = 1
    tlvs: tuple[Tlv, ...] = ()

    def __post_init__(self) -> None:
        check_flags(
            tls=self.tls,
            certificate_on_connection=self.certificate_on_connection,
            certificate_in_session=self.certificate_in_session,
        )
        if type(self.verify) is not int or not 0 <= self.verify <= _HIGHEST_VERIFY:
            raise InvalidSetting(
                f"verify must be an int, 0 to {_HIGHEST_VERIFY}, not {shown(self.verify)}"
            )
        if not isinstance(self.tlvs, tuple) or not all(map(is_valid, self.tlvs)):
            raise InvalidSetting(f"tlvs must be a tuple of valid Tlv, not {shown(self.tlvs)}")
        if _repeats([tlv.type for tlv in self.tlvs]):
            raise InvalidSetting(f"tlvs must contain each SSL type once, not {shown(self.tlvs)}")
        values = [len(tlv.value) for tlv in self.tlvs]
        size = _FIXED_SIZE + sum(len(tlv_bytes(Tlv(0, b""))) + value for value in values)
        if max([size, *values]) > _MAX_SIZE:
            raise InvalidSetting(f"the SSL TLV must be at most {_MAX_SIZE} bytes, not {size}")

    @property
    def verified(self) -> bool:
        """Whether the client sent a certificate over TLS and the proxy verified it."""
        certificate = self.certificate_on_connection or self.certificate_in_session
        return self.tls and certificate and self.verify == 0

    def find(self, kind: int) -> bytes | None:
        """Return the value of the first sub-TLV of a type, or None; O(sub-TLVs).

        The value is bytes, because a certificate can contain names that are not UTF-8.
        """
        return next((tlv.value for tlv in self.tlvs if tlv.type == kind), None)

    def tlv(self) -> Tlv:
        """Return the TLV, for the ``tlvs`` of a :class:`ProxyHeader`; O(bytes)."""
        client = (
            _TLS * self.tls
            | _CERTIFICATE_ON_CONNECTION * self.certificate_on_connection
            | _CERTIFICATE_IN_SESSION * self.certificate_in_session
        )
        parts = [bytes([client]), self.verify.to_bytes(4, "big"), *map(tlv_bytes, self.tlvs)]
        return Tlv(TlvType.SSL.value, b"".join(parts))


class ReadSsl(NamedTuple):
    """The result of parsing the TLV of the type ``SSL`` of a header.

    >>> from balancers.proxy_protocol import ProxyHeader
    >>> ProxyHeader(tlvs=(Tlv(TlvType.SSL, b""),)).read_ssl()
    ReadSsl(ssl=None, reason='too short')
    """

    ssl: Ssl | None
    """The description of the TLS connection, or None if there is none or it is malformed."""
    reason: str
    """Why there is no description.  It is empty if there is one.

    The reasons are:

    * ``absent``: the header has no such TLV
    * ``repeated``: the header has more than one such TLV
    * ``too short``: the value has fewer than 5 bytes
    * ``sub-TLV cut short``: the value ends before the end of its last sub-TLV
    * ``repeated sub-TLV``: two sub-TLVs have the same type, one of those of :class:`TlvType`
      whose names begin with ``SSL_``
    """


def ssl_in(tlvs: tuple[Tlv, ...]) -> ReadSsl:
    """Parse the TLV of the type ``SSL`` among the TLVs of a header; O(bytes)."""
    values = [tlv.value for tlv in tlvs if tlv.type == TlvType.SSL]
    if len(values) != 1:
        return ReadSsl(None, "repeated" if values else "absent")
    value = values[0]
    if len(value) < _FIXED_SIZE:
        return ReadSsl(None, "too short")
    inside = spans(value, _FIXED_SIZE)
    if inside is None:
        return ReadSsl(None, "sub-TLV cut short")
    if _repeats([kind for kind, _, _ in inside]):
        return ReadSsl(None, "repeated sub-TLV")
    client = value[0]
    ssl = Ssl(
        bool(client & _TLS),
        bool(client & _CERTIFICATE_ON_CONNECTION),
        bool(client & _CERTIFICATE_IN_SESSION),
        int.from_bytes(value[1:_FIXED_SIZE], "big"),
        tuple(Tlv(kind, value[start:end]) for kind, start, end in inside),
    )
    return ReadSsl(ssl, "")


def _repeats(kinds: list[int]) -> bool:
    """Return whether a type that occurs at most once occurs several times."""
    single = [kind for kind in kinds if kind in _ONCE]
    return len(single) != len(set(single))

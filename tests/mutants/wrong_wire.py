"""Wrong ways to read and write addresses and PROXY headers."""

from typing import Any

from balancers.addresses import address_text
from balancers.http import hosts
from balancers.interop.caddy import keys as caddy_keys
from balancers.proxy_protocol import Ssl, header, reader, ssl_tlv
from tests.mutants.mutant import genuine, mutant

spans = genuine(ssl_tlv, "spans")


@mutant(
    header,
    "ntop_text",
    "hostile/test_addresses.py::"
    "test_version_1_has_the_same_bytes_on_every_python[hexadecimal-haproxy-2.6.12]",
)
def a_compatible_address_is_written_in_hexadecimal(address: Any) -> str:
    return address_text(address)


@mutant(
    hosts,
    "address_text",
    "hostile/test_addresses.py::test_texts_of_http_are_the_same_on_every_python[hexadecimal]",
)
def the_version_of_python_decides_the_text_of_a_host(address: Any) -> str:
    return str(address)


@mutant(
    reader,
    "unmapped",
    "hostile/test_proxy_protocol.py::test_which_addresses_become_ipv4[both]",
)
def a_mapped_address_stays_ipv6(address: Any) -> Any:
    return address


@mutant(
    header,
    "_as_ipv6",
    "hostile/test_proxy_protocol.py::test_a_mixed_pair_is_sent_as_ipv6_as_haproxy_sends_it",
)
def a_mixed_pair_is_written_as_given(address: Any) -> Any:
    return address


@mutant(
    Ssl,
    "verified",
    "proxy_protocol/test_ssl.py::test_what_haproxy_sends_for_a_client_without_a_certificate",
)
def a_client_without_a_certificate_is_verified(self: Any) -> bool:
    return bool(self.tls and self.verify == 0)


@mutant(
    ssl_tlv,
    "spans",
    "proxy_protocol/test_ssl.py::test_a_malformed_value_has_a_reason[without-its-value]",
)
def a_sub_tlv_that_is_cut_short_is_dropped(data: bytes, at: int) -> Any:
    for end in range(len(data), at - 1, -1):
        found = spans(data[:end], at)
        if found is not None:
            return found
    return None


@mutant(
    ssl_tlv,
    "_repeats",
    r"proxy_protocol/test_ssl.py::test_a_malformed_value_has_a_reason"
    r"[\x01\x00\x00\x00\x00(\x00\x00(\x00\x00-repeated sub-TLV]",
)
def a_repeated_sub_tlv_is_accepted(kinds: list[int]) -> bool:
    return False


@mutant(
    caddy_keys,
    "unmapped",
    "interop/test_caddy.py::test_a_mapped_peer_is_hashed_as_ipv4",
)
def caddy_hashes_a_mapped_peer_as_ipv6(address: Any) -> Any:
    return address

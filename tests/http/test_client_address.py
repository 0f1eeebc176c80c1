"""The client behind proxies: compared with a naive walk, under spoofing, through proxy chains."""

import copy
import pickle
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers.addresses import Address
from balancers.errors import InvalidKey, InvalidSetting
from balancers.http import ClientAddress, Networks, Node, Request, TrustedProxies
from balancers.http.forwarded import forwarded_element
from tests.http.nodes import ADDRESSES, NETWORKS, expected, in_any, unmapped
from tests.work import work_of

HEADERS = ["X-Forwarded-For", "Forwarded"]
PROXIES = {header: TrustedProxies(NETWORKS, header=header) for header in HEADERS}
OUTSIDE = ADDRESSES.filter(lambda address: not in_any(address, NETWORKS))
INSIDE = ADDRESSES.filter(lambda address: in_any(address, NETWORKS))
GARBAGE = st.lists(
    st.sampled_from([*'",;=\\ \t[]:%._', "for=", "1.1.1.1", "10.0.0.1", "unknown", "\ud800", "é"])
).map("".join)


def written(header: str, address: Address) -> str:
    return forwarded_element(Node(address)) if header == "Forwarded" else str(address)


def lines_run(header: str, peer: str, lines: list[str]) -> int:
    return work_of(lambda: PROXIES[header].behind(peer, lines)).lines


@pytest.mark.parametrize("header", HEADERS)
@given(ADDRESSES, st.lists(ADDRESSES, max_size=8), st.data())
def test_the_walk_finds_what_a_naive_walk_finds(
    header: str, peer: Address, chain: list[Address], data: st.DataObject
) -> None:
    lines: list[str] = []
    for address in chain:
        if data.draw(st.booleans()) and lines:
            lines[-1] += data.draw(st.sampled_from([",", ", ", ",, ,\t"])) + written(
                header, address
            )
        else:
            lines.append(written(header, address))
    found = PROXIES[header].behind(peer, lines)
    assert found.address == expected(peer, chain, NETWORKS) == found.hops[-1]
    assert found.hops == tuple([*chain, peer][::-1][: len(found.hops)])
    assert all(in_any(hop, NETWORKS) for hop in found.hops[:-1])
    all_trusted = in_any(found.hops[-1], NETWORKS)
    assert found.reason == (("all trusted" if chain else "absent") if all_trusted else "")


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(GARBAGE, max_size=4), OUTSIDE, st.lists(INSIDE, max_size=3), INSIDE)
@example(['for="'], IPv4Address("203.0.113.9"), [], IPv4Address("10.0.0.1"))
def test_a_client_cannot_change_its_address_by_a_header(
    header: str, sent: list[str], client: Address, between: list[Address], peer: Address
) -> None:
    """The first trusted proxy appends the client's address to whatever the client sent, in the
    same line or a new one, and later proxies append theirs; what the client sent has no effect."""
    appended = [written(header, address) for address in (client, *between)]
    same = [*sent[:-1], ",".join([*sent[-1:], *appended])]
    for lines in (same, [*sent, *appended]):
        assert PROXIES[header].behind(peer, lines) == ClientAddress(
            client, "", (peer, *reversed(between), client)
        )


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(GARBAGE | ADDRESSES.map(str), max_size=4), OUTSIDE)
def test_the_header_of_an_untrusted_peer_is_ignored(
    header: str, lines: list[str], peer: Address
) -> None:
    assert PROXIES[header].behind(peer, lines) == ClientAddress(peer, "", (peer,))


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(GARBAGE, max_size=4), ADDRESSES)
def test_garbage_never_raises(header: str, lines: list[str], peer: Address) -> None:
    found = PROXIES[header].behind(peer, lines)
    assert (found.hops[0], found.hops[-1]) == (peer, found.address)
    assert all(in_any(hop, NETWORKS) for hop in found.hops[:-1])
    assert (found.reason == "") != in_any(found.hops[-1], NETWORKS)


@pytest.mark.parametrize(
    ("header", "lines", "address", "reason"),
    [
        ("X-Forwarded-For", [], "10.0.0.1", "absent"),
        ("X-Forwarded-For", ["", " , ,", ""], "10.0.0.1", "absent"),
        ("X-Forwarded-For", ["10.0.0.9"], "10.0.0.9", "all trusted"),
        ("X-Forwarded-For", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2", "withheld"),
        ("X-Forwarded-For", ["1.1.1.1, _hidden"], "10.0.0.1", "withheld"),
        ("X-Forwarded-For", ["1.1.1.1, rubbish, 10.0.0.2"], "10.0.0.2", "malformed"),
        ("X-Forwarded-For", ["1.1.1.1, 10.0.0.2;x"], "10.0.0.1", "malformed"),
        ("X-Forwarded-For", ["2.2.2.2, 1.1.1.1:4711, 10.0.0.2:80"], "1.1.1.1", ""),
        ("X-Forwarded-For", ["[2001:db8::1]:4711"], "2001:db8::1", ""),
        ("X-Forwarded-For", ["2001:db8::1"], "2001:db8::1", ""),
        ("X-Forwarded-For", ["1.1.1.1, fd00::1%eth0"], "1.1.1.1", ""),
        ("X-Forwarded-For", ["1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1", ""),
        ("X-Forwarded-For", ["::ffff:1.1.1.1"], "1.1.1.1", ""),
        ("X-Forwarded-For", ["1.1.1.1", "2.2.2.2", "10.0.0.2"], "2.2.2.2", ""),
        ("X-Forwarded-For", ["for=1.1.1.1"], "10.0.0.1", "malformed"),
        ("Forwarded", ["1.1.1.1"], "10.0.0.1", "malformed"),
        ("Forwarded", ['for="[2001:db8::1]:4711";proto=https'], "2001:db8::1", ""),
        ("Forwarded", ["for=1.1.1.1, proto=https"], "10.0.0.1", "withheld"),
        ("Forwarded", ["for=1.1.1.1, for=10.0.0.2;for=10.0.0.3"], "10.0.0.1", "malformed"),
        ("Forwarded", ["for=[2001:db8::1]"], "10.0.0.1", "malformed"),
        ("Forwarded", ['for="unknown";by=_me'], "10.0.0.1", "withheld"),
        ("Forwarded", ['for="evil'], "10.0.0.1", "malformed"),
        ("Forwarded", ['for="evil, for=1.1.1.1, for=10.0.0.2'], "1.1.1.1", ""),
        ("Forwarded", ['x="', "for=1.1.1.1", '"'], "10.0.0.1", "malformed"),
    ],
)
def test_where_and_why_the_walk_stops(
    header: str, lines: list[str], address: str, reason: str
) -> None:
    found = PROXIES[header].behind("10.0.0.1", lines)
    assert (str(found.address), found.reason) == (address, reason)


@pytest.mark.parametrize("header", HEADERS)
def test_only_the_configured_header_is_read(header: str) -> None:
    headers = [("x-forwarded-for", "1.1.1.1"), ("FORWARDED", "for=2.2.2.2")]
    found = PROXIES[header].client(Request(client="10.0.0.1", headers=headers))
    assert str(found.address) == {"X-Forwarded-For": "1.1.1.1", "Forwarded": "2.2.2.2"}[header]


def test_any_other_header_is_a_list_of_addresses() -> None:
    proxies = TrustedProxies(NETWORKS, header="CF-Connecting-IP")
    request = Request(client="10.0.0.1", headers=[("cf-connecting-ip", "2001:db8::7")])
    assert proxies.client(request).address == IPv6Address("2001:db8::7")


@pytest.mark.parametrize("header", HEADERS)
def test_a_thousand_hops(header: str) -> None:
    proxy, client = (written(header, IPv4Address(text)) for text in ("10.0.0.2", "1.1.1.1"))
    lines = [", ".join([client] + [proxy] * 999)]
    bounded = PROXIES[header].behind("10.0.0.1", lines)
    assert (str(bounded.address), bounded.reason, len(bounded.hops)) == (
        "10.0.0.2", "too long", 101,
    )  # fmt: skip
    proxies = TrustedProxies(NETWORKS, header=header, max_hops=1000)
    assert str(proxies.behind("10.0.0.1", lines).address) == "1.1.1.1"
    assert len(proxies.behind("10.0.0.1", lines).hops) == 1001
    assert proxies.behind("10.0.0.1", [client, *[proxy] * 1000]).reason == "too long"
    assert proxies.behind("10.0.0.1", ["," * 1000]).reason == "too long"


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("garbage", [",", '"', '",', "\\", "10.0.0.2,", "for=10.0.0.2,", "1", " "])
def test_the_cost_of_a_long_header_is_bounded_by_max_hops(header: str, garbage: str) -> None:
    """At most 100 elements of at most 1024 characters, and four lines of code per character."""
    short, long = (garbage * (size // len(garbage)) for size in (1 << 17, 1 << 18))
    cost = lines_run(header, "10.0.0.1", [long])
    assert cost == lines_run(header, "10.0.0.1", [short])
    assert cost <= 100 * 1024 * 4


@pytest.mark.parametrize("header", HEADERS)
def test_the_cost_for_an_untrusted_peer_does_not_depend_on_its_header(header: str) -> None:
    lines: list[list[str]] = [[], ["x" * 65536], ["1.1.1.1"] * 1000]
    costs = {lines_run(header, "1.1.1.1", sent) for sent in lines}
    assert len(costs) == 1


@pytest.mark.parametrize("peer", [None, ""])
def test_a_unix_socket_has_no_address(peer: str | None) -> None:
    untrusted, local = (
        TrustedProxies(NETWORKS, header="X-Forwarded-For", local=trusted)
        for trusted in (False, True)
    )
    assert untrusted.behind(peer, ["1.1.1.1"]) == (None, "no address", ())
    assert local.behind(peer, []) == (None, "absent", ())
    assert local.behind(peer, ["what"]) == (None, "malformed", ())
    client = IPv4Address("1.1.1.1")
    assert local.behind(peer, ["2.2.2.2, 1.1.1.1"]) == (client, "", (client,))
    request = Request(headers=[("X-Forwarded-For", "2.2.2.2, 1.1.1.1")])
    assert local.forwarded(request) == "1.1.1.1"
    assert local.forwarded(Request()) == untrusted.forwarded(request) == "unknown"


@given(OUTSIDE, INSIDE, st.sampled_from(HEADERS))
def test_the_client_is_found_behind_a_unix_socket_between_proxies(
    client: Address, last: Address, header: str
) -> None:
    near = TrustedProxies(NETWORKS, header=header, local=True)
    first = near.forwarded(Request(client=str(client)))
    second = near.forwarded(Request(headers=[(header, first)]))
    third = near.forwarded(Request(client=str(last), headers=[(header, second)]))
    for value, peer in ((second, None), (second, last), (third, last)):
        assert near.behind(peer, [value]).address == client
    if header == "Forwarded":
        with_proto = near.forwarded(Request(headers=[(header, first)]), proto="https")
        assert with_proto == f"{first}, for=unknown;proto=https"


@given(OUTSIDE, st.lists(INSIDE, max_size=4), INSIDE, GARBAGE, st.sampled_from(HEADERS))
def test_a_chain_of_trusted_proxies_passes_the_client_on(
    client: Address, between: list[Address], last: Address, forged: str, header: str
) -> None:
    proxies, value = PROXIES[header], forged
    for peer in (client, *between):
        value = proxies.forwarded(Request(client=str(peer), headers=[(header, value)]))
    found = proxies.behind(last, [value])
    assert found == ClientAddress(client, "", (last, *reversed(between), client))
    assert value == ", ".join(written(header, address) for address in (client, *between))


def test_believed_elements_are_passed_on_unchanged() -> None:
    proxies = PROXIES["Forwarded"]
    sent = [
        ("Forwarded", 'for="forged", for=1.1.1.1;proto=https;secret="a,b"'),
        ("Forwarded", "for=10.0.0.3"),
    ]
    passed = proxies.forwarded(
        Request(client="10.0.0.2", headers=sent),
        by=Node(name="_edge"),
        host="shop.example:8080",
        proto="http",
    )
    assert passed == (
        'for=1.1.1.1;proto=https;secret="a,b", for=10.0.0.3, '
        'for=10.0.0.2;by=_edge;host="shop.example:8080";proto=http'
    )


def test_withheld_elements_are_passed_on_and_malformed_ones_are_not() -> None:
    def passed(value: str) -> str:
        headers = [("X-Forwarded-For", value)]
        return PROXIES["X-Forwarded-For"].forwarded(Request(client="10.0.0.1", headers=headers))

    assert passed("1.1.1.1, _hidden, 10.0.0.2") == "_hidden, 10.0.0.2, 10.0.0.1"
    assert passed("1.1.1.1, rubbish, 10.0.0.2") == "10.0.0.2, 10.0.0.1"


def test_ipv6_is_bare_in_x_forwarded_for_and_quoted_in_forwarded() -> None:
    request = Request(client="2001:db8::1%eth0")
    assert PROXIES["X-Forwarded-For"].forwarded(request) == "2001:db8::1"
    assert PROXIES["Forwarded"].forwarded(request) == 'for="[2001:db8::1]"'


@pytest.mark.parametrize(
    "peer", ["localhost", "unknown", "_x", "10.0.0.1, 1.1.1.1", b"\x0a\x00\x00\x01", 7, "\ud800"]
)
def test_a_peer_that_is_not_an_address_is_refused(peer: Any) -> None:
    for header in HEADERS:
        with pytest.raises(InvalidKey, match=re.escape(repr(peer))):
            PROXIES[header].behind(peer, [])


@pytest.mark.parametrize(
    "peer",
    ["::ffff:10.0.0.1", "10.0.0.1:5000", "[::ffff:10.0.0.1]:80", IPv6Address("::ffff:a00:1")],
)
def test_a_peer_is_normalised(peer: str | Address) -> None:
    found = PROXIES["X-Forwarded-For"].behind(peer, ["1.1.1.1"])
    assert found.hops == (IPv4Address("10.0.0.1"), IPv4Address("1.1.1.1"))


@pytest.mark.parametrize("header", ["", "X Forwarded", "a:b", "é", "a\n", None, b"Forwarded"])
def test_an_invalid_header_name_is_refused(header: Any) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(header))):
        TrustedProxies([], header=header)


@pytest.mark.parametrize("hops", [0, -1, 1.5, True, None])
def test_max_hops_below_one_is_refused(hops: Any) -> None:
    with pytest.raises(InvalidSetting, match="max_hops"):
        TrustedProxies([], header="Forwarded", max_hops=hops)


def test_lines_that_are_a_str_are_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("1.1.1.1")):
        PROXIES["Forwarded"].behind("2.2.2.2", "1.1.1.1")


def test_x_forwarded_for_has_no_parameters() -> None:
    with pytest.raises(InvalidSetting, match="X-Forwarded-For"):
        PROXIES["X-Forwarded-For"].forwarded(Request(client="10.0.0.1"), proto="https")


def test_a_copy_finds_the_same_client() -> None:
    proxies = PROXIES["Forwarded"]
    for copied in (copy.deepcopy(proxies), pickle.loads(pickle.dumps(proxies))):  # noqa: S301 - own pickle
        assert copied.behind("10.0.0.1", ["for=1.1.1.1"]) == proxies.behind(
            "10.0.0.1", ["for=1.1.1.1"]
        )
    assert repr(proxies) == "<TrustedProxies: header Forwarded, <Networks: 3>>"


def network(address: Address, bits: int) -> IPv4Network | IPv6Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), min(bits, 32)), strict=False)
    return IPv6Network((int(address), bits), strict=False)


NETWORK = st.builds(network, ADDRESSES, st.integers(0, 128))


@given(st.lists(NETWORK, max_size=8), ADDRESSES, st.data())
def test_an_address_is_in_networks_if_it_is_in_any_of_them(
    networks: list[IPv4Network | IPv6Network], address: Address, data: st.DataObject
) -> None:
    plain = [one for one in networks if unmapped(one[0]) == one[0]]
    if data.draw(st.booleans()) and plain:
        one = data.draw(st.sampled_from(plain))
        address = unmapped(one[data.draw(st.integers(0, one.num_addresses - 1))])
    checked = Networks([one if data.draw(st.booleans()) else str(one) for one in plain])
    assert (address in checked) == any(address in one for one in plain)


@given(st.ip_addresses(v=4), st.integers(96, 128), st.ip_addresses(v=4))
def test_ipv4_mapped_networks_are_ipv4_networks(
    inside: IPv4Address, bits: int, tested: IPv4Address
) -> None:
    mapped = Networks([IPv6Network((0xFFFF << 32 | int(inside), bits), strict=False)])
    plain = IPv4Network((int(inside), bits - 96), strict=False)
    assert (tested in mapped) == (tested in plain)
    assert (IPv6Address(f"::ffff:{tested}") in mapped) == (tested in plain)


def test_a_lookup_in_ten_thousand_networks_costs_what_one_in_a_single_network_does() -> None:
    one = Networks(["10.0.0.0/24"])
    many = Networks(f"10.{i >> 8}.{i & 255}.0/24" for i in range(10_000))
    absent = IPv4Address("192.0.2.1")
    assert work_of(lambda: absent in many).lines == work_of(lambda: absent in one).lines
    assert IPv4Address("10.39.15.255") in many
    assert IPv4Address("10.39.16.0") not in many


@pytest.mark.parametrize("address", ["10.0.0.1", b"\x0a\0\0\1", 167772161, None])
def test_membership_of_anything_but_an_address_raises(address: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(repr(address))):
        _ = address in Networks(["10.0.0.0/8"])


def test_a_network_of_every_address_of_one_family_has_none_of_the_other() -> None:
    assert IPv4Address("1.1.1.1") not in Networks(["::/0"])
    assert IPv6Address("::1") not in Networks(["0.0.0.0/0"])
    assert IPv4Address("1.1.1.1") in Networks(["0.0.0.0/0"])


@pytest.mark.parametrize(
    "network",
    ["", "10.0.0.1/8", "10.0.0.0/33", "host", "10.0.0.0/8 ", "\ud800", 7, None, b"\x0a\0\0\0"],
)
def test_an_invalid_network_is_refused(network: Any) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(network))):
        Networks(["10.0.0.0/8", network])


@pytest.mark.parametrize("networks", ["10.0.0.0/8", b"10", IPv4Network("10.0.0.0/30")])
def test_a_single_network_in_place_of_a_collection_is_refused(networks: Any) -> None:
    with pytest.raises(TypeError, match="networks"):
        TrustedProxies(networks, header="Forwarded")

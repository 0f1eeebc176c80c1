"""The client behind proxies: against a naive walk, against spoofing, and through real chains."""

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
JUNK = st.lists(
    st.sampled_from([*'",;=\\ \t[]:%._', "for=", "1.1.1.1", "10.0.0.1", "unknown", "\ud800", "é"])
).map("".join)


def told(header: str, address: Address) -> str:
    return forwarded_element(Node(address)) if header == "Forwarded" else str(address)


def lines_run(header: str, peer: str, lines: list[str]) -> int:
    return work_of(lambda: PROXIES[header].behind(peer, lines)).lines


@pytest.mark.parametrize("header", HEADERS)
@given(ADDRESSES, st.lists(ADDRESSES, max_size=8), st.data())
def test_the_walk_is_the_naive_one(
    header: str, peer: Address, chain: list[Address], data: st.DataObject
) -> None:
    lines: list[str] = []
    for address in chain:
        if data.draw(st.booleans()) and lines:
            lines[-1] += data.draw(st.sampled_from([",", ", ", ",, ,\t"])) + told(header, address)
        else:
            lines.append(told(header, address))
    found = PROXIES[header].behind(peer, lines)
    assert found.address == expected(peer, chain, NETWORKS) == found.hops[-1]
    assert found.hops == tuple([*chain, peer][::-1][: len(found.hops)])
    assert all(in_any(hop, NETWORKS) for hop in found.hops[:-1])
    everyone_trusted = in_any(found.hops[-1], NETWORKS)
    assert found.reason == (("all trusted" if chain else "absent") if everyone_trusted else "")


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(JUNK, max_size=4), OUTSIDE, st.lists(INSIDE, max_size=3), INSIDE)
@example(['for="'], IPv4Address("203.0.113.9"), [], IPv4Address("10.0.0.1"))
def test_no_header_makes_a_client_another(
    header: str, sent: list[str], client: Address, between: list[Address], peer: Address
) -> None:
    """The first trusted proxy appends the client to whatever it sent, in the same line or a new
    one, as do those behind it; the client's own words change nothing."""
    words = [told(header, address) for address in (client, *between)]
    same = [*sent[:-1], ",".join([*sent[-1:], *words])]
    for lines in (same, [*sent, *words]):
        assert PROXIES[header].behind(peer, lines) == ClientAddress(
            client, "", (peer, *reversed(between), client)
        )


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(JUNK | ADDRESSES.map(str), max_size=4), OUTSIDE)
def test_a_stranger_is_not_asked(header: str, lines: list[str], peer: Address) -> None:
    assert PROXIES[header].behind(peer, lines) == ClientAddress(peer, "", (peer,))


@pytest.mark.parametrize("header", HEADERS)
@given(st.lists(JUNK, max_size=4), ADDRESSES)
def test_garbage_is_never_an_error(header: str, lines: list[str], peer: Address) -> None:
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
def test_where_the_walk_stops(header: str, lines: list[str], address: str, reason: str) -> None:
    found = PROXIES[header].behind("10.0.0.1", lines)
    assert (str(found.address), found.reason) == (address, reason)


@pytest.mark.parametrize("header", HEADERS)
def test_only_the_header_that_was_chosen_is_read(header: str) -> None:
    headers = [("x-forwarded-for", "1.1.1.1"), ("FORWARDED", "for=2.2.2.2")]
    found = PROXIES[header].client(Request(client="10.0.0.1", headers=headers))
    assert str(found.address) == {"X-Forwarded-For": "1.1.1.1", "Forwarded": "2.2.2.2"}[header]


def test_a_header_of_ones_own_holds_addresses() -> None:
    proxies = TrustedProxies(NETWORKS, header="CF-Connecting-IP")
    request = Request(client="10.0.0.1", headers=[("cf-connecting-ip", "2001:db8::7")])
    assert proxies.client(request).address == IPv6Address("2001:db8::7")


@pytest.mark.parametrize("header", HEADERS)
def test_a_thousand_hops(header: str) -> None:
    ours, theirs = (told(header, IPv4Address(text)) for text in ("10.0.0.2", "1.1.1.1"))
    lines = [", ".join([theirs] + [ours] * 999)]
    bounded = PROXIES[header].behind("10.0.0.1", lines)
    assert (str(bounded.address), bounded.reason, len(bounded.hops)) == (
        "10.0.0.2", "too long", 101,
    )  # fmt: skip
    proxies = TrustedProxies(NETWORKS, header=header, max_hops=1000)
    assert str(proxies.behind("10.0.0.1", lines).address) == "1.1.1.1"
    assert len(proxies.behind("10.0.0.1", lines).hops) == 1001
    assert proxies.behind("10.0.0.1", [theirs, *[ours] * 1000]).reason == "too long"
    assert proxies.behind("10.0.0.1", ["," * 1000]).reason == "too long"


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("garbage", [",", '"', '",', "\\", "10.0.0.2,", "for=10.0.0.2,", "1", " "])
def test_64_kib_cost_no_more_than_the_hops_allow(header: str, garbage: str) -> None:
    """At most 100 elements of at most 1024 characters, four lines a character: whatever comes."""
    short, long = (garbage * (size // len(garbage)) for size in (1 << 17, 1 << 18))
    cost = lines_run(header, "10.0.0.1", [long])
    assert cost == lines_run(header, "10.0.0.1", [short])
    assert cost <= 100 * 1024 * 4


@pytest.mark.parametrize("header", HEADERS)
def test_an_untrusted_peer_costs_the_same_whatever_it_sends(header: str) -> None:
    lines: list[list[str]] = [[], ["x" * 65536], ["1.1.1.1"] * 1000]
    costs = {lines_run(header, "1.1.1.1", sent) for sent in lines}
    assert len(costs) == 1


@pytest.mark.parametrize("peer", [None, ""])
def test_a_unix_socket_has_no_address(peer: str | None) -> None:
    closed, local = (
        TrustedProxies(NETWORKS, header="X-Forwarded-For", local=trusted)
        for trusted in (False, True)
    )
    assert closed.behind(peer, ["1.1.1.1"]) == (None, "no address", ())
    assert local.behind(peer, []) == (None, "absent", ())
    assert local.behind(peer, ["what"]) == (None, "malformed", ())
    client = IPv4Address("1.1.1.1")
    assert local.behind(peer, ["2.2.2.2, 1.1.1.1"]) == (client, "", (client,))
    request = Request(headers=[("X-Forwarded-For", "2.2.2.2, 1.1.1.1")])
    assert local.forwarded(request) == "1.1.1.1"
    assert local.forwarded(Request()) == closed.forwarded(request) == "unknown"


@given(OUTSIDE, INSIDE, st.sampled_from(HEADERS))
def test_a_unix_socket_between_proxies_hides_no_client(
    client: Address, last: Address, header: str
) -> None:
    near = TrustedProxies(NETWORKS, header=header, local=True)
    first = near.forwarded(Request(client=str(client)))
    second = near.forwarded(Request(headers=[(header, first)]))
    third = near.forwarded(Request(client=str(last), headers=[(header, second)]))
    for value, peer in ((second, None), (second, last), (third, last)):
        assert near.behind(peer, [value]).address == client
    if header == "Forwarded":
        told_more = near.forwarded(Request(headers=[(header, first)]), proto="https")
        assert told_more == f"{first}, for=unknown;proto=https"


@given(OUTSIDE, st.lists(INSIDE, max_size=4), INSIDE, JUNK, st.sampled_from(HEADERS))
def test_a_chain_of_our_proxies_knows_the_client(
    client: Address, between: list[Address], last: Address, lie: str, header: str
) -> None:
    proxies, value = PROXIES[header], lie
    for peer in (client, *between):
        value = proxies.forwarded(Request(client=str(peer), headers=[(header, value)]))
    found = proxies.behind(last, [value])
    assert found == ClientAddress(client, "", (last, *reversed(between), client))
    assert value == ", ".join(told(header, address) for address in (client, *between))


def test_what_is_believed_is_passed_on_as_it_came() -> None:
    proxies = PROXIES["Forwarded"]
    sent = [
        ("Forwarded", 'for="liar", for=1.1.1.1;proto=https;secret="a,b"'),
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


def test_what_a_hop_withholds_is_passed_on_and_what_it_garbles_is_not() -> None:
    def passed(value: str) -> str:
        headers = [("X-Forwarded-For", value)]
        return PROXIES["X-Forwarded-For"].forwarded(Request(client="10.0.0.1", headers=headers))

    assert passed("1.1.1.1, _hidden, 10.0.0.2") == "_hidden, 10.0.0.2, 10.0.0.1"
    assert passed("1.1.1.1, rubbish, 10.0.0.2") == "10.0.0.2, 10.0.0.1"


def test_ipv6_goes_bare_into_x_forwarded_for_and_quoted_into_forwarded() -> None:
    request = Request(client="2001:db8::1%eth0")
    assert PROXIES["X-Forwarded-For"].forwarded(request) == "2001:db8::1"
    assert PROXIES["Forwarded"].forwarded(request) == 'for="[2001:db8::1]"'


@pytest.mark.parametrize(
    "peer", ["localhost", "unknown", "_x", "10.0.0.1, 1.1.1.1", b"\x0a\x00\x00\x01", 7, "\ud800"]
)
def test_a_peer_is_an_address(peer: Any) -> None:
    for header in HEADERS:
        with pytest.raises(InvalidKey, match=re.escape(repr(peer))):
            PROXIES[header].behind(peer, [])


@pytest.mark.parametrize(
    "peer",
    ["::ffff:10.0.0.1", "10.0.0.1:5000", "[::ffff:10.0.0.1]:80", IPv6Address("::ffff:a00:1")],
)
def test_a_peer_in_other_words(peer: str | Address) -> None:
    found = PROXIES["X-Forwarded-For"].behind(peer, ["1.1.1.1"])
    assert found.hops == (IPv4Address("10.0.0.1"), IPv4Address("1.1.1.1"))


@pytest.mark.parametrize("header", ["", "X Forwarded", "a:b", "é", "a\n", None, b"Forwarded"])
def test_a_header_has_a_name(header: Any) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(header))):
        TrustedProxies([], header=header)


@pytest.mark.parametrize("hops", [0, -1, 1.5, True, None])
def test_hops_are_one_or_more(hops: Any) -> None:
    with pytest.raises(InvalidSetting, match="max_hops"):
        TrustedProxies([], header="Forwarded", max_hops=hops)


def test_lines_are_no_string_and_parameters_no_matter_of_x_forwarded_for() -> None:
    with pytest.raises(TypeError, match=re.escape("1.1.1.1")):
        PROXIES["Forwarded"].behind("2.2.2.2", "1.1.1.1")
    with pytest.raises(InvalidSetting, match="X-Forwarded-For"):
        PROXIES["X-Forwarded-For"].forwarded(Request(client="10.0.0.1"), proto="https")


def test_copies_are_the_same() -> None:
    proxies = PROXIES["Forwarded"]
    for twin in (copy.deepcopy(proxies), pickle.loads(pickle.dumps(proxies))):  # noqa: S301 - own
        assert twin.behind("10.0.0.1", ["for=1.1.1.1"]) == proxies.behind(
            "10.0.0.1", ["for=1.1.1.1"]
        )
    assert repr(proxies) == "<TrustedProxies: <Networks: 3>, Forwarded>"


def network(address: Address, bits: int) -> IPv4Network | IPv6Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), min(bits, 32)), strict=False)
    return IPv6Network((int(address), bits), strict=False)


NETWORK = st.builds(network, ADDRESSES, st.integers(0, 128))


@given(st.lists(NETWORK, max_size=8), ADDRESSES, st.data())
def test_networks_are_asked_as_one(
    networks: list[IPv4Network | IPv6Network], address: Address, data: st.DataObject
) -> None:
    plain = [one for one in networks if unmapped(one[0]) == one[0]]
    if data.draw(st.booleans()) and plain:
        one = data.draw(st.sampled_from(plain))
        address = unmapped(one[data.draw(st.integers(0, one.num_addresses - 1))])
    asked = Networks([one if data.draw(st.booleans()) else str(one) for one in plain])
    assert (address in asked) == any(address in one for one in plain)


@given(st.ip_addresses(v=4), st.integers(96, 128), st.ip_addresses(v=4))
def test_mapped_networks_are_ipv4(inside: IPv4Address, bits: int, asked: IPv4Address) -> None:
    mapped = Networks([IPv6Network((0xFFFF << 32 | int(inside), bits), strict=False)])
    plain = IPv4Network((int(inside), bits - 96), strict=False)
    assert (asked in mapped) == (asked in plain)
    assert (IPv6Address(f"::ffff:{asked}") in mapped) == (asked in plain)


def test_ten_thousand_networks_cost_what_one_does() -> None:
    one = Networks(["10.0.0.0/24"])
    many = Networks(f"10.{i >> 8}.{i & 255}.0/24" for i in range(10_000))
    absent = IPv4Address("192.0.2.1")
    assert work_of(lambda: absent in many).lines == work_of(lambda: absent in one).lines
    assert IPv4Address("10.39.15.255") in many
    assert IPv4Address("10.39.16.0") not in many


@pytest.mark.parametrize("address", ["10.0.0.1", b"\x0a\0\0\1", 167772161, None])
def test_networks_hold_addresses_and_nothing_else(address: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(repr(address))):
        _ = address in Networks(["10.0.0.0/8"])


def test_all_of_one_family_is_not_the_other() -> None:
    assert IPv4Address("1.1.1.1") not in Networks(["::/0"])
    assert IPv6Address("::1") not in Networks(["0.0.0.0/0"])
    assert IPv4Address("1.1.1.1") in Networks(["0.0.0.0/0"])


@pytest.mark.parametrize(
    "network",
    ["", "10.0.0.1/8", "10.0.0.0/33", "host", "10.0.0.0/8 ", "\ud800", 7, None, b"\x0a\0\0\0"],
)
def test_no_network(network: Any) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(network))):
        Networks(["10.0.0.0/8", network])


@pytest.mark.parametrize("networks", ["10.0.0.0/8", b"10", IPv4Network("10.0.0.0/30")])
def test_one_network_is_no_collection(networks: Any) -> None:
    with pytest.raises(TypeError, match="networks"):
        TrustedProxies(networks, header="Forwarded")

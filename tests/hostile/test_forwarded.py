"""Hostile ``X-Forwarded-For`` and ``Forwarded``: a client cannot choose its own address."""

from functools import partial
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancers.errors import InvalidKey, InvalidSetting
from balancers.http import Request, TrustedProxies
from balancers.http.forwarded import MAX_LENGTH, elements, pairs, read_node
from tests.depth import runs
from tests.hostile.shown import shown
from tests.work import work_of

HEADERS = ["X-Forwarded-For", "Forwarded"]
NETWORKS = ["10.0.0.0/8", "fd00::/8"]
CLIENT = "203.0.113.9"
LONG = "x" * (MAX_LENGTH + 1)
SENT = [
    *("", ",", ",,,,", " , ,", "\t", "10.0.0.1", "10.0.0.1, 10.0.0.1", "127.0.0.1", "::1"),
    *("unknown", "UNKNOWN", "_hidden", "-", "null", "localhost", "10.0.0.1:80", "[fd00::1]:80"),
    *("fd00::1", "fd00::1%eth0", "[fd00::1%25eth0]", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]"),
    *("010.0.0.1", "10.0.0.01", "10.1", "167772161", "0x0a000001", "10.0.0.1.", "10.0.0.256"),
    *("١٠.٠.٠.١", "10。0。0。1", "10.0.0.1\0", "10.0.0.1\r\n", "\r\nX: y", "10.0.0.1;", "é"),  # noqa: RUF001 - meant
    *('"', '"10.0.0.1', '\\"', '"\\', "for=", "for=10.0.0.1", 'for="10.0.0.1', 'for="[fd00::1]"'),
    *('for="\\', 'for="a\\"', 'for="a,', "for=_a;for=10.0.0.1", "FOR=10.0.0.1", "for =10.0.0.1"),
    *("for=10.0.0.1;by=10.0.0.1;host=x;proto=https", "by=10.0.0.1", ";;;", "=", "a=b=c", "for"),
    *(LONG, f'"{LONG}', f"for={LONG}", "," * 5000, '"' * 5000, "10.0.0.1," * 500, "\ud800", "%"),
    *("$(id)", "' or 1=1", "<script>", "{{7*7}}", "10.0.0.1/8", "0.0.0.1", "255.255.255.255"),
]


def proxies(header: str, max_hops: int = 1000) -> TrustedProxies:
    return TrustedProxies(NETWORKS, header=header, max_hops=max_hops)


def written(header: str, address: str) -> str:
    if header != "Forwarded":
        return address
    return f'for="[{address}]"' if ":" in address else f"for={address}"


def chain(header: str, first: list[tuple[str, str]], hops: list[str]) -> list[tuple[str, str]]:
    """Return the header lines after a request has passed these proxies, the first for a client."""
    headers, peer = first, CLIENT
    for hop in hops:
        value = proxies(header).forwarded(Request(client=peer, headers=headers))
        headers, peer = [(header, value)], hop
    return headers


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("sent", SENT, ids=shown)
def test_what_a_client_sends_does_not_change_its_address(header: str, sent: str) -> None:
    truth = written(header, CLIENT)
    for lines in ([f"{sent},{truth}"], [f"{sent}, {truth}"], [sent, truth], [truth, sent, truth]):
        for names in ((header, header.upper()), (header.lower(), header)):
            headers = [(names[place % 2], line) for place, line in enumerate(lines)]
            for peer in ("10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "fd00::1%eth0"):
                found = proxies(header).client(Request(client=peer, headers=headers))
                assert (str(found.address), found.reason) == (CLIENT, "")
                assert len(found.hops) == 2


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("sent", SENT, ids=shown)
def test_a_chain_of_proxies_finds_the_client_that_connected(header: str, sent: str) -> None:
    hops = ["10.0.0.1", "fd00::2", "10.9.9.9"]
    for first in ([(header, sent)], [(header, sent), (header.upper(), sent)]):
        headers = chain(header, first, hops)
        expected = [written(header, hop) for hop in (CLIENT, *hops[:-1])]
        assert headers == [(header, ", ".join(expected))]
        found = proxies(header).client(Request(client=hops[-1], headers=headers))
        assert [str(hop) for hop in found.hops] == [*reversed(hops), CLIENT]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("sent", SENT, ids=shown)
def test_nothing_is_read_from_a_peer_that_is_not_trusted(header: str, sent: str) -> None:
    request = Request(client=CLIENT, headers=[(header, sent)] * 3)
    found = proxies(header).client(request)
    assert (str(found.address), found.reason, len(found.hops)) == (CLIENT, "", 1)
    assert proxies(header).forwarded(request) == written(header, CLIENT)


@pytest.mark.parametrize("sent", SENT, ids=shown)
def test_only_the_header_that_the_proxies_write_is_read(sent: str) -> None:
    others = ["X_Forwarded_For", "X-Forwarded-For ", "Forwarded-For", "X-Real-IP", "Forwarded"]
    headers = [(name, "10.0.0.2") for name in others] + [("Forwarded", sent)]
    found = proxies("X-Forwarded-For").client(Request(client="10.0.0.1", headers=headers))
    assert (found.reason, str(found.address)) == ("absent", "10.0.0.1")


@pytest.mark.parametrize("header", HEADERS)
def test_random_chains_after_random_bytes_find_the_client(header: str) -> None:
    rng = Random(1)
    for _ in range(runs(3000)):
        noise = "".join(
            rng.choice((*SENT[:60], ",", " ", '"', "\\", ";", "for=")) for _ in range(4)
        )
        hops = [rng.choice(("10.0.0.1", "fd00::2", "10.7.0.9")) for _ in range(rng.randrange(1, 5))]
        headers = chain(header, [(header, noise)], hops)
        found = proxies(header).client(Request(client=hops[-1], headers=headers))
        assert found.hops == tuple(ip_address(hop) for hop in [*reversed(hops), CLIENT])


@pytest.mark.parametrize("header", HEADERS)
def test_a_search_ends_after_its_hops_whatever_was_sent(header: str) -> None:
    own = written(header, "10.0.0.2")
    for unit in (own + ",", ",", '",', "x,", f"{own}, ,", '"\\",'):
        for count in (10, 100_000):
            line = unit * count
            lines = work_of(partial(proxies(header, 20).behind, "10.0.0.1", [line, line])).lines
            assert lines <= 3000
        found = proxies(header, 20).behind("10.0.0.1", [unit * 1000])
        assert len(found.hops) <= 21


@pytest.mark.parametrize(
    "peer",
    [
        *(
            "10.0.0.1/8",
            "unknown",
            "_a",
            "10.0.0.256",
            "10.1",
            "010.0.0.1",
            "localhost",
            " 10.0.0.1",
        ),
        *("10.0.0.1 ", "[fd00::1", "fd00::1]", "a", "\0", "\ud800", "10.0.0.1\n", "1" * 2000, "٣"),
        *(b"10.0.0.1", 167772161, 1.5, ("10.0.0.1", 80), object()),
    ],
    ids=shown,
)
def test_a_peer_that_is_no_address_is_an_error_with_its_value(peer: object) -> None:
    with pytest.raises(InvalidKey) as error:
        proxies("Forwarded").behind(peer, [])  # type: ignore[arg-type]  # the test
    assert repr(peer)[:40] in str(error.value) or "object" in str(error.value)


@pytest.mark.parametrize("name", ["", " ", "X Forwarded", "a:", "a\r\nb", "é", "\0", None, 1, b"a"])
def test_a_header_name_that_cannot_be_sent_is_refused(name: object) -> None:
    with pytest.raises(InvalidSetting):
        TrustedProxies(NETWORKS, header=name)  # type: ignore[arg-type]  # the test


@given(st.text(max_size=60) | st.text('",;=\\ \tfor10.[]:_', max_size=60))
def test_no_text_raises_an_error(text: str) -> None:
    for quoted in (False, True):
        for element in elements(text, quoted):
            if element is not None:
                pairs(element)
                read_node(element, bare=True)
    for header in HEADERS:
        found = proxies(header).behind("10.0.0.1", [text])
        assert found.hops[-1] == found.address

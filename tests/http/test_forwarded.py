"""Elements, parameters and nodes: round trips, the examples of RFC 7239, and refusals."""

import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancers.errors import InvalidSetting
from balancers.http import Node
from balancers.http.forwarded import MAX_LENGTH, elements, forwarded_element, pairs, read_node
from tests.http.nodes import ADDRESSES, NODES
from tests.work import work_of

TOKENS = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", fullmatch=True)
QUOTABLE = st.text(st.sampled_from([*map(chr, range(0x20, 0x7F)), "\t", "é", "\xff"]), max_size=12)
PARAMETERS = st.dictionaries(TOKENS.map(str.lower), TOKENS | QUOTABLE, max_size=4)
GARBAGE = st.lists(
    st.sampled_from([*'",;=\\ \t[]:%._', "for", "=1.1.1.1", "\n", "\ud800", "é", "0"])
).map("".join)


def written(parameters: dict[str, str], blank: str = "") -> str:
    """Return an element with every value quoted and every second character escaped."""
    quoted = {
        name: "".join("\\" + c if i % 2 or c in '"\\' else c for i, c in enumerate(value))
        for name, value in parameters.items()
    }
    return f"{blank};{blank}".join(f'{name}="{value}"' for name, value in quoted.items())


def read_all(text: str, quoted: bool = True) -> None:
    for element in elements(text, quoted):
        if element is not None:
            pairs(element)
            read_node(element, bare=True)


@given(NODES)
def test_a_written_node_is_parsed_to_itself(node: Node) -> None:
    assert read_node(str(node)) == node == read_node(str(node), bare=True)


@given(ADDRESSES)
def test_a_bare_address_is_accepted_where_allowed(address: IPv4Address | IPv6Address) -> None:
    assert read_node(str(address), bare=True) == Node(address)
    assert (read_node(str(address)) is None) == (address.version == 6)


@given(st.ip_addresses(v=4), st.none() | st.integers(0, 65535))
def test_ipv4_mapped_ipv6_is_ipv4(address: IPv4Address, port: int | None) -> None:
    suffix = "" if port is None else f":{port}"
    assert read_node(f"[::ffff:{address}]{suffix}") == Node(address, "", port)


@given(st.ip_addresses(v=6), st.from_regex(r"(25)?[0-9A-Za-z._~-]{1,16}", fullmatch=True))
def test_a_zone_is_dropped(address: IPv6Address, zone: str) -> None:
    plain = read_node(f"[{address}]")
    assert plain is not None
    assert read_node(f"[{address}%{zone}]") == plain == read_node(f"{address}%{zone}", bare=True)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "1.2.3.4:",
        "1.2.3.4:65536", "1.2.3.4:123456", "1.2.3.4:-1", "1.2.3.4:80:80", "1.2.3.4/32", "[1.2.3.4]",
        "[::1", "::1]", "[::1]80", "[::1]:", "[]", ":::", "[::1%]", "[::1%a b]", "[::1%<b>]",
        "1.2.3.4%eth0", "_", "_é", "_a b", "unknow", "unknowné", "hidden", "localhost", "unix:",
        "\u0661.2.3.4", "\uff11.2.3.4", "[::1]:\uff180", "\ud800",
        "[::1]\x00", '"1.2.3.4"', "_" + "a" * MAX_LENGTH,
    ],
)  # fmt: skip
def test_an_invalid_node_is_none(text: str) -> None:
    assert read_node(text) is None
    assert read_node(text, bare=True) is None


@given(PARAMETERS, st.sampled_from(["", " ", "\t "]))
def test_written_parameters_are_parsed_to_themselves(
    parameters: dict[str, str], blank: str
) -> None:
    element = written(parameters, blank)
    assert pairs(element) == parameters
    assert pairs(f"; {element};;") == parameters


@pytest.mark.parametrize(
    "element",
    [
        "for", "=a", "for=", "for =a", "for= a", 'for="a', 'for="a"b', 'for="a""b"', "for=[::1]",
        "for=1.2.3.4:80", "for=a;for=a", "For=a;fOR=b", "for=a b", "for=a\n", "for=a,by=b",
        'for="\\', 'for="\x00"', 'for="a\nb"', 'for="\u0100"', "for=é", "\n",
    ],
)  # fmt: skip
def test_invalid_parameters_are_none(element: str) -> None:
    assert pairs(element) is None


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        ('for="_gazonk"', ["_gazonk"]),
        ('For="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ("for=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        (
            'for=192.0.2.43, for="[2001:db8:cafe::17]", for=unknown',
            ["192.0.2.43", "[2001:db8:cafe::17]", "unknown"],
        ),
        ("for=_hidden, for=_SEVKISEK", ["_hidden", "_SEVKISEK"]),
        ('for="192.0.2.43:47011"', ["192.0.2.43:47011"]),
    ],
)
def test_the_examples_of_rfc_7239(value: str, nodes: list[str]) -> None:
    read: list[str] = []
    for element in elements(value, quoted=True):
        assert element is not None
        parameters = pairs(element)
        assert parameters is not None
        read.append(str(read_node(parameters["for"])))
    assert read[::-1] == nodes


@given(st.lists(PARAMETERS.map(written) | TOKENS | st.just("")), st.sampled_from([",", " ,\t"]))
def test_elements_come_from_the_right_and_quotes_protect_commas(
    parts: list[str], separator: str
) -> None:
    assert [*elements(separator.join(parts), quoted=True)] == ([*reversed(parts)] or [""])


@given(GARBAGE, PARAMETERS.map(written) | NODES.map(str) | NODES.map(forwarded_element))
@example('for="', "for=1.2.3.4")
@example('for="\\', 'for="[::1]"')
def test_an_appended_element_is_parsed_whatever_precedes_it(garbage: str, appended: str) -> None:
    assert next(elements(f"{garbage},{appended}", quoted=True)) == appended
    if "," not in appended:
        assert next(elements(f"{garbage}, {appended}")) == appended


@given(GARBAGE)
def test_unquoted_elements_equal_those_of_str_split(text: str) -> None:
    assert [*elements(text)] == [part.strip(" \t") for part in text.split(",")][::-1]


@given(GARBAGE, st.booleans())
def test_garbage_never_raises(text: str, quoted: bool) -> None:
    read_all(text, quoted)


@pytest.mark.parametrize("quoted", [False, True])
def test_the_length_of_an_element_is_limited(quoted: bool) -> None:
    fits = "a" * MAX_LENGTH
    assert [*elements(f"x,{fits},y", quoted)] == ["y", fits, "x"]
    assert [*elements(fits, quoted)] == [fits]
    assert [*elements(f"x,{fits}a,y", quoted)] == ["y", None]
    assert [*elements(f"{fits}a", quoted)] == [None]
    assert [*elements("a" * 1_000_000, quoted)] == [None]
    assert work_of(lambda: [*elements("a" * 1_000_000, quoted)]).lines <= 4 * MAX_LENGTH


@pytest.mark.parametrize("garbage", [",", '"', '","', '\\"', ';"', "for=a,", 'for="\\"",', "\\"])
def test_the_cost_of_garbage_is_linear(garbage: str) -> None:
    """64 KiB run about four times the lines of code of 16 KiB, and at most 30 per character."""

    def lines(size: int) -> int:
        text = (garbage * size)[:size]
        return work_of(lambda: read_all(text)).lines

    small, large = lines(1 << 14), lines(1 << 16)
    assert large <= 4.2 * small + 100
    assert large <= 30 * (1 << 16)


@given(NODES, st.none() | NODES, st.none() | QUOTABLE.filter(str.isascii))
@example(Node(name="_a"), None, 'a\\b"c,d')
def test_a_written_element_is_parsed_to_its_parameters(
    sender: Node, by: Node | None, host: str | None
) -> None:
    element = forwarded_element(sender, by=by, host=host, proto="https")
    parameters = {"for": str(sender), "by": by and str(by), "host": host, "proto": "https"}
    given = {name: value for name, value in parameters.items() if value is not None}
    assert pairs(element) == given
    assert [*elements(element, quoted=True)] == [element]


def test_ipv6_is_quoted_and_bracketed() -> None:
    assert forwarded_element(Node(IPv6Address("2001:db8::1"))) == 'for="[2001:db8::1]"'
    assert forwarded_element(Node(IPv4Address("192.0.2.1"))) == "for=192.0.2.1"
    assert forwarded_element(Node(IPv4Address("192.0.2.1"), "", 80)) == 'for="192.0.2.1:80"'
    assert forwarded_element(Node(name="unknown")) == "for=unknown"


@pytest.mark.parametrize("host", ["a\r\nX: y", "é", "\x00", "\x7f", "\ud800"])
def test_a_host_that_would_break_the_header_is_refused(host: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(host))):
        forwarded_element(Node(name="unknown"), host=host)


@pytest.mark.parametrize("proto", ["", "http,for=evil", "ht tp", "1http", "http\n"])
def test_a_proto_that_is_not_a_scheme_is_refused(proto: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(proto))):
        forwarded_element(Node(name="unknown"), proto=proto)


@pytest.mark.parametrize("node", [Node(), Node(name="evil\r\n"), Node(name="_a", port="b")])
def test_an_invalid_node_is_not_written(node: Node) -> None:
    with pytest.raises(InvalidSetting, match="Node"):
        forwarded_element(node)
    with pytest.raises(InvalidSetting, match="Node"):
        forwarded_element(Node(name="unknown"), by=node)

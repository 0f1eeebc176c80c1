"""``X-Forwarded-For`` and ``Forwarded``: no exception, no spoofing, and a bounded walk."""

from ipaddress import IPv4Address

from balancers.http import Node, TrustedProxies
from balancers.http.forwarded import elements, forwarded_element, pairs, read_node
from tests.work import work_of

__all__ = ["WORDS", "check"]

WORDS = (
    *(b",", b"for=", b'for="', b"unknown", b"_x", b"10.0.0.2", b"1.1.1.1:80", b"[fd00::1]:65536"),
    *(b"fd00::1%eth0", b"::ffff:10.0.0.2", b'\\"', b'"', b";proto=http", b"FOR=_a;", b"256", b"\n"),
)

PROXIES = [
    TrustedProxies(["10.0.0.0/8", "fd00::/8"], header=header, max_hops=20)
    for header in ("X-Forwarded-For", "Forwarded")
]
PEER, CLIENT = IPv4Address("10.0.0.1"), IPv4Address("203.0.113.9")


def check(data: bytes) -> None:
    """The bytes are the lines of the header, as latin-1."""
    lines = data.decode("latin-1").split("\n")
    for proxies, client in zip(PROXIES, ("203.0.113.9", "for=203.0.113.9"), strict=True):
        found = proxies.behind(PEER, lines)
        assert (found.hops[0], found.hops[-1]) == (PEER, found.address)
        assert len(found.hops) <= 21
        for sent in ([*lines, client], [*lines[:-1], f"{lines[-1]},{client}"]):
            spoofed = proxies.behind(PEER, sent)
            assert (spoofed.address, spoofed.reason, len(spoofed.hops)) == (CLIENT, "", 2)
        assert cost(proxies, lines) <= 30 * (len(data) + len(lines) + 10)
    for element in elements(lines[0], quoted=True):
        parameters = pairs(element) if element else None
        if parameters:
            quoted = ";".join(
                f'{name}="' + value.replace("\\", r"\\").replace('"', r"\"") + '"'
                for name, value in parameters.items()
            )
            assert pairs(quoted) == parameters
            check_round_trip(read_node(parameters.get("for", "")))
    for element in elements(lines[0]):
        check_round_trip(element and read_node(element, bare=True))


def cost(proxies: TrustedProxies, lines: list[str]) -> int:
    """Return how many lines of code of the package a walk runs."""
    return work_of(lambda: proxies.behind(PEER, lines)).lines


def check_round_trip(node: Node | str | None) -> None:
    """Assert that a node is equal after it is written and parsed again."""
    if isinstance(node, Node):
        assert read_node(str(node)) == node
        assert pairs(forwarded_element(node)) == {"for": str(node)}

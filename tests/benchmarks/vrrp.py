"""Rows for a packet of VRRP in or out."""

from collections.abc import Iterator
from functools import partial

from balancers.redundancy.vrrp import (
    ALL_ROUTERS_IPV4,
    ALL_ROUTERS_IPV6,
    Datagram,
    Send,
    VirtualRouter,
    decode,
    encode,
)
from tests.benchmarks.floors import attribute
from tests.benchmarks.measure import Run, repeated
from tests.benchmarks.row import Row

__all__ = ["rows"]

FAMILIES = {
    "IPv4": (["10.77.0.100"], "10.77.0.1", "10.77.0.2", ALL_ROUTERS_IPV4),
    "IPv6": (["fe80::77", "fd77::100"], "fe80::1", "fe80::2", ALL_ROUTERS_IPV6),
}
LATER = 5.0


def rows() -> Iterator[Row]:
    """Return the rows of this file."""
    for family, (addresses, *_) in FAMILIES.items():
        n = len(addresses)
        yield Row(f"VRRP {family}, a packet to a backup", n, "U", 100, partial(_backup, family))
        yield Row(f"VRRP {family}, a packet answered", n, "U", 100, partial(_answered, family))
        yield Row(f"VRRP {family}, a dropped packet", n, "U", 100, partial(_dropped, family))
        yield Row(f"VRRP {family}, a packet that is due", n, "U", 100, partial(_due, family))
        yield Row(f"VRRP {family}, decode", n, "U", 100, partial(_decoded, family))
        yield Row(f"VRRP {family}, encode", n, "U", 100, partial(_encoded, family))


def _pair(family: str) -> tuple[VirtualRouter, VirtualRouter, Datagram, Datagram]:
    """Return a backup, an active router with a higher priority, and a packet of each."""
    addresses, first, second, _ = FAMILIES[family]
    low = VirtualRouter(51, addresses, first, priority=100)
    high = VirtualRouter(51, addresses, second, priority=150)
    sent: list[Datagram] = []
    for router in (low, high):
        router.startup(0.0)
        action = router.tick(router.due)[0]
        assert isinstance(action, Send)
        sent.append(action.datagram)
    low.receive(sent[1], LATER)
    assert (low.state, high.state) == ("backup", "active")
    return low, high, sent[0], sent[1]


def _backup(family: str) -> tuple[Run, Run]:
    low, _, _, from_high = _pair(family)
    assert low.receive(from_high, LATER) == ()
    assert low.due > LATER + 3
    return repeated(lambda: low.receive(from_high, LATER)), attribute()


def _answered(family: str) -> tuple[Run, Run]:
    _, high, from_low, from_high = _pair(family)
    assert high.receive(from_low, LATER)[0] == Send(from_high)
    return repeated(lambda: high.receive(from_low, LATER)), attribute()


def _dropped(family: str) -> tuple[Run, Run]:
    low, _, _, from_high = _pair(family)
    wrong = from_high._replace(payload=from_high.payload[:-1] + b"\x07")
    low.receive(wrong, LATER)
    assert low.drops["checksum"] == 1
    return repeated(lambda: low.receive(wrong, LATER)), attribute()


def _due(family: str) -> tuple[Run, Run]:
    _, high, _, from_high = _pair(family)
    assert high.tick(high.due) == (Send(from_high),)
    return repeated(lambda: high.tick(high.due)), attribute()


def _decoded(family: str) -> tuple[Run, Run]:
    *_, from_high = _pair(family)
    assert decode(from_high).priority == 150
    return repeated(lambda: decode(from_high)), attribute()


def _encoded(family: str) -> tuple[Run, Run]:
    *_, sent = _pair(family)
    group = FAMILIES[family][3]
    content = decode(sent)
    assert encode(content, sent.source, group, "pseudo-header") == sent.payload
    return repeated(lambda: encode(content, sent.source, group, "pseudo-header")), attribute()

"""A VRRP packet: no exception but the typed one, and a dropped packet changes only its count."""

from ipaddress import ip_address

from balancers.redundancy.vrrp import (
    ALL_ROUTERS_IPV4,
    ALL_ROUTERS_IPV6,
    Datagram,
    MalformedPacket,
    VirtualRouter,
    decode,
    encode,
    ipv4_datagram,
)
from tests.redundancy.vrrp_packets import summed

__all__ = ["WORDS", "check"]

WORDS = (
    *(b"\x31\x33\x64\x01\x00\x64", b"\x31\x33\x00\x01\x00\x64", b"\x31\x33\xff\x02\x0f\xff"),
    *(b"\x0a\x4d\x00\x64", b"\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x77", b"\x45\xc0\x00\x20"),
)

OTHER_THAN_OURS = {"no addresses", "interval", "not link-local"}
"""What is checked after the number of the virtual router."""

NOW = 4.0


def started(own: str, virtual: str, active: bool) -> VirtualRouter:
    router = VirtualRouter(51, [virtual], own)
    router.startup(0.0)
    if active:
        router.tick(NOW)
    return router


NETWORKS = [
    (
        ip_address(other).packed,
        group,
        [started(own, virtual, False), started(own, virtual, True)],
    )
    for own, other, group, virtual in (
        ("10.77.0.1", "10.77.0.9", ALL_ROUTERS_IPV4, "10.77.0.100"),
        ("fe80::1", "fe80::9", ALL_ROUTERS_IPV6, "fe80::77"),
    )
]


def check(data: bytes) -> None:
    """The bytes are a payload, the same with a valid checksum, and a whole IPv4 packet."""
    for source, group, routers in NETWORKS:
        payloads = [data]
        if len(data) >= 8 and len(data) % 2 == 0:
            payloads.append(summed(data, source, group))
        for payload in payloads:
            for router in routers:
                check_received(router, Datagram(source, group, 255, payload))
    try:
        datagram = ipv4_datagram(data)
    except MalformedPacket:
        return
    assert datagram.payload in data


def check_received(router: VirtualRouter, datagram: Datagram) -> None:
    """Assert that the router accepts exactly what can be decoded, and counts everything else."""
    before, drops = router.snapshot(NOW), dict(router.drops)
    actions = router.receive(datagram, NOW)
    counted = [reason for reason, count in router.drops.items() if count != drops[reason]]
    assert counted == expected(router, datagram)
    if counted:
        assert actions == ()
        assert router.snapshot(NOW) == before
    router.restore(before, NOW)


def expected(router: VirtualRouter, datagram: Datagram) -> list[str]:
    """Return why the packet must be dropped, at most one reason."""
    try:
        content = decode(datagram)
    except MalformedPacket as error:
        foreign = error.reason in OTHER_THAN_OURS and datagram.payload[1] != router.vrid
        return ["vrid" if foreign else error.reason]
    made = encode(content, datagram.source, datagram.destination, "pseudo-header")
    assert len(made) == len(datagram.payload)
    assert decode(datagram._replace(payload=made)) == content
    return [] if content.vrid == router.vrid else ["vrid"]

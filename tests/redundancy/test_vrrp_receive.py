"""Which packets a virtual router accepts, drops and counts."""

import pytest

from balancers.redundancy.vrrp import (
    DROP_REASONS,
    NOTICES,
    Datagram,
    Send,
    StateChanged,
    VirtualRouter,
    decode,
)
from tests.redundancy.vrrp_packets import advert
from tests.redundancy.vrrp_routers import DOWN, OWN, VIRTUAL, active, backup, packet


@pytest.mark.parametrize("family", [4, 6])
def test_unicast_peers(family: int) -> None:
    own, virtual, peers, unknown, hop_limit = {
        4: (OWN, [VIRTUAL], ["10.77.0.9", "10.77.0.8"], "10.77.0.7", 255),
        6: ("fe80::2", ["fe80::77"], ["fe80::9", "fe80::8"], "fe80::7", 64),
    }[family]
    router = VirtualRouter(51, virtual, own, peers=peers)
    router.startup(0.0)
    sent = [action.datagram for action in router.tick(DOWN) if isinstance(action, Send)]
    assert sent == [advert(own, virtual, destination=peer, hop_limit=hop_limit) for peer in peers]
    assert [decode(datagram).priority for datagram in sent] == [100, 100]
    for source, to, reason in [
        (unknown, own, "peer"),
        (peers[0], None, "destination"),
        (peers[0], peers[1], "destination"),
        (own, own, "own address"),
    ]:
        lower = advert(source, virtual, priority=1, destination=to)
        assert router.receive(lower, 4.0) == ()
        assert {name: count for name, count in router.drops.items() if count} == {reason: 1}
        router = VirtualRouter(51, virtual, own, peers=peers)
        router.startup(0.0)
        router.tick(DOWN)
    far = advert(peers[1], virtual, priority=101, destination=own, hop_limit=3)
    assert router.receive(far, 4.0)[-1] == StateChanged("active", "backup", "higher priority")


def test_without_peers_only_packets_to_the_group_are_accepted() -> None:
    router = active()
    assert router.receive(advert("10.77.0.9", [VIRTUAL], priority=200, destination=OWN), 4.0) == ()
    assert router.drops["destination"] == 1


def test_own_packets_that_come_back_are_dropped() -> None:
    """Answers to own packets that are looped back or replayed would never end."""
    router = active()
    (sent,) = router.tick(router.due)
    assert isinstance(sent, Send)
    before = router.snapshot(5.0)
    assert router.receive(sent.datagram, 5.0) == ()
    assert router.drops["own address"] == 1
    assert router.snapshot(5.0) == before


def test_replayed_packets_are_accepted_as_the_protocol_cannot_tell() -> None:
    router = backup()
    for at in (1.0, 1.0, 2.0):
        router.receive(packet(150), at)
        assert router.due == at + DOWN


def test_one_bad_packet_in_each_interval_does_not_starve_the_advertisements() -> None:
    """keepalived 2.2.7 restarts the timer of the active router for each rejected packet."""
    router = active()
    bad = packet(200)._replace(hop_limit=254)
    sent = 0
    for step in range(1, 200):
        now = DOWN + step / 8
        router.receive(bad, now)
        sent += len(router.tick(now))
    assert sent == 199 // 8
    assert router.drops["hop limit"] == 199


def test_a_different_address_list_is_counted_and_accepted() -> None:
    router = active()
    other = advert("10.77.0.9", [VIRTUAL, "10.77.0.101"], priority=200)
    assert router.receive(other, 4.0)[-1].after == "backup"  # type: ignore[union-attr]  # a state
    assert dict(router.notices) == dict.fromkeys(NOTICES, 0) | {"addresses differ": 1}
    router.receive(packet(200, cs=50), 4.0)
    assert router.notices["interval differs"] == 1


def test_the_order_of_the_addresses_does_not_matter() -> None:
    addresses = ["10.77.0.100", "10.77.0.101"]
    router = VirtualRouter(51, addresses, OWN)
    router.startup(0.0)
    for given, differ in [
        (addresses[::-1], 0),
        (addresses[:1], 1),
        ([addresses[0]] * 2, 2),
        ([*addresses, addresses[0]], 3),
    ]:
        router.receive(advert("10.77.0.9", given), 1.0)
        assert router.notices["addresses differ"] == differ


def test_another_virtual_router_is_not_ours() -> None:
    router = active()
    assert router.receive(advert("10.77.0.9", [VIRTUAL], vrid=52, priority=255), 4.0) == ()
    assert router.drops["vrid"] == 1


def test_a_packet_of_the_other_family_is_dropped() -> None:
    router = active()
    other, own = advert("fe80::9", ["fe80::77"], priority=255), packet(255)
    for source in (own.source, other.source):
        for destination in (own.destination, other.destination):
            mixed = Datagram(source, destination, 255, own.payload)
            if mixed != own:
                assert router.receive(mixed, 4.0) == ()
    assert router.receive(other, 4.0) == ()
    assert router.drops["family"] == 4
    assert set(router.drops) == set(DROP_REASONS)


@pytest.mark.parametrize("own", [254, 255])
@pytest.mark.parametrize("other", [254, 255])
def test_only_an_owner_can_see_another_owner(own: int, other: int) -> None:
    router = VirtualRouter(51, [VIRTUAL], OWN, priority=own)
    router.startup(0.0)
    router.receive(packet(other, cs=50), 1.0)
    assert router.notices["interval differs"] == 1
    assert router.notices["another owner"] == (own == other == 255)


@pytest.mark.parametrize("checksum", ["pseudo-header", "plain", "either"])
def test_the_checksum_that_is_sent_and_accepted(checksum: str) -> None:
    router = active(checksum=checksum)
    (sent,) = router.tick(router.due)
    assert isinstance(sent, Send)
    assert sent.datagram == advert(OWN, [VIRTUAL], pseudo=checksum != "plain")
    for pseudo in (True, False):
        refused = checksum == ("plain" if pseudo else "pseudo-header")
        before = router.drops["checksum"]
        router.receive(advert("10.77.0.9", [VIRTUAL], priority=1, pseudo=pseudo), 5.0)
        assert router.drops["checksum"] - before == refused

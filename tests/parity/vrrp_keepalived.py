"""Applies what keepalived 2.2.7 does against the RFC, so that a replay goes on after it."""

from dataclasses import replace

from balancers.redundancy.vrrp.packet import OWNER, Advertisement, Datagram, encode
from tests.parity.vrrp_made import make, packed
from tests.parity.vrrp_node import Node
from tests.parity.vrrp_rules import (
    INTERVAL_ZERO,
    LISTS,
    NOT_A_PEER,
    NOT_LINK_LOCAL,
    OWN_SOURCE,
    RELOADED,
    RELOADED_BACKUP,
    TWO_OWNERS,
    Packet,
)

__all__ = ["LOWER", "reload_backup", "sends_old", "takes", "use_new"]

LOWER = "MASTER_RX_LOWER_PRI"
"""The notification of an active router that received an advertisement that does not win."""
_LOWEST = bytes(15) + b"\1"
"""A source that wins no tie."""


def takes(node: Node, packet: Packet, datagram: Datagram, now: float) -> Datagram | None:
    """Return what our router gets for a packet, or None if keepalived does something else."""
    router = node.router
    assert router is not None
    if not packet.sound:
        return datagram
    if packet.differs:
        node.rule(LISTS)
        if router.state == "active":
            node.rejected = now
        return None
    if packet.misordered:
        node.rule(NOT_LINK_LOCAL)
        datagram = _rewritten(node, packet, datagram)
    own, source = packed(node.config.source), datagram.source
    peers = [packed(peer) for peer in node.config.peers]
    if source == own:
        if len(own) == 4:
            return None  # the kernel drops it
        node.rule(OWN_SOURCE)
        lowest = min(peers, default=_LOWEST)
        datagram = _rewritten(node, packet, datagram._replace(source=lowest))
    elif peers and source not in peers and datagram.destination == own:
        node.rule(NOT_A_PEER)
        near = max(peers) if source > own else min(peers)  # the same in a tie
        datagram = _rewritten(node, packet, datagram._replace(source=near))
    if not packet.interval_cs:
        return _learn_zero(node, packet, datagram, now)
    if packet.priority == OWNER == router.priority and router.state == "active":
        node.rule(TWO_OWNERS)
        router.reconfigure(now, priority=OWNER - 1)
    return datagram


def _rewritten(node: Node, packet: Packet, datagram: Datagram) -> Datagram:
    """Return a valid packet that has the same effect on our router as this one on keepalived."""
    config = node.config
    addresses = tuple(packed(address) for address in config.addresses)
    interval_cs = packet.interval_cs or config.interval_cs
    content = Advertisement(config.vrid, packet.priority, interval_cs, addresses)
    source, destination = datagram.source, datagram.destination
    payload = encode(content, source, destination, "pseudo-header")
    return datagram._replace(payload=payload)


def _learn_zero(node: Node, packet: Packet, datagram: Datagram, now: float) -> Datagram | None:
    """Learn an interval of 0: the down timer of a backup is due at once."""
    router = node.router
    assert router is not None
    node.rule(INTERVAL_ZERO)
    learns = packet.priority and (packet.priority >= router.priority or not node.config.preempt)
    if router.state == "active":
        learns = (packet.priority, datagram.source) > (
            router.priority,
            packed(node.config.source),
        )
    same = _rewritten(node, packet, datagram)
    if learns:
        node.act(router.receive(same, now), now)
        router.restore(router.snapshot(now)._replace(remaining=0.0), now)
        return None
    return same


def sends_old(node: Node, datagram: Datagram) -> bool:
    """Return whether an active router that was reloaded sends its old values once more."""
    config = node.config
    addresses = tuple(packed(address) for address in config.addresses)
    old = Advertisement(config.vrid, config.priority, config.interval_cs, addresses)
    source, destination, _, payload = datagram
    if payload != encode(old, source, destination, "pseudo-header"):
        return False
    node.rule(RELOADED)
    node.agree("packets")
    return True


def use_new(node: Node, now: float) -> None:
    """Use the settings of a reload: an active router sends them at once."""
    router = node.router
    assert router is not None
    before = node.config
    node.version += 1
    config = node.config
    priority, interval_cs = before.priority, before.interval_cs
    if before == replace(config, since=before.since, priority=priority, interval_cs=interval_cs):
        priority, interval = config.priority, config.interval
        node.act(router.reconfigure(now, priority=priority, interval=interval), now)
        return
    active = router.snapshot(now)
    node.router = make(config)
    node.router.restore(active._replace(remaining=0.0), now)
    node.act(node.router.tick(now), now)
    node.installed = config.addresses


def reload_backup(node: Node, now: float) -> None:
    """Use the settings of a reload: a backup begins again, without a notification."""
    node.rule(RELOADED_BACKUP)
    node.version += 1
    assert node.router is not None
    up = node.router.snapshot(now).link
    node.router = make(node.config)
    node.router.link(up, now)
    node.router.startup(now)
    node.started = True

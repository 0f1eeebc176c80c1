"""Applies what keepalived 2.2.7 does against the RFC, so that a replay goes on after it."""

from dataclasses import replace

from balancers.redundancy.vrrp.packet import OWNER, Advertisement, Datagram, encode
from tests.parity.vrrp_node import Node, make, packed
from tests.parity.vrrp_rules import (
    INTERVAL_ZERO,
    LISTS,
    RELOADED,
    RELOADED_BACKUP,
    TWO_OWNERS,
    Packet,
)

__all__ = ["LOWER", "reload_backup", "sends_old", "takes", "use_new"]

LOWER = "MASTER_RX_LOWER_PRI"
"""The notification of an active router that received an advertisement that does not win."""


def takes(node: Node, packet: Packet, datagram: Datagram, now: float) -> bool:
    """Return whether our router gets a packet; if not, do here what keepalived does with it."""
    router = node.router
    assert router is not None
    if not packet.sound:
        return True
    if packet.differs:
        node.rule(LISTS)
        if router.state == "active":
            node.rejected = now
        return False
    if not packet.interval_cs:
        _learn_zero(node, packet, datagram, now)
        return False
    if packet.priority == OWNER == router.priority and router.state == "active":
        node.rule(TWO_OWNERS)
        router.reconfigure(now, priority=OWNER - 1)
    return True


def _learn_zero(node: Node, packet: Packet, datagram: Datagram, now: float) -> None:
    """Learn an interval of 0: the down timer fires at once."""
    router = node.router
    assert router is not None
    node.rule(INTERVAL_ZERO)
    wins = (packet.priority, datagram.source) > (router.priority, packed(node.config.source))
    if router.state == "active":
        if wins:
            node.ours.extend((("BACKUP", now), ("MASTER", now)))
        elif packet.priority:
            node.ours.append((LOWER, now))
        node.force(now)
    elif not packet.priority:
        skew = (256 - router.priority) * router.active_interval / 256
        router.restore(router.snapshot(now)._replace(remaining=skew), now)
    elif packet.priority >= router.priority or not node.config.preempt:
        node.force(now)


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


def reload_backup(node: Node, now: float) -> None:
    """Use the settings of a reload: a backup begins again, without a notification."""
    node.rule(RELOADED_BACKUP)
    node.version += 1
    node.router = make(node.config)
    node.router.startup(now)
    node.started = True

"""Makes our virtual router for the settings of a recorded node."""

from ipaddress import ip_address

from balancers.redundancy.vrrp import VirtualRouter
from tests.parity.vrrp_recording import Config

__all__ = ["make", "packed", "twin_of"]


def packed(address: str) -> bytes:
    """Return the bytes of an address."""
    return ip_address(address).packed


def make(config: Config) -> VirtualRouter:
    """Return our router for the settings of a node."""
    return VirtualRouter(
        config.vrid,
        config.addresses,
        config.source,
        priority=config.priority,
        interval=config.interval_cs / 100,
        preempt=config.preempt,
        preempt_delay=config.preempt_delay,
        answer_lower=config.answer_lower,
        peers=config.peers,
    )


def twin_of(router: VirtualRouter, config: Config, now: float) -> VirtualRouter:
    """Return a router in the same state."""
    twin = make(config)
    if twin.priority != router.priority:
        twin.reconfigure(now, priority=router.priority)
    twin.restore(router.snapshot(now), now)
    return twin

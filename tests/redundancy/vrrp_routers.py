"""Virtual routers for tests, with the priority 100 and an interval of 1 s."""

from balancers.redundancy.vrrp import (
    Action,
    Datagram,
    StateChanged,
    VirtualRouter,
)
from tests.redundancy.vrrp_packets import advert

__all__ = ["DOWN", "OWN", "SKEW", "VIRTUAL", "active", "backup", "names", "packet"]

VIRTUAL = "10.77.0.100"
OWN = "10.77.0.2"
DOWN = 3.609375
SKEW = 0.609375


def backup(**settings: object) -> VirtualRouter:
    """Return a backup with the priority 100 that started at 0."""
    router = VirtualRouter(51, [VIRTUAL], OWN, **settings)  # type: ignore[arg-type]  # given by tests
    assert router.startup(0.0)[-1] == StateChanged("init", "backup", "startup")
    return router


def active(**settings: object) -> VirtualRouter:
    """Return a router that became active at the time DOWN."""
    router = backup(**settings)
    assert router.tick(router.due)[-1] == StateChanged("backup", "active", "silence")
    return router


def names(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


def packet(priority: int, cs: int = 100, source: str = "10.77.0.9") -> Datagram:
    return advert(source, [VIRTUAL], priority=priority, cs=cs)

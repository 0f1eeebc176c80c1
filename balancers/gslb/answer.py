"""Defines what to answer to a client."""

from typing import Any, NamedTuple

__all__ = ["Answer", "Skipped"]


class Skipped(NamedTuple):
    """Describes a part of a ranking that an answer passes over.

    >>> from balancers.gslb import Client, Failover, Region
    >>> eu, us = Region("eu", ["192.0.2.1"]), Region("us", ["192.0.2.2"])
    >>> eu.set_up("192.0.2.1", False, now=1.0)
    >>> Failover([eu, us]).answer(Client(), now=1.0).skipped
    (Skipped(name='eu', reason='0 of 1 up, needs 1'),)
    """

    name: str
    reason: str


class Answer(NamedTuple):
    """Describes what to answer to a client.

    >>> from balancers.gslb import Client, Failover, Region
    >>> answer = Failover([Region("eu", ["192.0.2.1", "192.0.2.2"])]).answer(Client(), now=0.0)
    >>> answer.members, answer.regions, answer.reason, answer.degraded
    (('192.0.2.1', '192.0.2.2'), ('eu',), 'number 1 of 1', False)
    """

    members: tuple[Any, ...]
    """The members to answer, for example addresses.  It is empty if the policy has no region for
    the client, and if the region is an empty pool."""
    regions: tuple[str, ...]
    """The names of the regions whose members are answered."""
    reason: str
    """Why these regions are answered."""
    skipped: tuple[Skipped, ...] = ()
    """The parts that are ranked higher and not answered."""
    health_ignored: bool = False
    """Whether everything is down.  Then health is ignored: the first part is answered, with all
    its members; of a region that is only held back, with those that are up."""

    @property
    def degraded(self) -> bool:
        """Whether a better part was skipped, or everything is down."""
        return self.health_ignored or bool(self.skipped)

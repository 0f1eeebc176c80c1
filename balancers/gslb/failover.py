"""Implements failover: the first healthy part of a list."""

from collections.abc import Iterable

from balancers.gslb._policy import Policy
from balancers.gslb.client import Client
from balancers.gslb.ranking import Part, Ranking

__all__ = ["Failover"]


class Failover(Policy):
    """Ranks the parts in the given order, for every client.

    >>> from balancers.gslb import Client, Region
    >>> primary, backup = Region("primary", ["192.0.2.1"]), Region("backup", ["192.0.2.2"])
    >>> policy = Failover([primary, backup])
    >>> policy.answer(Client(), now=0.0).members
    ('192.0.2.1',)
    >>> primary.set_up("192.0.2.1", False, now=1.0)
    >>> policy.answer(Client(), now=1.0).members
    ('192.0.2.2',)

    If both are down, the primary is answered, as in gdnsd (``simplefo``, ``metafo``) and Route 53:

    >>> backup.set_up("192.0.2.2", False, now=2.0)
    >>> policy.answer(Client(), now=2.0).members, policy.answer(Client(), now=2.0).health_ignored
    (('192.0.2.1',), True)

    A ranking is O(n).  Raises TypeError for parts that are no regions or policies, and
    InvalidSetting for a part that occurs twice.
    """

    def __init__(self, parts: Iterable[Part], *, name: str | None = None) -> None:
        super().__init__(parts, name)
        self._reasons = tuple(
            f"number {at} of {len(self.parts)}" for at in range(1, len(self.parts) + 1)
        )

    def rank(self, client: Client, now: float) -> Ranking:
        return self._ranking(client, now, self.parts, self._reasons)

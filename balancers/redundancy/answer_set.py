"""Decides which addresses a DNS server answers when some of the balancers are dead."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from balancers._internal.checks import at_least, shown
from balancers._internal.types import B

__all__ = ["AnswerSet", "answer_set"]


class AnswerSet(NamedTuple):
    """Describes the addresses of one DNS answer.

    >>> answer_set({"lb1": "192.0.2.1", "lb2": "192.0.2.2"}, alive=[])
    AnswerSet(addresses=('192.0.2.1', '192.0.2.2'), all_dead=True)
    """

    addresses: tuple[Any, ...]
    all_dead: bool
    """Whether none of the balancers that have an address is alive.  Then the answer contains the
    addresses of all of them: perhaps only the heartbeats fail, and an answer without addresses is
    never better."""


def answer_set(
    addresses: Mapping[B, object], alive: Collection[B], turn: int = 0, most: int | None = None
) -> AnswerSet:
    """Return the addresses of the balancers that are alive, for one DNS answer.

    ``addresses`` maps each balancer to its address.  A balancer in ``alive`` that is not in
    ``addresses`` has no address in DNS, and is ignored.  The order is that of ``addresses``,
    rotated to the left by ``turn``.  Many clients use the first address, so pass the number of the
    query, or a random number.  With ``most``, the answer contains at most so many addresses.  In as
    many turns as balancers are alive, each address is first once, and each is contained equally
    often.

    >>> addresses = {"lb1": "192.0.2.1", "lb2": "192.0.2.2", "lb3": "192.0.2.3"}
    >>> [answer_set(addresses, {"lb1", "lb3"}, turn).addresses for turn in (0, 1)]
    [('192.0.2.1', '192.0.2.3'), ('192.0.2.3', '192.0.2.1')]
    >>> answer_set(addresses, addresses, turn=2, most=2).addresses
    ('192.0.2.3', '192.0.2.1')

    O(balancers).  Raises InvalidSetting for a ``turn`` below 0 and a ``most`` below 1, and
    TypeError for ``addresses`` that are not a mapping and an ``alive`` that is a str or not a
    collection.
    """
    at_least(0, turn=turn)
    if most is not None:
        at_least(1, most=most)
    if not isinstance(addresses, Mapping):
        raise TypeError(f"addresses must map balancers to addresses, not {shown(addresses)}")
    if isinstance(alive, str | bytes) or not isinstance(alive, Collection):
        raise TypeError(f"alive must be a collection of balancers, not {shown(alive)}")
    living = frozenset(alive)
    found = [address for balancer, address in addresses.items() if balancer in living]
    all_dead = not found
    if all_dead:
        found = list(addresses.values())
    first = turn % len(found) if found else 0
    return AnswerSet(tuple((found[first:] + found[:first])[:most]), all_dead)

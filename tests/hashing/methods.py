"""Every method of the folder that answers for a hash: how to make one."""

from collections.abc import Callable
from typing import Any

from balancers.hashing.anchor import Anchor
from balancers.hashing.bounded import BoundedLoad
from balancers.hashing.hashed import HashedBalancer
from balancers.hashing.jump import Jump
from balancers.hashing.maglev import Maglev
from balancers.hashing.memento import Memento
from balancers.hashing.multi_probe import MultiProbe
from balancers.hashing.rendezvous import Rendezvous
from balancers.hashing.ring import HashRing

__all__ = ["METHODS"]

METHODS: dict[str, Callable[[], HashedBalancer[str] | Any]] = {
    "HashRing": lambda: HashRing(points=16),
    "Maglev": lambda: Maglev(size=211),
    "Rendezvous": Rendezvous,
    "Jump": Jump,
    "MultiProbe": MultiProbe,
    "Anchor": lambda: Anchor(capacity=64),
    "Memento": Memento,
    "BoundedLoad": lambda: BoundedLoad(HashRing(points=16)),
}

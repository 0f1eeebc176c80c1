"""Every method of the folder that answers for a hash: how to make one."""

from collections.abc import Callable
from typing import Any

from balancers import HashRing, Maglev, Rendezvous
from balancers.hashing import Anchor, BoundedLoad, HashedBalancer, Jump, Memento, MultiProbe

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

"""Provides balancers for consistent hashing: the hash of a key determines its backend.

When a backend joins or leaves, most keys keep their backend.
"""

from balancers.hashing.anchor import Anchor as Anchor
from balancers.hashing.blocks import chain as chain
from balancers.hashing.bounded_load import BoundedLoad as BoundedLoad
from balancers.hashing.circle import Circle as Circle
from balancers.hashing.hashed_balancer import CHUNK as CHUNK
from balancers.hashing.hashed_balancer import Chooser as Chooser
from balancers.hashing.hashed_balancer import HashedBalancer as HashedBalancer
from balancers.hashing.jump import Jump as Jump
from balancers.hashing.maglev import Maglev as Maglev
from balancers.hashing.memento import Memento as Memento
from balancers.hashing.multi_probe import MultiProbe as MultiProbe
from balancers.hashing.owner_only import OwnerOnly as OwnerOnly
from balancers.hashing.prefix_affinity import PrefixAffinity as PrefixAffinity
from balancers.hashing.rendezvous import Rendezvous as Rendezvous
from balancers.hashing.ring import HashRing as HashRing

"""What a site still refers to while it is at rest, and how much memory the process uses."""

import gc
import resource
import sys
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from tests.soak.invariants import names_in, timers_of
from tests.soak.parts import Name
from tests.soak.site import MOST, Site

__all__ = ["LEFT_OVER", "blocks", "holder", "left_over", "others_frozen", "peak_megabytes"]

LEFT_OVER = MOST + 8
"""How many names may be left over beyond those that indexes of a checked size explain.

A balancer that samples blocks keeps the block of the members before the last change.
"""
DEPTH = 6
CONTAINERS = (dict, list, set, tuple, OrderedDict)


@contextmanager
def others_frozen() -> Generator[None]:
    """Let the garbage collector ignore the objects that exist now, which makes it much faster."""
    before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


def blocks() -> int:
    """Return the number of memory blocks that the objects of the process use."""
    return sys.getallocatedblocks()


def peak_megabytes() -> float:
    """Return the highest memory use of the process so far."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20)


def left_over(site: Site) -> list[Name]:
    """Return the names that something still refers to, although all that they named has ended.

    All garbage is collected first.  Two kinds of indexes keep names longer on purpose: the
    identities of sessions, and heaps of timers.  :meth:`Site.check` limits their sizes, so their
    names are not returned.
    """
    gc.collect()
    explained = {id(name) for name in site.pool.backends}
    for index in site.indexes():
        explained.update(id(name) for name, _ in index._backends.values())
    for gate in site.parts.gates:
        for timers in timers_of(gate).values():
            explained.update(id(entry[2]) for entry in timers._heap)
    return [name for name in [*site.names.values()] if id(name) not in explained]


def holder(name: Name) -> str:
    """Return the class and the attribute of the package that hold a name, for a message."""
    level: list[Any] = [name]
    for _ in range(DEPTH):
        found: list[Any] = gc.get_referrers(*level)
        for each in found:
            if type(each).__module__.startswith("balancers"):
                attributes = [key for key, value in state_of(each) if name in names_in(value)]
                return ".".join([type(each).__name__, *attributes[:1]])
        level = [each for each in found if type(each) in CONTAINERS]
    return "no object of the package"


def state_of(part: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object, and their values."""
    slots: tuple[str, ...] = getattr(part.__class__, "__slots__", ())
    attributes: dict[str, Any] = getattr(part, "__dict__", {})
    for key in (*attributes, *slots):
        yield key, getattr(part, key, None)

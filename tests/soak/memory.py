"""What a site still refers to while it is at rest, and how much memory the process uses."""

import gc
import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager

from balancers.gates import Timers
from tests.soak.parts import Name
from tests.soak.site import MOST, Site

__all__ = ["LEFT_OVER", "blocks", "holders", "left_over", "others_frozen", "peak_megabytes"]

LEFT_OVER = MOST + 8
"""How many names may be left over beyond those that indexes of a checked size explain.

A balancer that samples blocks keeps the block of the members before the last change.
"""
DEPTH = 6


@contextmanager
def others_frozen() -> Generator[None]:
    """Let the garbage collector ignore the objects that exist now, which makes it much faster."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
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

    All garbage is collected first.  Two kinds of indexes keep names longer on purpose: the identities of sessions, and heaps of
    timers.  :meth:`Site.check` limits their sizes, so their names are not returned.
    """
    gc.collect()
    explained = {id(name) for name in site.pool.backends}
    for index in site.indexes():
        explained.update(id(name) for name, _ in index._backends.values())
    for gate in site.parts.gates:
        for value in vars(gate).values():
            if isinstance(value, Timers):
                explained.update(id(entry[2]) for entry in value._heap)
    return [name for name in [*site.names.values()] if id(name) not in explained]


def holders(name: Name) -> str:
    """Return a chain of the types that lead to a name, the nearest first."""
    chain: list[str] = []
    found: object = name
    seen = {id(found)}
    for _ in range(DEPTH):
        for holder in gc.get_referrers(found):
            usual = isinstance(holder, dict | list | set | tuple) or hasattr(holder, "__dict__")
            if usual and id(holder) not in seen and "__name__" not in dir(holder):
                break
        else:
            break
        seen.add(id(holder))
        found = holder
        chain.append(type(holder).__name__)
    return " in ".join(chain)

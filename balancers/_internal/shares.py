"""Divides a load among places of which each has a limited capacity."""

from collections.abc import Iterable

__all__ = ["fill"]


def fill(capacities: Iterable[int], load: int) -> list[int]:
    """Return what each place gets: its capacity, from the first place on, until the load is used.

    >>> fill([70, 50, 40], 100), fill([30, 30], 100)
    ([70, 30, 0], [30, 30])
    """
    parts: list[int] = []
    for capacity in capacities:
        parts.append(min(load, capacity))
        load -= parts[-1]
    return parts

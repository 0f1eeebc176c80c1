"""Writes the state of a world as a value with relative times, and reads it back."""

from math import inf
from typing import Any

from tests.redundancy.model.monitor import NONE
from tests.redundancy.model.world import DOWN, FROZEN, World

__all__ = ["State", "read", "written"]

State = tuple[Any, ...]


def written(world: World) -> State:
    """The state, with all times relative to now.  Equal states have the same future.

    A clock that cannot matter any more is 0, so that states which differ only in it are equal.
    """
    now, monitor = world.now, world.monitor
    parts: list[Any] = [world.halfway]
    for place in world.places:
        mode = world.modes[place]
        if mode == DOWN:
            parts.append((mode, world.installed[place]))
            continue
        asleep = 0.0
        # It counts that a timer is late, and not by how much.
        latest = world.scenario.longest / 2
        if mode == FROZEN:
            since = world.frozen_at[place]
            snapshot = world.snapshot(place, since)
            timer = max(snapshot[3], _finite(snapshot[6]))
            asleep = min(now - since, timer + latest)
        else:
            snapshot = world.snapshot(place, now)
            due = world.due(place)
            if due < now:
                asleep = min(now - due, latest)
                snapshot = (*snapshot[:6], snapshot[6] + asleep)
        if snapshot[0] == "active":
            interval = monitor.intervals[place]
            clocks: tuple[float, ...] = (
                min(now - monitor.sent[place], interval),
                min(now - max(monitor.sent[place], monitor.woken[place]), interval),
            )
        else:
            clocks = (
                _age(monitor.quiet[place], now),
                _age(monitor.latest[place], now),
                max(monitor.earliest[place] - now, 0.0),
                monitor.learned[place],
            )
        parts.append((mode, snapshot, asleep, tuple(world.queues[place]), clocks))
    packets = [
        (place, number, max(latest - now, 0.0), late)
        for place, number, latest, late in world.packets
    ]
    packets.sort()
    parts.append(tuple(packets))
    parts.append(tuple([_age(since, now) for since in monitor.both]))
    return tuple(parts)


def _finite(seconds: float) -> float:
    return seconds if seconds < inf else 0.0


def _age(since: float, now: float) -> float:
    return since if since == NONE else now - since


def _since(age: float) -> float:
    return age if age == NONE else -age


def read(world: World, state: State) -> None:
    """Set the world to a state.  It is then the time 0."""
    monitor = world.monitor
    world.now = 0.0
    world.halfway = state[0]
    for place in world.places:
        part = state[1 + place]
        mode = world.modes[place] = part[0]
        world.queues[place] = []
        monitor.quiet[place] = monitor.latest[place] = NONE
        if mode == DOWN:
            world.installed[place] = part[1]
            continue
        _, snapshot, asleep, queue, clocks = part
        world.unread[place] = (snapshot, -asleep)
        world.frozen_at[place] = -asleep
        world.queues[place] = list(queue)
        active = world.installed[place] = snapshot[0] == "active"
        if active:
            monitor.sent[place], monitor.woken[place] = -clocks[0], -clocks[1]
        else:
            quiet, latest, earliest, learned = clocks
            monitor.quiet[place], monitor.latest[place] = _since(quiet), _since(latest)
            monitor.earliest[place], monitor.learned[place] = earliest, learned
    world.packets = list(state[-2])
    monitor.both = [_since(age) for age in state[-1]]

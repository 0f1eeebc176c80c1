"""Writes the state of a world as a value with relative times, and reads it back."""

from math import inf
from typing import Any

from balancers.redundancy.vrrp import RouterSnapshot
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
        router, asleep = world.routers[place], 0.0
        # It counts that a timer is late, and not by how much.
        latest = world.scenario.longest / 2
        if mode == FROZEN:
            since = world.frozen_at[place]
            snapshot = router.snapshot(since)
            timer = max(snapshot.remaining, _finite(snapshot.preempt_in))
            asleep = min(now - since, timer + latest)
        else:
            snapshot = router.snapshot(now)
            if router.due < now:
                asleep = min(now - router.due, latest)
                snapshot = snapshot._replace(preempt_in=snapshot.preempt_in + asleep)
        if snapshot.state == "active":
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
        parts.append((mode, tuple(snapshot), asleep, tuple(world.queues[place]), clocks))
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
        was = RouterSnapshot(*snapshot)
        world.routers[place].restore(was, -asleep)
        world.frozen_at[place] = -asleep
        world.queues[place] = list(queue)
        world.installed[place] = was.state == "active"
        if was.state == "active":
            monitor.sent[place], monitor.woken[place] = -clocks[0], -clocks[1]
        else:
            quiet, latest, earliest, learned = clocks
            monitor.quiet[place], monitor.latest[place] = _since(quiet), _since(latest)
            monitor.earliest[place], monitor.learned[place] = earliest, learned
    world.packets = list(state[-2])
    monitor.both = [_since(age) for age in state[-1]]

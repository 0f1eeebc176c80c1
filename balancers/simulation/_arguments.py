"""Validates the arguments of a simulation that are not single numbers."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from balancers._internal.checks import number, shown
from balancers.errors import (
    AlreadyInUse,
    InvalidSetting,
    InvalidTime,
    InvalidWeight,
    MissingKey,
    UnknownBackend,
)
from balancers.gates import ActiveChecks
from balancers.pool import Pool
from balancers.simulation._engines.setup import members_of
from balancers.simulation.faults import Crash, Errors, FastFailures, Freeze, Slow
from balancers.simulation.llm_engine import LLMEngine
from balancers.simulation.prompts import RecordedPrompts
from balancers.simulation.server import Server
from balancers.simulation.stale import Stale

__all__ = [
    "check_engines",
    "check_law",
    "check_servers",
    "checked_faults",
    "checked_fronts",
    "checked_probes",
]


def checked_fronts(balancer: Any, keyed: bool, changing: bool) -> tuple[Any, ...]:
    """Return the balancers and pools, of which each must be unused, and have members.

    ``keyed`` is whether the requests have keys.  ``changing`` is whether a script may change the
    weights.  Raises TypeError, InvalidSetting, InvalidWeight, InvalidTime, MissingKey and
    AlreadyInUse.
    """
    is_one = _is_front(balancer)
    if not is_one and (_is(balancer, str | bytes) or not _is(balancer, Iterable)):
        raise TypeError(f"balancer must be a balancer or a pool, not {shown(balancer)}")
    fronts: tuple[Any, ...] = (balancer,) if is_one else tuple(balancer)
    if not fronts:
        raise InvalidSetting("balancer must contain at least one balancer or pool")
    for place, front in enumerate(fronts):
        if not _is_front(front):
            raise TypeError(f"balancer must contain balancers and pools, not {shown(front)}")
        if any(front is other for other in fronts[:place]):
            raise AlreadyInUse(f"the same object twice: {shown(front)}")
        if _is(front, Pool):
            _check_pool(front)
        else:
            _check_balancer(front, keyed)
        weights = _weights(front)
        if not weights and not changing:
            raise InvalidSetting(f"a balancer without members cannot be simulated: {shown(front)}")
        if not any(weights.values()) and not changing:
            raise InvalidWeight(f"the weights sum to 0: {shown(weights)}")
    return fronts


def _is(value: Any, kind: Any) -> bool:
    """Return ``isinstance(value, kind)``.  The value stays of any type for type checkers."""
    return isinstance(value, kind)


def _is_front(front: Any) -> bool:
    if _is(front, type):
        raise TypeError(f"balancer must be an object, not the class {front.__name__}")
    return _is(front, Pool) or callable(getattr(front, "pick", None))


def _weights(front: Any) -> dict[Any, float]:
    if _is(front, Pool):
        return {backend: front.weight(backend) for backend in front.backends}
    return dict(front.weights)


def _check_pool(pool: Pool[Any]) -> None:
    """Raise AlreadyInUse for requests in flight, and InvalidTime if the pool is past 0 seconds."""
    snapshot = pool.snapshot()
    if snapshot.in_flight:
        raise AlreadyInUse(f"{snapshot.in_flight} requests are in flight: {shown(pool)}")
    if snapshot.at > 0:
        raise InvalidTime(
            f"a simulation begins at 0 s, but the latest time of the pool is {shown(snapshot.at)}"
        )


def _check_balancer(balancer: Any, keyed: bool) -> None:
    for name in ("weights", "started", "finished", "keyed"):
        if not hasattr(balancer, name):
            raise TypeError(f"a balancer needs the attribute {name}: {shown(balancer)}")
    if getattr(balancer, "taken", False):
        raise AlreadyInUse(f"it belongs to a pool or balancer: {shown(balancer)}")
    if balancer.keyed and not keyed:
        raise MissingKey(f"a simulation of {shown(balancer)} needs keys=")
    if _is(balancer, Stale) and balancer.latest > 0:
        raise InvalidTime(
            f"a simulation begins at 0 s, but the latest time of the balancer is "
            f"{shown(balancer.latest)}"
        )
    load_of: Callable[[Any, float], Any] | None = getattr(balancer, "load_of", None)
    if load_of is None:
        return
    for backend in balancer.weights:
        load = load_of(backend, 0.0)
        if type(load) is int and load > 0:  # an int is a number of requests, a float is not
            raise AlreadyInUse(f"{load} requests are in flight on {shown(backend)}")


def check_servers(servers: Any, fronts: Iterable[Any], changing: bool) -> None:
    """Raise TypeError, InvalidSetting for a member without server, UnknownBackend for others."""
    if _is(servers, Server | LLMEngine):
        return
    if not _is(servers, Mapping):
        raise TypeError(f"servers must be a Server or a mapping to servers, not {shown(servers)}")
    members = {backend for front in fronts for backend in members_of(front)}
    for backend in members:
        if backend not in servers:
            raise InvalidSetting(f"servers must contain every backend, also {shown(backend)}")
    for backend, server in servers.items():
        if not _is(server, Server | LLMEngine):
            raise TypeError(f"the server of {shown(backend)} must be a Server, not {shown(server)}")
        if backend not in members and not changing:
            raise UnknownBackend(backend)


def check_engines(service: Any, servers: Any, fronts: Iterable[Any]) -> None:
    """Raise TypeError unless prompts are served by engines, and other work by servers.

    Also raise TypeError for engines behind a balancer without a pool, which has no costs.
    """
    wanted = LLMEngine if _is(service, RecordedPrompts) else Server
    for server in servers.values() if _is(servers, Mapping) else (servers,):
        if not _is(server, wanted):
            raise TypeError(
                f"a server must be {wanted.__name__} for {shown(service)}, not {shown(server)}"
            )
    if wanted is LLMEngine:
        for front in fronts:
            if not _is(front, Pool):
                raise TypeError(f"engines need a Pool, which has costs, not {shown(front)}")


def checked_faults(faults: Any, fronts: Iterable[Any], servers: Any) -> tuple[Any, ...]:
    """Return the faults.  Raises TypeError, and UnknownBackend for a backend without server."""
    if not _is(faults, Iterable):
        raise TypeError(f"faults must be an iterable of faults, not {shown(faults)}")
    listed: tuple[Any, ...] = tuple(faults)
    known = {backend for front in fronts for backend in members_of(front)}
    if _is(servers, Mapping):
        known |= {*servers}
    for fault in listed:
        if not _is(fault, Crash | Freeze | Slow | Errors | FastFailures):
            raise TypeError(f"faults must contain faults, not {shown(fault)}")
        try:
            is_known = fault.backend in known
        except TypeError:  # not hashable
            is_known = False
        if not is_known:
            raise UnknownBackend(fault.backend)
    return listed


def checked_probes(probes: Any) -> tuple[Any, ...]:
    """Return the gates whose probes are sent.  Raises TypeError, InvalidSetting."""
    wanted = ("probes", "probes_due", "answer")
    if not _is(probes, Iterable):
        probes = (probes,)
    listed: tuple[Any, ...] = tuple(probes)
    for checks in listed:
        if isinstance(checks, type) or not all(hasattr(checks, name) for name in wanted):
            raise TypeError(f"probes must be ActiveChecks, not {shown(checks)}")
        if _is(checks, ActiveChecks) and not getattr(checks, "taken", False):
            raise InvalidSetting(f"probes must belong to a pool: {shown(checks)}")
    return listed


def check_law(name: str, law: Any, requests: int) -> None:
    """Raise TypeError unless the law can draw, and InvalidSetting if it has too few values.

    Also raise InvalidSetting if its mean is no number, or negative.  It may have no mean.
    """
    if isinstance(law, type) or not callable(getattr(law, "draw", None)):
        raise TypeError(f"{name} must be a law with a method draw, not {shown(law)}")
    mean = getattr(law, "mean", None)
    if mean is not None and not number(f"the mean of {name}", mean) >= 0:
        raise InvalidSetting(f"the mean of {name} must be 0 or more, not {shown(mean)}")
    if hasattr(law, "__len__") and len(law) < requests:
        raise InvalidSetting(f"{name} has {len(law)} values for {requests} requests")

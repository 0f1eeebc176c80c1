"""Counts the costs of the requests in flight, and reports costs and progress."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic

from balancers._internal.types import B
from balancers.pool._groups import Groups
from balancers.pool._member import Member
from balancers.pool.lease import Lease, meter_of

__all__ = ["Charges"]


class Charges(Generic[B]):
    """Changes the cost in flight of members, and calls the hooks of the balancer and the gates."""

    def __init__(self, balancer: Any, gates: Any) -> None:
        methods = [getattr(part, "charged", None) for part in (balancer, *gates)]
        self._charged: list[Callable[[B, int, float], object]] = [m for m in methods if m]
        self._progressed: Callable[..., object] | None = getattr(balancer, "progressed", None)
        self.groups: Groups[B] | None = None
        """The groups of the pool, or None if there are none."""

    def start(self, member: Member[B], cost: int, now: float) -> None:
        """Add the cost of a request.  If a method raises an exception, nothing has changed."""
        charged: Callable[[B, int, float], object] | None = None
        methods = self._methods(member.backend) if self.groups else self._charged
        member.cost += cost
        try:
            for charged in methods:
                charged(member.backend, cost, now)
        except BaseException:
            member.cost -= cost
            for each in methods[: methods.index(charged)] if charged else ():
                with suppress(Exception):  # the first exception is raised
                    each(member.backend, -cost, now)
            raise

    def change(self, member: Member[B], change: int, now: float) -> Exception | None:
        """Add the change to the cost in flight, and return the first exception of a method."""
        failed: Exception | None = None
        member.cost += change
        methods = self._methods(member.backend) if self.groups else self._charged
        for charged in methods if change else ():
            try:
                charged(member.backend, change, now)
            except Exception as error:  # noqa: BLE001 - returned
                failed = failed or error
        return failed

    def progress(
        self, lease: Lease[B], member: Member[B], cost: int | None, now: float
    ) -> Exception | None:
        """Report progress of a request.  Return the first exception of a method."""
        meter = meter_of(lease)
        is_first = meter.first is None
        if is_first:
            meter.first = now - lease.acquired_at
        change = 0 if cost is None else cost - meter.cost
        meter.cost += change
        if member.former:
            return None
        failed = self.change(member, change, now)
        if not is_first:
            return failed
        methods = [] if self._progressed is None else [self._progressed]
        if self.groups is not None:
            methods += self.groups.methods(member.backend, "progressed")
        for progressed in methods:
            try:
                progressed(member.backend, meter.first, now)
            except Exception as error:  # noqa: BLE001 - returned
                failed = failed or error
        return failed

    def _methods(self, backend: B) -> list[Callable[[B, int, float], object]]:
        """Return the methods to call for a backend of a pool that has groups."""
        groups = self.groups.methods(backend, "charged") if self.groups else []
        return [*self._charged, *groups]

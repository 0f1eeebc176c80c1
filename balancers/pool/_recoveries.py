"""Reports to the gates which backends have recovered."""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from balancers._internal.types import B
from balancers.pool._member import Member

__all__ = ["Recoveries"]


class Recoveries(Generic[B]):
    """Stores the backends that have recovered until all gates know it.

    ``methods`` are the methods ``recovered`` of the gates.
    """

    def __init__(self, methods: Iterable[Callable[..., None]]) -> None:
        self._methods = [*methods]
        self.waiting: dict[B, list[Callable[..., None]]] = {}
        """The backends that have recovered, with the methods that are not called yet."""
        self.read_at: dict[B, float] = {}
        """The backends that were found to have recovered when the state was read, and the time of
        the request before that."""

    def found(self, backend: B) -> None:
        """Store that a backend has recovered."""
        if self._methods:
            self.waiting[backend] = [*self._methods]

    def forget(self, backend: B) -> None:
        """Called when a backend leaves."""
        self.waiting.pop(backend, None)
        self.read_at.pop(backend, None)

    def report(self, now: float) -> None:
        """Call the methods.  If one raises an exception, it is called again at the next report."""
        failed: Exception | None = None
        for backend, waiting in [*self.waiting.items()]:
            again: list[Callable[..., None]] = []
            while waiting:
                try:
                    waiting[0](backend, now)
                except Exception as error:  # noqa: BLE001 - raised below
                    failed = failed or error
                    again.append(waiting[0])
                del waiting[0]
            waiting.extend(again)
            if not again:
                del self.waiting[backend]
        if failed is not None:
            raise failed

    def repeat(self, members: Mapping[B, Member[B]], soft: int, now: float) -> None:
        """Let the backends recover at ``now`` that recovered at an earlier reading.

        The time of that reading was the time of the request before it, so a ramp that began then
        could be over.  ``soft`` is the combination of the reasons of soft gates.
        """
        for backend, read_at in self.read_at.items():
            if read_at < now and not members[backend].closed_by & soft:
                self.found(backend)

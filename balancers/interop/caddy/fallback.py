"""Lets a second balancer, the fallback, pick for requests without a usable key."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from balancers._internal.checks import as_weights, shown
from balancers._internal.forwarding import ForwardsReports
from balancers._internal.plans import plan_of
from balancers._internal.taken import take, wrapping
from balancers.balancer import Balancer
from balancers.errors import InvalidPick, InvalidSetting, MissingKey
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["FallsBack"]


class FallsBack(ForwardsReports[str], Membership[str]):
    """Makes the members of this balancer also members of another balancer, the fallback.

    A subclass must set ``_fallback`` before it calls the constructor, and it must call the
    constructor inside :meth:`_wrapping`.  Its ``update_index`` must call :meth:`_update_fallback`
    before it changes its own state.  The fallback then belongs to this balancer.
    """

    keyed = True
    _fallback: Balancer[str] | None

    def _all_members(
        self, backends: Iterable[str] | Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the weights of ``backends`` and of the members that the fallback already has.

        Raises InvalidSetting if the fallback is not a balancer.
        """
        fallback = cast("object", self._fallback)
        if isinstance(fallback, type) or not isinstance(fallback, Balancer | None):
            raise InvalidSetting(f"fallback must be a balancer, not {shown(fallback)}")
        given = as_weights(() if backends is None else backends)
        return {**self._fallback.weights, **given} if self._fallback is not None else given

    def _wrapping(self) -> AbstractContextManager[None]:
        """Mark the fallback.  If the block raises an exception, restore the fallback.

        Raises AlreadyInUse.
        """
        return nullcontext() if self._fallback is None else wrapping(self._fallback)

    def _pick_from_fallback(self, now: float, avoid: Collection[str]) -> str:
        picked = self._needed_fallback().pick(now=now, avoid=avoid)
        self._check_members([picked])
        return picked

    def _plan_from_fallback(self, n: int, now: float, avoid: Collection[str]) -> list[str]:
        """Return the plan of the fallback.  Raises NotPlannable if it has none."""
        ranked: list[str] = plan_of(self._needed_fallback())(n, now=now, avoid=avoid)
        self._check_members(ranked)
        return ranked

    def _needed_fallback(self) -> Balancer[str]:
        if self._fallback is None:
            raise MissingKey("a request without a key needs a fallback, and none was given")
        return self._fallback

    def _check_members(self, picked: Iterable[str]) -> None:
        for each in picked:
            if each not in self._weights:
                raise InvalidPick(
                    f"{shown(self._fallback)} picked {shown(each)}, not a member of {shown(self)}"
                )

    def _update_fallback(self, backend: str, new: float | None) -> None:
        if self._fallback is None:
            return
        if new is None:
            self._fallback.discard(backend)
        else:
            self._fallback.put(backend, new)

    def _informed(self) -> Balancer[str] | None:
        return self._fallback

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._fallback is not None:
            take(self._fallback)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Called when a request starts.  The fallback is notified."""
        if self._fallback is not None:
            self._fallback.started(backend, now, bound)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Called when a request ends.  The fallback is notified."""
        if self._fallback is not None:
            self._fallback.finished(backend, outcome, now)

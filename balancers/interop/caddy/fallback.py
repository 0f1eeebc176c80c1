"""Who serves when a policy has nothing to go by."""

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from balancers._internal.checks import as_weights
from balancers.balancer import Balancer
from balancers.errors import InvalidSetting, MissingKey
from balancers.membership import Membership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["FallsBack"]


class FallsBack(Membership[str]):
    """Members that are another balancer's too, told by :meth:`_tell` before anything shows."""

    keyed = True
    _fallback: Balancer[str] | None

    def _together(self, backends: Iterable[str] | Mapping[str, float]) -> Mapping[str, float]:
        """Give these members and those that the fallback brings along; raises InvalidSetting."""
        fallback = cast("object", self._fallback)
        if isinstance(fallback, type) or not isinstance(fallback, Balancer | None):
            raise InvalidSetting(f"fallback must be a balancer, not {fallback!r}")
        given = as_weights(backends)
        return {**self._fallback.weights, **given} if self._fallback is not None else given

    def _fall_back(self, now: float, avoid: Collection[str]) -> str:
        if self._fallback is None:
            raise MissingKey("without a key caddy falls back, and no fallback was given")
        return self._fallback.pick(now=now, avoid=avoid)

    def _tell(self, backend: str, new: float | None) -> None:
        if self._fallback is None:
            return
        if new is None:
            self._fallback.discard(backend)
        else:
            self._fallback.put(backend, new)

    def started(self, backend: str, now: float = 0.0, bound: bool = False) -> None:
        """Tell the fallback."""
        if self._fallback is not None:
            self._fallback.started(backend, now, bound)

    def finished(self, backend: str, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Tell the fallback."""
        if self._fallback is not None:
            self._fallback.finished(backend, outcome, now)

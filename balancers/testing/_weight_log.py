"""Stores which weights the balancer of a recorded pool gets during a call."""

from collections.abc import Callable
from typing import Any

from balancers.pool import Pool
from balancers.testing._texts import Texts, closing_reasons
from balancers.testing._values import dumps

__all__ = ["WeightLog"]


class WeightLog:
    """Stores the weights that a balancer gets, until the line of the call is written."""

    def __init__(self, pool: Pool[Any], balancer: Any, texts: Texts) -> None:
        self._pool = pool
        self._texts = texts
        self._weights: dict[Any, float | None] = dict(balancer.weights)
        self._put: dict[Any, float | None] = {}
        """The weights that the balancer got during the call in progress.  None: discarded."""
        self._closed = False

    def put(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that puts a weight into the balancer, and stores it for the line."""

        def put(backend: Any, weight: float = 1) -> None:
            method(backend, weight)
            if not self._closed:
                self._put[backend] = weight

        return put

    def discard(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return a function that discards a backend, and stores this for the line."""

        def discard(backend: Any) -> None:
            method(backend)
            if not self._closed:
                self._put[backend] = None

        return discard

    def changed(self) -> str:
        """Return the part of the line with the weights that the call has changed."""
        if not self._put:
            return ""
        changed: list[str] = []
        for backend, weight in self._put.items():
            if self._weights.get(backend) == weight:
                continue
            items = [self._texts.name(backend), self._texts.value(weight)]
            items += map(dumps, closing_reasons(self._pool, backend))
            changed.append(f"[{','.join(items)}]")
            if weight is None:
                del self._weights[backend]
                self._texts.forget(backend)
            else:
                self._weights[backend] = weight
        self._put.clear()
        return f',"w":[{",".join(changed)}]' if changed else ""

    def close(self) -> None:
        """Store no further weights."""
        self._closed = True
        self._put.clear()

"""What a request costs in a pool does not depend on the number of members, open or closed."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import pytest

from balancers import ConnectionLimit, Drain, HealthChecks, NoBackendAvailable, Outcome, Pool
from balancers.balancer import Balancer, Key
from balancers.gate import Gate
from balancers.outcome import SUCCESS
from tests.work import work_of


class Constant(Balancer[int]):
    """Picks the first backend of positive weight that it was given last; its lines do not count."""

    keyed = fractional = False

    def __init__(self) -> None:
        self._weights: dict[int, float] = {}
        self._open: dict[int, None] = {}

    @property
    def weights(self) -> Mapping[int, float]:
        return self._weights

    def put(self, backend: int, weight: float = 1.0) -> None:
        self._weights[backend] = weight
        self._open.pop(backend, None)
        if weight:
            self._open[backend] = None

    def discard(self, backend: int) -> None:
        self._weights.pop(backend, None)
        self._open.pop(backend, None)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[int] = ()) -> int:
        for backend in reversed(self._open):
            if backend not in avoid:
                return backend
        raise NoBackendAvailable("empty", {})

    def started(self, backend: int, now: float = 0.0, bound: bool = False) -> None:
        pass

    def finished(self, backend: int, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        pass


def pool_of(members: int, closed: int, **settings: Any) -> tuple[Pool[int], HealthChecks[int]]:
    """Return a pool in which health checks have closed the first members."""
    health = HealthChecks[int](1, 1, promotion="probes")
    gates: list[Gate[int]] = [health, Drain[int](), ConnectionLimit[int](1000)]
    pool = Pool(Constant(), gates, **settings)
    pool.update(range(members))
    for backend in range(closed):
        health.observe(backend, False, 0.0)
    for _ in range(2):
        if closed < members or settings.get("panic", 0.0) is not None:
            pool.release(pool.acquire(1.0), 1.0)
    return pool, health


def request(pool: Pool[int], health: HealthChecks[int]) -> None:
    del health
    pool.release(pool.acquire(2.0), 2.0)


def flip(pool: Pool[int], health: HealthChecks[int]) -> None:
    last = len(pool) - 1
    for ok in (False, True):
        health.observe(last, ok, 2.0)
        pool.release(pool.acquire(2.0), 2.0)


def bound(pool: Pool[int], health: HealthChecks[int]) -> None:
    del health
    for backend in (0, len(pool) - 1):
        pool.release(pool.acquire(2.0, prefer=backend), 2.0)


def reweigh(pool: Pool[int], health: HealthChecks[int]) -> None:
    del health
    for backend in (0, len(pool) - 1):
        pool.set_weight(backend, 3.0, 2.0)


def read(pool: Pool[int], health: HealthChecks[int]) -> None:
    del health
    for backend in (0, len(pool) - 1):
        assert isinstance(pool.state(backend), tuple)
        pool.admits(backend)
        pool.full(backend)
        pool.effective_weight(backend)


def join_and_leave(pool: Pool[int], health: HealthChecks[int]) -> None:
    del health
    pool.add(-1, 1, 2.0)
    pool.remove(-1, 2.0)


ACTIONS: list[Callable[[Pool[int], HealthChecks[int]], None]] = [
    request,
    flip,
    bound,
    reweigh,
    read,
    join_and_leave,
]


@pytest.mark.parametrize(
    ("action", "share"),
    [(action, share) for action in ACTIONS for share in (0, 2)]
    + [(action, 4) for action in (request, bound, read)],  # the others end the panic in O(n)
)
def test_an_action_costs_the_same_for_any_number_of_members(action: Any, share: int) -> None:
    """``share`` quarters of the members are closed; 4 is a panic."""
    lines: list[int] = []
    for members in (8, 80, 800):
        parts = pool_of(members, members * share // 4)
        action(*parts)
        lines.append(work_of(partial(action, *parts)).lines)
    assert max(lines) - min(lines) <= 12, lines


@pytest.mark.parametrize("options", [{}, {"prefer": 1}, {"prefer": 1, "strict": True}])
def test_a_refusal_costs_the_same_for_any_number_of_members(options: dict[str, Any]) -> None:
    def refuse(pool: Pool[int]) -> None:
        with pytest.raises(NoBackendAvailable):
            pool.acquire(2.0, **options)

    lines: list[int] = []
    for members in (8, 80, 800):
        pool, _ = pool_of(members, members, panic=None)
        refuse(pool)
        lines.append(work_of(partial(refuse, pool)).lines)
    assert max(lines) == min(lines), lines

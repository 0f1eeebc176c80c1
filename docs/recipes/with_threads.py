"""Threads: one lock around a pool, its gates and its generator."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from time import monotonic

from balancers import HealthChecks, Lease, LeastConnections, Pool


class Backends:
    """A pool for several threads.  The lock is held to acquire and to release, not in between."""

    def __init__(self, *names: str) -> None:
        self._lock = Lock()
        self._health: HealthChecks[str] = HealthChecks()
        self._pool: Pool[str] = Pool(LeastConnections(names), [self._health], now=monotonic())

    @contextmanager
    def lease(self) -> Generator[Lease[str], None, None]:
        with self._lock:
            lease = self._pool.acquire(monotonic())
        ok = None
        try:
            yield lease  # the block may call lease.failed()
            ok = True
        except Exception:
            ok = False
            raise
        finally:
            with self._lock:
                self._pool.release(lease, monotonic(), ok)

    def report_probe(self, name: str, ok: bool) -> None:
        with self._lock:
            self._health.observe(name, ok, monotonic())

    def in_flight(self) -> dict[str, int]:
        with self._lock:
            return {name: self._pool.in_flight(name) for name in self._pool.backends}


def main() -> None:
    """Send three thousand requests from eight threads."""
    backends = Backends("a", "b", "c")

    def request(number: int) -> str:
        with backends.lease() as lease:
            return f"{number} by {lease.backend}"

    with ThreadPoolExecutor(8) as threads:
        served = list(threads.map(request, range(3000)))
    print(len(set(served)), "served, still in flight:", backends.in_flight())


if __name__ == "__main__":
    main()

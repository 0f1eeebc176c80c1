"""One event loop: no lock, and requests wait while every backend is full."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from balancers import (
    ConnectionLimit,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    WeightedLeastConnections,
)

Send = Callable[[str, bytes], Awaitable[bytes]]


class Client:
    def __init__(self, backends: Mapping[str, int], send: Send) -> None:
        self.clock = asyncio.get_running_loop().time
        self.health: HealthChecks[str] = HealthChecks()
        limit: ConnectionLimit[str] = ConnectionLimit(1)
        balancer = WeightedLeastConnections(backends)
        self.pool = Pool(balancer, [self.health, limit], now=self.clock())
        for backend, weight in backends.items():
            limit.set(backend, 2 * weight)
        self.send = send
        self.released = asyncio.Event()

    async def request(self, body: bytes) -> bytes:
        lease = await self.acquire()
        ok = None  # the outcome of a cancelled request is unknown
        try:
            answer = await self.send(lease.backend, body)
            ok = True
        except OSError:
            ok = False
            raise
        finally:
            self.pool.release(lease, self.clock(), ok)
            self.released.set()
        return answer

    async def acquire(self) -> Lease[str]:
        while True:
            try:
                return self.pool.acquire(self.clock())
            except NoBackendAvailable as refusal:
                if not refusal.full:
                    raise  # waiting for a release would not help
            self.released.clear()
            await self.released.wait()


async def main() -> None:
    """Send thirty requests at once while six may be in flight."""
    served: list[str] = []

    async def send(backend: str, body: bytes) -> bytes:
        for _ in range(3):
            await asyncio.sleep(0)
        served.append(backend)
        return body

    client = Client({"small": 1, "large": 2}, send)
    await asyncio.gather(*(client.request(b"ping") for _ in range(30)))
    print({backend: served.count(backend) for backend in client.pool.backends})


if __name__ == "__main__":
    asyncio.run(main())

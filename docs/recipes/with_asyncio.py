"""One event loop: no lock, and requests wait while every backend is full."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack

from balancers import (
    ConnectionLimit,
    HealthChecks,
    Lease,
    NoBackendAvailable,
    Pool,
    WeightedLeastConnections,
)

SERVER_ERROR = 500
Send = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]


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
        with ExitStack() as stack:  # an exception is a failure, a cancellation is neither
            lease = await self.acquire(stack)
            status, answer = await self.send(lease.backend, body)
            if status >= SERVER_ERROR:
                lease.failed(status=status)
            return answer

    async def acquire(self, stack: ExitStack) -> Lease[str]:
        stack.callback(self.released.set)  # called after the lease is released
        while True:
            try:
                return stack.enter_context(self.pool.lease(self.clock))
            except NoBackendAvailable as refusal:
                if not refusal.full:
                    raise  # waiting for a release would not help
            self.released.clear()
            await self.released.wait()


async def main() -> None:
    """Send thirty requests at once while six may be in flight."""
    served: list[str] = []

    async def send(backend: str, body: bytes) -> tuple[int, bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
        served.append(backend)
        return 200, body

    client = Client({"small": 1, "large": 2}, send)
    await asyncio.gather(*(client.request(b"ping") for _ in range(30)))
    print({backend: served.count(backend) for backend in client.pool.backends})


if __name__ == "__main__":
    asyncio.run(main())

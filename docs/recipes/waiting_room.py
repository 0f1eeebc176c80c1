"""Requests wait in order while every backend that could serve them is full."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from balancers import ConnectionLimit, Key, Lease, LeastConnections, NoBackendAvailable, Pool
from balancers.errors import QueueFull
from balancers.overload import AdmissionQueue, Waiting


class Wants(NamedTuple):
    """Which backends can serve a request.  Requests with equal wants are served in order."""

    prefer: str | None = None
    strict: bool = False
    avoid: frozenset[str] = frozenset()
    cost: int = 0


ANY = Wants()


@dataclass(eq=False)
class Request:
    """A request that waits until ``lease`` has a result."""

    key: Key | None
    wants: Wants
    lease: asyncio.Future[Lease[str]]


class WaitingRoom:
    """A pool with a queue in front of it, for one event loop."""

    def __init__(self, pool: Pool[str], queue: AdmissionQueue[Request]) -> None:
        self.pool, self.queue = pool, queue
        self.loop = asyncio.get_running_loop()
        self.waiting: Counter[Wants] = Counter()  # the number of requests in the queue
        self.timer: asyncio.TimerHandle | None = None
        self.retry_at = inf  # when time makes room for a request that waits

    @asynccontextmanager
    async def request(
        self, key: Key | None = None, wants: Wants = ANY, priority: int = 0
    ) -> AsyncGenerator[Lease[str], None]:
        """Wait for a lease, and release it at the end of the ``async with`` block."""
        lease = await self.acquire(key, wants, priority)
        ok = None  # the outcome of a cancelled request is unknown
        try:
            yield lease
            ok = True
        except Exception:
            ok = False
            raise
        finally:
            self.release(lease, ok)

    async def acquire(
        self, key: Key | None = None, wants: Wants = ANY, priority: int = 0
    ) -> Lease[str]:
        """Return a lease.  Raises NoBackendAvailable, QueueFull, TimeoutError."""
        self.serve()  # the requests that wait go first
        now = self.loop.time()
        try:
            return self.pool.acquire(now, key, *wants)
        except NoBackendAvailable as refusal:
            if not refusal.full:
                raise  # waiting would not help
            self.retry_at = min(self.retry_at, refusal.retry_at)
        request = Request(key, wants, self.loop.create_future())
        entry = self.queue.join(request, now, priority)
        self.waiting[wants] += 1
        self.set_timer()
        try:
            return await request.lease
        except BaseException:
            self.give_up(entry)
            raise

    def release(self, lease: Lease[str], ok: bool | None = True) -> None:
        """Release a lease, and serve the next request, also after an error of a gate."""
        try:
            self.pool.release(lease, self.loop.time(), ok)
        finally:
            self.serve()

    def progress(self, lease: Lease[str], cost: int) -> None:
        """Report what a request costs from now on, and serve the requests that fit then."""
        try:
            self.pool.progress(lease, self.loop.time(), cost)
        finally:
            self.serve()

    def serve(self) -> None:
        """Serve every waiting request that a backend is open for, in the order of the queue.

        Also call this after probe results, and after a change of the membership.
        """
        now = self.loop.time()
        for entry in self.queue.expired(now):
            self.answer(entry, TimeoutError(f"no backend was open for {now - entry.since} s"))
        refused: set[Wants] = set()
        self.retry_at = inf
        for entry in self.queue:
            if len(refused) == len(self.waiting):
                break
            if entry.item.wants not in refused and not entry.item.lease.cancelled():
                self.try_to_serve(entry, refused, now)
        self.set_timer()

    def try_to_serve(self, entry: Waiting[Request], refused: set[Wants], now: float) -> None:
        """Acquire a lease for a request.  If this is refused, let the request wait, or fail."""
        key, wants = entry.item.key, entry.item.wants
        try:
            lease = self.pool.acquire(now, key, *wants)
        except NoBackendAvailable as refusal:
            if refusal.full:
                refused.add(wants)
                self.retry_at = min(self.retry_at, refusal.retry_at)
            else:
                self.answer(entry, refusal)
        except Exception as error:  # noqa: BLE001 - it belongs to the request that waits
            self.answer(entry, error)
        else:
            self.answer(entry, lease)

    def answer(self, entry: Waiting[Request], answer: Lease[str] | Exception) -> None:
        """Remove a request from the queue, and pass it a lease or an error."""
        self.queue.leave(entry)
        self.uncount(entry.item.wants)
        if isinstance(answer, Lease):
            entry.item.lease.set_result(answer)
        elif not entry.item.lease.cancelled():
            entry.item.lease.set_exception(answer)

    def give_up(self, entry: Waiting[Request]) -> None:
        """Remove a cancelled request.  If it has a lease already, the next request is served."""
        lease = entry.item.lease
        if self.queue.leave(entry):
            self.uncount(entry.item.wants)
        elif not lease.cancelled() and lease.exception() is None:
            self.release(lease.result(), ok=None)

    def uncount(self, wants: Wants) -> None:
        self.waiting[wants] -= 1
        if not self.waiting[wants]:
            del self.waiting[wants]

    def set_timer(self) -> None:
        """Call :meth:`serve` when an entry expires, or when time opens a backend."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        due = min(self.queue.due, self.pool.due, self.retry_at) if len(self.queue) else inf
        if due < inf:
            self.timer = self.loop.call_at(max(due, self.loop.time()), self.serve)


async def main() -> None:
    """Send forty requests at once.  Six can be in flight, and thirty can wait."""
    limit: ConnectionLimit[str] = ConnectionLimit(2)
    pool = Pool(LeastConnections(["a", "b"]), [limit], now=asyncio.get_running_loop().time())
    limit.set("b", 4)
    room = WaitingRoom(pool, AdmissionQueue(limit=30, timeout=5.0))
    served: Counter[str] = Counter()

    async def send(number: int) -> None:
        wants = Wants("a", strict=True) if number % 4 == 0 else ANY  # a session of the backend a
        try:
            async with room.request(wants=wants) as lease:
                await asyncio.sleep(0)
                served[lease.backend] += 1
        except QueueFull:
            served["refused"] += 1

    await asyncio.gather(*(send(number) for number in range(40)))
    print(dict(sorted(served.items())))


if __name__ == "__main__":
    asyncio.run(main())

"""One deadline for a request: for its time in a queue and for all its attempts together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from balancers import ConnectionLimit, LeastConnections, NoBackendAvailable, Pool
from balancers.overload import AdmissionQueue

from waiting_room import WaitingRoom, Wants

SECONDS = 0.5
T = TypeVar("T")


@dataclass
class Attempts:
    """The attempts of one request.  All of them end at the same time, and each has a backend.

    ``end`` is a time of the clock of the pool.  There are at most ``limit`` attempts, each of at
    most ``patience`` seconds.  ``tried`` contains the backends of all attempts.
    """

    end: float
    limit: int = 3
    patience: float = inf
    tried: set[str] = field(default_factory=set[str])

    def seconds(self, now: float) -> float:
        """Return how long an attempt may take that begins now."""
        return max(0.0, min(self.patience, self.end - now))

    def more(self, now: float) -> bool:
        """Return whether another attempt may begin."""
        return len(self.tried) < self.limit and now < self.end

    def timed_out(self, seconds: float) -> bool | None:
        """Return the outcome of an attempt that was not finished after these seconds.

        It is a failure only if the backend had all the time of an attempt.  If less was left,
        because the request had waited for other backends, the outcome is unknown.
        """
        return False if seconds >= self.patience else None


async def send_within(
    room: WaitingRoom, attempts: Attempts, send: Callable[[str], Awaitable[T]]
) -> T:
    """Send a request to one backend after another.  Raises TimeoutError at the deadline."""
    failure: OSError | None = None
    async with asyncio.timeout_at(attempts.end):
        while True:
            try:
                lease = await room.acquire(wants=Wants(avoid=frozenset(attempts.tried)))
            except NoBackendAvailable as refusal:
                raise failure or refusal from None  # a failure is more useful than the refusal
            attempts.tried.add(lease.backend)
            ok: bool | None = None  # the outcome of a cancelled attempt is unknown
            seconds = attempts.seconds(room.loop.time())
            timer = asyncio.timeout(seconds)
            try:
                async with timer:
                    answer = await send(lease.backend)
                ok = True
                return answer  # noqa: TRY300 - the attempt that succeeds ends the loop
            except OSError as error:  # a TimeoutError too
                failure = error
                ok = attempts.timed_out(seconds) if timer.expired() else False
                if not attempts.more(room.loop.time()):
                    raise
            finally:
                room.release(lease, ok)


async def main() -> None:
    """Send twenty requests, with half a second for each, to two backends.  One never responds."""
    limit: ConnectionLimit[str] = ConnectionLimit(2)
    loop = asyncio.get_running_loop()
    pool = Pool(LeastConnections(["silent", "quick"]), [limit], now=loop.time())
    room = WaitingRoom(pool, AdmissionQueue(limit=100, timeout=30.0))
    ended: Counter[str] = Counter()

    async def send(backend: str) -> str:
        await asyncio.sleep(30.0 if backend == "silent" else 0.001)
        return backend

    async def request() -> None:
        attempts = Attempts(loop.time() + SECONDS, patience=0.2)
        try:
            ended[await send_within(room, attempts, send)] += 1
        except TimeoutError:
            ended["too late"] += 1

    began = loop.time()
    await asyncio.gather(*(request() for _ in range(20)))
    in_time = loop.time() - began < 2 * SECONDS
    print(f"{dict(ended)}, all in time: {in_time}, in flight: {pool.snapshot().in_flight}")


if __name__ == "__main__":
    asyncio.run(main())

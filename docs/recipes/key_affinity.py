"""A request waits for the backend of its key while that backend is only full."""

from collections.abc import Callable
from dataclasses import dataclass, field

from balancers import ConnectionLimit, HashRing, Key, Lease, NoBackendAvailable, Pool
from balancers.hashing import OwnerOnly
from balancers.overload import AdmissionQueue, Waiting


@dataclass(eq=False)
class Request:
    """A request, with what to call when it has a lease, and when it fails."""

    key: Key
    start: Callable[[Lease[str]], object]
    fail: Callable[[Exception], object]
    passed: list[str] = field(default_factory=list[str])
    """The backends that had no place for it when it arrived."""


class KeyedRoom:
    """A pool that picks by key, with places for the requests that wait for their backends.

    A backend has ``maxqueue`` places.  While they are all taken, a key goes to its next backend.
    """

    def __init__(
        self,
        pool: Pool[str],
        owners: OwnerOnly[str],
        queue: AdmissionQueue[Request],
        maxqueue: float = float("inf"),
    ) -> None:
        self.pool, self.owners, self.queue, self.maxqueue = pool, owners, queue, maxqueue

    def arrive(self, request: Request, now: float) -> Waiting[Request] | None:
        """Start the request, or let it wait and return its entry.

        Raises NoBackendAvailable if waiting does not help, and QueueFull.
        """
        self.serve(now)
        passed = request.passed
        while True:
            try:
                lease = self.pool.acquire(now, request.key, avoid=passed)
            except NoBackendAvailable as refusal:
                if not refusal.full:
                    raise
                owner = self.owners.owner(request.key, passed)
                if owner is None or self.queue.waiting_for(owner) < self.maxqueue:
                    return self.queue.join(request, now, backend=owner)
                passed.append(owner)
            else:
                request.start(lease)
                return None

    def release(self, lease: Lease[str], now: float, ok: bool | None = True) -> None:
        """Release a lease, and start the next request that waits for this backend."""
        try:
            self.pool.release(lease, now, ok)
        finally:
            self.serve(now)

    def serve(self, now: float) -> None:
        """Start each request that waits and whose backend is open, in the order of arrival.

        Also call this at :attr:`due`, after the result of a probe, and after a change of members.
        """
        for late in self.queue.expired(now):
            late.item.fail(TimeoutError(f"no place for {now - late.since} s"))
        backends = self.queue.backends or (None,)
        heads = [(backend, self.queue.peek(now, backend)) for backend in backends]
        for backend, _ in sorted(heads, key=lambda each: by_arrival(each[1])):
            while (entry := self.queue.peek(now, backend)) is not None:
                if not self.try_to_start(entry, now):
                    break

    def try_to_start(self, entry: Waiting[Request], now: float) -> bool:
        """Start a request that waits, or let it wait for another backend.

        Return False if it goes on to wait for the same one.
        """
        request = entry.item
        try:
            lease = self.pool.acquire(now, request.key, avoid=request.passed)
        except NoBackendAvailable as refusal:
            if request.passed and not refusal.full:
                request.passed.clear()
                return True
            if not refusal.full:
                self.queue.leave(entry)
                request.fail(refusal)
                return True
            owner = self.owners.owner(request.key, request.passed)
            if owner == entry.backend:
                return False
            self.queue.move(entry, owner)  # the backend that it waited for is down or leaves
        else:
            self.queue.leave(entry)
            request.start(lease)
        return True

    @property
    def due(self) -> float:
        """The time in seconds at which to call :meth:`serve`."""
        return min(self.queue.due, self.pool.due)


def by_arrival(entry: Waiting[Request] | None) -> tuple[int, int]:
    """Return the place of an entry: by priority, and then in the order of arrival."""
    return (0, 0) if entry is None else (-entry.priority, entry.number)


def main() -> None:
    """Send twelve requests of four keys to three backends that serve one request at a time."""
    owners = OwnerOnly(HashRing(["a", "b", "c"]))
    pool = Pool(owners, [ConnectionLimit(1)])
    room = KeyedRoom(pool, owners, AdmissionQueue(limit=100, timeout=30.0))
    served: list[Lease[str]] = []
    for number in range(12):
        room.arrive(Request(f"user:{number % 4}", served.append, print), now=0.0)
    for second, lease in enumerate(served):  # the list grows
        room.release(lease, now=1.0 + second)
    print(len(served), sorted({(str(lease.key), lease.backend) for lease in served}))


if __name__ == "__main__":
    main()

"""Sixteen real threads share one pool under one lock, and their requests are cancelled at random.

    python -m tests.soak.threads [--leases 1000000] [--threads 16] [--seed 1] [balancer ...]

Every balancer gets an equal part of the leases, in a pool with every gate.  A thread holds its
lease in a ``with`` block.  Any other thread may cancel it: the block then ends with an exception at
its next step.  The block also ends with other exceptions, KeyboardInterrupt among them.  All
threads change the membership, the weights, the drains and the health.  At the end, no request is in
flight anywhere, and all totals are those that the threads counted.  The exit code is 1 if not.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from random import Random
from threading import Barrier, Lock, Thread

from balancers import Lease, NoBackendAvailable, Pool
from tests.kinds import KINDS, Kind
from tests.soak.invariants import check_pool
from tests.soak.parts import Name, Parts

__all__ = ["Crowd", "run_threads"]

MEMBERS, EXTRA = [Name(f"member {number}") for number in range(6)], 4
STEPS = 6
OUTCOMES: list[type[BaseException] | None] = [
    *[None] * 12,
    ValueError,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
]
SWITCH = 1e-5


class Cancelled(BaseException):
    """Another thread has cancelled the request."""


class Ticket:
    """One request of a thread, which other threads can cancel."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


class Crowd:
    """A pool with every gate that several threads use, with every call under one lock."""

    def __init__(self, kind: Kind, threads: int, seed: int) -> None:
        self.kind = kind
        self.lock = Lock()
        self.parts = Parts(kind, Random(f"{kind.name} {seed}"), burst=10_000)
        self.pool: Pool[Name] = self.parts.pool
        self.pool.update(MEMBERS)
        self.tickets: list[Ticket | None] = [None] * threads
        self.start = Barrier(threads)
        self.ticks = 0
        self.joined = 0
        self.left = 0
        """The leases that are still to be acquired.  Written under the lock."""
        self.done: Counter[str] = Counter()
        self.errors: list[BaseException] = []

    def now(self) -> float:
        """Return a new time.  Called under the lock."""
        self.ticks += 1
        return self.ticks / 50

    @contextmanager
    def lease(self, key: str) -> Generator[Lease[Name], None, None]:
        """Hold a lease.  The lock is held to acquire and to release it, and not in between."""
        with self.lock:
            context = self.pool.lease(self.now, key)
            lease = context.__enter__()
            self.left -= 1
            self.done["requests"] += 1
        kind: type[BaseException] | None = None
        try:
            yield lease
        except BaseException as error:
            kind = type(error)
            raise
        finally:
            with self.lock:
                backend, generation = lease.backend, lease.generation
                counted = backend in self.pool and self.pool.generation(backend) == generation
                context.__exit__(kind, None if kind is None else kind(), None)
                failed = kind is not None and issubclass(kind, Exception)
                self.done["failures"] += failed and counted

    def work(self, number: int, seed: int) -> None:
        """Send requests until all leases were acquired."""
        rng = Random(f"{self.kind.name} {seed} {number}")
        self.start.wait()
        try:
            while self.left > 0:
                self.request(number, rng)
        except BaseException as error:
            self.errors.append(error)
            raise

    def request(self, number: int, rng: Random) -> None:
        """Send one request, and cancel the requests of others while it is in flight."""
        ticket = self.tickets[number] = Ticket()
        outcome = rng.choice(OUTCOMES)
        try:
            with self.lease(f"10.0.{rng.randrange(256)}.{rng.randrange(256)}"):
                self.use(ticket, rng)
                if outcome is not None:
                    raise outcome
        except NoBackendAvailable as refusal:
            with self.lock:
                self.done[f"refused: {refusal.reason}"] += 1
                self.change(rng)  # so that a backend opens again
        except Cancelled:
            with self.lock:
                self.done["cancelled"] += 1
        except (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit) as error:
            with self.lock:
                self.done[type(error).__name__] += 1
        finally:
            self.tickets[number] = None

    def use(self, ticket: Ticket, rng: Random) -> None:
        """Do some steps with a lease, until the request is cancelled."""
        for _ in range(rng.randrange(STEPS)):
            self.step(rng)
            if ticket.cancelled:
                raise Cancelled

    def step(self, rng: Random) -> None:
        """Cancel a request of another thread, or change something."""
        chance = rng.random()
        if chance < 0.4:
            other = rng.choice(self.tickets)
            if other is not None:
                other.cancelled = True
        elif chance < 0.6:
            with self.lock:
                self.change(rng)
        else:
            with self.lock:
                self.pool.snapshot() if chance > 0.98 else self.pool.due

    def change(self, rng: Random) -> None:
        """Change the health, a drain, a weight or the membership.  Called under the lock."""
        parts, pool, now = self.parts, self.pool, self.now()
        backend = rng.choice([*pool.backends])
        match rng.randrange(6):
            case 0:
                parts.health.observe(backend, rng.random() < 0.9, now)
            case 1:
                for probe in parts.active.probes(now):
                    parts.active.answer(probe, rng.random() < 0.95, now)
            case 2:
                (parts.drain.begin if rng.random() < 0.2 else parts.drain.cancel)(backend, now)
            case 3:
                pool.set_weight(backend, rng.choice([0, 1, 1, 2, 3]), now)
            case 4 if len(pool) < len(MEMBERS) + EXTRA:
                self.joined += 1
                pool.add(Name(f"extra {self.joined}"), 1, now)
            case 5 if len(pool) > len(MEMBERS):
                pool.remove([*pool.backends][-1], now)
            case _:
                pass

    def check(self) -> None:
        """Check that nothing is in flight, and that all totals are those of the threads."""
        refusals: Counter[str] = Counter()
        check_pool(self.parts, {}, self.now(), refusals)
        snapshot = self.pool.snapshot()
        assert snapshot.in_flight == 0, f"{snapshot.in_flight} requests are still in flight"
        assert snapshot.requests == self.done["requests"], "the number of requests"
        assert snapshot.failures == self.done["failures"], "the number of failures"
        for name, count in self.done.items():
            if name.startswith("refused: "):
                refusals[name.removeprefix("refused: ")] += count
        assert snapshot.refusals == refusals, "the number of refusals"


def run_threads(kind: Kind, leases: int, threads: int, seed: int) -> Crowd:
    """Let the threads acquire so many leases together, and check the pool at the end."""
    crowd = Crowd(kind, threads, seed)
    crowd.left = leases
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        running = [Thread(target=crowd.work, args=(number, seed)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not crowd.errors, crowd.errors[0]
    crowd.check()
    return crowd


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.soak.threads", description=__doc__)
    options.add_argument("--leases", type=int, default=1_000_000, help="of all balancers")
    options.add_argument("--threads", type=int, default=16)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("balancers", nargs="*", metavar="balancer", help="default: every one")
    given = options.parse_args()
    names: list[str] = given.balancers or [kind.name for kind in KINDS]
    kinds = [kind for kind in KINDS if kind.name in names]
    started, total = time.monotonic(), Counter[str]()
    for kind in kinds:
        try:
            crowd = run_threads(kind, -(-given.leases // len(kinds)), given.threads, given.seed)
        except AssertionError as error:
            print(f"{kind.name}: {error}", file=sys.stderr)
            return 1
        total += crowd.done
        print(
            f"{kind.name:28} {crowd.done['requests']:>9,} leases, "
            f"{crowd.done['cancelled']:>7,} cancelled by another thread, "
            f"{crowd.done['KeyboardInterrupt']:>6,} interrupted, "
            f"{crowd.joined:>6,} backends joined, 0 in flight",
            flush=True,
        )
    print(
        f"{total['requests']:,} leases by {given.threads} threads, "
        f"{total['cancelled']:,} cancelled, none leaked, {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Ten thousand tasks of one event loop that are cancelled before, while and after they hold leases.

    python -m tests.soak.tasks [--tasks 10000] [--seed 1] [balancer ...]

Half of the tasks use ``with pool.lease``, and half of them the waiting room of the recipe.  The
clock of the loop is virtual, so nothing is waited for.  At the end, no request is in flight
anywhere, nothing waits, and the totals are those that were counted.  The exit code is 1 if not.
"""

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

from balancers import NoBackendAvailable, Pool
from balancers.overload import AdmissionQueue, RetryBudget
from tests.kinds import KINDS, Kind
from tests.overload.test_waiting_room import RECIPE
from tests.overload.virtual_time import VirtualTimeLoop
from tests.soak.invariants import check_pool
from tests.soak.memory import others_frozen
from tests.soak.parts import Name, Parts

__all__ = ["STATES", "Tasks", "run_tasks"]

STATES = ("before", "waiting", "holding", "releasing", "after")
MEMBERS = [Name(f"member {number}") for number in range(8)]
PAUSES = [0.0, 0.0, 0.0, 0.01, 0.05]
STEPS = 4
ARRIVALS, TURN = 3500, 0.01
"""Tasks per second, and the seconds between two turns in which tasks are cancelled."""
CANCELLED = {"before": 2, "waiting": 6, "holding": 8, "releasing": 8, "after": 4}
"""The most tasks of each state that are cancelled at one turn."""


class Interruption(BaseException):
    """Ends a task like KeyboardInterrupt does, but not the event loop."""


class Tasks:
    """A pool with every gate, and the tasks that use it."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.rng = Random(f"{kind.name} {seed}")
        self.parts = Parts(kind, self.rng, burst=10_000)
        self.pool: Pool[Name] = self.parts.pool
        self.pool.update(MEMBERS)
        self.queue: AdmissionQueue[Any] = AdmissionQueue(10**6, 10**6)
        self.room = RECIPE.WaitingRoom(self.pool, self.queue)
        self.budget = RetryBudget(0.5, 3)
        self.clock = asyncio.get_running_loop().time
        self.acquired = 0
        acquire: Any = self.pool.acquire

        def counted(*arguments: Any, **options: Any) -> Any:
            lease = acquire(*arguments, **options)
            self.acquired += 1
            return lease

        self.pool.acquire = counted  # type: ignore[method-assign]  # to count the leases
        self.states: dict[str, dict[asyncio.Task[None], None]] = {state: {} for state in STATES}
        self.cancelled: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.running = True

    def enter(self, before: str, state: str) -> None:
        """Note that the current task goes from one state to the next."""
        task: Any = asyncio.current_task()
        self.states[before].pop(task, None)
        if state:
            self.states[state][task] = None

    async def pause(self) -> None:
        for _ in range(self.rng.randrange(STEPS)):
            await asyncio.sleep(self.rng.choice(PAUSES))

    def key(self) -> str:
        return f"10.0.{self.rng.randrange(256)}.{self.rng.randrange(256)}"

    async def request(self, latest: float) -> None:
        """Hold a lease in one of two ways.  The request arrives at a random time."""
        await asyncio.sleep(self.rng.random() * latest)
        with self.budget.request() as budgeted:
            self.enter("before", "waiting")
            try:
                await self.send()
            except (NoBackendAvailable, ValueError):
                budgeted.retry()
                await asyncio.sleep(0)
        self.enter("releasing", "after")
        await self.pause()

    async def send(self) -> None:
        """Wait in the room if the pool is full, or half of the time in any case."""
        if self.rng.random() < 0.5:
            with suppress(NoBackendAvailable):
                with self.pool.lease(self.clock, self.key()):
                    await self.hold()
                return
        async with self.room.request(self.key()):
            await self.hold()

    async def hold(self) -> None:
        self.enter("waiting", "holding")
        try:
            await self.pause()
            error = self.rng.choice([None] * 8 + [ValueError, Interruption])
            if error is not None:
                raise error
        finally:
            self.enter("holding", "releasing")
            await self.pause()  # for example, the connection is closed

    async def run(self, count: int) -> None:
        """Start the tasks, cancel many of them, and check the pool at the end."""
        latest = count / ARRIVALS
        tasks = [asyncio.create_task(self.request(latest)) for _ in range(count)]
        self.states["before"].update(dict.fromkeys(tasks))
        for task in tasks:
            task.add_done_callback(self.note_end)
        helpers = [asyncio.create_task(self.cancel()), asyncio.create_task(self.probe())]
        await asyncio.gather(*tasks, return_exceptions=True)
        self.running = False
        await asyncio.gather(*helpers)
        self.check(count)

    def note_end(self, task: asyncio.Task[None]) -> None:
        for held in self.states.values():
            held.pop(task, None)
        error = None if task.cancelled() else task.exception()
        name = "cancelled" if task.cancelled() else type(error).__name__
        assert error is None or isinstance(error, Interruption), error
        self.ended[name] += 1

    async def cancel(self) -> None:
        """Cancel tasks in every state, at random."""
        while self.running:
            for state, most in CANCELLED.items():
                tasks = [*self.states[state]]
                for task in self.rng.sample(tasks, min(len(tasks), self.rng.randrange(most + 1))):
                    task.cancel()
                    self.cancelled[state] += 1
            await asyncio.sleep(TURN)

    async def probe(self) -> None:
        """Send the probes of the active checks.  All of them pass."""
        while self.running:
            for probe in self.parts.active.probes(self.clock()):
                self.parts.active.answer(probe, True, self.clock())
            self.room.serve()
            await asyncio.sleep(0.2)

    def check(self, count: int) -> None:
        assert self.ended.total() == count
        assert all(not held for held in self.states.values())
        check_pool(self.parts, {}, self.clock())
        assert self.pool.snapshot().in_flight == 0
        assert self.pool.snapshot().requests == self.acquired, "the number of requests"
        assert len(self.queue) == 0, "a request still waits"
        assert not self.room.waiting, "the room counts a request that has ended"
        assert (self.budget.requests, self.budget.retries) == (0, 0), "the budget"


def run_tasks(kind: Kind, count: int, seed: int) -> Tasks:
    """Run so many tasks.  Raises AssertionError if anything is leaked."""

    async def run() -> Tasks:
        tasks = Tasks(kind, seed)
        await tasks.run(count)
        return tasks

    loop = VirtualTimeLoop()
    try:
        with others_frozen():
            return loop.run_until_complete(run())
    finally:
        loop.close()


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.soak.tasks", description=__doc__)
    options.add_argument("--tasks", type=int, default=10_000, help="of each balancer")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("balancers", nargs="*", metavar="balancer", help="default: every one")
    given = options.parse_args()
    names: list[str] = given.balancers or [kind.name for kind in KINDS]
    for kind in (kind for kind in KINDS if kind.name in names):
        try:
            tasks = run_tasks(kind, given.tasks, given.seed)
        except AssertionError as error:
            print(f"{kind.name}: {error}", file=sys.stderr)
            return 1
        states = ", ".join(f"{tasks.cancelled[state]:,} {state}" for state in STATES)
        print(
            f"{kind.name:28} {given.tasks:,} tasks, {tasks.acquired:,} leases; "
            f"cancelled: {states}; 0 in flight",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

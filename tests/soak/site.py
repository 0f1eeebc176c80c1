"""A site under random operations: a pool with every gate, sessions, flows, a queue and a budget.

Backends, keys, sessions, flows and waiting requests have new names all the time.  The site counts
what it does, and :meth:`Site.check` compares every part with these counts.  :meth:`Site.rest` ends
all requests and lets all timeouts pass.  Then nothing may be left of what has ended.
"""

from bisect import bisect
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from itertools import accumulate, count
from math import inf
from random import Random
from typing import Any, Literal
from weakref import WeakValueDictionary

from balancers import Lease, NoBackendAvailable, Outcome, Pool
from balancers.errors import (
    AlreadyReleased,
    DuplicateBackend,
    InvalidSetting,
    InvalidWeight,
    QueueFull,
    UnknownBackend,
)
from balancers.flows import FlowTable
from balancers.gates import Probe
from balancers.http import Request
from balancers.overload import AdmissionQueue, BudgetedRequest, RetryBudget, Waiting
from balancers.pool import Explanation, LeaseContext
from balancers.sessions import (
    AddressSessions,
    CookieSessions,
    HeaderSessions,
    LearnedSessions,
    SessionTokens,
)
from balancers.sessions.binding import Binding
from tests.kinds import Kind
from tests.soak.invariants import check_pool, check_timers
from tests.soak.parts import EVENTS, Fault, Name, Parts

__all__ = ["MOST", "Interruption", "Site"]

FEWEST, MOST, AT_REST = 3, 40, 8
IN_FLIGHT = 80
FAULTS = 400
EXPLAINED = 0.05
COSTS = (0, 0, 0, 50, 900)
"""The share of the requests that the pool explains before they are made."""
MAX_FLOWS, MAX_SESSIONS, MAX_WAITING = 10, 3, 4
PATIENCE, IDLE = 2.0, 20.0
REST = 1000.0
"""Seconds after which every timeout of the site has passed."""
STALE_FLOWS, STALE_IDENTITIES = 64, 16
WEIGHTS = [0, 1, 1, 1, 2, 3, 0.5, 2.25]
KEYS = (b"a key of 32 bytes that signs 1..", b"a key of 32 bytes that signs 2..")
FLOW_STATES: list[Literal["new", "established", "closing"]] = ["new", "established", "closing"]


class Interruption(BaseException):
    """Ends a request like KeyboardInterrupt does."""


class Served:
    """A request in flight."""

    __slots__ = ("budgeted", "context", "issue", "lease")

    def __init__(self, lease: Lease[Name], context: LeaseContext[Name] | None) -> None:
        self.lease = lease
        self.context = context
        self.budgeted: BudgetedRequest | None = None
        self.issue: Callable[[Lease[Name]], None] | None = None


class Site:
    """A pool with all that stands around it."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.rng = Random(f"{kind.name} {seed}")
        self.kind = kind
        self.parts = Parts(kind, self.rng, FAULTS)
        self.pool: Pool[Name] = self.parts.pool
        self.now, self.latest = 0.0, 0.0
        self.serial = self.joined = 0
        self.operations = 0
        self.done: Counter[str] = Counter()
        self.names: WeakValueDictionary[int, Name] = WeakValueDictionary()
        self.named = count()
        self.former: deque[str] = deque(maxlen=6)
        self.sick: set[str] = set()
        self.wanted: dict[Name, float] = {}
        self.held: list[Served] = []
        self.flying: dict[int, int] = {}
        self.requests = self.failures = 0
        self.refusals: Counter[str] = Counter()
        self.probes: deque[Probe[Name]] = deque(maxlen=30)
        self.set_up_sessions()
        self.flows: FlowTable[Name] = FlowTable(
            MAX_FLOWS, new_timeout=2.0, established_timeout=500.0, closing_timeout=4.0
        )
        self.known_flows: deque[bytes] = deque(maxlen=3 * MAX_FLOWS)
        self.flow_counts: Counter[str] = Counter()
        self.queue: AdmissionQueue[Name] = AdmissionQueue(MAX_WAITING, PATIENCE)
        self.entries: OrderedDict[int, Waiting[Name]] = OrderedDict()
        self.budget = RetryBudget(0.2, 3)
        weights = [weight for weight, _ in self.actions()]
        self.sums = [*accumulate(weights)]
        self.methods = [method for _, method in self.actions()]
        self.update_all(keep=None)

    def actions(self) -> list[tuple[int, Callable[[], None]]]:
        """Return the operations, and how often each of them is done."""
        return [
            (190, self.begin),
            (90, self.begin_for_session),
            (60, self.begin_for_flow),
            (330, self.end),
            (80, self.pass_time),
            (40, self.send_probes),
            (25, self.observe),
            (25, self.drain),
            (18, self.join),
            (14, self.leave),
            (4, lambda: self.update_all(keep=None)),
            (6, lambda: self.update_all(keep=self.rng.choice([0.0, 0.5, 3.0]))),
            (15, self.change_weight),
            (15, self.change_setting),
            (20, self.change_queue),
            (20, self.change_flows),
            (20, self.change_sessions),
            (15, self.report_of_former),
            (8, self.make_mistake),
            (10, self.read),
        ]

    def run(self, operations: int) -> None:
        """Do so many random operations."""
        rng, sums, methods = self.rng, self.sums, self.methods
        total = sums[-1]
        for _ in range(operations):
            method = methods[bisect(sums, rng.random() * total)]
            try:
                method()
            except Fault:
                self.done["faults"] += 1
        self.operations += operations

    # names and clients

    def new_name(self) -> Name:
        """Return a name that was never used, or one of the last names that have left."""
        if self.former and self.rng.random() < 0.25:
            name = Name(self.rng.choice(self.former))
        else:
            self.serial += 1
            name = Name(f"backend-{self.serial}.example:80")
        self.watch(name)
        if self.rng.random() < 0.15:
            self.sick.add(str(name))
        return name

    def watch(self, name: Name) -> None:
        """Notice when nothing refers to a name any more.  Equal names are different objects."""
        self.names[next(self.named)] = name

    def new_key(self) -> Name:
        """Return an address that is a key for every balancer."""
        bits = self.rng.getrandbits(24)
        name = Name(f"10.{bits >> 16}.{bits >> 8 & 255}.{bits & 255}")
        self.watch(name)
        return name

    def clock(self) -> float:
        return self.now

    def member(self) -> Name:
        return self.rng.choice([*self.pool.backends])

    # requests

    def pass_time(self) -> None:
        self.now = max(0.0, self.now + self.rng.choice([0.01, 0.1, 0.1, 0.3, 1.0, 2.5, -0.5]))
        self.latest = max(self.latest, self.now)

    def acquire(
        self,
        key: Any,
        prefer: Name | None = None,
        strict: bool = False,
        avoid: Any = (),
        *,
        waits: bool = False,
    ) -> Served | None:
        """Acquire a lease, and count it or the refusal."""
        context: LeaseContext[Name] | None = None
        expected: Explanation[Name] | None = None
        cost = self.rng.choice(COSTS)
        if self.rng.random() < EXPLAINED:
            expected = self.pool.explain(self.now, key, prefer, strict, avoid, cost=cost)
        try:
            if self.rng.random() < 0.3:
                context = self.pool.lease(self.clock, key, prefer, strict, avoid, cost)
                lease = context.__enter__()
            else:
                lease = self.pool.acquire(self.now, key, prefer, strict, avoid, cost)
        except NoBackendAvailable as refusal:
            self.refusals[refusal.reason] += 1
            self.check_refusal(expected, refusal)
            if refusal.full and not waits and prefer is None:
                self.wait(key)
            return None
        if expected is not None:
            found = (lease.backend, lease.bound)
            assert (expected.backend, expected.bound) == found, f"explained: {expected}"
        self.requests += 1
        generation = lease.generation
        self.flying[generation] = self.flying.get(generation, 0) + 1
        served = Served(lease, context)
        self.held.append(served)
        return served

    @staticmethod
    def check_refusal(expected: Explanation[Name] | None, refusal: NoBackendAvailable) -> None:
        """Check that a request was refused as explained, if it was explained."""
        if expected is not None:
            assert str(expected.error) == str(refusal), f"explained: {expected.error}"

    def begin(self) -> None:
        if len(self.held) > IN_FLIGHT:
            return
        rng = self.rng
        avoid: Any = ()
        prefer: Name | None = None
        if rng.random() < 0.15:
            chosen = [self.member(), Name("former"), self.member()]
            avoid = rng.choice([list, set, tuple])(chosen[: rng.randrange(4)])
        elif rng.random() < 0.1:
            prefer = self.member()
        served = self.acquire(self.new_key(), prefer, prefer is not None, avoid)
        if served is not None and rng.random() < 0.4:
            served.budgeted = self.budget.request().__enter__()

    def end(self) -> None:
        if not self.held:
            return
        rng, held = self.rng, self.held
        place = rng.randrange(len(held))
        held[place], held[-1] = held[-1], held[place]
        served = held[-1]
        fails = rng.random() < (0.6 if str(served.lease.backend) in self.sick else 0.01)
        if served.issue is not None:
            served.issue(served.lease)
        held.pop()
        try:
            self.release(served, fails)
        finally:
            if served.budgeted is not None:
                self.retry_or_end(served, fails)
        if rng.random() < 0.5:
            self.serve_next()

    def release(self, served: Served, fails: bool) -> None:
        lease, rng = served.lease, self.rng
        backend, generation = lease.backend, lease.generation
        ok: bool | None = not fails
        error: BaseException | None = None
        if served.context is not None:
            if fails and rng.random() < 0.5:
                lease.failed(status=503, retry_after=rng.choice([None, 0.5]))
            elif fails:
                error = ValueError()
            elif rng.random() < 0.1:
                ok, error = None, rng.choice([KeyboardInterrupt(), SystemExit(), Interruption()])
        elif rng.random() < 0.1:
            ok = None
        self.flying[generation] -= 1
        if not self.flying[generation]:
            del self.flying[generation]
        if ok is False and backend in self.pool and self.pool.generation(backend) == generation:
            self.failures += 1
        if served.context is not None:
            kind = None if error is None else type(error)
            served.context.__exit__(kind, error, None)
        elif fails:
            status = rng.choice([None, 500, 502])
            retry_after = 1.0 if rng.random() < 0.05 else None
            self.pool.release(lease, self.now, ok, 0.1, retry_after, status)
        else:
            self.pool.release(lease, self.now, ok)

    def retry_or_end(self, served: Served, fails: bool) -> None:
        """Send the request again if the budget allows it, or end it."""
        budgeted = served.budgeted
        assert budgeted is not None
        if fails and budgeted.retry():
            self.done["retries"] += 1
            again: Served | None = None
            try:
                again = self.acquire(self.new_key(), avoid=[served.lease.backend], waits=True)
            finally:
                if again is None:
                    budgeted.__exit__(None, None, None)
            if again is not None:
                again.budgeted = budgeted
        else:
            budgeted.__exit__(None, None, None)

    def wait(self, key: Name) -> None:
        try:
            timeout = self.rng.choice([None, None, 0.3, inf])
            entry = self.queue.join(key, self.now, self.rng.randrange(3), timeout)
        except QueueFull:
            self.done["queue full"] += 1
            return
        self.done["joined"] += 1
        self.entries[entry.number] = entry

    def serve_next(self) -> None:
        entry = self.queue.wake(self.now)
        if entry is not None:
            self.done["woken"] += 1
            del self.entries[entry.number]
            self.acquire(entry.item, waits=True)

    def change_queue(self) -> None:
        for entry in self.queue.expired(self.now):
            self.done["gave up"] += 1
            del self.entries[entry.number]
        if self.entries and self.rng.random() < 0.7:
            number = self.rng.choice([*self.entries])
            if self.queue.leave(self.entries[number]):
                self.done["left"] += 1
                del self.entries[number]

    # sessions

    def set_up_sessions(self) -> None:
        pool, rng = self.pool, Random(self.rng.random())
        tokens = SessionTokens(KEYS, rng=rng, idle_timeout=IDLE, lifetime=5 * IDLE)
        self.cookies: CookieSessions[Name] = CookieSessions(pool, tokens, max_age=60)
        self.sealed: HeaderSessions[Name] = HeaderSessions(pool, tokens, failover="strict")
        self.plain: HeaderSessions[Name] = HeaderSessions(pool, trusted=True)
        self.learned: LearnedSessions[Name] = LearnedSessions(
            pool, max_sessions=MAX_SESSIONS, idle_timeout=IDLE
        )
        self.addresses: AddressSessions[Name] = AddressSessions(
            pool, max_sessions=MAX_SESSIONS, idle_timeout=IDLE
        )
        self.clients: dict[str, deque[str]] = {
            name: deque(maxlen=30) for name in ("cookie", "sealed", "plain", "learned", "address")
        }
        self.forgotten = 0
        self.stored: Counter[str] = Counter()

    def client(self, kind: str) -> str | None:
        """Return what a client of former requests sends, or None for a new client."""
        known = self.clients[kind]
        return self.rng.choice(known) if known and self.rng.random() < 0.6 else None

    def begin_for_session(self) -> None:
        if len(self.held) > IN_FLIGHT:
            return
        kind = self.rng.choice([*self.clients])
        binding, issue = getattr(self, f"resolve_{kind}")()
        served = self.acquire(self.new_key(), binding.backend, binding.strict, waits=True)
        if served is not None:
            served.issue = issue

    def resolve_cookie(self) -> tuple[Binding[Name], Any]:
        cookie, sent = self.client("cookie"), self.clients["cookie"]
        headers = [] if cookie is None else [("Cookie", cookie)]
        found = self.cookies.resolve(Request(headers=headers), self.now, self.latest)

        def issue(lease: Lease[Name]) -> None:
            value = self.cookies.issue(lease, self.latest, found)
            if value is not None:
                sent.append(value.partition(";")[0])

        return found, issue

    def resolve_sealed(self) -> tuple[Binding[Name], Any]:
        return self.resolve_header("sealed", self.sealed)

    def resolve_plain(self) -> tuple[Binding[Name], Any]:
        return self.resolve_header("plain", self.plain)

    def resolve_header(self, kind: str, sticky: HeaderSessions[Name]) -> tuple[Binding[Name], Any]:
        value, sent = self.client(kind), self.clients[kind]
        headers = [] if value is None else [("X-Session-Server", value)]
        found = sticky.resolve(Request(headers=headers), self.now, self.latest)

        def issue(lease: Lease[Name]) -> None:
            value = sticky.issue(lease, self.latest, found)
            if value is not None:
                sent.append(value)

        return found, issue

    def resolve_learned(self) -> tuple[Binding[Name], Any]:
        session = self.client("learned")
        found = self.learned.resolve(session, self.now)

        def issue(lease: Lease[Name]) -> None:
            if session is not None:
                self.learned.issue(lease, self.latest, found)
                return
            self.serial += 1
            new = Name(f"session-{self.serial}")
            self.watch(new)
            before = (len(self.learned), self.learned.evicted, self.learned.expired)
            self.learned.learn(new, lease, self.now)
            after = (len(self.learned), self.learned.evicted, self.learned.expired)
            self.stored["learned"] += sum(after) - sum(before)
            self.clients["learned"].append(str(new))

        return found, issue

    def resolve_address(self) -> tuple[Binding[Name], Any]:
        address = self.client("address") or self.new_key()
        found = self.addresses.resolve(address, self.now)

        def issue(lease: Lease[Name]) -> None:
            self.addresses.issue(lease, self.latest, found)
            self.clients["address"].append(str(address))

        return found, issue

    def change_sessions(self) -> None:
        if self.clients["learned"]:
            before = len(self.learned)
            self.learned.forget(self.rng.choice(self.clients["learned"]))
            self.forgotten += before - len(self.learned)
        for table in (self.learned, self.addresses):
            assert set(table.counts()) == set(self.pool.backends)

    # flows

    def begin_for_flow(self) -> None:
        if len(self.held) > IN_FLIGHT:
            return
        if self.known_flows and self.rng.random() < 0.5:
            flow = self.rng.choice(self.known_flows)
        else:
            self.serial += 1
            flow = b"flow %d" % self.serial
            self.known_flows.append(flow)
        prefer = self.flows.find(flow, self.now)
        self.flow_counts["found"] += 1
        served = self.acquire(self.new_key(), prefer, waits=True)
        if served is not None:
            before = flow in self.flows
            evictions = self.flows.counts.evictions
            self.flows.keep(flow, served.lease.backend, self.now, self.rng.choice(FLOW_STATES))
            assert self.flows.counts.evictions <= evictions + 1
            self.flow_counts["kept"] += not before

    def change_flows(self) -> None:
        flows, rng = self.flows, self.rng
        for backend in flows.retired(self.now):
            assert not flows.flows_on(backend)
        if self.known_flows and rng.random() < 0.5:
            flow = rng.choice(self.known_flows)
            self.flow_counts["discarded"] += flow in flows
            flows.discard(flow)
        elif rng.random() < 0.5:
            flows.expire(self.now)

    # health, drains and settings

    def send_probes(self) -> None:
        active, rng = self.parts.active, self.rng
        self.probes.extend(active.probes(self.now))
        while self.probes and rng.random() < 0.9:
            probe = self.probes.popleft()
            ok = rng.random() > (0.7 if str(probe.backend) in self.sick else 0.01)
            active.answer(probe, ok, self.now)

    def observe(self) -> None:
        backend = self.member()
        ok = self.rng.random() > (0.7 if str(backend) in self.sick else 0.02)
        self.parts.health.observe(backend, ok, self.now)
        (self.sick.discard if self.rng.random() < 0.5 else self.sick.add)(str(backend))

    def drain(self) -> None:
        rng, parts, backend = self.rng, self.parts, self.member()
        gate = rng.choice([parts.drain, parts.last_resort])
        (gate.begin if rng.random() < 0.3 else gate.cancel)(backend, self.now)
        for ended in parts.drain.drained(self.now):
            if rng.random() < 0.3 and self.may_leave(ended.backend):
                self.remove(ended.backend)
        parts.last_resort.drained(self.now)

    def change_setting(self) -> None:
        rng, parts, backend = self.rng, self.parts, self.member()
        match rng.randrange(5):
            case 0:
                parts.limit.set(backend, rng.choice([None, 2, 6, 20]), self.now)
            case 1:
                parts.dynamic.set_waiting(len(self.queue), self.now)
            case 2:
                parts.warm_up.begin(backend, self.now)
            case 3 if parts.slow_start is not None:
                parts.slow_start.begin(backend, self.now)
            case _:
                parts.outliers.restore(backend, self.now)

    # the membership

    def change(self, expected: dict[Name, float], change: Callable[[], None]) -> None:
        """Change the membership.  After an error of a gate, all or nothing has changed."""
        before = self.wanted
        gone = {b: self.flows.flows_on(b) for b in before if b not in expected}
        failed: Fault | None = None
        try:
            change()
        except Fault as error:
            failed = error
        pool = self.pool
        found = {b: pool.weight(b) for b in pool.backends if not pool._by_backend[b].departing}
        if failed is None or found != before:
            assert found == expected, "a change of the membership was made in part"
            self.joined += sum(backend not in before for backend in expected)
            self.wanted = expected
            for backend in gone:
                self.forget(backend)
        if failed is not None:
            raise failed

    def forget(self, backend: Name) -> None:
        """Remove what the site knows about a backend that leaves."""
        self.former.append(str(backend))
        self.sick.discard(str(backend))
        if self.rng.random() < 0.5:
            self.flow_counts["forgotten"] += len(self.flows.forget(backend))
        else:
            self.flows.retire(backend)

    def may_leave(self, backend: Name) -> bool:
        pool = self.pool
        if len(self.wanted) <= FEWEST or backend not in pool:
            return False
        return not self.kind.only_last_leaves or [*pool.backends][-1] == backend

    def join(self) -> None:
        if len(self.pool) >= MOST:
            return
        name, weight = self.new_name(), self.rng.choice(WEIGHTS)
        if name not in self.wanted:
            self.change(
                {**self.wanted, name: weight}, lambda: self.pool.add(name, weight, self.now)
            )

    def leave(self) -> None:
        backend = [*self.pool.backends][-1] if self.rng.random() < 0.5 else self.member()
        if self.may_leave(backend):
            self.remove(backend)

    def remove(self, backend: Name) -> None:
        left = {b: weight for b, weight in self.wanted.items() if b != backend}
        self.change(left, lambda: self.remove_unless_gone(backend))

    def remove_unless_gone(self, backend: Name) -> None:
        """Remove a backend, which may leave by itself at this time if an update did not have it."""
        self.pool.remove(backend, self.now)

    def update_all(self, keep: float | None, size: int | None = None) -> None:
        """Replace about half of the members.  Without ``keep``, the last ones, for every kind."""
        rng, pool = self.rng, self.pool
        members = [*pool.backends]
        if keep is None and self.kind.only_last_leaves:
            staying = members[: rng.randrange(len(members) + 1)]
            staying = staying if len(staying) < MOST - 10 else members
        else:
            staying = [b for b in members if rng.random() < 0.5]
        if size is not None:
            staying = []
        wanted = {b: rng.choice(WEIGHTS) for b in staying}
        least = size or FEWEST + rng.randrange(10)
        room = (size or MOST) - (len(members) if keep is not None else len(wanted))
        while len(wanted) < least and room > 0:
            name = self.new_name()
            if keep is None and self.kind.only_last_leaves and name in pool:
                continue  # it would stay, and members before it would leave
            wanted[name] = rng.choice(WEIGHTS) if size is None else 1
            room -= 1
        if len(wanted) >= FEWEST or size is not None:
            self.change(wanted, lambda: pool.update(wanted, self.now, keep))

    def change_weight(self) -> None:
        backend, weight = self.member(), self.rng.choice(WEIGHTS)
        if backend in self.wanted:
            expected = {b: weight if b == backend else old for b, old in self.wanted.items()}
            self.change(expected, lambda: self.pool.set_weight(backend, weight, self.now))

    # what changes nothing

    def report_of_former(self) -> None:
        """Report to every part what happened on a backend that has left, or never was a member."""
        parts, now = self.parts, self.now
        name = Name(self.former[-1]) if self.former else Name("never")
        if name in self.pool:
            return
        self.watch(name)
        for gate in parts.gates:
            if gate is not parts.faulty:
                gate.removed(name, now)
                gate.started(name, 1, now)
                gate.finished(name, Outcome(self.rng.random() < 0.5), 0, now, now)
                gate.recovered(name, now)
        parts.outliers.probe_passed(name, now)
        parts.active.answer(Probe(name, 1, now, now + 1), False, now)
        parts.balancer.started(name, now)
        parts.balancer.finished(name)
        parts.balancer.discard(name)
        self.flow_counts["forgotten"] += len(self.flows.forget(name))
        calls: list[Callable[[], object]] = [
            lambda: parts.health.observe(name, False, now),
            lambda: parts.drain.begin(name, now),
            lambda: parts.limit.set(name, 3, now),
        ]
        for call in calls:
            try:
                call()
            except UnknownBackend:
                continue
            raise AssertionError("a gate accepts a former member")

    def make_mistake(self) -> None:
        """Make a call that is refused."""
        pool, name = self.pool, self.new_name()
        weights: dict[Name, Any] = {**self.wanted, name: 1, Name("worse"): -1}
        text: Any = "text"
        mistakes: list[tuple[Any, Callable[[], object]]] = [
            (InvalidWeight, lambda: pool.add(name, -1, self.now)),
            (InvalidWeight, lambda: pool.update(weights, self.now)),
            (DuplicateBackend, lambda: pool.add([*self.wanted][-1], 1, self.now)),
            (TypeError, lambda: pool.acquire(self.now, self.new_key(), avoid=text)),
            (InvalidSetting, lambda: self.flows.keep(b"1", name, self.now, "odd")),  # type: ignore[arg-type]  # bad
            (AlreadyReleased, lambda: self.budget.request().retry()),
        ]
        if name not in pool:
            error, call = self.rng.choice(mistakes)
            try:
                call()
            except error:
                return
            raise AssertionError("a mistake was accepted")

    def read(self) -> None:
        """Read everything that can be read."""
        pool, backend = self.pool, self.member()
        snapshot = pool.snapshot()
        assert snapshot.in_flight == sum(member.in_flight for member in snapshot.members)
        pool.admits(backend, self.rng.random() < 0.5, pool._members.now + 1.0)
        pool.full(backend)
        for part in (pool, *self.parts.gates, self.parts.balancer, self.flows, self.queue):
            repr(part)

    # checks

    def check(self) -> None:
        """Compare every part with what the site has counted.

        Raises AssertionError.
        """
        check_pool(self.parts, self.flying, self.now, self.refusals)
        self.check_totals()
        self.check_sessions()
        self.check_flows()
        self.check_overload()

    def check_totals(self) -> None:
        snapshot = self.pool.snapshot()
        assert snapshot.in_flight <= len(self.held)
        assert sum(self.flying.values()) == len(self.held)
        assert snapshot.requests == self.requests, "the number of requests"
        assert snapshot.failures == self.failures, "the number of failures"
        assert snapshot.refusals == self.refusals, "the number of refusals"
        assert len(self.parts.events) <= EVENTS
        kept = {b for b in self.pool.backends if b not in self.wanted}
        assert all(self.pool._by_backend[b].departing for b in kept)
        found = {b: self.pool.weight(b) for b in self.pool.backends if b not in kept}
        assert found == self.wanted, "the members"

    def indexes(self) -> list[Any]:
        """Return the index of the backends of each kind of session."""
        holders: list[Any] = [self.cookies._sealed, self.sealed._codec, self.plain._codec]
        return [holder._identities for holder in (*holders, self.learned, self.addresses)]

    def check_sessions(self) -> None:
        pool = self.pool
        for index in self.indexes():
            index.members()
            most = 2 * MOST + STALE_IDENTITIES + MOST
            title = "the identities of a session"
            assert len(index._digests) <= most, f"{title}: {len(index._digests)}"
            assert len(index._backends) <= most, f"{title}: {len(index._backends)}"
            for backend in pool.backends:
                generation = pool.generation(backend)
                assert index._backends[index._digests[generation]] == (backend, generation)
        for table in (self.learned, self.addresses):
            times = [used for _, used in table._table.values()]
            assert len(table) <= MAX_SESSIONS
            assert times == sorted(times)
            assert not times or table._now - times[0] <= IDLE
        learned = self.learned
        assert (
            len(learned) + learned.evicted + learned.expired + self.forgotten
            == (self.stored["learned"])
        ), "a learned session was lost"

    def check_flows(self) -> None:
        flows, counts = self.flows, self.flows.counts
        flows.expire(self.now)
        counts = flows.counts
        assert counts.hits + counts.misses == self.flow_counts["found"]
        gone = counts.evictions + counts.expirations
        gone += self.flow_counts["forgotten"] + self.flow_counts["discarded"]
        assert len(flows) == self.flow_counts["kept"] - gone, "a flow was lost"
        entries = {flow: entry.backend for flow, entry in flows._flows.items()}
        assert Counter(entries.values()) == flows.backends
        by_backend = {f: b for b, held in flows._by_backend.items() for f in held}
        assert by_backend == entries
        assert sum(flows.states.values()) == len(flows) <= MAX_FLOWS
        assert set(flows._retiring) <= set(flows.backends)
        assert not set(flows._retired) & set(flows.backends)
        due = inf
        for queue in flows._queues.values():
            mine = [entry for entry in flows._flows.values() if entry.queue is queue]
            assert len(mine) == len(queue)
            assert len(queue._heap) <= 2 * len(queue) + STALE_FLOWS + 2, "stale flows"
            due = min([due, *(entry.seen + queue.timeout for entry in mine)])
        assert flows.due == due

    def check_overload(self) -> None:
        queue, done = self.queue, self.done
        waiting = [*queue]
        assert waiting == sorted(waiting, key=lambda entry: (-entry.priority, entry.number))
        assert len(waiting) == len(queue) <= MAX_WAITING
        gone = done["woken"] + done["left"] + done["gave up"]
        assert len(queue) + len(queue._expired) == done["joined"] - gone == len(self.entries)
        keys = {queue._key(entry) for entry in waiting}
        first = check_timers("the deadlines of the queue", queue._deadlines, keys)
        assert queue.due == (-inf if queue._expired else first)
        budgeted = [served.budgeted for served in self.held if served.budgeted is not None]
        assert self.budget.requests == len(budgeted), "requests of the budget"
        assert self.budget.retries == sum(request._retrying for request in budgeted), "retries"

    def rest(self) -> None:
        """End all requests, replace all members by few new ones, and let every timeout pass."""
        while self.held:
            self.retry(self.end)
        self.parts.faulty.rarity, rarity = 0, self.parts.faulty.rarity
        while self.held:
            self.end()
        for ended in [*self.entries.values()]:
            self.done["left"] += self.queue.leave(ended)
        self.done["gave up"] += len(self.queue.expired(self.latest))
        self.entries.clear()
        self.now = self.latest = self.latest + REST
        self.empty()
        self.check()
        self.parts.faulty.rarity = rarity

    def retry(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Fault:
            self.done["faults"] += 1

    def empty(self) -> None:
        """Replace all members, and forget all clients."""
        if self.kind.only_last_leaves:
            for backend in reversed([*self.pool.backends]):
                if backend in self.pool:  # a kept member may have left by itself
                    self.pool.remove(backend, self.now)
            self.wanted = {}
        self.update_all(None, AT_REST)
        self.flows.expire(self.now)
        self.flows.retired(self.now)
        self.learned.resolve(None, self.now)
        self.addresses.resolve(None, self.now)
        known: list[deque[Any]] = [self.former, self.known_flows, self.probes]
        for each in (*known, *self.clients.values()):
            each.clear()
        self.sick.clear()
        self.parts.events.clear()
        self.now = self.latest = self.latest + REST
        self.send_probes()
        for _ in range(3 * AT_REST):
            served = self.acquire(self.new_key(), waits=True)
            assert served is not None, "a backend stays closed after every timeout"
            self.held.remove(served)
            self.release(served, False)

"""Which backend serves a connection already: what membership changes must not break."""

from collections.abc import Callable, Iterable
from itertools import chain
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from balancers._internal.checks import at_least, duration
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.errors import InvalidSetting, InvalidTime
from balancers.flows._idle_queue import Entry, IdleQueue

__all__ = ["FlowCounts", "FlowState", "FlowTable"]

F = TypeVar("F", bound=bytes)

_LATEST = 1e300
"""Seconds; no sum of times overflows."""

FlowState = Literal["new", "established", "closing"]
"""A handshake that has not ended, a connection, and one that an end has begun to close."""


class FlowCounts(NamedTuple):
    """How a table did since it was made.

    >>> table = FlowTable()
    >>> table.find(b"flow", now=0.0)
    >>> table.counts
    FlowCounts(hits=0, misses=1, evictions=0, expirations=0)
    """

    hits: int
    misses: int
    evictions: int
    """Flows that made room for others before their time."""
    expirations: int
    """Flows that were idle too long."""


class FlowTable(SharesBackends, Generic[B]):
    """Keeps a connection on its backend, whoever joins or leaves: the first layer of two.

    Look here first, pick by consistent hashing what is not here, and keep the answer:
    :meth:`route` does all three, :meth:`find` and :meth:`keep` one each.  When the table forgets,
    or another balancer takes over with an empty one, the hash still finds the backend of nearly
    every flow (Maglev, NSDI 2016, sections 3.3 and 3.4).

    A flow is a :class:`FlowKey`, or any bytes that tell connections apart.  The caller reports its
    state, and each state has an idle timeout in seconds: 60 while ``new``, 900 once
    ``established``, 120 while ``closing``, as IPVS has them (Linux, ip_vs_proto_tcp.c: SYN_RECV,
    ESTABLISHED, FIN_WAIT); ``inf`` is none.  A flow idle for its timeout is gone, to the instant.

    At most ``max_flows`` flows are kept, and a newcomer takes the place of the idlest: of the new ones,
    if there are none of the closing, if there are none of the established.  So a flood of
    handshakes that never end costs at most one established flow its place.

    >>> from balancers import HashRing
    >>> ring, table = HashRing(["a", "b", "c"]), FlowTable(max_flows=1000)
    >>> owner = table.route(b"flow", ring.pick, now=0.0, state="new")
    >>> ring.discard(owner)
    >>> table.route(b"flow", ring.pick, now=1.0, state="established") == owner
    True
    >>> table.forget(owner), table.route(b"flow", ring.pick, 2.0, "established") == owner
    ([b'flow'], False)

    Every method is O(1) amortised but where it says otherwise; the pick is the balancer's.
    Earlier than seen is the latest seen.
    Raises InvalidSetting for ``max_flows`` below 1 or a timeout that is not positive.
    """

    def __init__(
        self,
        max_flows: int = 65_536,
        *,
        new_timeout: float = 60.0,
        established_timeout: float = 900.0,
        closing_timeout: float = 120.0,
    ) -> None:
        at_least(1, max_flows=max_flows)
        self._max_flows = max_flows
        timeouts: dict[FlowState, float] = {
            "new": duration("new_timeout", new_timeout, endless=True),
            "closing": duration("closing_timeout", closing_timeout, endless=True),
            "established": duration("established_timeout", established_timeout, endless=True),
        }
        self._queues: dict[FlowState, IdleQueue[B]] = {
            state: IdleQueue(timeout) for state, timeout in timeouts.items()
        }  # in the order of eviction
        self._flows: dict[bytes, Entry[B]] = {}
        self._on: dict[B, dict[bytes, Entry[B]]] = {}  # backends with flows, and those
        self._retiring: dict[B, None] = {}
        self._retired: dict[B, None] = {}
        self._now = -inf
        self._due = -inf  # nothing expires before
        self._hits = self._misses = self._evictions = self._expirations = 0

    def find(self, flow: bytes, now: float) -> B | None:
        """Give the flow's backend and note that it is not idle; None when it is not here.

        Raises InvalidTime; TypeError for an unhashable flow.
        """
        if self._now <= now < self._due:
            self._now = now
        else:
            now = self._advance(now)
        entry = self._flows.get(flow)
        if entry is None:
            self._misses += 1
            return None
        entry.seen = now
        self._hits += 1
        return entry.backend

    def keep(self, flow: bytes, backend: B, now: float, state: FlowState) -> None:
        """Bind the flow to the backend, or tell the state of one that is bound.

        What is established on the backend does not become new: a stray SYN must not weaken it.

        Raises InvalidTime, InvalidSetting for another state; TypeError for None or what is
        unhashable.  Nothing has changed then.
        """
        queue = self._queue(state)
        if backend is None:
            raise TypeError("None is no backend to keep a flow on")
        hash((flow, backend))
        now = self._advance(now)
        entry = self._flows.get(flow)
        if entry is None:
            if len(self._flows) >= self._max_flows:
                self._evict()
            entry = self._flows[flow] = Entry(backend, now)
            self._bind(flow, entry)
        elif entry.backend != backend:
            self._unbind(flow, entry)
            entry.backend = backend
            self._bind(flow, entry)
        elif state == "new" and entry.queue is self._queues["established"]:
            queue = self._queues["established"]
        entry.seen = now
        if entry.queue is not queue:
            if entry.queue is not None:
                entry.queue.remove(entry)
            queue.add(flow, entry)
            self._due = min(self._due, now + queue.timeout)

    def route(self, flow: F, pick: Callable[[F], B], now: float, state: FlowState) -> B:
        """Give the flow's backend, picked when it is not here, and keep it in this state.

        ``pick`` may be the ``pick`` of any keyed balancer; what it raises passes, and nothing is
        kept then.  Raises what :meth:`keep` does.
        """
        queue = self._queue(state)
        backend = self.find(flow, now)
        if backend is None:
            backend = pick(flow)
            self.keep(flow, backend, now, state)
        elif self._flows[flow].queue is not queue:
            self.keep(flow, backend, now, state)
        return backend

    def discard(self, flow: bytes) -> None:
        """Forget a flow that is over; a stranger is fine."""
        entry = self._flows.get(flow)
        if entry is not None:
            self._drop(flow, entry)

    def forget(self, backend: B) -> list[bytes]:
        """Forget the backend's flows at once, as it is dead, and give them: O(their number).

        They are in the order in which they came to it.  A stranger is fine; one that was retiring
        has retired.
        """
        flows = list(self._on.get(backend, ()))
        for flow in flows:
            self._drop(flow, self._flows[flow])
        return flows

    def retire(self, backend: B) -> None:
        """Keep the backend's flows until they have closed, as it leaves in peace.

        Pick it no more; :meth:`retired` tells when its last flow is gone.  A flow that comes to it
        all the same takes it back into service.
        """
        hash(backend)
        if backend in self._on:
            self._retiring[backend] = None
        else:
            self._retired[backend] = None

    def retired(self, now: float) -> list[B]:
        """Report each retiring backend once, when its last flow is gone; O(those reported).

        Raises InvalidTime.
        """
        self._advance(now)
        retired, self._retired = self._retired, {}
        return list(retired)

    def expire(self, now: float) -> int:
        """Forget who was idle too long by now, and say how many; whatever is given a time does.

        Raises InvalidTime.
        """
        before = self._expirations
        self._advance(now)
        return self._expirations - before

    @property
    def due(self) -> float:
        """Give when the next flow will have been idle too long, ``inf`` when none will."""
        found = [(queue.idlest(), queue.timeout) for queue in self._queues.values()]
        return min((idlest[1].seen + timeout for idlest, timeout in found if idlest), default=inf)

    @property
    def max_flows(self) -> int:
        """How many flows there may be."""
        return self._max_flows

    @property
    def counts(self) -> FlowCounts:
        """Hits, misses, evictions and expirations so far."""
        return FlowCounts(self._hits, self._misses, self._evictions, self._expirations)

    @property
    def states(self) -> dict[FlowState, int]:
        """How many flows are in each state, as of the latest time seen."""
        return {state: len(queue) for state, queue in self._queues.items()}

    @property
    def backends(self) -> dict[B, int]:
        """How many flows each backend has that has any; O(backends)."""
        return {backend: len(flows) for backend, flows in self._on.items()}

    def flows_on(self, backend: B) -> int:
        """Give how many flows the backend has, 0 for a stranger."""
        return len(self._on.get(backend, ()))

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, flow: object) -> bool:
        return flow in self._flows

    def _queue(self, state: FlowState) -> IdleQueue[B]:
        if isinstance(state, str) and state in self._queues:
            return self._queues[state]
        raise InvalidSetting(f"state must be new, established or closing, not {state!r}")

    def _advance(self, now: float) -> float:
        """Take note of the time, and forget whom it outran."""
        if not -_LATEST <= now <= _LATEST:
            raise InvalidTime(f"now must be finite seconds, not {now!r}")
        self._now = now = max(now, self._now)
        if now >= self._due:
            for queue in self._queues.values():
                while idlest := queue.idlest(now):
                    self._drop(*idlest)
                    self._expirations += 1
            self._due = min(_LATEST, *(queue.quiet_until() for queue in self._queues.values()))
        return now

    def _evict(self) -> None:
        for queue in self._queues.values():
            if idlest := queue.idlest():
                self._drop(*idlest)
                self._evictions += 1
                return

    def _drop(self, flow: bytes, entry: Entry[B]) -> None:
        del self._flows[flow]
        if entry.queue is not None:
            entry.queue.remove(entry)
        self._unbind(flow, entry)

    def _bind(self, flow: bytes, entry: Entry[B]) -> None:
        self._on.setdefault(entry.backend, {})[flow] = entry
        self._readmit(entry.backend)

    def _unbind(self, flow: bytes, entry: Entry[B]) -> None:
        flows = self._on[entry.backend]
        del flows[flow]
        if not flows:
            del self._on[entry.backend]
            if entry.backend in self._retiring:
                del self._retiring[entry.backend]
                self._retired[entry.backend] = None

    def _readmit(self, backend: B) -> None:
        self._retiring.pop(backend, None)
        self._retired.pop(backend, None)

    def _known_backends(self) -> Iterable[object]:
        return chain(self._flows, self._on, self._retiring, self._retired)

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return f"<FlowTable: {len(self)} of {self._max_flows} flows, {told}>"

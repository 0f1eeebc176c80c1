"""A table of flows that keeps every connection on its backend when the membership changes."""

from collections.abc import Callable, Iterable
from itertools import chain
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from balancers._internal.checks import LATEST, at_least, duration, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.flows._idle_queue import Entry, IdleQueue

__all__ = ["FlowCounts", "FlowState", "FlowTable"]

F = TypeVar("F", bound=bytes)

FlowState = Literal["new", "established", "closing"]
"""An unfinished handshake, a connection, and a connection that one end has begun to close."""


class FlowCounts(NamedTuple):
    """The lookups and removals of a table since it was created.

    >>> table = FlowTable()
    >>> table.find(b"flow", now=0.0)
    >>> table.counts
    FlowCounts(hits=0, misses=1, evictions=0, expirations=0)
    """

    hits: int
    misses: int
    evictions: int
    """Flows removed before their timeout, because the table was full."""
    expirations: int
    """Flows removed because they were idle for their timeout."""


class FlowTable(SharesBackends, Generic[B]):
    """Keeps each connection on its backend when others join or leave: the first of two layers.

    Look up the flow here, choose its backend by consistent hashing if the flow is absent, and store
    the result.  :meth:`route` does all three; :meth:`find` does the first, :meth:`keep` the last.
    When a flow is removed, or another balancer takes over with an empty table, the hash still finds
    the backend of nearly every flow (Maglev, NSDI 2016, sections 3.3 and 3.4).

    A flow is a :class:`FlowKey`, or any bytes that identify a connection.  The caller reports its
    state.  Each state has an idle timeout in seconds: 60 for ``new``, 900 for ``established``, 120
    for ``closing``, as in IPVS (Linux, ip_vs_proto_tcp.c: SYN_RECV, ESTABLISHED, FIN_WAIT); ``inf``
    means no timeout.  A flow is removed exactly at its timeout.

    The table holds at most ``max_flows`` flows.  When it is full, adding a flow evicts the idlest
    flow in state ``new``; if there is none, the idlest ``closing`` flow; if there is none, the
    idlest ``established`` flow.  So a flood of unfinished handshakes evicts at most one established
    flow.

    >>> from balancers import HashRing
    >>> ring, table = HashRing(["a", "b", "c"]), FlowTable(max_flows=1000)
    >>> owner = table.route(b"flow", ring.pick, now=0.0, state="new")
    >>> ring.discard(owner)
    >>> table.route(b"flow", ring.pick, now=1.0, state="established") == owner
    True
    >>> table.forget(owner), table.route(b"flow", ring.pick, 2.0, "established") == owner
    ([b'flow'], False)

    Every method is O(1) amortised unless it says otherwise, plus the balancer's pick.  A time
    before the latest time seen counts as the latest.  Raises InvalidSetting for a ``max_flows``
    that is not an int of 1 or more, or a timeout that is not positive.
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
        self._by_backend: dict[B, dict[bytes, Entry[B]]] = {}  # backends with at least one flow
        self._retiring: dict[B, None] = {}
        self._retired: dict[B, None] = {}
        self._now = -inf
        self._due = -inf  # no flow expires before
        self._hits = self._misses = self._evictions = self._expirations = 0

    def find(self, flow: bytes, now: float) -> B | None:
        """Return the flow's backend and restart its idle timeout; None for an absent flow.

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
        """Store the flow's backend and state.

        An established flow does not become new on the same backend, so a stray SYN does not shorten
        its timeout.  Raises InvalidTime, InvalidSetting for another state, TypeError for the
        backend None or an unhashable argument; nothing has changed then.
        """
        queue = self._queue_of(state)
        if backend is None:
            raise TypeError("backend must be a backend, not None")
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
        """Return the flow's backend, picking one for an absent flow, and store it with this state.

        ``pick`` may be the ``pick`` of any keyed balancer.  An exception of ``pick`` is propagated,
        and nothing is stored then.  Raises what :meth:`keep` raises.
        """
        queue = self._queue_of(state)
        backend = self.find(flow, now)
        if backend is None:
            backend = pick(flow)
            self.keep(flow, backend, now, state)
        elif self._flows[flow].queue is not queue:
            self.keep(flow, backend, now, state)
        return backend

    def discard(self, flow: bytes) -> None:
        """Remove a flow that has ended; an absent flow is ignored."""
        entry = self._flows.get(flow)
        if entry is not None:
            self._drop(flow, entry)

    def forget(self, backend: B) -> list[bytes]:
        """Remove and return all flows of a failed backend, in the order in which they came to it.

        O(flows of the backend).  A backend without flows is ignored.  A backend that was retiring
        has now retired.
        """
        flows = list(self._by_backend.get(backend, ()))
        for flow in flows:
            self._drop(flow, self._flows[flow])
        return flows

    def retire(self, backend: B) -> None:
        """Start to retire a backend: its flows stay until they end.

        Do not pick the backend any more; :meth:`retired` reports it after its last flow.  A flow
        that is stored on it nevertheless cancels the retirement.
        """
        hash(backend)
        if backend in self._by_backend:
            self._retiring[backend] = None
        else:
            self._retired[backend] = None

    def retired(self, now: float) -> list[B]:
        """Return each retiring backend once, after its last flow has gone; O(backends returned).

        Raises InvalidTime.
        """
        self._advance(now)
        retired, self._retired = self._retired, {}
        return list(retired)

    def expire(self, now: float) -> int:
        """Remove the flows that have timed out by ``now`` and return their number.

        Every method that takes ``now`` removes them too.  Raises InvalidTime.
        """
        before = self._expirations
        self._advance(now)
        return self._expirations - before

    @property
    def due(self) -> float:
        """The time when the next flow times out, ``inf`` when none will."""
        found = [(queue.idlest(), queue.timeout) for queue in self._queues.values()]
        return min((idlest[1].seen + timeout for idlest, timeout in found if idlest), default=inf)

    @property
    def max_flows(self) -> int:
        """The largest number of flows in the table."""
        return self._max_flows

    @property
    def counts(self) -> FlowCounts:
        """The numbers of hits, misses, evictions and expirations so far."""
        return FlowCounts(self._hits, self._misses, self._evictions, self._expirations)

    @property
    def states(self) -> dict[FlowState, int]:
        """The number of flows in each state, as of the latest time seen."""
        return {state: len(queue) for state, queue in self._queues.items()}

    @property
    def backends(self) -> dict[B, int]:
        """The number of flows of each backend with at least one flow; O(backends)."""
        return {backend: len(flows) for backend, flows in self._by_backend.items()}

    def flows_on(self, backend: B) -> int:
        """Return the number of flows of the backend, 0 for a backend without flows."""
        return len(self._by_backend.get(backend, ()))

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, flow: object) -> bool:
        return flow in self._flows

    def _queue_of(self, state: FlowState) -> IdleQueue[B]:
        if isinstance(state, str) and state in self._queues:
            return self._queues[state]
        raise InvalidSetting(f"state must be new, established or closing, not {state!r}")

    def _advance(self, now: float) -> float:
        """Record the time and remove the flows that have timed out; raises InvalidTime."""
        self._now = now = valid_now(now, self._now)
        if now >= self._due:
            for queue in self._queues.values():
                while idlest := queue.idlest(now):
                    self._drop(*idlest)
                    self._expirations += 1
            self._due = min(LATEST, *(queue.earliest_timeout() for queue in self._queues.values()))
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
        self._by_backend.setdefault(entry.backend, {})[flow] = entry
        self._cancel_retirement(entry.backend)

    def _unbind(self, flow: bytes, entry: Entry[B]) -> None:
        flows = self._by_backend[entry.backend]
        del flows[flow]
        if not flows:
            del self._by_backend[entry.backend]
            if entry.backend in self._retiring:
                del self._retiring[entry.backend]
                self._retired[entry.backend] = None

    def _cancel_retirement(self, backend: B) -> None:
        self._retiring.pop(backend, None)
        self._retired.pop(backend, None)

    def _known_backends(self) -> Iterable[object]:
        return chain(self._flows, self._by_backend, self._retiring, self._retired)

    def __repr__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.items())
        return f"<FlowTable: {len(self)} of {self._max_flows} flows, {states}>"

"""Keeps every connection on its backend when backends join or leave the pool."""

from collections.abc import Callable, Iterable
from itertools import chain
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from balancers._internal.checks import LATEST, at_least, duration, shown, valid_now
from balancers._internal.copying import SharesBackends
from balancers._internal.types import B
from balancers.errors import InvalidSetting
from balancers.flows._idle_queue import Entry, IdleQueue

__all__ = ["FlowCounts", "FlowState", "FlowTable"]

F = TypeVar("F", bound=bytes)

FlowState = Literal["new", "established", "closing"]
"""The states of a flow.

``new`` is an unfinished handshake.  ``established`` is an open connection.  ``closing`` is a
connection that one end has begun to close.
"""


class FlowCounts(NamedTuple):
    """Counts the look-ups and the removals of a table since it was created.

    >>> table = FlowTable()
    >>> table.find(b"flow", now=0.0)
    >>> table.counts
    FlowCounts(hits=0, misses=1, evictions=0, expirations=0)
    """

    hits: int
    misses: int
    evictions: int
    """The number of flows that were removed before their timeout because the table was full."""
    expirations: int
    """The number of flows that were removed because their idle timeout had passed."""


class FlowTable(SharesBackends, Generic[B]):
    """Stores the backend of each flow, so that a connection stays on its backend.

    Use it with consistent hashing.  :meth:`route` looks up the flow, picks a backend if the flow is
    absent, and stores the result.  :meth:`find` only looks up, and :meth:`keep` only stores.
    A flow may be missing because it was removed, or because another balancer has taken over with an
    empty table.  Consistent hashing then still picks the same backend for nearly every flow
    (Maglev, NSDI 2016, sections 3.3 and 3.4).

    A flow is a :class:`FlowKey`, or any bytes that identify a connection.  The caller passes its
    state.  Each state has an idle timeout in seconds, and ``inf`` means no timeout.  The defaults
    are 60 for ``new``, 900 for ``established`` and 120 for ``closing``.  They are the timeouts of
    SYN_RECV, ESTABLISHED and FIN_WAIT in IPVS (Linux, ip_vs_proto_tcp.c).  A flow is removed
    exactly at its timeout.

    The table holds at most ``max_flows`` flows.  If it is full, adding a flow evicts the flow in
    state ``new`` that was not seen for the longest time.  If no flow is new, a ``closing`` flow is
    evicted in the same way.  If no flow is closing either, an ``established`` flow is evicted.  So
    a flood of unfinished handshakes evicts at most one established flow.

    >>> from balancers import HashRing
    >>> ring, table = HashRing(["a", "b", "c"]), FlowTable(max_flows=1000)
    >>> owner = table.route(b"flow", ring.pick, now=0.0, state="new")
    >>> ring.discard(owner)
    >>> table.route(b"flow", ring.pick, now=1.0, state="established") == owner
    True
    >>> table.forget(owner), table.route(b"flow", ring.pick, 2.0, "established") == owner
    ([b'flow'], False)

    Every method is O(1) amortised unless it says otherwise.  The cost of ``pick`` is added.  If a
    time is before the latest time seen, the latest time is used.  Raises InvalidSetting for a
    ``max_flows`` that is not an int of 1 or more, or a timeout that is not positive.
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
        self._due = -inf  # no flow times out before this time
        self._hits = self._misses = self._evictions = self._expirations = 0

    def find(self, flow: bytes, now: float) -> B | None:
        """Return the flow's backend, or None if the flow is absent, and restart its idle timeout.

        Raises InvalidTime, and TypeError for an unhashable flow.
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

        If the flow is ``established`` on this backend already, the state ``new`` is ignored: a late
        SYN does not shorten the timeout.  Raises InvalidTime, InvalidSetting for another state, and
        TypeError for the backend None or an unhashable argument.  Then the table is unchanged.
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
        """Return the flow's backend and store the state.  If the flow is absent, pick a backend.

        ``pick`` may be the ``pick`` of any keyed balancer.  If ``pick`` raises an exception, it is
        propagated and nothing is stored.  Raises the same errors as :meth:`keep`.
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
        """Remove a flow that has ended.  An absent flow is ignored."""
        entry = self._flows.get(flow)
        if entry is not None:
            self._drop(flow, entry)

    def forget(self, backend: B) -> list[bytes]:
        """Remove and return all flows of a failed backend, in the order in which it got them.

        O(flows of the backend).  For a backend without flows, the list is empty.  If the backend
        was retiring, the next call of :meth:`retired` returns it.
        """
        flows = list(self._by_backend.get(backend, ()))
        for flow in flows:
            self._drop(flow, self._flows[flow])
        return flows

    def retire(self, backend: B) -> None:
        """Start to retire a backend.  Its flows stay until they end.

        Do not pick the backend for new flows.  When its last flow has ended, :meth:`retired`
        returns it.  If a new flow is stored on the backend, it is no longer retiring.
        """
        hash(backend)
        if backend in self._by_backend:
            self._retiring[backend] = None
        else:
            self._retired[backend] = None

    def retired(self, now: float) -> list[B]:
        """Return the retiring backends whose last flow has ended since the previous call.

        O(backends returned).  Raises InvalidTime.
        """
        self._advance(now)
        retired, self._retired = self._retired, {}
        return list(retired)

    def expire(self, now: float) -> int:
        """Remove the flows that have timed out at ``now`` and return their number.

        Every other method with ``now`` also removes such flows.  Raises InvalidTime.
        """
        before = self._expirations
        self._advance(now)
        return self._expirations - before

    @property
    def due(self) -> float:
        """The time when the next flow times out, or ``inf`` if no flow will time out."""
        found = [(queue.idlest(), queue.timeout) for queue in self._queues.values()]
        return min((idlest[1].seen + timeout for idlest, timeout in found if idlest), default=inf)

    @property
    def max_flows(self) -> int:
        """The number of flows that the table can hold."""
        return self._max_flows

    @property
    def counts(self) -> FlowCounts:
        """The numbers of hits, misses, evictions and expirations since the table was created."""
        return FlowCounts(self._hits, self._misses, self._evictions, self._expirations)

    @property
    def states(self) -> dict[FlowState, int]:
        """The number of flows in each state, as of the latest time seen."""
        return {state: len(queue) for state, queue in self._queues.items()}

    @property
    def backends(self) -> dict[B, int]:
        """The number of flows of each backend that has at least one flow; O(backends)."""
        return {backend: len(flows) for backend, flows in self._by_backend.items()}

    def flows_on(self, backend: B) -> int:
        """Return the number of flows of the backend.  It is 0 for an unknown backend."""
        return len(self._by_backend.get(backend, ()))

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, flow: object) -> bool:
        return flow in self._flows

    def _queue_of(self, state: FlowState) -> IdleQueue[B]:
        if isinstance(state, str) and state in self._queues:
            return self._queues[state]
        raise InvalidSetting(f"state must be new, established or closing, not {shown(state)}")

    def _advance(self, now: float) -> float:
        """Record the time and remove the flows that have timed out.  Raises InvalidTime."""
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

"""elastic-transport: a pool chooses the node of each attempt, for clients of Elasticsearch."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any

import elastic_transport
from elastic_transport import (
    AiohttpHttpNode,
    AsyncTransport,
    BaseNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    NodeSelector,
    Transport,
    TransportApiResponse,
    TransportError,
    Urllib3HttpNode,
)

from balancers import HealthChecks, Lease, LeastConnections, NoBackendAvailable, Pool

from deadline import Attempts
from loopback import backends

RETRIED = {429, 502, 503, 504}


class Upstream:
    """The nodes of a cluster, and the limits of each request: see :class:`~deadline.Attempts`."""

    def __init__(
        self, pool: Pool[str], seconds: float = 30.0, limit: int = 3, patience: float = 10.0
    ) -> None:
        self.pool, self.seconds, self.limit, self.patience = pool, seconds, limit, patience
        self.lock = Lock()  # held to acquire and to release, not in between

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a transport for these nodes."""
        names = [name.rpartition(":") for name in self.pool.backends]
        configs = [NodeConfig("http", host, int(port)) for host, _, port in names]
        return {
            "node_configs": configs,
            "node_selector_class": PoolSelector,
            "max_retries": self.limit - 1,
            "retry_on_status": RETRIED,
            "retry_on_timeout": True,
            "dead_node_backoff_factor": 0.0,  # the pool knows which nodes are healthy
        }

    @contextmanager
    def call(self) -> Generator[None]:
        """Return a context for one request: its attempts have different nodes and one end."""
        attempts = Attempts(time.monotonic() + self.seconds, self.limit, self.patience)
        call = Call(self, attempts)
        token = CALL.set(call)
        try:
            yield
        finally:
            CALL.reset(token)
            call.release(None)


@dataclass
class Call:
    """One request, and the lease of its present attempt."""

    upstream: Upstream
    attempts: Attempts
    lease: Lease[str] | None = None

    def select(self, nodes: Sequence[BaseNode]) -> BaseNode:
        """Acquire a lease for one of the nodes that the transport considers to be alive."""
        by_name = {f"{node.config.host}:{node.config.port}": node for node in nodes}
        pool, tried = self.upstream.pool, self.attempts.tried
        with self.upstream.lock:
            avoid = tried.union(pool.backends) - (by_name.keys() - tried)
            try:
                self.lease = pool.acquire(time.monotonic(), avoid=avoid)
            except NoBackendAvailable as refusal:
                raise elastic_transport.ConnectionError(str(refusal), (refusal,)) from refusal
        return by_name[self.lease.backend]

    @contextmanager
    def attempt(self, node: BaseNode) -> Generator["Attempt"]:
        """Return a context for the request to a node.  Its end releases the lease."""
        name = f"{node.config.host}:{node.config.port}"
        if self.lease is None:  # the transport does not call the selector for the last node alive
            with self.upstream.lock, suppress(NoBackendAvailable):
                self.lease = self.upstream.pool.acquire(time.monotonic(), among=[name])
        self.attempts.tried.add(name)
        attempt = Attempt(self.attempts.seconds(time.monotonic()))
        try:
            if not attempt.seconds:
                raise ConnectionTimeout("the deadline is over")
            yield attempt
        except TransportError as error:
            late = isinstance(error, ConnectionTimeout)
            attempt.ok = self.attempts.timed_out(attempt.seconds) if late else False
            raise
        finally:
            self.release(attempt.ok)

    def release(self, ok: bool | None) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            with self.upstream.lock:
                self.upstream.pool.release(lease, time.monotonic(), ok)


@dataclass
class Attempt:
    """How long an attempt may take, and how it ended."""

    seconds: float
    ok: bool | None = None  # the outcome of a cancelled request is unknown

    def answered(self, answer: Any) -> Any:  # the type has no public name
        self.ok = answer.meta.status not in RETRIED
        return answer


CALL: ContextVar[Call] = ContextVar("CALL")


class PoolSelector(NodeSelector):
    """Chooses a node for the request of this thread or task."""

    def select(self, nodes: Sequence[BaseNode]) -> BaseNode:
        return CALL.get().select(nodes)


class PoolNode(Urllib3HttpNode):
    """A node that releases the lease of its request."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: Any = None,
    ) -> Any:
        with CALL.get().attempt(self) as attempt:
            send = super().perform_request
            return attempt.answered(send(method, target, body, headers, attempt.seconds))


class AsyncPoolNode(AiohttpHttpNode):
    """The same for one event loop."""

    async def perform_request(  # type: ignore[override]  # as in its base
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: Any = None,
    ) -> Any:
        with CALL.get().attempt(self) as attempt:
            send = super().perform_request
            return attempt.answered(await send(method, target, body, headers, attempt.seconds))


class BalancedTransport(Transport):
    """A transport for clients with threads."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(node_class=PoolNode, **upstream.settings)
        self.upstream = upstream

    def perform_request(self, *args: Any, **options: Any) -> TransportApiResponse:
        with self.upstream.call():
            return super().perform_request(*args, **options)


class AsyncBalancedTransport(AsyncTransport):
    """A transport for clients with an event loop."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(node_class=AsyncPoolNode, **upstream.settings)
        self.upstream = upstream

    async def perform_request(  # type: ignore[override]  # as in its base
        self, *args: Any, **options: Any
    ) -> TransportApiResponse:
        with self.upstream.call():
            return await super().perform_request(*args, **options)


def main() -> None:
    """Send requests while one node of three answers 503."""
    with backends(3) as servers:
        servers[0].status = HTTPStatus.SERVICE_UNAVAILABLE
        pool = Pool(LeastConnections(server.name for server in servers), [HealthChecks[str]()])
        transport = BalancedTransport(Upstream(pool))
        answers = [transport.perform_request("GET", "/_search") for _ in range(24)]
        transport.close()
    answered, counts = (
        sum(answer.meta.status == HTTPStatus.OK for answer in answers),
        pool.snapshot(),
    )
    print(f"{answered} answered, {counts.failures} attempts failed, in flight: {counts.in_flight}")


if __name__ == "__main__":
    main()

"""The attempts of a request: on which backends, how they end, and what closes a backend.

A request is retried on another backend, ``--attempts`` backends at most, if a backend failed before
the client received any part of the response.  Either the request must be idempotent, or no backend
can have received any of it.

An attempt has failed if the backend refused the connection, broke it, or was silent for too long,
or if the status is 502, 503 or 504.  With ``--count-5xx``, each status of 5xx is a failure.  Any
other status is a success: a backend that answers 500 can be reached, and the page is at fault.  A
client should not be able to close the backends of others, so two kinds of attempts do not count:

* a backend broke the connection while the client was still sending the body
* a request that may be repeated broke off before the response, and no other backend answered it:
  because it broke off there too, or because it was not repeated.  It counts in a pool of one
  backend
"""

import argparse
import math
import time
from asyncio import get_running_loop
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus

import balancers
from balancers.overload import RetryBudget
from balancers.sessions import Binding

from http_exchange import Body, exchange
from http_side import BackendFailed, Headers, Refused, Side
from http_site import Routed
from http_upstream import Upstream

IDEMPOTENT = {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"}  # RFC 9110, section 9.2.2
GATEWAY_ERRORS = {502, 503, 504}


@dataclass(eq=False)
class Attempt:
    """A request on one backend, and how it ended."""

    lease: balancers.Lease[str]
    ok: bool | None = None
    status: int | None = None
    why: str = ""


@dataclass
class Job:
    """One request, and what is needed to forward it."""

    client: Side
    routed: Routed
    body: Body
    upstream: Upstream
    binding: Binding[str]
    tried: set[str] = field(default_factory=set[str])
    broken: list[Attempt] = field(default_factory=list[Attempt])  # not yet released

    @property
    def repeatable(self) -> bool:
        return self.routed.head.method in IDEMPOTENT and self.body.repeatable


class Forwarder:
    """Sends requests to backends, and reports the outcomes to their pools."""

    def __init__(
        self,
        settings: argparse.Namespace,
        log: Callable[..., None],
        in_flight: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.log = log
        self.in_flight = in_flight  # the number of requests of all pools
        self.clock = get_running_loop().time
        self.retries = RetryBudget(settings.retry_share, settings.min_retries)

    async def serve(self, job: Job) -> None:
        """Forward a request and its response.  Raises Refused if there is no response."""
        try:
            await self.forward(job)
        finally:
            self.release_broken(job, None)

    async def forward(self, job: Job, failure: BackendFailed | None = None) -> None:
        """Send it to a backend, and retry on another one if that is safe and within the limits."""
        routed, binding, now = job.routed, job.binding, self.clock()
        acquire = job.upstream.pool.acquire
        try:
            lease = acquire(now, routed.client, binding.backend, binding.strict, job.tried)
        except balancers.NoBackendAvailable as refusal:
            headers: Headers = []
            if now < refusal.retry_at < math.inf:
                headers = [(b"Retry-After", b"%d" % math.ceil(refusal.retry_at - now))]
            if len(job.upstream.pool.backends) == 1:
                self.release_broken(job, False)
            why = f"no backend available: {refusal.reason}"
            raise failure or Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, *headers) from refusal
        job.tried.add(lease.backend)
        try:
            await self.attempt(job, Attempt(lease))
        except BackendFailed as failed:
            safe = job.client.response_unsent and (job.repeatable or failed.unsent)
            allowed = safe and len(job.tried) < self.settings.attempts
            if not allowed or not self.retries.begin(self.in_flight()):
                raise
            try:
                await self.forward(job, failed)
            finally:
                self.retries.end()

    async def attempt(self, job: Job, attempt: Attempt) -> None:
        """Send the request to one backend, and report the outcome to its pool."""

        def answered(status: int) -> Headers:
            attempt.status = status
            attempt.ok = status not in GATEWAY_ERRORS
            if self.settings.count_5xx:
                attempt.ok = status < HTTPStatus.INTERNAL_SERVER_ERROR
            if attempt.ok:
                self.release_broken(job, False)
            return self.cookies(job, attempt.lease)

        try:
            backend = await job.upstream.connect(attempt.lease.backend)
            with closing(backend.writer):
                await exchange(job.client, backend, job.routed.head, job.body, answered)
        except BackendFailed as failed:
            silent = failed.status == HTTPStatus.GATEWAY_TIMEOUT and job.client.response_unsent
            client_sends = job.body.incomplete and not silent
            attempt.ok = None if client_sends and not failed.unsent else False
            attempt.why = f"{failed}: {failed.__cause__}"
            might_repeat = job.repeatable and job.client.response_unsent
            if attempt.ok is False and not failed.unsent and might_repeat:
                job.broken.append(attempt)
            raise
        except BaseException:  # the client left, or the time to finish is over
            attempt.ok = None
            raise
        finally:
            if attempt not in job.broken:
                self.release(job, attempt)

    def release_broken(self, job: Job, ok: bool | None) -> None:
        """Release the attempts that broke off: as failures, or as unknown (None).

        A client can send a request that makes each backend break off.  So they are failures only if
        another backend answers the same request, or if the pool has no other backend.
        """
        broken, job.broken = job.broken, []
        for attempt in broken:
            attempt.ok = ok
            self.release(job, attempt)

    def release(self, job: Job, attempt: Attempt) -> None:
        lease, ok, routed = attempt.lease, attempt.ok, job.routed
        job.upstream.pool.release(lease, self.clock(), ok, status=attempt.status)
        self.log(
            request=f"{routed.request.method} {routed.request.target}",
            client=routed.client,
            route=routed.route,
            session=job.binding.reason,
            backend=lease.backend,
            status=attempt.status,
            ok=ok,
            why=attempt.why,
        )

    def cookies(self, job: Job, lease: balancers.Lease[str]) -> Headers:
        """Return the headers that set the cookies of the visitor and of the session."""
        cookies, sessions = list(job.routed.cookies), job.upstream.sessions
        if sessions and (session := sessions.issue(lease, time.time(), job.binding)):
            cookies.append(session)
        headers = [(b"Set-Cookie", cookie.encode()) for cookie in cookies]
        return headers + [(b"Cache-Control", b"private")] * bool(headers)

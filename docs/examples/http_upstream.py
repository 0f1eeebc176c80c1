"""One upstream of the HTTP proxy: a pool with its gates, its probes and its sessions."""

import argparse
import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from random import Random

import h11

import balancers
from balancers.gates import ActiveChecks, PassiveChecks, Probe
from balancers.sessions import CookieSessions, SessionTokens

from http_side import BackendFailed, Side
from proxy import address, make


class Upstream:
    def __init__(
        self,
        settings: argparse.Namespace,
        events: deque[balancers.Event],
        log_events: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.log_events = log_events
        self.clock = asyncio.get_running_loop().time
        times = {"interval": settings.interval, "timeout": settings.timeout}
        self.checks = ActiveChecks[str](settings.fall, settings.rise, rng=Random(), **times)
        self.drain = balancers.Drain[str](settings.drain_timeout)
        marks = PassiveChecks[str](settings.fall, settings.fail_timeout)
        gates: list[balancers.Gate[str]] = [self.checks, marks, self.drain]
        self.pool = balancers.Pool(make(settings.algorithm), gates, events=events)
        self.sessions: CookieSessions[str] | None = None
        self.schedule_changed = asyncio.Event()  # the next probe may be due earlier now

    def configure(
        self,
        own_name: str,
        tokens: SessionTokens,
        backends: Mapping[str, float],
        cookie: str | None = None,
        drain: Collection[str] = (),
    ) -> None:
        if not isinstance(drain, list | tuple):
            raise TypeError(f"drain must be a list of backends, not {drain!r}")
        for name in backends:
            address(name)
        self.pool.update(backends, self.clock())
        for name in {*self.pool.backends, *drain}:
            (self.drain.begin if name in drain else self.drain.cancel)(name, self.clock())
        self.sessions = None
        if cookie is not None:
            secure = self.settings.secure
            self.sessions = CookieSessions(
                self.pool, tokens, context=own_name, name=cookie, secure=secure
            )
        self.schedule_changed.set()

    async def keep_probing(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self.schedule_changed.clear()
                for probe in self.checks.probes(self.clock()):
                    group.create_task(self.probe(probe))
                self.drain.drained(self.clock())
                self.log_events()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self.checks.probes_due):
                        await self.schedule_changed.wait()

    async def probe(self, probe: Probe[str]) -> None:
        ok = False
        with contextlib.suppress(Exception):  # a probe that raises anything has failed
            async with asyncio.timeout_at(probe.deadline):
                side = await self.connect(probe.backend)
                with contextlib.closing(side.writer):
                    headers = [("Host", probe.backend), ("Connection", "close")]
                    path = self.settings.health_path
                    await side.send(h11.Request(method="GET", target=path, headers=headers))
                    await side.send(h11.EndOfMessage())
                    answer = await side.receive()
                    while type(await side.receive()) is h11.Data:
                        pass  # a response that breaks off is a failed probe
                    ok = isinstance(answer, h11.Response) and answer.status_code == HTTPStatus.OK
        self.checks.answer(probe, ok, self.clock())
        self.schedule_changed.set()

    async def connect(self, backend: str) -> Side:
        """Connect to a backend.  Raises BackendFailed."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                streams = await asyncio.open_connection(*address(backend))
        except Exception as error:  # whatever the socket or the name raises
            raise BackendFailed(HTTPStatus.BAD_GATEWAY, "no connection", unsent=True) from error
        return Side(h11.CLIENT, streams, self.settings.silence, self.settings.head_timeout)

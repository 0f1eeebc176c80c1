"""Measures in a lab: for how long a virtual address does not serve, and how busy the machine is."""

import asyncio
import contextlib
import threading
import time
from itertools import pairwise
from typing import NamedTuple, Self

from namespaces import NEW_NETWORK, Node, call

EVERY = 0.02  # seconds between requests
TIMEOUT = 1.0  # seconds for one request
OK = b"HTTP/1.1 200 "


class Answer(NamedTuple):
    """A request that was answered with 200: when it was sent, and when it was answered."""

    sent: float
    answered: float


class Lateness:
    """Measures by how much this machine is late: how long after its time a thread wakes."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._measure)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _measure(self) -> None:
        step = 0.01
        while True:
            due = time.monotonic() + step
            if self._stopping.wait(step):
                return
            self.worst = max(self.worst, time.monotonic() - due)


class Prober(threading.Thread):
    """Sends a request on a new connection every 20 ms, whatever became of the previous ones."""

    def __init__(self, node: Node, host: str, port: int) -> None:
        super().__init__()
        self.node, self.host, self.port = node, host, port
        self.answers: list[Answer] = []
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()

    def run(self) -> None:
        call("setns", self.node.file, NEW_NETWORK)  # this thread only
        asyncio.run(self.send_requests())

    async def send_requests(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            due = time.monotonic()
            while not self.stopping.is_set():
                tasks.create_task(self.send_request())
                due += EVERY
                await asyncio.sleep(due - time.monotonic())
                due = max(due, time.monotonic() - EVERY)  # no burst

    async def send_request(self) -> None:
        sent = time.monotonic()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                with contextlib.closing(writer):
                    writer.write(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
                    answer = await reader.read()
            if answer.startswith(OK):
                self.answers.append(Answer(sent, time.monotonic()))

    def outage(self, since: float) -> float:
        """Return the longest time without an answer since the last answer before ``since``."""
        times = sorted(answer.answered for answer in self.answers)
        before = [each for each in times if each <= since][-1:]
        after = [each for each in times if each > since]
        return max(later - earlier for earlier, later in pairwise([*before, *after]))

    def slowest(self, until: float) -> float:
        """Return how long the slowest request took that was sent and answered until then."""
        return max(
            answer.answered - answer.sent for answer in self.answers if answer.answered <= until
        )

    def answered_since(self, since: float) -> int:
        """Return how many requests that were sent since then were answered."""
        return sum(answer.sent >= since for answer in self.answers)

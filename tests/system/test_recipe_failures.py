"""The recipes report every kind of failure to the pool, and wait only if it helps."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from balancers import ConnectionLimit, HealthChecks, NoBackendAvailable, Pool, RoundRobin

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
ASYNCIO, RETRY, THREADS = (
    run_path(str(RECIPES / f"{name}.py")) for name in ("with_asyncio", "retry", "with_threads")
)
Response, send_with_retries = RETRY["Response"], RETRY["send_with_retries"]


def answering(answers: dict[str, Any]) -> Callable[[str], Any]:
    def send(backend: str) -> Any:
        answer = answers[backend]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send


@pytest.mark.parametrize("last", [Response(502, b"bad"), ConnectionRefusedError("c")])
@pytest.mark.parametrize("attempts", [3, 9])
def test_the_last_result_of_all_retries_is_the_answer(last: Any, attempts: int) -> None:
    pool = Pool(RoundRobin(["a", "b", "c"]))
    send = answering({"a": Response(503, b""), "b": ConnectionResetError("b"), "c": last})
    if isinstance(last, OSError):
        with pytest.raises(ConnectionRefusedError, match="c"):
            send_with_retries(pool, lambda: 1.0, send, attempts)
    else:
        assert send_with_retries(pool, lambda: 1.0, send, attempts) == last
    snapshot = pool.snapshot()
    assert (snapshot.requests, snapshot.failures, snapshot.in_flight) == (3, 3, 0)


def test_a_retry_succeeds_elsewhere() -> None:
    pool = Pool(RoundRobin(["a", "b"]))
    send = answering({"a": Response(503, b""), "b": Response(404, b"")})
    assert send_with_retries(pool, lambda: 1.0, send).status == 404
    assert [member.failures for member in pool.snapshot().members] == [1, 0]


def test_a_refusal_before_the_first_attempt_is_raised() -> None:
    with pytest.raises(NoBackendAvailable):
        send_with_retries(Pool(RoundRobin[str]()), lambda: 1.0, answering({}))
    with pytest.raises(ValueError, match="attempts"):
        send_with_retries(Pool(RoundRobin(["a"])), lambda: 1.0, answering({}), attempts=0)


def test_a_failed_status_a_failure_and_a_cancellation_in_one_event_loop() -> None:
    async def run() -> None:
        answers: list[Any] = [(200, b""), (503, b""), OSError(), asyncio.CancelledError()]

        async def send(_: str, __: bytes) -> tuple[int, bytes]:
            await asyncio.sleep(0)
            answer = answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            status, body = answer
            return status, body

        client = ASYNCIO["Client"]({"a": 1}, send)
        requests = [asyncio.create_task(client.request(b"")) for _ in range(4)]
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert [type(result) for result in results] == [
            bytes,
            bytes,
            OSError,
            asyncio.CancelledError,
        ]
        snapshot = client.pool.snapshot()
        assert (snapshot.requests, snapshot.failures, snapshot.in_flight) == (4, 2, 0)

    asyncio.run(run())


def test_a_cancelled_request_loses_no_wake_up() -> None:
    async def run() -> None:
        gate = asyncio.Event()

        async def send(_: str, body: bytes) -> tuple[int, bytes]:
            await gate.wait()
            return 200, body

        client = ASYNCIO["Client"]({"a": 1}, send)
        requests = [asyncio.create_task(client.request(b"")) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        requests[0].cancel()  # it has a lease
        requests[2].cancel()  # it waits
        gate.set()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*requests, return_exceptions=True)
        assert [isinstance(result, bytes) for result in results] == [0, 1, 0, 1, 1, 1]
        assert client.pool.snapshot().in_flight == 0

    asyncio.run(run())


def test_a_request_is_refused_at_once_if_waiting_does_not_help() -> None:
    async def run() -> None:
        async def send(_: str, body: bytes) -> tuple[int, bytes]:
            return 200, body

        client = ASYNCIO["Client"]({"a": 1}, send)
        client.pool.set_weight("a", 0)
        async with asyncio.timeout(5):
            with pytest.raises(NoBackendAvailable, match="quiesced"):
                await client.request(b"")

    asyncio.run(run())


def test_a_thread_reports_a_failed_status() -> None:
    backends = THREADS["Backends"]("a")
    with backends.lease() as lease:
        lease.failed(status=500)
    with pytest.raises(OSError, match="broken"), backends.lease():
        raise OSError("broken")
    with backends.lease():
        pass
    snapshot = backends._pool.snapshot()
    assert (snapshot.requests, snapshot.failures, snapshot.in_flight) == (3, 2, 0)


def test_waiting_is_decided_by_full_and_not_by_the_reason() -> None:
    """A full backend beside an unhealthy one refuses as "mixed", and waiting helps."""
    health, limit = HealthChecks[str](1), ConnectionLimit[str](1)
    pool = Pool(RoundRobin(["a", "b"]), [health, limit], panic=None)
    health.observe("b", False, 0.0)
    pool.acquire(0.0)
    with pytest.raises(NoBackendAvailable) as refusal:
        pool.acquire(0.0)
    assert (refusal.value.reason, refusal.value.full) == ("mixed", 1)
    for path in RECIPES.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert ".reason ==" not in source.replace("event.reason ==", ""), path
        assert ".counts" not in source, path

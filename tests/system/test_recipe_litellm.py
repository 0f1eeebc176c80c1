"""The strategy for LiteLLM, with real engines on loopback: which calls leak, and how none does."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Generator
from http import HTTPStatus
from itertools import count
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing is downloaded
litellm: Any = pytest.importorskip("litellm")
from openai import APIError

from balancers import Lease, NoBackendAvailable, Pool, RoundRobin
from tests.system.recipes import LIMIT, all_in_flight, assert_idle, backends, cancelled, recipe

RECIPE = recipe("with_litellm")
BROKEN = HTTPStatus.INTERNAL_SERVER_ERROR
CHAT: dict[str, Any] = {"model": "chat", "messages": RECIPE.MESSAGES}

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM and pydantic warn of each other


@pytest.fixture
def engines() -> Generator[list[Any]]:
    with backends(3) as made:
        for engine in made:
            engine.answer = RECIPE.speak
        yield made
        litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()  # LiteLLM closes no connection: here, and not in a test of another file


class Case:
    """A router with three engines."""

    def __init__(self, engines: list[Any], seconds: float = LIMIT, **settings: Any) -> None:
        deployments = RECIPE.deployments_of(engines) + RECIPE.deployments_of(engines[:2], "code")
        self.pool = Pool(RoundRobin([f"http://{engine.name}/v1" for engine in engines]))
        settings = {"num_retries": 2, "disable_cooldowns": True, **settings}
        self.router = litellm.Router(model_list=deployments, **settings)
        self.routing = RECIPE.PoolRouting(self.pool, deployments)
        self.completions = RECIPE.Completions(self.router, self.routing, seconds)

    async def ask(self) -> str:
        async with self.completions.call(**CHAT) as answer:
            return str(answer.choices[0].message.content)

    async def read(self, chunks: int = 1_000) -> int:
        """Read a stream, or some chunks of it, and return how many there were."""
        seen = 0
        async with self.completions.call(**CHAT, stream=True) as stream:
            async for _ in stream:
                seen += 1
                if seen == chunks:
                    break
        return seen

    def check_idle(self) -> None:
        assert_idle(self.pool)
        assert not self.routing.calls


CustomLogger: Any = litellm.integrations.custom_logger.CustomLogger


class Callbacks(CustomLogger):  # type: ignore[misc]  # it is Any here
    """A strategy that releases leases in the callbacks of LiteLLM."""

    def __init__(self, pool: Pool[str], deployments: list[Any]) -> None:
        CustomLogger.__init__(self)
        self.pool = pool
        self.deployments = {each["litellm_params"]["api_base"]: each for each in deployments}
        self.leases: dict[Any, Lease[str]] = {}
        self.called = asyncio.Event()

    async def async_get_available_deployment(
        self, model: str, *_: Any, request_kwargs: Any = None, **__: Any
    ) -> Any:
        lease = self.pool.acquire(asyncio.get_running_loop().time())
        self.leases[request_kwargs["litellm_trace_id"]] = lease
        return self.deployments[lease.backend]

    def get_available_deployment(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def async_log_success_event(self, kwargs: Any, **_: Any) -> None:
        lease = self.leases.pop(kwargs["litellm_trace_id"])
        self.pool.release(lease, asyncio.get_running_loop().time())
        self.called.set()

    async def async_log_failure_event(self, kwargs: Any, **_: Any) -> None:
        await self.async_log_success_event(kwargs)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(2 * LIMIT):
            await test()
            await litellm.close_litellm_async_clients()

    asyncio.run(limited())


def test_calls_and_streams_are_spread(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        assert set(await asyncio.gather(*(case.ask() for _ in range(15)))) == {"pong"}
        assert set(await asyncio.gather(*(case.read() for _ in range(15)))) <= {10, 11}
        assert [engine.requests for engine in engines] == [10, 10, 10]
        assert case.pool.snapshot().failures == 0
        case.check_idle()

    run(test)


def test_retries_never_meet_the_same_engine_and_no_client_sees_an_error(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        engines[0].status = BROKEN
        assert set(await asyncio.gather(*(case.ask() for _ in range(20)))) == {"pong"}
        failures = [member.failures for member in case.pool.snapshot().members]
        assert failures[0] >= 6
        assert failures[1:] == [0, 0]
        for engine in engines:
            engine.status, engine.requests = BROKEN, 0
        with pytest.raises(APIError):
            await case.ask()
        assert [engine.requests for engine in engines] == [1, 1, 1]
        case.check_idle()

    run(test)


def test_an_error_of_the_request_is_no_failure_of_the_engine(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        for engine in engines:
            engine.status = HTTPStatus.BAD_REQUEST
        with pytest.raises(APIError):
            await case.ask()
        snapshot = case.pool.snapshot()
        assert (snapshot.requests, snapshot.failures) == (1, 0)
        case.check_idle()

    run(test)


def test_cancelled_calls_and_abandoned_streams_leave_no_lease(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        assert await asyncio.gather(*(case.read(1) for _ in range(12))) == [1] * 12
        for engine in engines:
            engine.delay = LIMIT
        calls = [case.read() if number % 2 else case.ask() for number in range(12)]
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(call) for call in calls]
        await all_in_flight(case.pool, 12)
        await cancelled(tasks)
        assert case.pool.snapshot().requests == 24
        assert case.pool.snapshot().failures == 0
        case.check_idle()

    run(test)


def test_with_callbacks_only_all_24_leases_leak(engines: list[Any]) -> None:
    """The fault that the recipe prevents: LiteLLM calls no callback for these 24 calls."""

    async def test() -> None:
        case = Case(engines)
        callbacks = Callbacks(case.pool, RECIPE.deployments_of(engines))
        case.router.register_plugin(callbacks)
        litellm.callbacks = [callbacks]
        numbers = count()

        async def call(**request: Any) -> Any:
            trace = f"call {next(numbers)}"
            return await case.router.acompletion(**CHAT, litellm_trace_id=trace, **request)

        for _ in range(12):
            await anext(await call(stream=True))
        gc.collect()
        for engine in engines:
            engine.delay = LIMIT
        tasks = [asyncio.create_task(call()) for _ in range(12)]
        await all_in_flight(case.pool, 24)
        await cancelled(tasks)
        for engine in engines:
            engine.delay = 0.0
        await call()  # the only call that has an end, for LiteLLM
        await callbacks.called.wait()
        await asyncio.sleep(1.0)  # callbacks can come late
        assert [*callbacks.leases] == [f"call {number}" for number in range(24)]
        assert case.pool.snapshot().in_flight == 24

    try:
        run(test)
    finally:
        litellm.logging_callback_manager._reset_all_callbacks()


def test_an_engine_that_serves_two_models_is_one_backend(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        for engine in engines:
            engine.pause = 0.05
        async with case.completions.call(**CHAT, stream=True) as stream:
            await anext(stream)
            assert [engine.requests for engine in engines] == [1, 0, 0]
            async with case.completions.call(**{**CHAT, "model": "code"}):
                assert [engine.requests for engine in engines] == [1, 1, 0]
                assert case.pool.snapshot().in_flight == 2
        case.check_idle()

    run(test)


def test_a_long_prompt_counts_until_the_first_token(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        long = [{"role": "user", "content": "word " * 4000}]
        slow = f"http://{engines[0].name}/v1"
        engines[0].delay = LIMIT
        reading = case.completions.call(model="chat", messages=long, stream=True)
        first = asyncio.create_task(reading.__aenter__())
        await all_in_flight(case.pool, 1)
        assert case.pool.cost_in_flight(slow) > 4000
        await asyncio.gather(*(case.read() for _ in range(8)))
        assert [engine.requests for engine in engines] == [1, 4, 4]
        engines[0].delay = 0.0
        await anext(await first)
        assert (case.pool.cost_in_flight(slow), case.pool.in_flight(slow)) == (0, 1)
        await reading.__aexit__(None, None, None)
        case.check_idle()

    run(test)


def test_one_deadline_for_all_attempts_and_for_the_stream(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines, seconds=0.6, timeout=LIMIT)
        for engine in engines:
            engine.pause = 0.2
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            await case.read()
        for engine in engines:
            engine.delay = LIMIT
        with pytest.raises(TimeoutError):
            await case.ask()
        assert loop.time() - began < LIMIT
        assert case.pool.snapshot().failures == 0
        case.check_idle()

    run(test)


def test_an_engine_that_is_too_slow_for_an_attempt_has_failed(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines, timeout=0.5)
        await case.ask()
        engines[1].delay = LIMIT
        assert await case.ask() == "pong"
        assert [member.failures for member in case.pool.snapshot().members] == [0, 1, 0]
        case.check_idle()

    run(test)


def test_a_refusal_of_the_pool_reaches_the_caller(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        case.pool.update([])
        with pytest.raises(NoBackendAvailable, match="empty"):
            await case.ask()
        case.check_idle()

    run(test)


def test_an_error_of_the_program_is_no_failure_of_the_engine(engines: list[Any]) -> None:
    async def test() -> None:
        case = Case(engines)
        with pytest.raises(KeyError):
            async with case.completions.call(**CHAT):
                raise KeyError
        assert case.pool.snapshot().failures == 0
        case.check_idle()

    run(test)

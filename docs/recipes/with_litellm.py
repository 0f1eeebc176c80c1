"""LiteLLM: a pool chooses the deployment of each attempt, and no lease is lost."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from litellm import exceptions
from litellm.router import Router
from litellm.types.router import CustomRoutingStrategyBase
from openai import APIError, APIStatusError, BadRequestError, UnprocessableEntityError

from balancers import HealthChecks, Lease, Pool, RoundRobin
from balancers.algorithms import LeastLoaded
from balancers.loads import Combined, InFlight, InFlightCost

from loopback import Backend, backends

SERVER_ERROR = 500
CHARACTERS = 4  # per token, about
MESSAGES = [{"role": "user", "content": "ping"}]


@dataclass
class Call:
    """One call of the program: its lease, and the engines of its attempts."""

    lease: Lease[str] | None = None
    tried: set[str] = field(default_factory=set[str])


class PoolRouting(CustomRoutingStrategyBase):  # type: ignore[misc]  # mypy does not read LiteLLM
    """The strategy that LiteLLM asks once for each attempt.

    The backends of the pool are the ``api_base`` of the deployments.  Each model is a group, so an
    engine that serves two models is one backend.  LiteLLM gives the strategy no id of the call
    except ``litellm_trace_id``, which all attempts share.
    """

    def __init__(self, pool: Pool[str], deployments: Iterable[dict[str, Any]]) -> None:
        self.pool, self.clock = pool, asyncio.get_running_loop().time
        self.deployments: dict[str, dict[str, dict[str, Any]]] = {}  # by model and backend
        for each in deployments:
            of_model = self.deployments.setdefault(each["model_name"], {})
            of_model[each["litellm_params"]["api_base"]] = each
        self.groups = {
            model: pool.group(LeastLoaded(load=load()), [*of_model])
            for model, of_model in self.deployments.items()
        }
        self.calls: dict[object, Call] = {}

    async def async_get_available_deployment(  # pyright: ignore[reportIncompatibleMethodOverride] - its base returns None
        self,
        model: str,
        messages: Any = None,
        input: Any = None,  # noqa: A002 - the name is that of LiteLLM
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        call = self.calls[(request_kwargs or {}).get("litellm_trace_id")]
        self.release(call, earlier_outcome(request_kwargs))
        cost = len(str(messages or input)) // CHARACTERS
        call.lease = self.groups[model].acquire(self.clock(), avoid=call.tried, cost=cost)
        call.tried.add(call.lease.backend)
        return self.deployments[model][call.lease.backend]

    def release(self, call: Call, ok: bool | None) -> None:
        if call.lease is not None:
            self.pool.release(call.lease, self.clock(), ok)
            call.lease = None

    async def chunks(self, call: Call, stream: Any) -> AsyncGenerator[Any]:
        """Yield the chunks of a stream.  The prompt costs nothing after the first one."""
        async with aclosing(stream):  # an abandoned stream ends here
            async for chunk in stream:
                if call.lease is not None and call.lease.cost:
                    self.pool.progress(call.lease, self.clock(), cost=0)
                yield chunk


class Completions:
    """Calls a router, and releases the lease of each call, however it ends."""

    def __init__(self, router: Any, routing: PoolRouting, seconds: float = 60.0) -> None:
        self.router, self.routing, self.seconds = router, routing, seconds
        router.register_plugin(routing)

    @asynccontextmanager
    async def call(self, **request: Any) -> AsyncGenerator[Any]:
        """Return a context with the response, or with an iterator over its chunks.

        It ends after ``seconds``, with all attempts.
        """
        trace = uuid4().hex
        call = self.routing.calls[trace] = Call()
        ok: bool | None = None
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self.router.acompletion(**request, litellm_trace_id=trace)
                if request.get("stream"):
                    async with aclosing(self.routing.chunks(call, answer)) as chunks:
                        yield chunks
                else:
                    yield answer
                ok = True
        except APIError as error:
            ok = outcome(error)
            raise
        finally:
            del self.routing.calls[trace]
            self.routing.release(call, ok)


def load() -> Combined[str]:
    """Return the load of an engine: its requests, and the prompts that it still has to read."""
    return Combined(busyness, InFlightCost(), InFlight())


def busyness(tokens: float, requests: float) -> float:
    """Return how busy an engine is that reads 500 tokens while it works on one request."""
    return tokens / 500 + requests


def earlier_outcome(request: dict[str, Any] | None) -> bool | None:
    """Return the outcome of the previous attempt: LiteLLM asks again only after an error.

    The metadata of the request has the errors of its attempts.  An error of the request itself, for
    example a prompt that is too long, is no failure of the engine.
    """
    metadata: dict[str, Any] = (request or {}).get("metadata") or {}
    errors: list[dict[str, Any]] = [{}, *metadata.get("previous_models", ())]
    kind = getattr(exceptions, str(errors[-1].get("exception_type")), Exception)
    return None if issubclass(kind, BadRequestError | UnprocessableEntityError) else False


def outcome(error: APIError) -> bool | None:
    """Return False for an error of the deployment, and None for one of the request."""
    status = error.status_code if isinstance(error, APIStatusError) else SERVER_ERROR
    return None if status < SERVER_ERROR and status not in {408, 429} else False


def speak(_: str, body: bytes) -> tuple[str, list[bytes]]:
    """Respond as an engine does, in one piece or as a stream."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    answer: dict[str, Any] = {"id": "1", "created": 1, "model": "m", "choices": [choice]}
    if not json.loads(body).get("stream"):
        choice["message"] = {"role": "assistant", "content": "pong"}
        return "application/json", [json.dumps(answer).encode()]
    choice["delta"] = {"role": "assistant", "content": "pong"}
    last = json.dumps(answer)
    choice["finish_reason"] = None
    chunks = [json.dumps(answer)] * 9 + [last, "[DONE]"]
    return "text/event-stream", [f"data: {chunk}\n\n".encode() for chunk in chunks]


def deployments_of(engines: Iterable[Backend], model: str = "chat") -> list[dict[str, Any]]:
    """Return the model list of a router."""
    return [
        {
            "model_name": model,
            "litellm_params": {
                "model": "openai/m",
                "api_base": f"http://{engine.name}/v1",
                "api_key": "none",
            },
        }
        for engine in engines
    ]


async def main() -> None:
    """Make calls while one engine of three fails, cancel others, and abandon streams."""
    with backends(3) as engines:
        for engine in engines:
            engine.answer = speak
        engines[0].status = HTTPStatus.INTERNAL_SERVER_ERROR
        deployments = deployments_of(engines)
        names = [each["litellm_params"]["api_base"] for each in deployments]
        pool = Pool(RoundRobin(names), [HealthChecks[str]()])
        router = Router(model_list=deployments, num_retries=2, disable_cooldowns=True)
        completions = Completions(router, PoolRouting(pool, deployments))

        async def ask() -> str:
            async with completions.call(model="chat", messages=MESSAGES) as answer:
                return str(answer.choices[0].message.content)

        async def ask_for_one_chunk() -> None:
            async with completions.call(model="chat", messages=MESSAGES, stream=True) as chunks:
                await anext(aiter(chunks))

        answers = [await ask() for _ in range(12)]
        for _ in range(6):
            await ask_for_one_chunk()
        tasks = [asyncio.create_task(ask()) for _ in range(6)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        counts = pool.snapshot()
        print(f"{len(answers)} answered, {counts.failures} attempts failed")
        print(f"in flight: {counts.in_flight}")


if __name__ == "__main__":
    asyncio.run(main())

"""The strategy for LiteLLM: which engine is at fault when LiteLLM goes on to another model."""

import asyncio
import gc
import json
import os
from collections.abc import Generator
from http import HTTPStatus
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing is downloaded
litellm: Any = pytest.importorskip("litellm")

from balancers import Pool, RoundRobin
from tests.system.recipes import assert_idle, backends, recipe

RECIPE = recipe("with_litellm")
TOO_LONG = "This model's maximum context length is 4096 tokens, context_length_exceeded"

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM and pydantic warn of each other


@pytest.fixture
def engines() -> Generator[list[Any]]:
    with backends(2) as made:
        yield made
        litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()  # LiteLLM closes no connection: here, and not in a test of another file


def error(message: str) -> Any:
    body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
    return recipe("loopback").parts(body, kind="application/json")


@pytest.mark.parametrize(
    ("status", "message", "failures"),
    [(400, "wrong", 0), (400, TOO_LONG, 0), (429, "busy", 1), (500, "broken", 1)],
)
def test_an_error_of_the_request_is_no_failure_of_the_engine_before_a_fallback(
    engines: list[Any], status: int, message: str, failures: int
) -> None:
    async def test(small: Any, large: Any) -> None:
        small.status, small.answer = HTTPStatus(status), error(message)
        large.answer = RECIPE.speak
        deployments = RECIPE.deployments_of([small], "small")
        deployments += RECIPE.deployments_of([large], "large")
        pool = Pool(RoundRobin([f"http://{engine.name}/v1" for engine in (small, large)]))
        router = litellm.Router(
            model_list=deployments,
            num_retries=0,
            disable_cooldowns=True,
            fallbacks=[{"small": ["large"]}],
        )
        completions = RECIPE.Completions(router, RECIPE.PoolRouting(pool, deployments))
        async with completions.call(model="small", messages=RECIPE.MESSAGES) as answer:
            assert answer.choices[0].message.content == "pong"
        assert (small.requests, large.requests) == (1, 1)
        assert [member.failures for member in pool.snapshot().members] == [failures, 0]
        assert_idle(pool)
        await litellm.close_litellm_async_clients()

    asyncio.run(test(*engines))

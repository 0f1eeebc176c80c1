"""The recipes of the documentation run and print what is expected."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.system.programs import program

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
OUTPUT = {
    "with_asyncio": "{'small': 10, 'large': 20}",
    "with_threads": "3000 served, still in flight: {'a': 0, 'b': 0, 'c': 0}",
    "retry": "100 answered, 3 attempts failed, b is unhealthy",
    "waiting_room": "{'a': 12, 'b': 24, 'refused': 4}",
    "key_affinity": ("12 [('user:0', 'a'), ('user:1', 'c'), ('user:2', 'c'), ('user:3', 'b')]"),
    "deadline": "{'quick': 20}, all in time: True, in flight: 0",
    "with_httpx": "24 answered, 3 attempts failed, in flight: 0\nthe session has 1 backend",
    "asgi_gateway": "24 answered, 1 attempts failed, in flight: 0",
    "with_aiohttp": "50 answered, those of each user by 1 backend\nin flight: 0",
    "with_sqlalchemy": """
{'r1': 10, 'r2': 10}
primary+new
3 attempts failed, in flight: 0
""".strip(),
    "with_redis": """
20 answered, 3 attempts failed
in flight: 0
300 keys, on each server: True
""".strip(),
    "with_elastic_transport": "24 answered, 3 attempts failed, in flight: 0",
    "with_cassandra": """
without a key: {'10.0.0.1': 100, '10.0.0.2': 100, '10.0.0.3': 100}
a key: 10.0.0.1, 10.0.0.3, 10.0.0.2
while its host is down: 10.0.0.3, 10.0.0.2
""".strip(),
    "with_litellm": "12 answered, 3 attempts failed\nin flight: 0",
    "own_backend": "('10.0.0.1', 80)\nwest",
    "prometheus": """
balancers_requests_total{pool="web"} 6.0
balancers_failures_total{pool="web"} 1.0
balancers_refusals_total{pool="web",reason="draining"} 1.0
balancers_in_flight{pool="web"} 0.0
balancers_panicking{pool="web"} 0.0
balancers_backend_requests_total{backend="a",pool="web"} 2.0
balancers_backend_requests_total{backend="b",pool="web"} 4.0
balancers_backend_failures_total{backend="a",pool="web"} 1.0
balancers_backend_failures_total{backend="b",pool="web"} 0.0
balancers_backend_in_flight{backend="a",pool="web"} 0.0
balancers_backend_in_flight{backend="b",pool="web"} 0.0
balancers_effective_weight{backend="a",pool="web"} 0.0
balancers_effective_weight{backend="b",pool="web"} 0.0
balancers_closed{backend="a",pool="web",reason="draining"} 1.0
balancers_closed{backend="b",pool="web",reason="draining"} 1.0
balancers_transitions_total{began="true",pool="web",reason="member"} 2.0
balancers_transitions_total{began="true",pool="web",reason="unhealthy"} 1.0
balancers_transitions_total{began="false",pool="web",reason="unhealthy"} 1.0
balancers_transitions_total{began="true",pool="web",reason="draining"} 2.0
balancers_reason_seconds_total{backend="a",pool="web",reason="unhealthy"} 10.0
balancers_reason_seconds_total{backend="a",pool="web",reason="member"} 35.0
balancers_reason_seconds_total{backend="b",pool="web",reason="member"} 35.0
balancers_reason_seconds_total{backend="a",pool="web",reason="draining"} 5.0
balancers_reason_seconds_total{backend="b",pool="web",reason="draining"} 5.0
""".strip(),
}
"""The output of each recipe, without comments."""
NEEDS = {
    "prometheus": "prometheus_client",
    "with_httpx": "httpx",
    "asgi_gateway": "uvicorn",
    "with_aiohttp": "aiohttp",
    "with_cassandra": "cassandra",
    "with_elastic_transport": "elastic_transport",
    "with_litellm": "litellm",
    "with_redis": "redis",
    "with_sqlalchemy": "sqlalchemy",
}
"""The packages of other projects that recipes need."""

IGNORED = {"with_litellm": ["-W", "ignore"]}  # of its connections and its cancelled coroutines
"""The options for warnings that a package of another project causes, also on the error output."""

SERVERS = {"loopback"}
"""The modules with servers for other recipes."""


def test_every_recipe_has_an_expected_output_and_a_page() -> None:
    assert {path.stem for path in RECIPES.glob("*.py")} - SERVERS == set(OUTPUT)
    for name in OUTPUT:
        page = (RECIPES / f"{name}.md").read_text(encoding="utf-8")
        assert f"```{{literalinclude}} {name}.py" in page


@pytest.mark.parametrize("name", sorted({*NEEDS, "deadline"} - {"prometheus"}))
def test_the_page_of_a_client_says_who_has_the_lease_and_what_blocks(name: str) -> None:
    page = (RECIPES / f"{name}.md").read_text(encoding="utf-8")
    terms = ["Who holds the lease", "Who releases it on cancellation", "What blocks"]
    assert [term for term in terms if f"\n{term}\n: " not in page] == []


@pytest.mark.parametrize("name", OUTPUT)
def test_a_recipe_prints_the_expected_output(name: str) -> None:
    package = NEEDS.get(name, "balancers")
    if find_spec(package) is None:
        pytest.skip(f"could not import {package!r}")
    if name == "with_redis":
        program("redis-server", "redis-server")
    command = [sys.executable, "-W", "error", *IGNORED.get(name, ()), str(RECIPES / f"{name}.py")]
    offline = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=offline
    )
    output = "\n".join(line for line in run.stdout.splitlines() if not line.startswith("#"))
    errors = "" if name in IGNORED else run.stderr
    assert (run.returncode, output, errors) == (0, OUTPUT[name], "")

"""The drill of a pair of balancers: an outage under load is no longer than the protocol allows."""

import re
import subprocess
import sys

import pytest

from tests.system.lab import EXAMPLES, missing

pytestmark = pytest.mark.deep


def run(*arguments: str) -> tuple[int, str]:
    """Run the drill; return its exit code and what it prints."""
    if reason := missing("wrk"):
        pytest.skip(reason)
    command = [sys.executable, str(EXAMPLES / "pair.py"), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=400)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["IPv4", "IPv6"])
def test_the_outage_is_within_the_bound(version: str) -> None:
    code, output = run("--only", version)
    assert code == 0, output
    assert len(re.findall(r"^  ok ", output, re.MULTILINE)) >= 2 * 4, output
    assert output.endswith("\nevery bound held\n")


def test_the_drill_detects_a_router_that_is_too_slow() -> None:
    code, output = run(
        "--attempts=1", "--only=IPv4, the active one is killed", "--sabotage", "slow-routers"
    )
    assert code == 1, output
    assert "MISSED clients get no answer:" in output

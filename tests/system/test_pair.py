"""The drill of a pair of balancers: an outage under load is no longer than the protocol allows."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.keepalived import LIMIT
from tests.system.lab import EXAMPLES, missing, wait_until

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
    assert re.search(r"\nevery bound held(, but \d of the runs missed one)?\n$", output), output


def test_the_drill_detects_a_router_that_is_too_slow() -> None:
    code, output = run(
        "--attempts=1", "--only=IPv4, the active one is killed", "--sabotage", "slow-routers"
    )
    assert code == 1, output
    assert "MISSED clients get no answer:" in output
    assert output.endswith("\na bound did not hold\n")


@pytest.mark.parametrize("option", ["--only=IPv5", "--attempts=0"])
def test_options_with_which_no_drill_is_run_are_refused(option: str) -> None:
    code, output = run(option)
    assert code == 2
    assert "no drill is run" in output


def test_nothing_is_left_when_the_drill_is_killed() -> None:
    """It is killed while the programs of one balancer are frozen."""
    if reason := missing("wrk"):
        pytest.skip(reason)
    tag = f"DRILL_OF_TEST={os.getpid()}-{time.monotonic_ns()}"
    command = [
        "env",
        tag,
        sys.executable,
        str(EXAMPLES / "pair.py"),
        "--only=IPv4, the active one is frozen",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as drill:
        try:
            wait_until(lambda: "T" in states(tag), LIMIT, "a balancer is frozen")
        finally:
            drill.kill()
    wait_until(lambda: not states(tag), LIMIT, "all processes of the drill end")


def states(tag: str) -> list[str]:
    """Return the state of each process with an assignment in its environment."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if tag.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "stat").read_text().rpartition(")")[2].split()[0])
    return found

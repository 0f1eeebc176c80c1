"""The drill, for real: it passes, and with a sabotaged balancer it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

DRILL = Path(__file__).parents[2] / "docs" / "examples" / "drill.py"


def drill(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DRILL), "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_every_promise_is_kept() -> None:
    run = drill()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "every promise was kept" in run.stdout
    assert "failures seen by clients: 0" in run.stdout


@pytest.mark.parametrize(
    ("sabotage", "algorithm", "broken"),
    [
        ("ignore-drain", "RoundRobin", "new requests went to the draining"),
        ("leak-counts", "LeastConnections", "in flight"),
    ],
)
def test_sabotage_is_noticed(sabotage: str, algorithm: str, broken: str) -> None:
    run = drill("--sabotage", sabotage, "--algorithm", algorithm)
    assert run.returncode == 1, run.stdout + run.stderr
    assert any("BROKEN" in line and broken in line for line in run.stdout.splitlines())

"""The drill passes, and fails with a sabotaged balancer."""

import subprocess
import sys
from pathlib import Path

import pytest

DRILL = Path(__file__).parents[2] / "docs" / "examples" / "drill.py"


def drill(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DRILL), "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_guarantees_hold() -> None:
    run = drill()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "all guarantees held" in run.stdout
    assert "failures seen by clients: 0" in run.stdout


@pytest.mark.parametrize(
    ("sabotage", "algorithm", "message"),
    [
        ("ignore-drain", "RoundRobin", "new requests went to the draining"),
        ("leak-counts", "LeastConnections", "in flight"),
    ],
)
def test_sabotage_is_detected(sabotage: str, algorithm: str, message: str) -> None:
    run = drill("--sabotage", sabotage, "--algorithm", algorithm)
    assert run.returncode == 1, run.stdout + run.stderr
    assert any("FAILED" in line and message in line for line in run.stdout.splitlines())

"""The drill of two layers: connections survive the loss of an edge and of another proxy."""

import re
import subprocess
import sys

import pytest

from tests.system.lab import EXAMPLES, missing

pytestmark = pytest.mark.deep


def run(*arguments: str) -> tuple[int, str]:
    """Run the drill; return its exit code and what it prints."""
    if reason := missing():
        pytest.skip(reason)
    command = [sys.executable, str(EXAMPLES / "layers.py"), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    return done.returncode, done.stdout + done.stderr


def test_connections_survive_the_loss_of_an_edge_and_of_another_proxy() -> None:
    code, output = run()
    assert code == 0, output
    assert len(re.findall(r" s  ok: ", output)) == 9, output
    assert output.endswith("\nall guarantees held\n")


def test_the_drill_detects_edges_that_pick_at_random() -> None:
    code, output = run("--sabotage", "random-edges")
    assert code == 1, output
    assert re.search(r"MISSED: \d+ of 24 connections survived the loss of an edge", output), output

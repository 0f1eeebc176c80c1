"""The tests pass as a job in the background: a shell makes such processes ignore SIGINT."""

import subprocess
import sys
from shlex import quote

TESTS = [
    "soak/test_soak.py::test_a_key_interrupts_a_request",
    "command_line/test_process.py::test_an_interrupt",
]


def test_interrupts_are_tested_in_the_background() -> None:
    tests = " ".join(f"tests/{test}" for test in TESTS)
    command = f"trap '' INT; exec {quote(sys.executable)} -m pytest -q -p no:cacheprovider {tests}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=300
    )
    assert "2 passed" in done.stdout, done.stdout

"""The lab of the examples: network namespaces, and what is seen on their wire."""

import sys
import threading
import time
from pathlib import Path
from typing import Self

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))

from lab_capture import Capture, Seen, wait_until  # noqa: E402 - found by the path above
from namespaces import Lab, Node, missing  # noqa: E402 - found by the path above

__all__ = [
    "EXAMPLES",
    "Capture",
    "Lab",
    "Lateness",
    "Node",
    "Seen",
    "missing",
    "wait_until",
]


class Lateness:
    """Measures by how much this machine is late: how long after its time a thread wakes."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._measure)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _measure(self) -> None:
        step = 0.01
        while True:
            due = time.monotonic() + step
            if self._stopping.wait(step):
                return
            self.worst = max(self.worst, time.monotonic() - due)

"""The lab of the examples: network namespaces, and what is seen on their wire."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))

from lab_capture import Capture, Seen, wait_until  # noqa: E402 - found by the path above
from lab_clients import Lateness  # noqa: E402 - found by the path above
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

"""How deep the tests go: quickly by default, and all the way under ``HYPOTHESIS_PROFILE=deep``."""

import os

__all__ = ["DEEP", "PROFILE", "runs"]

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
DEEP = PROFILE == "deep"
_SHARE = 10
_LEAST = 10


def runs(deep: int) -> int:
    """Return how many examples to try: ``deep`` under the deep profile, a tenth otherwise."""
    return deep if DEEP else min(deep, max(_LEAST, deep // _SHARE))

"""Lists the names, keys and weights that histories are drawn from."""

from collections.abc import Callable, Collection, Sequence

__all__ = ["FORMS", "KEYS", "NAMES", "ODD_NAMES", "WEIGHTS"]

NAMES = (*"abcdefghijklmnopqrstuvwxyz", *(f"b{number}" for number in range(1000)))
ODD_NAMES = (
    "a", "A", "0", "10.0.0.1:80", "10.0.0.10:80", "a-b", "node:443", "aa", "x" * 80, "B", "a_b",
    "b.c",
)  # fmt: skip
KEYS = ("k", "key-1", "key-2", 0, "", b"", -1, 7, 1 << 40, b"\x00\xff", "é", "x" * 100)
WEIGHTS = (1, 2, 3, 5, 0.5, 10, 0.3, 25)
FORMS: Sequence[Callable[[Sequence[str]], Collection[str]]] = (
    list, tuple, set, frozenset, dict.fromkeys,
)  # fmt: skip
"""The collections that ``avoid`` may be."""

"""Fuzzing: one target per parser of client data, and a corpus of inputs.

``python -m tests.fuzz --seconds 20`` runs them all, ``pytest tests/fuzz`` replays the corpus.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

__all__ = ["CORPUS", "TARGETS", "target"]

CORPUS = Path(__file__).parent / "corpus"
TARGETS = sorted(
    path.stem for path in (Path(__file__).parent / "targets").glob("*.py") if path.stem[0] != "_"
)


def target(name: str) -> ModuleType:
    """Load a target: ``check`` asserts what holds for any bytes, ``WORDS`` is a dictionary."""
    return import_module(f"tests.fuzz.targets.{name}")

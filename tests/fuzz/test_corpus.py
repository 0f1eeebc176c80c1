"""The kept inputs, each against its target: what was found once stays fixed, wherever this runs."""

from pathlib import Path

import pytest

from tests.fuzz import CORPUS, TARGETS, target

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_input_passes(path: Path) -> None:
    target(path.parent.name).check(path.read_bytes())


def test_every_target_keeps_inputs_and_not_too_many() -> None:
    kept = {folder.name: len([*folder.iterdir()]) for folder in CORPUS.iterdir()}
    assert sorted(kept) == sorted(TARGETS)
    assert all(10 <= count <= 50 for count in kept.values())
    assert all(path.stat().st_size <= 4096 for path in INPUTS)

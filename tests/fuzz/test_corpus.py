"""Every input of the corpus passes its target: a bug that was found stays fixed."""

from pathlib import Path

import pytest

from tests.fuzz import CORPUS, TARGETS, target

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_passes(path: Path) -> None:
    if path.parent.name == "forward":
        pytest.importorskip("h11")
    target(path.parent.name).check(path.read_bytes())


def test_every_target_has_some_inputs_and_not_too_many() -> None:
    counts = {folder.name: len([*folder.iterdir()]) for folder in CORPUS.iterdir()}
    assert sorted(counts) == sorted(TARGETS)
    assert all(10 <= count <= 50 for count in counts.values())
    assert all(path.stat().st_size <= 4096 for path in INPUTS)

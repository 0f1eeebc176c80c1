"""The command that measures durations fails if the laws of one balancer, or of all, are slow."""

import pytest

from tests.kinds import KINDS, Kind
from tests.laws import durations


@pytest.mark.parametrize(
    ("few", "many", "status"), [(1.0, 19.9, 0), (1.0, 20.1, 1), (61 / len(KINDS), 1.0, 1)]
)
def test_slow_laws_are_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    few: float,
    many: float,
    status: int,
) -> None:
    def seconds(_kind: Kind, examples: int) -> float:
        return many if examples > 100 else few

    monkeypatch.setattr(durations, "seconds", seconds)
    assert durations.main([]) == status
    assert ("TOO SLOW" in capsys.readouterr().out) == (many > durations.ONE)


def test_the_processor_time_of_a_check_is_measured() -> None:
    assert 0 < durations.seconds(KINDS[0], 10) < durations.ONE

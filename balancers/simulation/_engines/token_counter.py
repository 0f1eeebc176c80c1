"""Counts the tokens of a simulation: times to the first one, times of the others, and hits."""

from typing import Any

import numpy as np

from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import on_grid
from balancers.simulation.prompts import RecordedPrompts
from balancers.simulation.times import Times, TimesCounter
from balancers.simulation.token_times import TokenTimes

__all__ = ["TokenCounter"]


class TokenCounter:
    """Counts what concerns the requests from the index ``warm`` on."""

    def __init__(self, recorded: RecordedPrompts, warm: int) -> None:
        self.recorded = recorded
        self._prompts = recorded.prompts
        self._warm = warm
        self._first: list[float] = []
        self._output: list[float] = []
        self._blocks = self._hits = 0
        self._computed: dict[int, int] = {}

    def cost(self, index: int) -> int:
        """Return the cost of a request until its first token: the tokens of its prompt."""
        return self._prompts[index].tokens

    def begun(self, index: int, place: int, blocks: int, hits: int, computed: int) -> None:
        """Count a prompt that begins, of which some blocks are hits and some tokens are not."""
        if index >= self._warm:
            self._blocks += blocks
            self._hits += hits
            self._computed[place] = self._computed.get(place, 0) + computed

    def answered(self, each: Try, now: float) -> None:
        """Count the times of a request whose answer has arrived."""
        request = each.request
        if request.index < self._warm or each.first is None:
            return
        first = each.sent + each.first
        self._first.append(first - request.arrival)
        output = self._prompts[request.index].output
        if output > 1:
            self._output.append((now - first) / (output - 1))

    def times(self, backends: list[Any], tries: list[int]) -> TokenTimes[Any]:
        """Return what was counted.  ``tries`` is the number of tries of each backend."""
        total = sum(tries)
        return TokenTimes(
            first=_times(self._first),
            output=_times(self._output),
            blocks=self._blocks,
            hits=self._hits,
            computed={b: self._computed.get(place, 0) for place, b in enumerate(backends)},
            busiest=max(tries) * len(tries) / total if total else 0.0,
        )


def _times(seconds: list[float]) -> Times:
    counter = TimesCounter()
    counter.add(on_grid(np.array(seconds, np.float64)))
    return counter.times()

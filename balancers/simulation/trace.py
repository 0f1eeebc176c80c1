"""Reads recorded requests of a language-model service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from balancers._internal.checks import at_least, not_negative, shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import LATEST
from balancers.simulation._rows import Fields, ids_of, number_of, timed_rows
from balancers.simulation.arrivals import RecordedTimes
from balancers.simulation.request_keys import RecordedKeys
from balancers.simulation.service import RecordedWork

__all__ = ["Trace", "read_trace"]

_PARTS = {"arrivals": RecordedTimes, "service": RecordedWork, "keys": RecordedKeys}


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """Recorded requests: when they arrived, their work, and their keys.

    :func:`read_trace` makes a trace from a file.  Make one yourself from other records.

    >>> trace = Trace(RecordedTimes([0.0, 0.5]), RecordedWork([1.0, 2.0]), RecordedKeys(["a", "b"]))
    >>> len(trace), trace.arrivals.mean, trace.service.mean, trace.keys.size
    (2, 0.25, 1.5, 2)

    Raises InvalidSetting if the three do not have the same length, and TypeError for other objects.
    """

    arrivals: RecordedTimes
    service: RecordedWork
    keys: RecordedKeys

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be {kind.__name__}, not {shown(getattr(self, name))}")
        lengths = (len(self.arrivals), len(self.service), len(self.keys))
        if len(set(lengths)) > 1:
            raise InvalidSetting(
                "arrivals, service and keys must have the same length, not {}, {} and {}".format(
                    *lengths
                )
            )

    def __len__(self) -> int:
        return len(self.arrivals)

    def __repr__(self) -> str:
        return f"<Trace: {len(self)} requests in {self.arrivals.times[-1]:.6g} s>"


def read_trace(
    rows: Iterable[str | bytes | Mapping[str, Any]],
    *,
    seconds_per_input_token: float,
    seconds_per_output_token: float,
    speedup: float = 1.0,
    prefix_blocks: int = 2,
) -> Trace:
    """Return the requests of a trace of the shape that Mooncake published (FAST 2025); O(n).

    ``rows`` are lines of JSON, for example an open file, or mappings.  Each row has a ``timestamp``
    in milliseconds since the start, ``input_length`` and ``output_length`` in tokens, and
    ``hash_ids``, one int per block of the input.  Equal ids mean that the inputs are equal up to
    the end of that block.  Empty lines are ignored.

    The work of a request is its number of tokens, each multiplied by its time.  ``speedup`` divides
    the times of arrival.  The key is the id of block number ``prefix_blocks``, or of the last block
    of a shorter input.  So requests with the same key have the same prefix.  The first block alone
    is often a text that all requests begin with.

    >>> trace = read_trace(
    ...     ['{"timestamp": 0, "input_length": 900, "output_length": 10, "hash_ids": [0, 7]}',
    ...      '{"timestamp": 500, "input_length": 100, "output_length": 50, "hash_ids": [0]}'],
    ...     seconds_per_input_token=0.001, seconds_per_output_token=0.02)
    >>> trace.arrivals.times, trace.service.works, trace.keys.keys
    ((0.0, 0.5), (1.1, 1.1), (7, 0))

    Raises InvalidSetting, with the number of the row from 1, for a row that is not of this shape,
    for a number that is negative or not finite, for times that are not in ascending order, and if
    there are no rows.  Raises TypeError if ``rows`` is one string, for example the name of a file.
    """
    timed = timed_rows(rows, speedup)
    per_input = not_negative("seconds_per_input_token", seconds_per_input_token)
    per_output = not_negative("seconds_per_output_token", seconds_per_output_token)
    at_least(1, prefix_blocks=prefix_blocks)
    times: list[float] = []
    works: list[float] = []
    keys: list[int] = []
    for place, time, fields in timed:
        times.append(time)
        work = per_input * number_of(place, fields, "input_length")
        work += per_output * number_of(place, fields, "output_length")
        if work > LATEST:
            raise InvalidSetting(
                f"row {place}: the work must be at most {LATEST:.0f} s, not {work}"
            )
        works.append(work)
        keys.append(_key(place, fields, prefix_blocks))
    return Trace(RecordedTimes(times), RecordedWork(works), RecordedKeys(keys))


def _key(place: int, fields: Fields, blocks: int) -> int:
    listed = ids_of(place, fields)
    key = listed[min(blocks, len(listed)) - 1]
    if type(key) is not int:
        raise InvalidSetting(f"row {place}: hash_ids must be ints, not {shown(key)}")
    return key

"""Reads recorded requests of a language-model service."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from balancers._internal.checks import at_least, not_negative, number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import LATEST
from balancers.simulation.arrivals import RecordedTimes
from balancers.simulation.request_keys import RecordedKeys
from balancers.simulation.service import RecordedWork

__all__ = ["Trace", "read_trace"]

_MOST = 1e300
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
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise TypeError(f"rows must be an iterable of lines or mappings, not {shown(rows)}")
    per_input = not_negative("seconds_per_input_token", seconds_per_input_token)
    per_output = not_negative("seconds_per_output_token", seconds_per_output_token)
    if not 0 < number("speedup", speedup) <= _MOST:
        raise InvalidSetting(f"speedup must be positive, up to {_MOST:g}, not {shown(speedup)}")
    per_millisecond = 1000 * float(speedup)
    at_least(1, prefix_blocks=prefix_blocks)
    times: list[float] = []
    works: list[float] = []
    keys: list[int] = []
    for place, row in enumerate(rows, 1):
        if isinstance(row, str | bytes) and not row.strip():
            continue
        fields = _fields(place, row)
        time = _number(place, fields, "timestamp") / per_millisecond
        if time > LATEST:
            raise InvalidSetting(
                f"row {place}: timestamp must be at most {LATEST:.0f} s after the start, not "
                f"{shown(fields['timestamp'])} ms"
            )
        if times and time < times[-1]:
            raise InvalidSetting(
                f"row {place}: timestamp must not be earlier than in the row before, but is "
                f"{shown(fields['timestamp'])}"
            )
        times.append(time)
        work = per_input * _number(place, fields, "input_length")
        work += per_output * _number(place, fields, "output_length")
        if work > LATEST:
            raise InvalidSetting(
                f"row {place}: the work must be at most {LATEST:.0f} s, not {work}"
            )
        works.append(work)
        keys.append(_key(place, fields, prefix_blocks))
    if not times:
        raise InvalidSetting("rows must contain at least one row")
    return Trace(RecordedTimes(times), RecordedWork(works), RecordedKeys(keys))


def _fields(place: int, row: object) -> Mapping[str, Any]:
    """Return the fields of a row.  Raises InvalidSetting."""
    fields: Any = row
    if isinstance(row, str | bytes):
        try:
            fields = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise InvalidSetting(f"row {place} must be JSON, not {shown(row)}") from error
    if not isinstance(fields, Mapping):
        raise InvalidSetting(f"row {place} must be an object with named fields, not {shown(row)}")
    return cast("Mapping[str, Any]", fields)


def _field(place: int, fields: Mapping[str, Any], name: str) -> Any:
    try:
        return fields[name]
    except KeyError:
        raise InvalidSetting(f"row {place} has no {name}: {shown(fields)}") from None


def _number(place: int, fields: Mapping[str, Any], name: str) -> float:
    value = _field(place, fields, name)
    label = f"row {place}: {name}"
    if not 0 <= number(label, value) <= _MOST:
        raise InvalidSetting(f"{label} must be 0 or more, and finite, not {shown(value)}")
    return float(value)


def _key(place: int, fields: Mapping[str, Any], blocks: int) -> int:
    ids = _field(place, fields, "hash_ids")
    listed = cast("Sequence[Any]", ids if isinstance(ids, list | tuple) else ())
    if not listed:
        raise InvalidSetting(
            f"row {place}: hash_ids must be a list of ints, not {shown(fields['hash_ids'])}"
        )
    key = listed[min(blocks, len(listed)) - 1]
    if type(key) is not int:
        raise InvalidSetting(f"row {place}: hash_ids must be ints, not {shown(key)}")
    return key

"""Reads the rows of traces of requests to language models, of the shape that Mooncake published."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from balancers._internal.checks import number, shown
from balancers.errors import InvalidSetting
from balancers.simulation._grid import LATEST

__all__ = ["Fields", "ids_of", "number_of", "timed_rows"]

Fields = Mapping[str, Any]
_MOST = 1e300


def timed_rows(rows: Any, speedup: float) -> Iterator[tuple[int, float, Fields]]:
    """Return an iterator over the rows: the number of each from 1, its time, and its fields.

    Empty lines are left out.  The times are in seconds, divided by ``speedup``.  Raises TypeError
    and InvalidSetting for arguments that are no rows and no speedup.  The iterator raises
    InvalidSetting for a row that is not of this shape, for times that are not ascending, and if
    there are no rows.
    """
    given: object = rows
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"rows must be an iterable of lines or mappings, not {shown(rows)}")
    if not 0 < number("speedup", speedup) <= _MOST:
        raise InvalidSetting(f"speedup must be positive, up to {_MOST:g}, not {shown(speedup)}")
    return _timed(rows, 1000 * float(speedup))


def _timed(rows: Iterable[Any], per_second: float) -> Iterator[tuple[int, float, Fields]]:
    latest = -1.0
    for place, row in enumerate(rows, 1):
        if isinstance(row, str | bytes) and not row.strip():
            continue
        fields = _fields(place, row)
        time = number_of(place, fields, "timestamp") / per_second
        if time > LATEST:
            raise InvalidSetting(
                f"row {place}: timestamp must be at most {LATEST:.0f} s after the start, not "
                f"{shown(fields['timestamp'])} ms"
            )
        if time < latest:
            raise InvalidSetting(
                f"row {place}: timestamp must not be earlier than in the row before, but is "
                f"{shown(fields['timestamp'])}"
            )
        latest = time
        yield place, time, fields
    if latest < 0:
        raise InvalidSetting("rows must contain at least one row")


def _fields(place: int, row: object) -> Fields:
    """Return the fields of a row.  Raises InvalidSetting."""
    fields: Any = row
    if isinstance(row, str | bytes):
        try:
            fields = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise InvalidSetting(f"row {place} must be JSON, not {shown(row)}") from error
    if not isinstance(fields, Mapping):
        raise InvalidSetting(f"row {place} must be an object with named fields, not {shown(row)}")
    return cast("Fields", fields)


def _field(place: int, fields: Fields, name: str) -> Any:
    try:
        return fields[name]
    except KeyError:
        raise InvalidSetting(f"row {place} has no {name}: {shown(fields)}") from None


def number_of(place: int, fields: Fields, name: str) -> float:
    """Return a field that is a number of 0 or more.  Raises InvalidSetting."""
    value = _field(place, fields, name)
    label = f"row {place}: {name}"
    if not 0 <= number(label, value) <= _MOST:
        raise InvalidSetting(f"{label} must be 0 or more, and finite, not {shown(value)}")
    return float(value)


def ids_of(place: int, fields: Fields) -> Sequence[Any]:
    """Return the ids of the blocks, at least one.  Raises InvalidSetting."""
    ids = _field(place, fields, "hash_ids")
    listed = cast("Sequence[Any]", ids if isinstance(ids, list | tuple) else ())
    if not listed:
        raise InvalidSetting(
            f"row {place}: hash_ids must be a list of ints, not {shown(fields['hash_ids'])}"
        )
    return listed

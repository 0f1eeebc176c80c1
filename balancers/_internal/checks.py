"""Validates arguments that several modules take."""

from collections.abc import Collection, Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from math import inf, nan
from numbers import Real
from random import Random
from typing import Any, TypeVar, cast

from balancers._internal.exact import exact
from balancers._internal.types import B
from balancers.errors import InvalidSetting, InvalidTime, InvalidWeight

__all__ = [
    "HIGHEST_PORT",
    "LATEST",
    "NO_BACKENDS",
    "as_weights",
    "at_least",
    "check_flags",
    "checked_avoid",
    "checked_callable",
    "checked_choice",
    "checked_ok",
    "checked_rng",
    "duration",
    "not_negative",
    "number",
    "shown",
    "valid_now",
    "valid_weight",
]

F = TypeVar("F")

HIGHEST_PORT = 0xFFFF
"""The highest port number.  A port number has 16 bits."""
LATEST = 1e300
"""The latest valid time in seconds.  Because of this limit, sums of valid times are finite."""
_EXACT_SETS = (set, frozenset, dict)  # tested first, because this is faster than isinstance
NO_BACKENDS: tuple[()] = ()
"""The default of ``avoid``.  It is one object, so ``is`` is the fastest test for it, and every
other argument can be validated by :func:`checked_avoid`."""
_MAX_WEIGHT = 1e300
"""The largest valid weight.  Because of this limit, sums of valid weights are finite."""

_SHOWN_BITS = 4096
"""Python refuses to print an int of more than about 14 000 bits in decimal digits."""

_LARGE = 2.0**53
"""From here on, a float can be printed as another integer than the one that it equals."""


def valid_weight(weight: float, backend: object) -> float:
    """Return the weight.  An integral weight is returned as an int; O(1).

    A float counts as the decimal that it is printed as.  So it stays a float if that is another
    integer than the one that the float equals.

    >>> valid_weight(3.0, "a"), valid_weight(1e22, "a"), valid_weight(1e23, "a")
    (3, 10000000000000000000000, 1e+23)

    Raises InvalidWeight for a weight that is negative, above 1e300, NaN or not a number, and for a
    positive Fraction that is 0 as a float.  The message contains the backend.
    """
    if type(weight) is int and 0 <= weight <= _MAX_WEIGHT:
        return weight
    if type(weight) is float and 0 < weight <= _MAX_WEIGHT:
        return weight if weight % 1 else _integral(weight)
    weight = _of_python(weight)
    try:
        valid = 0 <= weight <= _MAX_WEIGHT and not isinstance(weight, bool)
    except (TypeError, ValueError, ArithmeticError):
        valid = False
    if not valid:
        raise InvalidWeight(
            f"weight of {shown(backend)} must be 0 to {_MAX_WEIGHT:g}, not {shown(weight)}"
        )
    given: object = weight
    if isinstance(given, float):
        return float(given) if given % 1 else _integral(float(given))
    integral = int(weight)
    converted = integral if integral == weight else float(weight)
    if weight and not converted:
        raise InvalidWeight(f"weight of {shown(backend)} is too small for a float: {shown(weight)}")
    return converted


def _integral(weight: float) -> float:
    """Return an integral float as an int if it equals the decimal that it is printed as."""
    integral = int(weight) if weight < _LARGE else int(exact(weight))
    return integral if integral == weight else weight


def valid_now(now: float, latest: float, name: str = "now") -> float:
    """Return ``now``.  If ``now`` is earlier than ``latest``, return ``latest``.

    ``latest`` is the latest time seen so far.  Any other type that can be added to a float is
    allowed, for example a Fraction, and is returned as a float.  Raises InvalidTime if ``now`` is
    NaN, infinite, beyond ±1e300, a bool, an array with dimensions, or of any other type.  The
    message contains ``name``, the name of the argument.
    """
    seconds = now if type(now) is float or type(now) is int else _as_seconds(now)
    if not -LATEST <= seconds <= LATEST:
        raise InvalidTime(f"{name} must be finite seconds as a float, not {shown(now)}")
    if seconds < latest:
        return latest
    return seconds


def _as_seconds(now: Any) -> float:
    """Return the time as a float.  Return NaN for an object that is not a time."""
    is_bool = isinstance(now, bool) or getattr(getattr(now, "dtype", None), "kind", "") == "b"
    if is_bool or getattr(now, "shape", ()):  # of numpy: a bool, an array with dimensions
        return nan
    try:
        return float(now + 0.0)
    except (TypeError, ValueError, ArithmeticError):
        return nan


def shown(value: object) -> str:
    """Return the text of a value for an error message.  A very long int is described by its length.

    >>> shown(80.5), shown(-1 << 5000), shown([1 << 50000])
    ('80.5', 'an int of 5001 bits', 'a value of the type list that cannot be shown')
    """
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"an int of {value.bit_length()} bits"
    try:
        return repr(value)
    except ValueError:  # Python refuses to print an int that the value contains
        return f"a value of the type {type(value).__name__} that cannot be shown"


def at_least(least: int, /, **settings: int) -> None:
    """Raise InvalidSetting unless every setting is an int that is ``least`` or more."""
    for name, value in settings.items():
        if type(value) is not int or value < least:
            raise InvalidSetting(f"{name} must be an int, {least} or more, not {shown(value)}")


def number(name: str, value: Any, *, exact: bool = False) -> float:
    """Return the value.  Raise InvalidSetting if it is not a number.  A bool is not a number.

    An int or a Fraction must also be in the range of a float, because it is combined with floats
    later.  With ``exact``, the caller combines it with ints only, and every number is allowed.
    """
    value = _of_python(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidSetting(f"{name} must be a number, not {shown(value)}")
    if not exact and not _fits_float(value):
        raise InvalidSetting(f"{name} must be a number in the range of a float, not {shown(value)}")
    return cast("float", value)


def _of_python(value: Any) -> Any:
    """Return a small float of NumPy as a float: NumPy warns when it compares one with 1e300."""
    small = getattr(getattr(value, "dtype", None), "name", "") in {"float16", "float32"}
    return float(value) if small and not value.shape else value


def _fits_float(value: Real) -> bool:
    """Return whether a number does not overflow as a float, and is 0 as a float only if it is 0."""
    try:
        return bool(float(value)) == bool(value)
    except OverflowError:
        return False


def not_negative(name: str, value: float, *, unit: str = " seconds") -> float:
    """Return the value.  Raise InvalidSetting if it is negative, NaN or infinite."""
    value = number(name, value)
    if not 0 <= value <= LATEST:
        raise InvalidSetting(f"{name} must be finite{unit}, 0 or more, not {shown(value)}")
    return value


def duration(name: str, seconds: float, *, endless: bool = False) -> float:
    """Return the duration.  Raise InvalidSetting if it is not positive, or above 1e300.

    The duration ``inf`` is allowed only if ``endless`` is True.
    """
    seconds = number(name, seconds)
    if not 0 < seconds <= LATEST and not (seconds == inf and endless):
        limit = f" up to {LATEST:g}" if seconds > LATEST else ""
        raise InvalidSetting(f"{name} must be positive seconds{limit}, not {shown(seconds)}")
    return seconds


def checked_avoid(avoid: Collection[B]) -> Collection[B]:
    """Return the backends as a collection in which ``in`` is O(1); O(avoided).

    >>> checked_avoid("a")
    Traceback (most recent call last):
    TypeError: avoid must be a collection of backends, not 'a'

    Raises TypeError for a str, for bytes, for an array, and for an object that is not a collection.
    """
    given: Any = avoid
    if given is NO_BACKENDS or type(given) in _EXACT_SETS or isinstance(given, AbstractSet | dict):
        return avoid
    if (
        isinstance(avoid, str | bytes | bytearray)
        or not isinstance(avoid, Collection)
        or hasattr(avoid, "__array__")
    ):
        raise TypeError(f"avoid must be a collection of backends, not {shown(avoid)}")
    return frozenset(avoid)


def as_weights(
    backends: Iterable[B] | Mapping[B, float], known: Container[object] = ()
) -> dict[B, float]:
    """Return the backends and their weights as a dict.

    A mapping contains the weights.  For any other iterable of backends, each weight is 1.  Raises
    InvalidWeight.  Raises TypeError for a str, bytes, an object that is not iterable, a backend
    that is not hashable, and for pairs of a backend and a weight.  A pair of a host and a port is a
    backend.
    """
    if isinstance(backends, Mapping):
        given = cast("Mapping[B, float]", backends)
        return {backend: valid_weight(weight, backend) for backend, weight in given.items()}
    wanted = "backends must be an iterable of backends or a mapping to weights"
    if isinstance(backends, str | bytes):
        raise TypeError(f"{wanted}, not {shown(backends)}")
    try:
        weights: dict[B, float] = dict.fromkeys(backends, 1)
    except TypeError as error:
        raise TypeError(f"{wanted}, not {shown(backends)}: {error}") from error
    for backend in weights:
        if type(backend) is tuple:
            _refuse_weighted_pair(cast("tuple[object, ...]", backend), known)
    return weights


def _refuse_weighted_pair(pair: tuple[object, ...], known: Container[object]) -> None:
    """Raise TypeError for a pair of a backend and a weight.  A host and a port are allowed."""
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        return
    first, second = pair
    is_port = not isinstance(second, int) or 1 <= second <= HIGHEST_PORT
    if isinstance(second, float) or not is_port or first in known:
        raise TypeError(
            f"{shown(pair)} is not a host and a port from 1 to {HIGHEST_PORT}, and a backend of "
            "another kind needs identity=; to set weights, pass a mapping of backends to weights"
        )


def checked_rng(rng: Random) -> Random:
    """Return the random generator.  Raise TypeError unless it is a ``random.Random``."""
    if not isinstance(rng, Random):
        raise TypeError(f"rng must be a random.Random, not {shown(rng)}")
    return rng


def checked_callable(name: str, function: F) -> F:
    """Return the function.  Raise TypeError unless it can be called."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, not {shown(function)}")
    return function


def checked_ok(ok: Any) -> bool:
    """Return the result as a bool.  Raise TypeError unless it is True or False.

    1 and 0 are allowed, and so are the bools of numpy.  A float is refused, because it is usually
    a time that was passed as the result.
    """
    if ok is True or ok is False:
        return bool(ok)
    try:
        valid = ok in {True, False} and not isinstance(ok, float)
    except (TypeError, ValueError):  # not hashable
        valid = False
    if not valid:
        raise TypeError(f"ok must be True or False, not {shown(ok)}")
    return bool(ok)


def check_flags(**flags: bool) -> None:
    """Raise InvalidSetting unless every setting is a bool."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InvalidSetting(f"{name} must be a bool, not {shown(value)}")


def checked_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return the value.  Raise InvalidSetting unless it is one of the choices."""
    if value not in choices:
        raise InvalidSetting(
            f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {shown(value)}"
        )
    return value

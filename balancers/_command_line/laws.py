"""Constructs the laws of a simulation from their names."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from balancers._command_line.bad_input import BadInput
from balancers._command_line.numbers import real
from balancers._internal.checks import shown
from balancers.errors import InvalidSetting
from balancers.simulation import (
    Arrivals,
    Bursty,
    Constant,
    Every,
    Exponential,
    HyperExponential,
    KeyLaw,
    LogNormal,
    Pareto,
    Poisson,
    Service,
    UniformKeys,
    ZipfKeys,
)

__all__ = ["arrivals_law", "key_law", "service_law"]

_Law = tuple[int, Callable[..., Any]]
"""The number of parameters of a law, and the function that constructs it."""


def service_law(text: str, mean: float) -> Service:
    """Return the law of the work of requests.  Raises BadInput."""
    laws: dict[str, _Law] = {
        "exponential": (0, partial(Exponential, mean)),
        "constant": (0, partial(Constant, mean)),
        "lognormal": (1, partial(LogNormal, mean)),
        "pareto": (1, partial(Pareto, mean)),
        "hyperexponential": (1, partial(HyperExponential, mean)),
    }
    law: Service = _law("--service", text, laws)
    return law


def arrivals_law(text: str, rate: float) -> Arrivals:
    """Return the law of arrivals with so many requests per second.  Raises BadInput."""
    laws: dict[str, _Law] = {
        "poisson": (0, partial(Poisson, rate)),
        "regular": (0, partial(Every, 1 / rate)),
        "bursty": (1, partial(Bursty, rate)),
    }
    law: Arrivals = _law("--arrivals", text, laws)
    return law


def key_law(text: str) -> KeyLaw:
    """Return the law of keys.  Raises BadInput."""
    law: KeyLaw = _law("--keys", text, {"uniform": (1, UniformKeys), "zipf": (2, ZipfKeys)})
    return law


def _law(option: str, text: str, laws: Mapping[str, _Law]) -> Any:
    name, *parameters = text.split(":")
    if name not in laws:
        raise BadInput(f"{option} must be one of {', '.join(laws)}, not {shown(text)}")
    count, construct = laws[name]
    numbers = [real(parameter) for parameter in parameters]
    if len(numbers) != count or None in numbers:
        wanted = ("no number", "one number", "two numbers")[count]
        raise BadInput(f"{option} {name} takes {wanted}, not {shown(text)}")
    try:
        return construct(*numbers)
    except InvalidSetting as error:
        raise BadInput(f"{option} {text}: {error}") from error

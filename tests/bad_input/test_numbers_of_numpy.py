"""Scalars of NumPy are numbers, of any size."""

from typing import Any

import numpy as np
import pytest

from balancers import Drain, WeightedRoundRobin
from balancers.errors import InvalidSetting, InvalidWeight


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_numpy_are_numbers(kind: Any) -> None:
    """A float32 is not compared with the largest weight, which would overflow."""
    balancer = WeightedRoundRobin({"a": kind(2), "b": kind(1.5)})
    assert dict(balancer.weights) == {"a": 2, "b": 1.5}
    assert isinstance(balancer.weights["a"], int)
    Drain[str](timeout=kind(3))
    with pytest.raises(InvalidWeight):
        balancer.put("a", kind(-1))
    with pytest.raises(InvalidSetting):
        Drain[str](timeout=kind("nan"))

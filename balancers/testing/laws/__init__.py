"""Lists the laws.  A law is one function: its name is its id, and its docstring its description."""

from balancers.testing.laws import (
    conformance,
    eligibility,
    explaining,
    keys,
    loaded,
    sameness,
    state,
    weights,
)

__all__ = ["BALANCER_LAWS"]

BALANCER_LAWS = (
    *conformance.LAWS,
    *eligibility.LAWS,
    *sameness.LAWS,
    *state.LAWS,
    *weights.LAWS,
    *loaded.LAWS,
    *keys.LAWS,
    *explaining.LAWS,
)
"""The laws of balancers, in the order in which they are tested."""

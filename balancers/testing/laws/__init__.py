"""Lists the laws.  A law is one function: its name is its id, and its docstring its description."""

from balancers.testing.laws import (
    conformance,
    eligibility,
    explaining,
    gate_pools,
    gate_reports,
    gate_states,
    gates,
    keys,
    load_reports,
    loaded,
    loads,
    planning,
    sameness,
    state,
    weights,
)

__all__ = ["BALANCER_LAWS", "GATE_LAWS", "LOAD_LAWS"]

BALANCER_LAWS = (
    *conformance.LAWS,
    *eligibility.LAWS,
    *sameness.LAWS,
    *state.LAWS,
    *weights.LAWS,
    *loaded.LAWS,
    *keys.LAWS,
    *explaining.LAWS,
    *planning.LAWS,
)
"""The laws of balancers, in the order in which they are tested."""

GATE_LAWS = (*gate_states.LAWS, *gates.LAWS, *gate_reports.LAWS, *gate_pools.LAWS)
"""The laws of gates, in the order in which they are tested."""

LOAD_LAWS = (*loads.LAWS, *load_reports.LAWS)
"""The laws of loads, in the order in which they are tested."""

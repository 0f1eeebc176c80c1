"""Lists the laws.  A law is one function: its name is its id, and its docstring its description."""

from balancers.testing.laws import eligibility

__all__ = ["BALANCER_LAWS"]

BALANCER_LAWS = (*eligibility.LAWS,)
"""The laws of balancers, in the order in which they are tested."""

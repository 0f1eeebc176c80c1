"""Subsets of backends for many balancers: evenness, changes, fractions of weights, bad input."""

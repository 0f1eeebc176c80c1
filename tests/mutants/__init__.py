"""Plausible wrong versions of balancers, gates and pools, each with the test that must fail."""

"""Plausible wrong balancers, gates and pools, each with the test that must catch it."""

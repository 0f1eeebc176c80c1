"""Scenarios: simulated traffic through real pools, with bars for what the balancers must reach."""

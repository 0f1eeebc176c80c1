"""Chooses the few backends that one of many load balancers connects to."""

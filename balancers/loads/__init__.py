"""Measures how busy each backend is."""

from balancers.loads.in_flight import InFlight as InFlight

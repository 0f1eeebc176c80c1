"""Loads: measures of how busy a backend is."""

from balancers.loads.in_flight import InFlight as InFlight

"""Measures how busy each backend is."""

from balancers.loads.combined import Combined as Combined
from balancers.loads.ewma import Ewma as Ewma
from balancers.loads.in_flight import InFlight as InFlight
from balancers.loads.in_flight_cost import InFlightCost as InFlightCost
from balancers.loads.peak_ewma import PeakEwma as PeakEwma

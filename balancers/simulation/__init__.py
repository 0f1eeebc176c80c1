"""Simulates requests on virtual time, with the real balancers, pools and gates."""

from balancers.simulation.arrivals import Arrivals as Arrivals
from balancers.simulation.arrivals import Bursty as Bursty
from balancers.simulation.arrivals import Every as Every
from balancers.simulation.arrivals import Poisson as Poisson
from balancers.simulation.arrivals import RecordedTimes as RecordedTimes
from balancers.simulation.request_keys import KeyLaw as KeyLaw
from balancers.simulation.request_keys import RecordedKeys as RecordedKeys
from balancers.simulation.request_keys import UniformKeys as UniformKeys
from balancers.simulation.request_keys import ZipfKeys as ZipfKeys
from balancers.simulation.service import Constant as Constant
from balancers.simulation.service import Exponential as Exponential
from balancers.simulation.service import HyperExponential as HyperExponential
from balancers.simulation.service import LogNormal as LogNormal
from balancers.simulation.service import Pareto as Pareto
from balancers.simulation.service import RecordedWork as RecordedWork
from balancers.simulation.service import Service as Service
from balancers.simulation.times import Times as Times

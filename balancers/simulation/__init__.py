"""Simulates requests on virtual time, with the real balancers, pools and gates."""

from balancers.simulation.arrivals import Arrivals as Arrivals
from balancers.simulation.arrivals import Bursty as Bursty
from balancers.simulation.arrivals import Every as Every
from balancers.simulation.arrivals import Poisson as Poisson
from balancers.simulation.arrivals import RecordedTimes as RecordedTimes
from balancers.simulation.faults import Crash as Crash
from balancers.simulation.faults import Errors as Errors
from balancers.simulation.faults import FastFailures as FastFailures
from balancers.simulation.faults import Fault as Fault
from balancers.simulation.faults import Freeze as Freeze
from balancers.simulation.faults import Slow as Slow
from balancers.simulation.faults import flap as flap
from balancers.simulation.request_keys import KeyLaw as KeyLaw
from balancers.simulation.request_keys import RecordedKeys as RecordedKeys
from balancers.simulation.request_keys import UniformKeys as UniformKeys
from balancers.simulation.request_keys import ZipfKeys as ZipfKeys
from balancers.simulation.retries import Retries as Retries
from balancers.simulation.server import Server as Server
from balancers.simulation.service import Constant as Constant
from balancers.simulation.service import Exponential as Exponential
from balancers.simulation.service import HyperExponential as HyperExponential
from balancers.simulation.service import LogNormal as LogNormal
from balancers.simulation.service import Pareto as Pareto
from balancers.simulation.service import RecordedWork as RecordedWork
from balancers.simulation.service import Service as Service
from balancers.simulation.times import Times as Times

"""Measures how evenly load is distributed, and what a change of the members moves."""

from balancers.quality.distribution import Distribution as Distribution
from balancers.quality.distribution import distribution as distribution
from balancers.quality.remap import Move as Move
from balancers.quality.remap import Receiver as Receiver
from balancers.quality.remap import Remap as Remap
from balancers.quality.remap import remap as remap
from balancers.quality.skew import SessionShare as SessionShare
from balancers.quality.skew import SessionSkew as SessionSkew
from balancers.quality.skew import session_skew as session_skew

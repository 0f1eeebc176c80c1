"""Contains the classic balancers.

They choose backends in turn, at random, by load, or by the client's address.
"""

from balancers.algorithms.ip_hash import IPHash as IPHash
from balancers.algorithms.least_connections import LeastConnections as LeastConnections
from balancers.algorithms.least_loaded import LeastLoaded as LeastLoaded
from balancers.algorithms.power_of_two import PowerOfTwoChoices as PowerOfTwoChoices
from balancers.algorithms.random_choice import RandomChoice as RandomChoice
from balancers.algorithms.round_robin import RoundRobin as RoundRobin
from balancers.algorithms.tiers import Tiers as Tiers
from balancers.algorithms.weighted_least_connections import (
    WeightedLeastConnections as WeightedLeastConnections,
)
from balancers.algorithms.weighted_round_robin import WeightedRoundRobin as WeightedRoundRobin
from balancers.algorithms.zones import Zones as Zones

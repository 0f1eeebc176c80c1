"""Chooses the few backends that one of many load balancers connects to.

All are pure functions: each balancer computes its own subset, and no two balancers communicate.
Each function returns a dict of backends and weights, as ``update`` of a pool takes it.
"""

from balancers.subsetting.aperture import aperture_subset as aperture_subset
from balancers.subsetting.deterministic import deterministic_subset as deterministic_subset
from balancers.subsetting.rendezvous import rendezvous_subset as rendezvous_subset
from balancers.subsetting.ringsteady import ringsteady_subset as ringsteady_subset

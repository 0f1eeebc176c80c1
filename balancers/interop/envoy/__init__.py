"""Envoy 1.40.0, one worker: what its load balancers pick.

``RING_HASH`` and ``MAGLEV`` with request hashes, health, panic, priorities, localities, bounded
load and retries; ``ROUND_ROBIN`` and ``LEAST_REQUEST`` given the phase they begin with.
"""

from balancers.interop.envoy.least_request import LeastRequest
from balancers.interop.envoy.locality import Locality
from balancers.interop.envoy.maglev import Maglev
from balancers.interop.envoy.priorities import Health, Loads, loads
from balancers.interop.envoy.request_hash import (
    Cookie,
    HashPolicy,
    Header,
    QueryParameter,
    SourceIP,
    request_hash,
)
from balancers.interop.envoy.ring_hash import RingHash
from balancers.interop.envoy.round_robin import RoundRobin

__all__ = [
    "Cookie",
    "HashPolicy",
    "Header",
    "Health",
    "LeastRequest",
    "Loads",
    "Locality",
    "Maglev",
    "QueryParameter",
    "RingHash",
    "RoundRobin",
    "SourceIP",
    "loads",
    "request_hash",
]

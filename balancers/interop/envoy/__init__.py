"""Envoy 1.40.0, one worker: what its load balancers pick.

``RING_HASH`` and ``MAGLEV`` with request hashes, health, panic, priorities, localities, bounded
load and retries; ``ROUND_ROBIN`` and ``LEAST_REQUEST`` given the phase they begin with.  What
hashes needs ``balancers[xxhash]``.

>>> from balancers.interop import envoy
>>> lb = envoy.Maglev({"10.0.0.1:80": 1, "10.0.0.2:80": 2})
>>> lb.pick("the header's value") in lb.weights
True

Not here: subsets, zone awareness, outlier ejection, slow start, several workers.  Older
releases began weighted ``ROUND_ROBIN`` and ``LEAST_REQUEST`` at phase 0.
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

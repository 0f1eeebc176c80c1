"""Envoy 1.40.0, one worker: the picks of its load balancers.

``RING_HASH`` and ``MAGLEV`` include request hashes, health, panic, priorities, localities, bounded
load and retries.  ``ROUND_ROBIN`` and ``LEAST_REQUEST`` need the phase with which they start.
Hashing needs ``balancers[xxhash]``.

>>> from balancers.interop import envoy
>>> lb = envoy.Maglev({"10.0.0.1:80": 1, "10.0.0.2:80": 2})
>>> lb.pick("the header's value") in lb.weights
True

Not covered: subsets, zone awareness, outlier ejection, slow start, several workers.  Older releases
start weighted ``ROUND_ROBIN`` and ``LEAST_REQUEST`` at phase 0.
"""

from balancers.interop.envoy.least_request import LeastRequest as LeastRequest
from balancers.interop.envoy.locality import Locality as Locality
from balancers.interop.envoy.maglev import Maglev as Maglev
from balancers.interop.envoy.priorities import Health as Health
from balancers.interop.envoy.priorities import Loads as Loads
from balancers.interop.envoy.priorities import loads as loads
from balancers.interop.envoy.request_hash import Cookie as Cookie
from balancers.interop.envoy.request_hash import HashPolicy as HashPolicy
from balancers.interop.envoy.request_hash import Header as Header
from balancers.interop.envoy.request_hash import QueryParameter as QueryParameter
from balancers.interop.envoy.request_hash import SourceIP as SourceIP
from balancers.interop.envoy.request_hash import request_hash as request_hash
from balancers.interop.envoy.ring_hash import RingHash as RingHash
from balancers.interop.envoy.round_robin import RoundRobin as RoundRobin

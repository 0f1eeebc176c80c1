"""Picks hosts as the load balancers of Envoy 1.40.0 do, with one worker.

``RING_HASH`` and ``MAGLEV`` include request hashes, health, panic, priorities, localities, bounded
load and retries.  Panic means that all hosts of a priority serve, because too few of them are
healthy.  Hashing needs the package ``balancers[xxhash]``.

``ROUND_ROBIN`` and ``LEAST_REQUEST`` start as if some picks had been made before.  The number of
these picks is the ``phase``, which is random in Envoy.  Older releases of Envoy start at phase 0 if
the weights of the hosts differ.

>>> from balancers.interop import envoy
>>> lb = envoy.Maglev({"10.0.0.1:80": 1, "10.0.0.2:80": 2})
>>> lb.pick("the header's value") in lb.weights
True

Subsets, zone awareness, outlier ejection, slow start and several workers are not covered.
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

"""caddy 2.11.7: ``header``, ``query``, ``uri_hash``, ``ip_hash``, ``client_ip_hash``, and in turn.

The hashing policies are one balancer, :class:`Rendezvous`; they differ in the key, which
:func:`query_key`, :func:`ip_key` and :func:`client_ip_key` make of a request.  ``first``,
``round_robin``, ``weighted_round_robin`` and ``cookie`` have a class each.  Backends are the dial
strings of the configuration, an unavailable one has weight 0.  Needs ``balancers[xxhash]``.

>>> from balancers.interop import caddy
>>> policy = caddy.Rendezvous(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
>>> policy.pick("/index.html")  # uri_hash: the path and the query as they were sent
'10.0.0.2:80'
>>> policy.pick(caddy.ip_key("192.0.2.1"))
'10.0.0.2:80'

A retry of caddy selects anew, and avoids nobody; ``avoid`` is for what is unavailable to one
request.  Not here: ``least_conn`` and the policies that draw.
"""

from balancers.interop.caddy.cookie import Cookie as Cookie
from balancers.interop.caddy.keys import client_ip_key as client_ip_key
from balancers.interop.caddy.keys import ip_key as ip_key
from balancers.interop.caddy.keys import query_key as query_key
from balancers.interop.caddy.rendezvous import Rendezvous as Rendezvous
from balancers.interop.caddy.sequences import First as First
from balancers.interop.caddy.sequences import RoundRobin as RoundRobin
from balancers.interop.caddy.sequences import WeightedRoundRobin as WeightedRoundRobin

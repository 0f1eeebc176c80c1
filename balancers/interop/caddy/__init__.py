"""Picks what the load-balancing policies of caddy 2.11.7 pick.

Use :class:`Rendezvous` for ``header``, ``query``, ``uri_hash``, ``ip_hash`` and ``client_ip_hash``.
These policies differ only in the key.  :func:`query_key`, :func:`ip_key` and :func:`client_ip_key`
return the key of a request.  ``first``, ``round_robin``, ``weighted_round_robin`` and ``cookie``
have one class each.  Backends are the dial strings of the configuration.  Give an unavailable
backend the weight 0.  :class:`Rendezvous` needs ``balancers[xxhash]``.

>>> from balancers.interop import caddy
>>> policy = caddy.Rendezvous(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
>>> policy.pick("/index.html")  # uri_hash: the path and the query as sent
'10.0.0.2:80'
>>> policy.pick(caddy.ip_key("192.0.2.1"))
'10.0.0.2:80'

For a retry, caddy picks again and avoids no upstream.  Pass in ``avoid`` only the upstreams that
are unavailable for one request.  ``least_conn`` and the policies that pick at random are not
covered.
"""

from balancers.interop.caddy.cookie import Cookie as Cookie
from balancers.interop.caddy.keys import client_ip_key as client_ip_key
from balancers.interop.caddy.keys import ip_key as ip_key
from balancers.interop.caddy.keys import query_key as query_key
from balancers.interop.caddy.rendezvous import Rendezvous as Rendezvous
from balancers.interop.caddy.sequences import First as First
from balancers.interop.caddy.sequences import RoundRobin as RoundRobin
from balancers.interop.caddy.sequences import WeightedRoundRobin as WeightedRoundRobin

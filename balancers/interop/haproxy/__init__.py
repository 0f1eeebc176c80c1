"""Picks what HAProxy 2.6.12 picks.

The package has balancers for balancing by hash, ``static-rr``, ``leastconn``, ``first`` and
``roundrobin``.  The members of a balancer are servers, as in ``server`` lines.  The picks are the
same as those of HAProxy with one thread, also if backup servers are used.  Call ``put(name, 0)``
for a server that is down, in maintenance or at weight 0.  Call ``put(name, weight)`` when the
server is up again.  Call ``started`` and ``finished`` for each request.

>>> from balancers.interop import haproxy
>>> farm = haproxy.Consistent([
...     haproxy.Server("s1", weight=2),
...     haproxy.Server("s2"),
...     haproxy.Server("s3", backup=True),
... ])
>>> farm.pick(haproxy.uri("/videos/42?t=10"))
's1'

These features are not covered: ``roundrobin`` with unequal weights, ``random``, ``rdp-cookie``,
slow start and ``minconn``.  For servers without an ``id``, versions 3.0 to 3.3-dev10 compute other
positions on the hash ring.  Version 3.2 decides ties of ``leastconn`` in another way, and its
``roundrobin`` starts in another way.
"""

from balancers.interop.haproxy.consistent import Consistent as Consistent
from balancers.interop.haproxy.hashes import Hash as Hash
from balancers.interop.haproxy.hashes import address_words as address_words
from balancers.interop.haproxy.hashes import avalanche as avalanche
from balancers.interop.haproxy.hashes import crc32 as crc32
from balancers.interop.haproxy.hashes import djb2 as djb2
from balancers.interop.haproxy.hashes import sdbm as sdbm
from balancers.interop.haproxy.hashes import wt6 as wt6
from balancers.interop.haproxy.keys import hdr as hdr
from balancers.interop.haproxy.keys import req_hdr as req_hdr
from balancers.interop.haproxy.keys import source as source
from balancers.interop.haproxy.keys import uri as uri
from balancers.interop.haproxy.keys import url_param as url_param
from balancers.interop.haproxy.mapped import MapBased as MapBased
from balancers.interop.haproxy.mapped import StaticRR as StaticRR
from balancers.interop.haproxy.sequences import First as First
from balancers.interop.haproxy.sequences import LeastConn as LeastConn
from balancers.interop.haproxy.sequences import RoundRobin as RoundRobin
from balancers.interop.haproxy.server import Server as Server

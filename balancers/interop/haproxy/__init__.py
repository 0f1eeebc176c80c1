"""HAProxy 2.6.12: hash balancing, ``static-rr``, ``leastconn``, ``first`` and ``roundrobin``.

Each algorithm is a balancer of ``server`` lines, and picks what that HAProxy picks with one thread,
backup servers included.  A server that goes down, into maintenance or to weight 0 is
``put(name, 0)``; up again is its weight.  Say ``started`` and ``finished`` of each request.

>>> from balancers.interop import haproxy
>>> farm = haproxy.Consistent([
...     haproxy.Server("s1", weight=2),
...     haproxy.Server("s2"),
...     haproxy.Server("s3", backup=True),
... ])
>>> farm.pick(haproxy.uri("/videos/42?t=10"))
's1'

Not here: ``roundrobin`` of unequal weights, ``random``, ``rdp-cookie``, slow start, ``minconn``.
Version 3.0 up to 3.3-dev10 lays the points of servers without an ``id`` out differently, and 3.2
changed the ties of ``leastconn`` and where ``roundrobin`` begins.
"""

from balancers.interop.haproxy.consistent import Consistent
from balancers.interop.haproxy.hashes import Hash, address_words, avalanche, crc32, djb2, sdbm, wt6
from balancers.interop.haproxy.keys import hdr, req_hdr, source, uri, url_param
from balancers.interop.haproxy.mapped import MapBased, StaticRR
from balancers.interop.haproxy.sequences import First, LeastConn, RoundRobin
from balancers.interop.haproxy.server import Server

__all__ = [
    "Consistent",
    "First",
    "Hash",
    "LeastConn",
    "MapBased",
    "RoundRobin",
    "Server",
    "StaticRR",
    "address_words",
    "avalanche",
    "crc32",
    "djb2",
    "hdr",
    "req_hdr",
    "sdbm",
    "source",
    "uri",
    "url_param",
    "wt6",
]

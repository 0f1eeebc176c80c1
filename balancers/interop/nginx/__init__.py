"""nginx 1.22.1: round robin, ``least_conn``, ``hash``, ``hash … consistent`` and ``ip_hash``.

Each method is a balancer of ``server`` directives.  It picks what nginx picks, including failures
and backup servers.  The caller implements ``proxy_next_upstream``: a retry is a pick with the tried
servers in ``avoid``.

>>> from balancers import FAILURE
>>> from balancers.interop import nginx
>>> upstream = nginx.RoundRobin([
...     nginx.Server("10.0.0.1:80", weight=2, max_fails=1, fail_timeout=30),
...     nginx.Server("10.0.0.2:80"),
...     nginx.Server("10.0.0.3:80", backup=True),
... ])
>>> [upstream.pick(now=0.0) for _ in range(3)]
['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80']

nginx 1.31.4 behaves the same, and adds re-resolved names, sticky sessions and draining.  Some older
releases search the complete ring of ``hash … consistent`` where these use round robin.  Not
covered: ``random``, one name with several addresses, ``fail_timeout`` in fractions of seconds.
"""

from balancers.interop.nginx.keyed import ConsistentHash as ConsistentHash
from balancers.interop.nginx.keyed import Hash as Hash
from balancers.interop.nginx.keyed import IPHash as IPHash
from balancers.interop.nginx.sequences import LeastConn as LeastConn
from balancers.interop.nginx.sequences import RoundRobin as RoundRobin
from balancers.interop.nginx.server import Server as Server

"""Picks what nginx 1.22.1 picks.

The package has one balancer for each of these methods: round robin, ``least_conn``, ``hash``,
``hash … consistent`` and ``ip_hash``.  The members of a balancer are servers, as in ``server``
directives.  Failures and backup servers have the same effect as in nginx.  The balancer does not
retry requests.  To retry a request as ``proxy_next_upstream`` does, call ``pick`` again.  The
argument ``avoid`` must then contain the servers that were already tried.

>>> from balancers import FAILURE
>>> from balancers.interop import nginx
>>> upstream = nginx.RoundRobin([
...     nginx.Server("10.0.0.1:80", weight=2, max_fails=1, fail_timeout=30),
...     nginx.Server("10.0.0.2:80"),
...     nginx.Server("10.0.0.3:80", backup=True),
... ])
>>> [upstream.pick(now=0.0) for _ in range(3)]
['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80']

nginx 1.31.4 behaves in the same way.  It adds re-resolved names, sticky sessions and draining,
which are not covered.  If ``hash … consistent`` selects unusable servers more than 20 times, these
two releases use round robin, but some older releases search the complete ring.  These things
are not covered: ``random``, a name with several addresses, and a ``fail_timeout`` in fractions of
seconds.
"""

from balancers.interop.nginx.keyed import ConsistentHash as ConsistentHash
from balancers.interop.nginx.keyed import Hash as Hash
from balancers.interop.nginx.keyed import IPHash as IPHash
from balancers.interop.nginx.sequences import LeastConn as LeastConn
from balancers.interop.nginx.sequences import RoundRobin as RoundRobin
from balancers.interop.nginx.server import Server as Server

"""Chooses a pool for each HTTP request.

A :class:`Router` chooses by host, path, headers, cookies and query.  A :class:`Split` chooses by
the share of the traffic that each pool should get.
"""

from balancers.routing.route import Route as Route
from balancers.routing.router import Match as Match
from balancers.routing.router import Router as Router
from balancers.routing.split import Split as Split

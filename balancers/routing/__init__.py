"""From a request to a pool: routes by host, path, header and query, and shares of traffic."""

from balancers.routing.route import Route as Route
from balancers.routing.router import Match as Match
from balancers.routing.router import Router as Router
from balancers.routing.split import Split as Split

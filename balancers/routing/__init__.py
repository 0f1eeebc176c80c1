"""Routing of HTTP requests to pools: by host, path, header, cookie, query, and traffic share."""

from balancers.routing.route import Route as Route
from balancers.routing.router import Match as Match
from balancers.routing.router import Router as Router
from balancers.routing.split import Split as Split

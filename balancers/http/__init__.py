"""Parses the parts of an HTTP request that balancing uses, and writes some header values.

The parts are the target, the header fields, the cookies and the client's address.
"""

from balancers.http.client_address import ClientAddress as ClientAddress
from balancers.http.client_address import TrustedProxies as TrustedProxies
from balancers.http.cookies import cookie as cookie
from balancers.http.cookies import cookies as cookies
from balancers.http.cookies import set_cookie as set_cookie
from balancers.http.forwarded import Node as Node
from balancers.http.health_report import CheckResult as CheckResult
from balancers.http.health_report import HealthReport as HealthReport
from balancers.http.networks import Networks as Networks
from balancers.http.request import Request as Request
from balancers.http.targets import Path as Path
from balancers.http.targets import PathRules as PathRules
from balancers.http.targets import read_target as read_target

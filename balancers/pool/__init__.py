"""Contains the pool and its leases.

A pool stores the members, their effective weights, and their requests in flight.
"""

from balancers.pool.explanation import Explanation as Explanation
from balancers.pool.explanation import MemberExplanation as MemberExplanation
from balancers.pool.group import Group as Group
from balancers.pool.lease import Lease as Lease
from balancers.pool.lease import LeaseContext as LeaseContext
from balancers.pool.pool import Pool as Pool
from balancers.pool.snapshot import MemberSnapshot as MemberSnapshot
from balancers.pool.snapshot import Snapshot as Snapshot

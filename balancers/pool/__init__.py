"""The pool: membership, effective weights, in-flight counts and leases."""

from balancers.pool.lease import Lease as Lease
from balancers.pool.lease import LeaseContext as LeaseContext
from balancers.pool.pool import Pool as Pool

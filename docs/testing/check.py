"""Checks the TreeChoice of a module, for example with: python check.py first_draft."""

import sys
from importlib import import_module

from balancers.testing import check_balancer

module = import_module(sys.argv[1])
print(check_balancer(module.TreeChoice, ["weighted", "random"], examples=100))

"""Contains presets: balancers that pick exactly what real programs pick.

There is one package per program.  No other part of this library depends on these packages.  They
use the public API, :mod:`balancers.hashing`, and the input checks that all balancers share.  Those
checks are in :mod:`balancers.membership` and :mod:`balancers.addresses`.
"""

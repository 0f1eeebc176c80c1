"""Presets: balancers that pick exactly what real programs pick, with one package per program.

No other part of this library depends on them.  They use the public API, :mod:`balancers.hashing`,
and the input checks that all balancers share (:mod:`balancers.membership`,
:mod:`balancers.addresses`).
"""

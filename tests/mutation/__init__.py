"""Mutation testing of the core: ``python -m tests.mutation pool`` or ``make mutation PKG=pool``.

Each mutant is the package with one small change, for example ``<=`` instead of ``<``.  A mutant is
killed if a test fails.  A mutant that survives shows what no test checks, or a change that has no
effect; ``survivors.toml`` contains the reason of each survivor.
"""

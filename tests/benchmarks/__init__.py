"""Speed, measured and never asserted: ``python -m tests.benchmarks``.

Each row times an operation of this package and what it is held against, a floor or a peer, round by
round in one process, and prints the median of the rounds' ratios.  Before that it asserts that what
is timed gives equal results.
"""

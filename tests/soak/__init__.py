"""Long random runs of a whole site, of threads and of tasks, with every invariant checked."""

"""A model check of the election: every ordering of faults, and long seeded runs."""

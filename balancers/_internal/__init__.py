"""Helpers that the modules of this package share; not public."""

"""Algorithms: who is next, one file each."""

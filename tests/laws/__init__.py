"""Tests of the laws: subjects that keep them, and subjects that break them."""

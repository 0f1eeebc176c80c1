"""Tests of the parts of balancers.testing."""

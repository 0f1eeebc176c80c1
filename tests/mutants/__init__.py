"""Tests: mutants."""

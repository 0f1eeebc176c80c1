"""Tests: routing."""

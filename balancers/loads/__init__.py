"""Loads: how busy a backend is."""

"""Parity: the presets of ``balancers.interop`` against picks recorded from the real programs."""

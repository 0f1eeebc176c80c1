"""Parity: the presets of ``balancers.interop``, compared with recorded picks of real programs."""

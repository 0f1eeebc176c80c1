"""The presets of ``balancers.interop``: rules restated naively, and what no recorded pick needs."""

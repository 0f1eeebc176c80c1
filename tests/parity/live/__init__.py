"""Live parity: the real programs, started here and asked, against the presets."""

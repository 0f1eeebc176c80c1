"""Live parity: start the real programs, send them requests, and compare with the presets."""

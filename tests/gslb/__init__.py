"""Distribution quality: evenness, what a change moves, and capacity after failures."""

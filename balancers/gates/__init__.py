"""Gates: one reason each why a backend gets more, less or no traffic."""

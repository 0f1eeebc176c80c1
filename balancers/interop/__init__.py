"""What the real programs pick, one module each, over the public API; the core knows none of it."""

"""Code that uses the public types: it is checked by mypy and pyright, and it is run."""

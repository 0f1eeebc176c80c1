"""The public types from a user's side: checked by mypy and pyright, and run."""

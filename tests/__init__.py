"""The tests: properties first, then recorded vectors, theory, and examples."""

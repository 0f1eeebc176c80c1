"""Defines the exception for what the user must correct."""

__all__ = ["BadInput"]


class BadInput(Exception):
    """Raised for what the user must correct.  Its text becomes one line."""

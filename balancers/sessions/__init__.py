"""Sticky sessions: from a request back to the backend that has its session."""

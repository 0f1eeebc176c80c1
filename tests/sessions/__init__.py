"""Sticky sessions: tokens, cookies, headers, tables, and how they work with a pool."""

"""Sticky sessions: tokens, cookies, tables, and what they promise of a pool."""

"""Hashing: who owns a key."""

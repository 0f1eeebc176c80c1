"""Chooses the region that serves a client, and what a DNS server answers."""

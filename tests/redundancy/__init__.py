"""Redundant load balancers: who is alive, who owns what, and what a DNS server answers."""

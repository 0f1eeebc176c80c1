"""Keeps load balancers from being a single point of failure: owners, heartbeats, answer sets."""

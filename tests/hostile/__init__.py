"""Hostile input: what a client may send to each parser, and over raw sockets to each example."""

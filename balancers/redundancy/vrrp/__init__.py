"""VRRP version 3 (RFC 9568): an active router and its backups share a virtual address."""

"""Defines the syntax that several parsers share: HTTP tokens and port numbers."""

import re

__all__ = ["HIGHEST_PORT", "TOKEN"]

HIGHEST_PORT = 0xFFFF
"""The highest port number.  A port number has 16 bits."""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Matches an HTTP token (RFC 9110, section 5.6.2).  A method, the name of a header and the name of
a cookie are tokens."""

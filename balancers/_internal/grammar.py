"""The grammar that several parsers share: HTTP tokens and port numbers."""

import re

__all__ = ["HIGHEST_PORT", "TOKEN"]

HIGHEST_PORT = 0xFFFF
"""A port number has 16 bits."""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, section 5.6.2): a method, or the name of a header or a cookie."""

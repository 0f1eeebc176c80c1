"""Defines the syntax that several parsers share: HTTP tokens."""

import re

__all__ = ["TOKEN"]

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Matches an HTTP token (RFC 9110, section 5.6.2).  A method, the name of a header and the name of
a cookie are tokens."""

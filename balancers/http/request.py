"""What a request says of itself, as plain data: what sessions and routes are decided by."""

from dataclasses import dataclass

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of a request, as an HTTP library gives them.

    ``target`` is the path and query as they came, ``host`` the authority (``Host`` or
    ``:authority``), ``headers`` the pairs in order of arrival, ``client`` the address it came from.

    >>> request = Request("GET", "/cart?item=7", "shop.example", [("Cookie", "a=1")])
    >>> request.header("cookie")
    ('a=1',)
    """

    method: str = "GET"
    target: str = "/"
    host: str = ""
    headers: "tuple[tuple[str, str], ...] | list[tuple[str, str]]" = ()
    client: str = ""

    def header(self, name: str) -> tuple[str, ...]:
        """Give every value of a header, in order; names are compared without case.  O(headers)."""
        wanted = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == wanted)

"""The parts of an HTTP request that sessions and routes depend on, as plain data."""

from dataclasses import dataclass

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as an HTTP library delivers it.

    ``target`` is the path and query as received, ``host`` the authority (``Host`` or
    ``:authority``), ``headers`` the pairs of name and value in order of arrival, ``client`` the
    address that the connection came from.

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
        """Return every value of a header, in order.

        Names are compared without case.  O(headers).
        """
        wanted = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == wanted)

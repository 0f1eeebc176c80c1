"""Defines the data of an HTTP request that sessions and routes use."""

from dataclasses import dataclass

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """Holds the data of an HTTP request.  No field is parsed or changed.

    ``target`` is the path and the query, exactly as received.  ``host`` is the authority, which is
    the value of ``Host`` or ``:authority``.  ``headers`` contains pairs of a name and a value, in
    the order in which they arrived.  ``client`` is the address of the other end of the connection.

    >>> request = Request("GET", "/cart?item=7", "shop.example", [("Cookie", "a=1")])
    >>> request.header("cookie")
    ('a=1',)

    The repr shows no value of a header, no query and no user, because they can be credentials.

    >>> request
    <Request: 'GET' '/cart', host 'shop.example', headers ['Cookie']>
    """

    method: str = "GET"
    target: str = "/"
    host: str = ""
    headers: "tuple[tuple[str, str], ...] | list[tuple[str, str]]" = ()
    client: str = ""

    def header(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, in order.

        The case of the name is ignored.  O(headers).
        """
        wanted = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == wanted)

    def __repr__(self) -> str:
        path, host = self.target.partition("?")[0], self.host.rpartition("@")[2]
        if not path.startswith("/"):  # a URI, which can contain a user
            path = path.rpartition("@")[2]
        names = [name for name, _ in self.headers]
        return f"<Request: {self.method!r} {path!r}, host {host!r}, headers {names!r}>"

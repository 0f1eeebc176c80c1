"""Turns the bytes of a fuzzer into decisions, so that the fuzzer can generate structured input."""

__all__ = ["Choices"]


class Choices:
    """Reads decisions from bytes.  When the bytes end, every further decision is 0.

    >>> choices = Choices(bytes([7, 3, 104, 105]))
    >>> choices.below(5), choices.text(), choices.below(9), choices.text()
    (2, 'hi', 0, '')
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``."""
        self._at += size
        return self._data[self._at - size : self._at]

    def below(self, limit: int) -> int:
        """Return a number from 0 up to ``limit``, without it."""
        return int.from_bytes(self.take(2 if limit > 256 else 1), "big") % limit

    def text(self) -> str:
        """Return a text of at most 31 characters, as latin-1."""
        return self.take(self.below(32)).decode("latin-1")

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self._data))

    def __bool__(self) -> bool:
        return self._at < len(self._data)

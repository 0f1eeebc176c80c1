"""Computes CRC-32C checksums, which use the Castagnoli polynomial (RFC 4960, appendix B)."""

__all__ = ["crc32c"]

_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C checksum of the data; O(bytes).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = _ONES
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ _ONES

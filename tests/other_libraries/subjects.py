"""Every algorithm that the page describes, library by library."""

from tests.other_libraries import elastic, redis_py, roundrobin_selectors, uhashring_rings

__all__ = ["SUBJECTS"]

SUBJECTS = [
    *redis_py.SUBJECTS,
    *elastic.SUBJECTS,
    *uhashring_rings.SUBJECTS,
    *roundrobin_selectors.SUBJECTS,
]

"""Picks servers as libmemcached 1.0.16, twemproxy 0.5.0 and uhashring 2.5 do.

libmemcached and twemproxy are clients of memcached.  uhashring is a Python library for hash rings.

If the client has ejected or removed a server, set the weight of that server to 0.  The ring is then
rebuilt from the other servers, as in these clients.
:meth:`~balancers.hashing.HashedBalancer.hash_key` returns the hash that the client computes for a
key.

>>> from balancers.interop import ketama
>>> client = ketama.LibmemcachedKetama(["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"])
>>> client.pick("user:42")
'10.0.0.2:11211'
>>> hex(client.hash_key("user:42"))
'0x303f6fea'

The results are those of clients that were built for x86, where a C ``char`` is signed.  On ARM, FNV
and one-at-a-time have other values for keys that are not ASCII.  The hash functions ``hsieh``,
``murmur`` and ``jenkins`` are not covered.  The distribution ``random`` is not covered.
"""

from balancers.interop.ketama.libmemcached import LibmemcachedKetama as LibmemcachedKetama
from balancers.interop.ketama.libmemcached import LibmemcachedSpy as LibmemcachedSpy
from balancers.interop.ketama.modula import LibmemcachedModula as LibmemcachedModula
from balancers.interop.ketama.modula import TwemproxyModula as TwemproxyModula
from balancers.interop.ketama.twemproxy import TwemproxyKetama as TwemproxyKetama
from balancers.interop.ketama.uhash_ring import UHashRing as UHashRing
from balancers.interop.ketama.uhash_ring import UHashRingKetama as UHashRingKetama

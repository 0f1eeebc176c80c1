"""Clients of memcached: libmemcached 1.0.16, twemproxy 0.5.0 and uhashring 2.5.

A server that is ejected or removed has weight 0.  The ring is then built anew from the others, as
these clients do.  :meth:`~balancers.hashing.HashedBalancer.hash_key` returns the client's hash of a
key.

>>> from balancers.interop import ketama
>>> client = ketama.LibmemcachedKetama(["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"])
>>> client.pick("user:42")
'10.0.0.2:11211'
>>> hex(client.hash_key("user:42"))
'0x303f6fea'

The presets match builds for x86, where a C char is signed.  A build for ARM has other values of FNV
and one-at-a-time for keys outside ASCII.  Not covered: ``hsieh``, ``murmur``, ``jenkins``,
``random``.
"""

from balancers.interop.ketama.libmemcached import LibmemcachedKetama as LibmemcachedKetama
from balancers.interop.ketama.libmemcached import LibmemcachedSpy as LibmemcachedSpy
from balancers.interop.ketama.modula import LibmemcachedModula as LibmemcachedModula
from balancers.interop.ketama.modula import TwemproxyModula as TwemproxyModula
from balancers.interop.ketama.twemproxy import TwemproxyKetama as TwemproxyKetama
from balancers.interop.ketama.uhash_ring import UHashRing as UHashRing
from balancers.interop.ketama.uhash_ring import UHashRingKetama as UHashRingKetama

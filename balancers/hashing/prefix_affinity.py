"""Implements prefix affinity: a prompt goes to the engine that has the least left to compute.

Source: the local rule of "Mooncake: Trading More Storage for Less Computation", FAST 2025,
algorithm 1.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf

from balancers._internal.checks import NO_BACKENDS, at_least, check_flags, checked_avoid, shown
from balancers._internal.types import B
from balancers.balancer import Key
from balancers.errors import InvalidKey, InvalidSetting, NoBackendAvailable, UnknownBackend
from balancers.hashing._caches import Caches
from balancers.hashing._engines import Engines, cheapest, first_of, next_idlest, only_one
from balancers.hashing._matches import match_of, placed_by
from balancers.hashing.blocks import WIDTH, checked_blocks
from balancers.hashing.rendezvous import Rendezvous
from balancers.keys import Hasher, Identity, name_of
from balancers.named_membership import NamedMembership
from balancers.outcome import SUCCESS, Outcome

__all__ = ["PrefixAffinity"]

_COLD = 4
"""A prompt is new if no backend has more than a quarter of it.  Its owner gets a quarter more."""
_LARGEST = 1 << 32
"""The largest block.  A sum of so many tokens is exact as a float."""


class PrefixAffinity(NamedMembership[B]):
    """Sends a prompt to the backend that has the fewest tokens left to compute.

    The backends are engines of a language model.  Each has a cache of the prompts that it has
    computed, in blocks of ``block`` tokens.  A key is what :func:`chain` returns for a prompt.  The
    cost of a backend is the number of the prompt's tokens that are not in its cache, plus the
    number of such tokens of the requests in flight, divided by its weight.  The backend with the
    least cost is picked.  There is no threshold and no other setting between affinity and load.

    *What is in the caches.*  The balancer assumes that a backend has cached each prompt that was
    sent to it, and that it keeps the ``capacity`` blocks that were used most recently.  A prompt is
    recorded by :meth:`started`, which must follow its pick.  The requests of a sticky session are
    not picked, so their keys are not known: report them by :meth:`observe`.  The same method takes
    the events of the engines' caches.  A wrong assumption costs time, but gives no wrong answer.

    *What is in flight.*  In a pool, acquire a request with ``cost=`` its number of tokens, and call
    ``pool.progress(lease, now, cost=0)`` at its first token.  Until then, its tokens that are not
    cached count.  Without ``cost``, a request counts until it ends, with the tokens of the complete
    blocks of its key.  Use ``cost`` for all requests or for none.

    *Where a new prompt goes.*  If costs are equal, the backend is picked by rendezvous hashing of
    one block of the prompt.  Nearly all prompts of a service begin with the same system prompt, so
    the first block would send everything to one backend.  A prompt is new if no backend has more
    than a quarter of it.  The block of a new prompt is the first one that no backend has.  Of
    another prompt it is the first one that half of the backends, or more, do not have.  The backend
    that is first for this block is the *owner* of the prompt.  The owner of a new prompt counts as
    having as much of it as any backend has, so that a system prompt spreads, and a quarter of the
    rest, so that gateways often agree.  With ``shared=True``, which says that other gateways send
    requests to the same backends and that no events are observed, it counts as having all of it.

    An empty key, ``b""``, goes to the backend with the fewest tokens in flight; equal ones take
    turns.  A key that is a str or an int, such as the name of a session, counts as one block.

    >>> from balancers.hashing import chain
    >>> lb = PrefixAffinity(["a", "b"], block=4)
    >>> question = chain([1, 2, 3, 4, 5, 6, 7, 8], block=4)
    >>> first = lb.pick(question)
    >>> lb.started(first)
    >>> lb.finished(first)
    >>> longer = chain([1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9], block=4)
    >>> lb.pick(longer) == first, lb.cached_blocks(first, longer)
    (True, 2)

    Cost: ``pick`` and ``started`` take one step for each part of the prompt that other prompts
    share, and ``pick`` is O(n) vectorised.  Memory: 8 bytes per block, and about 650 per prompt.
    Raises InvalidSetting for ``block`` or ``capacity`` below 1, for a ``block`` above 2³², and for
    a ``shared`` that is not a bool.  Raises DuplicateBackend if two backends have the same name.
    """

    fractional = True

    def __init__(
        self,
        backends: Iterable[B] | Mapping[B, float] | None = None,
        *,
        block: int = 16,
        capacity: int = 31_250,
        shared: bool = False,
        identity: Identity[B] = name_of,
        hasher: Hasher | None = None,
    ) -> None:
        at_least(1, block=block, capacity=capacity)
        if block > _LARGEST:
            raise InvalidSetting(f"block must be at most {_LARGEST}, not {shown(block)}")
        check_flags(shared=shared)
        self._block = block
        self._shared = shared
        self._caches = Caches(capacity)
        self._ranking: Rendezvous[B] = Rendezvous(identity=identity, hasher=hasher)
        self._engines: Engines[B] = Engines()
        self._blocks = b""  # of the last pick
        self._picked: Collection[int] = ()  # the numbers of the backends of the last pick or plan
        self._last = -1  # the number of the last pick with an empty key
        self._priced: tuple[int, int] | None = None  # the number of the last start; cached tokens
        super().__init__(backends, identity=identity, hasher=hasher)

    def pick(self, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()) -> B:
        """Return the backend with the fewest tokens left to compute; see the class for the cost.

        The key is remembered until the next call of :meth:`started`, which may record it.
        Raises MissingKey, NoBackendAvailable, and InvalidKey for bytes that are not 8 per block.
        """
        blocks = key if type(key) is bytes and not len(key) % WIDTH else self._blocks_of(key)
        if avoid is not NO_BACKENDS:
            avoid = checked_avoid(avoid)
        number = self._choose(blocks, avoid)
        self._blocks, self._picked = blocks, (number,)
        if not blocks:
            self._last = number
        return self._engines.members[number]

    def plan(
        self, n: int, key: Key | None = None, now: float = 0.0, avoid: Collection[B] = ()
    ) -> list[B]:
        """Return up to ``n`` different backends in the order of their costs; O(n) picks.

        The next request may be for any of them.  Raises InvalidSetting, and what ``pick`` raises.
        """
        at_least(1, n=n)
        avoid = checked_avoid(avoid)
        ranked = {self.pick(key, now, avoid): None}
        while len(ranked) < n:
            try:
                number = self._choose(self._blocks, {*avoid, *ranked})
            except NoBackendAvailable:
                break
            ranked[self._engines.members[number]] = None
        self._picked = [self._engines.numbers[backend] for backend in ranked]
        return list(ranked)

    def _choose(self, blocks: bytes, avoid: Collection[B]) -> int:
        """Return the number of the backend to pick.  The call changes no state."""
        engines, total = self._engines, len(blocks)
        among = engines.without(avoid) if avoid else engines.open
        if not among:
            raise self.refusal()
        if not self._shared:
            number = self._caches.only_holder(blocks, among)
            if number >= 0 and engines.is_idle(number, self._block):
                return number  # any other engine has at least a block to compute
        loads = engines.loads(avoid)
        if not total:
            return next_idlest(loads, self._last)
        matches = self._caches.matches(blocks, among)
        longest = matches[-1][0]
        new = _COLD * longest <= total
        owner, cost = -1, inf
        if new or self._shared:
            digest = placed_by(blocks, matches, new)
            owner = engines.numbers[self._ranking.pick_hashed(digest, avoid)]
            assumed = total if self._shared else longest + (total - longest) / _COLD
            own = (total - max(assumed, match_of(owner, matches))) / WIDTH * self._block
            cost = loads.item(owner) + own
            if cost <= loads.item(loads.argmin()) + (total - longest) // WIDTH * self._block:
                return owner  # no cost is lower
        least, ties = cheapest(total, matches, loads, self._block)
        if cost <= least:
            return owner
        only = only_one(ties)
        if only >= 0:
            return only
        ranked = self._ranking.succession(placed_by(blocks, matches, new))
        return first_of(map(engines.numbers.__getitem__, ranked), ties, loads)

    def _blocks_of(self, key: Key | None) -> bytes:
        """Return the blocks of a key.  Raises MissingKey, InvalidKey."""
        if isinstance(key, bytes):
            return checked_blocks(key)
        return self.hash_key(key).to_bytes(WIDTH, "little")

    def started(self, backend: B, now: float = 0.0, bound: bool = False) -> None:
        """Count a request, and record the key if the last pick was this backend; see the class.

        The key of a ``bound`` request is not known.  Such a request counts as one token until
        :meth:`charged` gives its cost.  Ignored if the backend is not a member.
        """
        blocks, self._blocks = self._blocks, b""
        found, new = 0, 1
        unread = self._engines.unread.get(backend)
        if unread is None:
            return
        number = unread.number
        if blocks and not bound and number in self._picked:
            found = self._caches.use(number, blocks)
            new = (len(blocks) - found) // WIDTH * self._block or 1
        unread.start(new)
        self._engines.changed[unread] = None
        self._priced = number, found // WIDTH * self._block

    def charged(self, backend: B, change: int, now: float = 0.0) -> None:
        """Called when the cost of the requests in flight changes by the int ``change``; O(1).

        The first charge after :meth:`started` is the number of the request's tokens.  Those that
        the backend has cached do not count.  Ignored if the backend is not a member.
        """
        unread = self._engines.unread.get(backend)
        if unread is None:
            return
        priced, self._priced = self._priced, None
        if change > 0 and priced is not None and priced[0] == unread.number:
            unread.price(change, priced[1])
        else:
            unread.charge(change)
        self._engines.changed[unread] = None

    def finished(self, backend: B, outcome: Outcome = SUCCESS, now: float = 0.0) -> None:
        """Count a request no longer; O(1).  Ignored if the backend has none, or is no member."""
        unread = self._engines.unread.get(backend)
        if unread is not None:
            self._priced = None
            unread.finish()
            self._engines.changed[unread] = None

    def load_of(self, backend: B, now: float = 0.0) -> int:
        """Return the tokens left to compute on a member, whatever its weight; O(1).

        Raises UnknownBackend.
        """
        return self._engines.by_number[self._find(backend)].tokens

    def cached_blocks(self, backend: B, key: Key) -> int:
        """Return how many blocks of a key are assumed to be cached by a member; see the class.

        Raises UnknownBackend, MissingKey, InvalidKey.
        """
        return self._caches.match(self._find(backend), self._blocks_of(key)) // WIDTH

    def _find(self, backend: B) -> int:
        number = self._engines.numbers.get(backend)
        if number is None:
            raise UnknownBackend(backend)
        return number

    def observe(
        self,
        backend: B,
        *,
        stored: bytes = b"",
        after: bytes = b"",
        removed: bytes = b"",
        cleared: bool = False,
    ) -> None:
        """Report what has changed in the cache of a backend, in the order of the arguments below.

        * ``cleared``: everything was removed, for example because the engine has restarted.
        * ``removed``: these blocks were removed.  Blocks that come after them in a prompt are
          useless without them, and count as removed too.
        * ``stored``: these blocks were stored.  They are the beginning of a prompt.  If ``after``
          is given, which is one block, they are the blocks that come after it.  They are ignored if
          the block ``after`` is not in the cache.

        ``stored``, ``after`` and ``removed`` have the form of a key.  A block counts as removed
        when it was not used for a long time and ``capacity`` would be exceeded, even if the engine
        has not reported it.  Report also the keys of sticky sessions, as ``stored``.

        >>> from balancers.hashing import chain
        >>> lb = PrefixAffinity(["a", "b"], block=2)
        >>> prompt = chain([1, 2, 3, 4, 5, 6], block=2)
        >>> lb.observe("b", stored=prompt)
        >>> lb.pick(prompt)
        'b'
        >>> lb.observe("b", removed=prompt[8:16])
        >>> lb.cached_blocks("b", prompt)
        1

        Ignored if the backend is not a member.  O(prompt), or for ``removed`` O(blocks · bytes of a
        prompt).  The first ``after`` or ``removed`` makes an index, about 80 bytes for each block.
        Raises InvalidKey, and InvalidSetting if ``cleared`` is not a bool.
        """
        check_flags(cleared=cleared)
        for blocks in (stored, removed, after):
            checked_blocks(blocks)
        if len(after) > WIDTH:
            raise InvalidKey(f"after must be one block, not {len(after) // WIDTH} blocks")
        number = self._engines.numbers.get(backend)
        if number is not None:
            self._caches.report(number, stored, after, removed, cleared)

    def update_named_index(
        self, backend: B, name: bytes, old: float | None, new: float | None
    ) -> None:
        if new is None:
            self._ranking.discard(backend)
            self._caches.discard(self._engines.discard(backend))
            self._picked, self._priced = (), None
            return
        self._ranking.put(backend, new)
        number = self._engines.put(backend, new)
        if old is None:
            self._caches.add(number)

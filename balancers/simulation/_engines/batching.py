"""Models engines of language models: continuous batching, and a cache of prefixes.

Between two changes of the batch, all steps take equally long.  So one event stands for many steps:
the next one at which something ends, or the next one after a request has arrived.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf
from operator import attrgetter

from balancers.simulation._engines.agenda import COMPLETE, FIRST, STEP, Event
from balancers.simulation._engines.prefix_cache import PrefixCache
from balancers.simulation._engines.server_model import SPARE, Model
from balancers.simulation._engines.token_counter import TokenCounter
from balancers.simulation._engines.tries import Try
from balancers.simulation._grid import tick
from balancers.simulation.llm_engine import LLMEngine
from balancers.simulation.server import Server

__all__ = ["Batching"]

_UNLIMITED = Server()
"""What a model of a server needs; an engine has its own speed and room."""


class Batching(Model):
    """One engine.  Its place among all servers orders the steps of several engines.

    The step in progress ends at ``_step_end``.  Together with it, ``_steps`` steps are planned, and
    the later ones take ``_length`` each; the event at ``end`` is the end of the last one.
    """

    def __init__(
        self,
        engine: LLMEngine,
        events: list[Event],
        place: int,
        counter: TokenCounter,
        back: float,
    ) -> None:
        super().__init__(_UNLIMITED, events)
        self._engine = engine
        self._order = STEP + place
        self._prompts, self._block = counter.recorded.prompts, counter.recorded.block
        self._counter, self._place = counter, place
        self._back = back
        self._cache = PrefixCache(engine.cache_tokens // self._block)
        self._waiting: deque[Try] = deque()
        self._prefilling: Try | None = None
        self._left = 0  # tokens of the prompt that is computed
        self._chunk = 0  # of which in this step
        self._decoding: list[tuple[int, int, Try]] = []  # by the number of the step that ends each
        self._decodes = 0  # of them present
        self._reserved = 0  # tokens of the prompts and outputs of all that are computed or decode
        self._done = 0  # steps
        self._steps = 0
        self._length = 0.0
        self._step_end = inf
        self.end = inf
        self._rest = 0.0  # of the step in progress, while the engine is frozen
        self._busy = 0.0  # since it was last reported with a try
        self._marked = 0.0

    def refuses(self, each: Try) -> bool:
        """Return whether a try needs more room than the whole engine has."""
        return self._need(each) > self._engine.kv_tokens

    def arrive(self, each: Try, now: float) -> None:
        """Take a try, which waits or begins; O(log n)."""
        self.count += 1
        each.present = True
        self._waiting.append(each)
        if self.freezes:
            return
        if not self._steps:
            self._plan(now)
        elif self._prefilling is None:
            self._cut(now)

    def step(self, now: float) -> None:
        """Called at the end of the steps that were planned, or later ones."""
        if self.end != now:
            return
        self._mark(now)
        self._done += self._steps
        each = self._prefilling
        if each is not None:
            self._left -= self._chunk
            if not self._left:
                self._prefilling = None
                prompt = self._prompts[each.request.index]
                self._cache.insert(prompt.blocks)
                heappush(self._events, (now + self._back, FIRST + each.serial, each))
                heappush(self._decoding, (self._done + prompt.output - 1, each.serial, each))
                self._decodes += 1
        while self._decoding and self._decoding[0][0] <= self._done:
            ended = heappop(self._decoding)[2]
            if ended.present:
                self._decodes -= 1
                self._leave(ended)
                ended.end = now
                heappush(self._events, (now, COMPLETE + ended.serial, ended))
        self._plan(now)

    def complete(self, each: Try, now: float) -> None:
        """Called when a try is answered.  It has left at the end of its last step."""

    def cancel(self, each: Try, now: float) -> None:
        """Remove a try.  The step in progress continues to its end; O(log n) amortised."""
        self._mark(now)
        began = each.room
        self._leave(each)
        if each is self._prefilling:
            self._prefilling = None
        elif began:
            self._decodes -= 1
            if len(self._decoding) > 2 * self._decodes + SPARE:
                self._decoding = sorted(entry for entry in self._decoding if entry[2].present)
        elif len(self._waiting) > 2 * self.count + SPARE:
            self._waiting = deque(other for other in self._waiting if other.present)
        if self._steps and not self.freezes:
            self._cut(now)

    def _plan(self, now: float) -> None:
        """Begin the next step, with the next prompt if it has room."""
        engine, waiting = self._engine, self._waiting
        while waiting and not waiting[0].present:
            waiting.popleft()
        if self._prefilling is None and waiting and self._decodes < engine.sequences:
            need = self._need(waiting[0])
            if self._reserved + need <= engine.kv_tokens:
                self._begin(waiting.popleft(), need)
        while self._decoding and not self._decoding[0][2].present:
            heappop(self._decoding)
        length = engine.step + self._decodes * engine.per_sequence
        if self._prefilling is not None:
            self._chunk = min(self._left, engine.batch_tokens - self._decodes)
            length += self._chunk * engine.per_token
            self._steps = 1
        elif self._decoding:
            self._steps = self._decoding[0][0] - self._done
        else:
            self._steps = 0
            self.end = self._step_end = inf
            return
        self._marked = now
        self._length = tick(length * self._factor)
        self._step_end = now + self._length
        self._schedule()

    def _begin(self, each: Try, need: int) -> None:
        """Begin to compute a prompt, without the blocks that are in the cache."""
        prompt = self._prompts[each.request.index]
        hits = self._cache.match(prompt.blocks)
        self._prefilling = each
        self._left = max(1, prompt.tokens - hits * self._block)
        self._reserved += need
        each.room = need
        self._counter.begun(each.request.index, self._place, len(prompt.blocks), hits, self._left)

    def _need(self, each: Try) -> int:
        prompt = self._prompts[each.request.index]
        return prompt.tokens + prompt.output

    def _leave(self, each: Try) -> None:
        self.count -= 1
        self._reserved -= each.room
        each.room = 0
        each.present = False
        each.end = inf
        each.busy, self._busy = self._busy, 0.0

    def _mark(self, now: float) -> None:
        """Add the time since the last mark to the busy time."""
        if self._steps:
            self._busy += now - self._marked
        self._marked = now

    def _cut(self, now: float) -> None:
        """Let the plan end with the step in progress, because the batch changes after it."""
        self._settle(now)
        self._steps = 1
        self._schedule()

    def _settle(self, now: float) -> None:
        """Count the steps that have ended, of those that were planned."""
        if self._step_end <= now:
            ended = 1 + int((now - self._step_end) // self._length)
            self._done += ended
            self._steps -= ended
            self._step_end += ended * self._length

    def _schedule(self) -> None:
        end = self._step_end + (self._steps - 1) * self._length
        if end != self.end:
            self.end = end
            heappush(self._events, (end, self._order, self))

    def _fail_all(self, now: float) -> list[Try]:
        """Remove all tries.  The cache of the engine is empty after it."""
        self._mark(now)
        present = [each for each in self._waiting if each.present]
        present += [entry[2] for entry in self._decoding if entry[2].present]
        if self._prefilling is not None:
            present.append(self._prefilling)
        failed = sorted(present, key=attrgetter("serial"))
        for each in failed:
            self._leave(each)
        self._waiting.clear()
        self._decoding.clear()
        self._prefilling = None
        self._decodes = self._steps = 0
        self.end = self._step_end = inf
        self._cache.clear()
        return failed

    def _pause(self, now: float) -> None:
        if self._steps:
            self._settle(now)
            self._steps = 1
            self._rest = self._step_end - now
            self.end = inf

    def _resume(self, now: float) -> None:
        if self._steps:
            self._step_end = now + self._rest
            self._schedule()
        else:
            self._plan(now)

    def _change_speed(self, now: float) -> None:
        before, self._factor = self._factor, self._slowness()
        change = self._factor / before
        if not self._steps:
            return
        if self.freezes:
            self._rest = tick(self._rest * change)
            return
        self._settle(now)
        self._step_end = now + tick((self._step_end - now) * change)
        self._steps = 1
        self._schedule()

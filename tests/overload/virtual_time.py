"""An event loop of asyncio whose clock jumps to the next timer, so that no test waits."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

__all__ = ["VirtualTimeLoop"]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Calls ``when_idle`` each time that no task can continue, and then jumps to the next timer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.when_idle: Callable[[], None] = lambda: None
        super().__init__()
        selector = cast("Any", self._selector)  # type: ignore[attr-defined] # not public
        select = cast("Callable[[float | None], Any]", selector.select)

        def jump(timeout: float | None) -> Any:
            events = select(0)
            if not events and timeout != 0:
                self.when_idle()
                if timeout is None and not self._ready:  # type: ignore[attr-defined] # not public
                    raise AssertionError("a task waits for something that will not happen")
                self.now += timeout or 0.0
            return events

        selector.select = jump

    def time(self) -> float:
        return self.now

"""Ends an example that does not end by itself, for example because ``pick`` loops forever."""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread, get_ident
from time import process_time

__all__ = ["Stuck", "Watchdog", "watching"]

_PERIOD = 1.0


class Stuck(BaseException):
    """Raised in a thread whose example has used too much processor time."""


class Watchdog:
    """Counts examples.  ``example_began`` is called at the beginning of each example."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = process_time()
        self.example = 0
        self.ended = Event()
        self._target = get_ident()

    def example_began(self) -> None:
        """Measure from now on."""
        self.example += 1
        self.began = process_time()

    def watch(self) -> None:
        """Raise Stuck in the thread of the examples when one of them takes too long."""
        while not self.ended.wait(_PERIOD):
            example = self.example
            if process_time() - self.began > self.seconds and example == self.example:
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(ctypes.c_ulong(self._target), ctypes.py_object(Stuck))
                self.example_began()


@contextmanager
def watching(seconds: float) -> Generator[Watchdog]:
    """Raise Stuck in this thread when an example uses more processor time than this."""
    watchdog = Watchdog(seconds)
    thread = Thread(target=watchdog.watch, daemon=True)
    thread.start()
    try:
        yield watchdog
    finally:
        watchdog.ended.set()
        thread.join()

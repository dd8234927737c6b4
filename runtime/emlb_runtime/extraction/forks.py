"""What a fork leaves behind: the child has the memory of its parent and none of its threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

from emlb_runtime.pipeline import Pipeline


class Forkable(Protocol):
    """Something that has to know when it has become a forked child's copy."""

    def _after_fork(self) -> None:
        """Called in the child, before anything else runs there."""


_watched: WeakSet[Forkable] = WeakSet()


def watch_forks(thing: Forkable) -> None:
    """Call ``_after_fork`` in each child that is forked while the thing lives."""
    _watched.add(thing)


def _tell_child() -> None:
    for thing in list(_watched):
        thing._after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_tell_child)


class Networks:
    """A pipeline, and whether a fork has spoilt it.

    Sessions on the CPU with one thread each hold no threads of their own, so a child uses its
    parent's, and shares their memory. Only if one of them was running at the moment of the fork
    may it hold a lock that nobody in the child releases.

    Args:
        pipeline: the stages on their sessions.
        survives: whether the provider's sessions can be used in a forked child.
    """

    def __init__(self, pipeline: Pipeline, *, survives: bool) -> None:
        self.pipeline = pipeline
        self.is_spoilt = False
        self._survives = survives
        self._running = 0
        self._lock = threading.Lock()
        watch_forks(self)

    @contextmanager
    def running(self) -> Iterator[Pipeline]:
        """The pipeline, for a call that a fork may interrupt."""
        with self._lock:
            self._running += 1
        try:
            yield self.pipeline
        finally:
            with self._lock:
                self._running -= 1

    def _after_fork(self) -> None:
        """See ``Forkable``."""
        self.is_spoilt = self.is_spoilt or self._running > 0 or not self._survives
        self._running = 0
        self._lock = threading.Lock()

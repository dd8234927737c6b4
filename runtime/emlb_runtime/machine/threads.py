"""Threads for work, as many as the system gives.

A container or a user may have fewer processes and threads left than there are cores. A pool of
the standard library starts its threads one by one, and the first that the system refuses fails
the work it was started for. Here all threads start before there is work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

_TRIES, _PAUSE = 3, 0.01
"""How often a thread is asked for, and the seconds between. The kernel still counts a thread for
an instant after it has ended."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Inline(Executor):
    """Runs work at once, in the thread that submits it."""

    def submit(
        self,
        fn: Callable[_Arguments, _Result],
        /,
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Future[_Result]:
        """Run the call; its result or its exception is in the future that comes back."""
        future: Future[_Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def start_threads(wanted: int, name: str) -> tuple[Executor, int]:
    """Start a pool.

    Args:
        wanted: how many threads.
        name: what the threads' names begin with.

    Returns:
        The pool, and how many threads it has. Where the system refuses one, a thread less
        than it would give, so that the process can still start one elsewhere; with 0, the
        pool is ``Inline``.
    """
    while wanted > 0:
        pool = ThreadPoolExecutor(wanted, thread_name_prefix=name)
        started = _start_all(pool, wanted)
        if started == wanted:
            return pool, wanted
        pool.shutdown()
        wanted = started - 1
    return Inline(), 0


@contextmanager
def worker_pool(wanted: int, name: str = "emlb") -> Iterator[Executor]:
    """A pool of ``start_threads`` that is shut down, its work done, at the end."""
    pool, _ = start_threads(wanted, name)
    with pool:
        yield pool


def can_start_thread() -> bool:
    """Whether the system gives this process one more thread."""
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def _start_all(pool: ThreadPoolExecutor, wanted: int) -> int:
    """How many threads of a new pool start; they wait for each other, so that none is reused."""
    gate = threading.Event()
    started = 0
    refused = 0
    try:
        while started < wanted and refused < _TRIES:
            try:
                pool.submit(gate.wait)
                started += 1
            except RuntimeError:  # what CPython raises for a thread that the system refuses
                refused += 1
                time.sleep(_PAUSE)
    finally:
        gate.set()
    return started

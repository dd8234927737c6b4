"""Threads: as many as there are wanted, fewer where the system refuses them, and none."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Executor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.machine.threads import Inline, can_start_thread, start_threads, worker_pool
from tests.limited import run_limited


def count_threads(pool: Executor, most: int) -> int:
    """How many threads work at the same time: each waits until no further one comes."""
    arrived = threading.Semaphore(0)
    gate = threading.Event()

    def work() -> int:
        arrived.release()
        gate.wait(30)
        return threading.get_ident()

    futures = [pool.submit(work) for _ in range(most + 2)]
    here = sum(arrived.acquire(timeout=60) for _ in range(most))
    here += arrived.acquire(timeout=0.3)  # one too many
    gate.set()
    assert len({future.result() for future in futures}) <= here
    return here


@pytest.mark.parametrize("wanted", [1, 3, 17])
def test_as_many_as_wanted(wanted: int) -> None:
    before = threading.active_count()
    pool, started = start_threads(wanted, "some")
    with pool:
        assert started == wanted
        assert threading.active_count() == before + wanted
        assert count_threads(pool, wanted) == wanted
    assert threading.active_count() == before


def test_none_wanted() -> None:
    pool, started = start_threads(0, "none")
    assert (started, type(pool)) == (0, Inline)


@given(st.integers(0, 12), st.integers(0, 12))
def test_never_more_than_the_system_gives(wanted: int, given: int) -> None:
    """Whatever is refused, what is submitted is done, and one thread is left for others."""
    start, left = threading.Thread.start, given
    lock = threading.Lock()

    def limited(thread: threading.Thread) -> None:
        nonlocal left
        with lock:
            if left == 0:
                raise RuntimeError("can't start new thread")
            left -= 1
        start(thread)
        run = thread.join

        def join(timeout: float | None = None) -> None:
            nonlocal left
            run(timeout)
            with lock:
                left += 1

        thread.join = join  # type: ignore[method-assign]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        pool, started = start_threads(wanted, "limited")
        assert started == (wanted if wanted <= given else max(given - 1, 0))
        assert can_start_thread() == (given > started)
        with pool:
            assert [*pool.map(lambda n: n * n, range(20))] == [n * n for n in range(20)]


def test_inline_keeps_an_exception_for_its_future() -> None:
    future = Inline().submit(int, "x")
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(KeyboardInterrupt):  # that one is for whoever submits
        Inline().submit(_interrupt)


def _interrupt() -> None:
    raise KeyboardInterrupt


CODE = """
import threading
from emlb_runtime.machine.threads import start_threads, worker_pool
pool, started = start_threads(8, "few")
assert threading.active_count() == 1 + started
with worker_pool(4) as inner:
    print(started, sum(inner.map(len, ["ab"] * 50)), sum(pool.map(len, ["abc"] * 50)))
"""


@pytest.mark.parametrize(("processes", "started"), [(1, 0), (2, 0), (3, 1), (6, 4)])
def test_under_a_real_limit(processes: int, started: int) -> None:
    done = run_limited(processes, [sys.executable, "-c", CODE])
    assert (done.stdout, done.stderr) == (f"{started} 100 150\n", "")


def test_a_worker_pool_ends_with_its_block() -> None:
    before = threading.active_count()
    with worker_pool(2) as pool:
        assert pool.submit(sum, [1, 2]).result() == 3
    assert threading.active_count() == before

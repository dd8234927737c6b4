"""Extracts in processes of every kind and prints what came of it; run by ``test_forks``.

Usage: ``python forking.py SCENARIO BUNDLE``. A child that hangs is ended by an alarm.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor

from emlb_runtime import Document, Extractor, Note
from emlb_runtime.extraction import stream
from emlb_runtime.extraction.stream import Result

TEXTS = ["Nausea after codeine.", "Rash two days after penicillin 500 mg.", "INR 6.8 on warfarin."]
LONG = " ".join(TEXTS) * 40
PATIENCE = 90
"""Seconds; even a busy machine loads a model in that time."""

Found = list[tuple[str, float]]


def find(extractor: Extractor, text: str) -> Found:
    """Mentions and scores: what must be the same in every process."""
    return [(entity.text, entity.score) for entity in extractor.extract(text).entities]


def find_all(extractor: Extractor) -> list[Found]:
    """By each way to extract."""
    many = [[(e.text, e.score) for e in d.entities] for d in extractor.extract_many(TEXTS)]
    assert many == [find(extractor, text) for text in TEXTS]
    return many


def fork(work: Callable[[], bool], *, leave: Callable[[int], object] = os._exit) -> bool:
    """Whether some work in a forked child comes to an end, and to True."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        leave(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


def forked(load: Callable[[], Extractor], *, warm: bool) -> None:
    """A server that loads, may answer a first request, and forks its workers."""
    with load() as extractor:
        expected = find_all(load())
        if warm:
            assert find_all(extractor) == expected
        assert all(fork(lambda: find_all(extractor) == expected) for _ in range(3))
        assert fork(lambda: find_all(extractor) == expected, leave=sys.exit)  # joins threads
        assert fork(lambda: fork(lambda: find_all(extractor) == expected))  # and its child
        assert find_all(extractor) == expected
        assert not extractor._get_team().networks.is_spoilt


def busy(load: Callable[[], Extractor]) -> None:
    """Children are forked while threads of the parent are extracting."""
    extractor, ends = load(), threading.Event()
    expected = find_all(extractor)

    def request() -> None:
        while not ends.is_set():
            list(extractor.extract_many([LONG] * 4))

    def answer() -> bool:
        assert extractor._opened is not None and extractor._opened.networks.is_spoilt
        return find_all(extractor) == expected

    threads = [threading.Thread(target=request) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            time.sleep(0.05)
            assert fork(answer)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert find_all(extractor) == expected


def midway(load: Callable[[], Extractor]) -> None:
    """Parent and child both go on with an iteration that had begun."""
    stream.CHUNK_CHARACTERS = 200  # several chunks are under way
    extractor = load()
    texts = [" ".join(TEXTS) * 3, *TEXTS] * 6
    expected = [find(extractor, text) for text in texts]
    for ahead in (0, 5):
        documents = extractor.extract_many(iter(texts))

        def rest(left: Iterator[Document] = documents, ahead: int = ahead) -> bool:
            found = [[(e.text, e.score) for e in d.entities] for d in left]
            return found == expected[ahead:]

        for _ in range(ahead):
            next(documents)
        assert fork(rest)
        assert rest()
        dropped = extractor.extract_each([Note("", text) for text in texts])
        next(dropped)
        assert fork(functools.partial(drop, dropped))


def drop(results: Iterator[Result]) -> bool:
    """Leave an iteration before its end."""
    assert isinstance(results, Generator)
    results.close()
    return True


def pooled(load: Callable[[], Extractor], method: str) -> None:
    """Pools of processes: the extractor is pickled with each task."""
    extractor = load()
    expected = find_all(extractor)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        result = pool.map_async(extractor.extract, TEXTS * 3, chunksize=1)
        found = [[(e.text, e.score) for e in d.entities] for d in result.get(timeout=PATIENCE)]
    assert found == expected * 3
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = [executor.submit(find_all, extractor) for _ in range(3)]
        assert [future.result(timeout=PATIENCE) for future in futures] == [expected] * 3


def main() -> None:
    """Run a scenario."""
    scenario, bundle = sys.argv[1:]

    def load() -> Extractor:
        return Extractor.load(bundle or None, provider="cpu", workers=2)

    kind, _, detail = scenario.partition("-")
    if kind == "forked":
        forked(load, warm=detail == "warm")
    elif kind == "pooled":
        pooled(load, detail)
    else:
        {"busy": busy, "midway": midway}[kind](load)
    sys.stdout.write("the same everywhere\n")


if __name__ == "__main__":
    main()

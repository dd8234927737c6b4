"""Many threads that share one ``Extractor``: the same answers, as fast, and no growth."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from emlb_runtime.extract import Extractor
from emlb_runtime.records import Document, Note

from .report import Measurement, Row, megabytes, percent
from .watch import read_memory

GROWTH = 0.02
"""Memory at the end of a soak may be above that after the warm-up by this share, its noise."""

WARM_UP = 0.1
"""Share of a soak that memory may take to settle."""

ONE, STREAM = "one thread", "one thread, extract_many"


class Sharing:
    """Ways to extract the same notes with one extractor, to be timed in rounds.

    Args:
        notes: to extract.
        extractor: shared.
        threads: how many share it.
    """

    def __init__(self, notes: Sequence[Note], extractor: Extractor, *, threads: int) -> None:
        self._notes = notes
        self._extractor = extractor
        self._threads = threads
        self.many = f"{threads} threads"
        self._ways: dict[str, Callable[[], list[Document]]] = {
            ONE: lambda: self._extract(notes),
            self.many: self._extract_shared,
            STREAM: lambda: list(extractor.extract_many(notes)),
        }
        self.expected = self._extract(notes)
        self.differing = dict.fromkeys(self._ways, 0)

    @property
    def names(self) -> list[str]:
        """Of what is timed."""
        return list(self._ways)

    def run(self, name: str) -> float:
        """Extract all notes in one way, and compare the answers with the first ones.

        Returns:
            Seconds of the extraction.
        """
        started = time.perf_counter()
        found = self._ways[name]()
        seconds = time.perf_counter() - started
        self.differing[name] += sum(
            document != expected for document, expected in zip(found, self.expected, strict=True)
        )
        return seconds

    def conclude(self, seconds: Mapping[str, Sequence[float]]) -> Measurement:
        """What the rounds say."""
        ratios = {
            name: [one / other for one, other in zip(seconds[ONE], seconds[name], strict=True)]
            for name in seconds
        }
        ratio, differing = median(ratios[self.many]), sum(self.differing.values())
        return Measurement(
            "threads",
            [
                Row(
                    f"{self.many} sharing one `Extractor`: speed against one thread",
                    "≥ 1×",
                    f"{ratio:.2f}× ({min(ratios[self.many]):.2f}–{max(ratios[self.many]):.2f})",
                    ratio >= 1,
                ),
                Row(
                    f"{self.many} sharing one `Extractor`: answers that differ",
                    "0",
                    f"{differing:,}",
                    not differing,
                ),
            ],
            {
                "notes": len(self._notes),
                "threads": self._threads,
                "workers": self._extractor.info.workers,
                "seconds": {name: list(values) for name, values in seconds.items()},
                "times_one_thread": {name: median(values) for name, values in ratios.items()},
                "differing": self.differing,
            },
            f"{len(self._notes):,} notes, one by one: all by one thread, or each thread its share;"
            f" either way the extractor has its own {self._extractor.info.workers} workers. The"
            " median of the rounds' ratios, with the least and the most. For comparison, one"
            f" thread that calls `extract_many`: {median(ratios[STREAM]):.2f}×.",
        )

    def _extract(self, notes: Sequence[Note]) -> list[Document]:
        return [self._extractor.extract(note.text, name=note.name) for note in notes]

    def _extract_shared(self) -> list[Document]:
        shares = [self._notes[first :: self._threads] for first in range(self._threads)]
        found: list[Document | None] = [None] * len(self._notes)
        with ThreadPoolExecutor(self._threads) as pool:
            for first, documents in enumerate(pool.map(self._extract, shares)):
                found[first :: self._threads] = documents
        return [document for document in found if document is not None]


@dataclass
class Soak:
    """What a soak has seen so far; each thread has one of its own, added up at the end.

    Attributes:
        answers: that were given.
        wrong: of these, that differ from what one thread gave.
        errors: raised, by kind.
    """

    answers: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def ask(self, extractor: Extractor, note: Note, expected: Document) -> None:
        """Extract a note and look at the answer."""
        try:
            self.wrong += extractor.extract(note.text, name=note.name) != expected
            self.answers += 1
        except Exception as error:  # its own text may quote the note
            self.errors[type(error).__name__] += 1


def measure_soak(
    notes: Sequence[Note], extractor: Extractor, *, threads: int, seconds: float, interval: float
) -> Measurement:
    """Let threads extract the same notes over and over.

    Args:
        notes: of which every thread starts at another.
        extractor: shared by all.
        threads: how many.
        seconds: how long.
        interval: seconds between two looks at the memory.
    """
    expected = [extractor.extract(note.text, name=note.name) for note in notes]
    soaks = [Soak() for _ in range(threads)]
    started = time.perf_counter()

    def work(number: int) -> None:
        place = number * len(notes) // threads
        while time.perf_counter() - started < seconds:
            soaks[number].ask(extractor, notes[place], expected[place])
            place = (place + 1) % len(notes)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    course = []
    while any(worker.is_alive() for worker in workers):
        course.append((time.perf_counter() - started, read_memory()[0], *_handles()))
        time.sleep(interval)
    return _conclude(soaks, course, notes=len(notes), seconds=time.perf_counter() - started)


def _handles() -> tuple[int, int]:
    """Open files and threads of this process."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/fd")), threading.active_count()
    return 0, threading.active_count()


def _conclude(
    soaks: Sequence[Soak], course: Sequence[tuple[float, int, int, int]], **run: float
) -> Measurement:
    answers, wrong = sum(soak.answers for soak in soaks), sum(soak.wrong for soak in soaks)
    errors = sum((soak.errors for soak in soaks), Counter[str]())
    # Samples of the soak proper, less its very end, where threads finish one by one.
    settled = course[int(WARM_UP * len(course)) :]
    tenth = max(1, len(settled) // 10)
    before = median(resident for _, resident, _, _ in settled[:tenth])
    after = median(resident for _, resident, _, _ in settled[-tenth:])
    growth = after / before - 1
    what = f"soak, {len(soaks)} threads × {run['seconds'] / 60:.3g} minutes"
    named = ", ".join(f"{count:,} {kind}" for kind, count in sorted(errors.items()))
    figures: dict[str, Any] = {
        "threads": len(soaks),
        **run,
        "answers": answers,
        "wrong": wrong,
        "errors": dict(errors),
        "resident_after_warm_up": before,
        "resident_at_the_end": after,
        "growth": growth,
        "resident_peak": max(resident for _, resident, _, _ in course),
        "open_files": [settled[0][2], settled[-1][2]],
        "course": [
            {"seconds": round(at, 1), "resident": resident}
            for at, resident, _, _ in course[:: max(1, len(course) // 200)]
        ],
    }
    return Measurement(
        "soak",
        [
            Row(
                f"{what}: errors",
                "0",
                f"{named or 0} in {answers + sum(errors.values()):,} extractions",
                not errors and answers > 0,
            ),
            Row(
                f"{what}: answers other than one thread's",
                "0",
                f"{wrong:,} of {answers:,}",
                not wrong and answers > 0,
            ),
            Row(
                f"{what}: memory at the end against that after the warm-up",
                f"no growth: ≤ {percent(GROWTH)}",
                f"{percent(growth)} ({megabytes(after)} against {megabytes(before)})",
                growth <= GROWTH,
            ),
        ],
        figures,
        f"every thread extracts the same {run['notes']:,} notes over and over, from another one"
        " on, and compares each document as a whole with the one that a single thread got before."
        f" The warm-up is the first {100 * WARM_UP:.0f} % of the time; memory is the median of"
        " what was resident in the first and in the last tenth of the rest.",
    )

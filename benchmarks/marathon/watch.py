"""Memory of processes, and `emlb-run` under watch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .report import EnduranceError

INTERVAL = 0.05
"""Seconds between two looks at a process."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process.

    Attributes:
        seconds: since it was started.
        resident: bytes in memory.
        peak: the most that were, up to then.
        written: bytes of its output.
    """

    seconds: float
    resident: int
    peak: int
    written: int


@dataclass(frozen=True)
class Watched:
    """A run of `emlb-run`.

    Attributes:
        seconds: from its start to its end, loading the model included.
        samples: of its whole life, in order.
        size: bytes of the complete output.
    """

    seconds: float
    samples: Sequence[Sample]
    size: int

    @property
    def peak(self) -> int:
        """The most memory that the process ever had, resident, in bytes.

        The kernel's own mark, last read at most ``INTERVAL`` before the end.
        """
        return max(sample.peak for sample in self.samples)

    def resident_when(self, share: float) -> float:
        """Resident bytes when so much of the output was written, the median around then.

        Args:
            share: from 0 to 1; samples count in which it was within 3 % of that, or as near to
                it as any.
        """
        off = [abs(sample.written / self.size - share) for sample in self.samples]
        limit = max(0.03, min(off))
        return median(s.resident for s, far in zip(self.samples, off, strict=True) if far <= limit)


def read_memory(process: int | str = "self") -> tuple[int, int]:
    """Resident bytes of a process, and the most they ever were.

    The kernel's marks of the process itself: ``getrusage`` would count what its parent held
    before this program began.

    Raises:
        ProcessLookupError: if it has ended.
        EnduranceError: if this system does not tell.
    """
    if not os.path.exists("/proc/self/status"):
        raise EnduranceError("memory is read from /proc, which only Linux has")
    values = {}
    try:
        with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(("VmRSS:", "VmHWM:")):
                    values[line[:5]] = int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(process) from None
    if len(values) != 2:  # it has ended, and only its exit code is left
        raise ProcessLookupError(process)
    return values["VmRSS"], values["VmHWM"]


def run_watched(
    inputs: str, out: Path, *, model: str | None = None, interval: float = INTERVAL
) -> Watched:
    """Extract notes with `emlb-run --format documents`, and look at its memory all the while.

    Raises:
        EnduranceError: if it fails, or is over before it was seen.
    """
    command = [sys.executable, "-m", "emlb_cli.run", inputs, "--quiet"]
    command += ["--format", "documents", "--out", str(out)]
    command += ["--model", model] if model else []
    growing = out.with_name(f"{out.name}.part")
    samples: list[Sample] = []
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                try:
                    resident, peak = read_memory(process.pid)
                except ProcessLookupError:
                    break
                seconds = time.perf_counter() - started
                samples.append(Sample(seconds, resident, peak, _size(growing) or _size(out)))
                time.sleep(interval)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    seconds = time.perf_counter() - started
    if code != 0:
        raise EnduranceError(f"emlb-run ended with exit code {code}")
    if not samples:
        raise EnduranceError("emlb-run was over before its memory could be read")
    return Watched(seconds, samples, out.stat().st_size)


def _size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Presence:
    """Which notes an output holds.

    Attributes:
        once: notes that are there exactly once, and extracted.
        missing: that are not there.
        doubled: that are there more than once.
        failed: that have an error record.
        unknown: lines of notes that nobody asked for.
    """

    once: int
    missing: int
    doubled: int
    failed: int
    unknown: int

    @property
    def is_complete(self) -> bool:
        """Whether every note is there exactly once, and nothing else."""
        return not (self.missing or self.doubled or self.failed or self.unknown)

    def __str__(self) -> str:
        wrong = {
            "missing": self.missing,
            "doubled": self.doubled,
            "failed": self.failed,
            "unknown": self.unknown,
        }
        told = [f"{count:,} {what}" for what, count in wrong.items() if count]
        return ", ".join([f"{self.once:,} once", *told])


def check_presence(out: Path, names: Sequence[str]) -> Presence:
    """Look for every note in an output of documents."""
    seen: Counter[str] = Counter()
    failed: set[str] = set()
    with out.open(encoding="utf-8") as lines:
        for line in lines:
            value = json.loads(line)
            seen[value["note"]] += 1
            if "error" in value:
                failed.add(value["note"])
    wanted = set(names)
    return Presence(
        once=sum(seen[name] == 1 and name not in failed for name in wanted),
        missing=sum(seen[name] == 0 for name in wanted),
        doubled=sum(seen[name] > 1 for name in wanted),
        failed=len(failed & wanted),
        unknown=sum(count for name, count in seen.items() if name not in wanted),
    )

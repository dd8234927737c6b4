"""The progress bar of `emlb-run` on standard error."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from emlb_runtime.batch import ExtractionJob, RunStats
from emlb_runtime.batch.output_spec import STDOUT
from emlb_runtime.machine.threads import can_start_thread

from .console import tell

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressDisplay:
    """Shows how far a job has come: a bar if it fits, and a line if an earlier run goes on.

    Args:
        program: the name the line starts with.
        job: the run.
        quiet: show nothing.
    """

    def __init__(self, program: str, job: ExtractionJob, *, quiet: bool) -> None:
        self._program = program
        self._job = job
        self._quiet = quiet
        self._bar: Progress | None = None
        self._begun = False
        self._open = ExitStack()

    def update(self, stats: RunStats) -> None:
        """Show the counts; the first call is before the first note."""
        if not self._begun:
            self._begun = True
            self._begin(stats)
        elif self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=stats.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _begin(self, stats: RunStats) -> None:
        if self._quiet:
            return
        if stats.saved:
            tell(f"{self._program}: going on after {so_far(self._job, stats.saved)}")
        if self._job.total != 1 and _bar_fits(self._job.output.out):
            bar = make_bar(self._job.total, stats.done)
            self._bar = self._open.enter_context(bar) if bar is not None else None


def so_far(job: ExtractionJob, number: int) -> str:
    """A number of notes, and of how many if that is known: ``3 of 12 notes``."""
    if job.total is None:
        return count(number, "note")
    return f"{number:,} of {count(job.total, 'note')}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 note``, ``2,000 notes``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _bar_fits(out: str) -> bool:
    """Whether a bar has a terminal to itself."""
    return sys.stderr.isatty() and not (out == STDOUT and sys.stdout.isatty())


def make_bar(total: int | None, done: int) -> Progress | None:
    """A bar with one task; None where the system refuses the thread that would draw it.

    Args:
        total: notes to come; None if nobody can know.
        done: notes that an earlier run has dealt with.
    """
    if not can_start_thread():
        return None
    # rich costs start-up time.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("notes"), BarColumn(), MofNCompleteColumn(), Elapsed(), Remaining())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("notes", total=total, completed=done)
    return bar

"""What `emlb-run` shows on standard error: a bar while it runs, a line when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from emlb_runtime.records import Document, ErrorRecord

_FAILURES_SHOWN = 5


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    notes: int = 0
    """Notes extracted."""
    entities: int = 0
    relations: int = 0
    warned: int = 0
    """Notes extracted with warnings in their status."""
    failed: int = 0
    """Notes and inputs that have an error record instead."""
    failures: list[ErrorRecord] = field(default_factory=list)
    """The first few of them."""
    before: int = 0
    """Notes that an earlier, unfinished run has extracted; counted in all of the above."""

    @classmethod
    def resume(cls, counts: Sequence[int]) -> Self:
        """Count on from what ``counts`` gave in an earlier run; from zero if it is empty.

        Raises:
            ValueError: if these are not its numbers.
        """
        if not counts:
            return cls()
        notes, entities, relations, warned, failed = counts
        return cls(notes, entities, relations, warned, failed, before=notes)

    def counts(self) -> tuple[int, ...]:
        """The numbers, without names or sentences."""
        return self.notes, self.entities, self.relations, self.warned, self.failed

    @property
    def done(self) -> int:
        """Notes and inputs dealt with."""
        return self.notes + self.failed

    def add(self, result: Document | ErrorRecord) -> None:
        """Count one result."""
        if isinstance(result, ErrorRecord):
            self.failed += 1
            if len(self.failures) < _FAILURES_SHOWN:
                self.failures.append(result)
        else:
            self.notes += 1
            self.entities += len(result.entities)
            self.relations += len(result.relations)
            self.warned += bool(result.status and result.status.warnings)

    def failure_lines(self) -> list[str]:
        """The first failures as lines, and how many more there are."""
        lines = [f"{record.note}: {record.error}" for record in self.failures]
        more = self.failed - len(self.failures)
        if more and not lines:
            return [f"{count(more, 'failure')} before the run was continued"]
        return [*lines, f"and {count(more, 'more failure')}"] if more else lines

    def summary(self, *, seconds: float, provider: str, precision: str) -> str:
        """One line about the whole run.

        Args:
            seconds: how long extraction took, loading the model apart.
            provider: the execution provider that ran.
            precision: the precision that it ran.
        """
        speed = (self.notes - self.before) / seconds if seconds > 0 else 0.0
        parts = [
            count(self.notes, "note"),
            count(self.entities, "entity", "entities"),
            count(self.relations, "relation"),
            f"{speed:,.1f} notes/s",
            provider,
            precision,
        ]
        if self.warned:
            parts.append(f"{self.warned:,} with warnings (--format documents shows them)")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return " · ".join(parts)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 note``, ``2,000 notes``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


@contextmanager
def progress_bar(total: int | None, *, shown: bool, done: int = 0) -> Iterator[Callable[[], None]]:
    """A bar on standard error; what it yields moves it on by one note.

    Args:
        total: notes to come; None if nobody can know.
        shown: False for no bar (and no import of rich, which costs start-up time). There is none
            either where the system refuses the thread that would draw it.
        done: notes that an earlier run has dealt with.
    """
    if shown:
        from emlb_runtime.threads import can_start_thread

        shown = can_start_thread()
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("notes"), BarColumn(), MofNCompleteColumn(), Elapsed(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("notes", total=total, completed=done)
        yield lambda: bar.advance(task)

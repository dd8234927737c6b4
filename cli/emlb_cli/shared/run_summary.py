"""What `emlb-run` prints when it is done: failures, rows left out, and a line about the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emlb_runtime.batch import ExtractionJob, RunStats
from emlb_runtime.formats.folders import describe_suffixes

from .progress import count

if TYPE_CHECKING:
    from emlb_runtime.extract import ExtractorInfo


def summary_lines(program: str, job: ExtractionJob, info: ExtractorInfo) -> Iterator[str]:
    """The lines about a run that is complete.

    Args:
        program: the name the lines start with; the last is the run's own.
        job: the run.
        info: what extracted.
    """
    for line in (*failure_lines(job.stats), *_rows_left_out(job), *_passed_over(job)):
        yield f"{program}: {line}"
    yield summary(job.stats, provider=info.provider, precision=info.precision)


def failure_lines(stats: RunStats) -> list[str]:
    """The first failures as lines, and how many more there are."""
    lines = [f"{record.note}: {record.error}" for record in stats.failures]
    more = stats.failed - len(stats.failures)
    if more and not lines:
        return [f"{count(more, 'failure')} before the run was continued"]
    return [*lines, f"and {count(more, 'more failure')}"] if more else lines


def summary(stats: RunStats, *, provider: str, precision: str) -> str:
    """One line about the whole run.

    Args:
        stats: what was counted.
        provider: the execution provider that ran.
        precision: the precision that it ran.
    """
    speed = (stats.notes - stats.before) / stats.seconds if stats.seconds > 0 else 0.0
    parts = [
        count(stats.notes, "note"),
        count(stats.entities, "entity", "entities"),
        count(stats.relations, "relation")
        + (f" ({stats.facts:,} of them facts)" if stats.told else ""),
        f"{speed:,.1f} notes/s",
        provider,
        precision,
    ]
    if stats.warned:
        parts.append(f"{stats.warned:,} with warnings (--format documents shows them)")
    if stats.failed:
        parts.append(f"{stats.failed:,} failed")
    return " · ".join(parts)


def _rows_left_out(job: ExtractionJob) -> Iterator[str]:
    """Lines about the rows of tables that were passed over."""
    counts = job.row_counts
    if counts is not None and counts.not_wanted:
        yield f"{count(counts.not_wanted, 'row')} of other categories or subjects left out"
    if counts is not None and counts.marked_as_errors:
        yield f"{count(counts.marked_as_errors, 'row')} marked as errors (ISERROR) left out"


def _passed_over(job: ExtractionJob) -> Iterator[str]:
    """A line about the files of folders that are not read."""
    if others := describe_suffixes(job.passed_over):
        yield (
            f"passed over {others}: a folder stands for the .txt files below it; name other"
            " notes by a pattern"
        )

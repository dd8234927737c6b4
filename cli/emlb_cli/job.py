"""One run of `emlb-run`, from the notes that were found to the complete output."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.batch.inputs import Input, Reading, hold_unrepeatable, read_inputs
from emlb_runtime.batch.output import Output, open_output
from emlb_runtime.batch.output_spec import STDOUT, Target
from emlb_runtime.batch.signals import Stopped, StopSignals
from emlb_runtime.errors import EmlbError
from emlb_runtime.formats.folders import describe_suffixes
from emlb_runtime.formats.text import NoteFile, encoding_name
from emlb_runtime.records import ErrorRecord, Note

from .shared.console import ExitCode, drop_stdout, leave, tell
from .shared.progress import Tally, count, progress_bar

if TYPE_CHECKING:
    from emlb_runtime.batch.fingerprint import Fingerprint
    from emlb_runtime.extract import Extractor
    from emlb_runtime.formats.noteevents import RowCounts


@dataclass(frozen=True)
class Job:
    """What one run does.

    Attributes:
        program: what messages begin with.
        files: the notes, found but not read.
        reading: how they are read.
        target: what is written, and where.
        settings: further options that change the output, by their names.
        passed_over: files below folders that are not read, by their suffixes.
        model: the bundle; None is the default model.
        restart: begin anew, whatever an unfinished run has left.
        quiet: show nothing but errors.
    """

    program: str
    files: Sequence[NoteFile | ErrorRecord]
    reading: Reading
    target: Target
    settings: Mapping[str, str]
    passed_over: Counter[str]
    model: Path | None
    restart: bool
    quiet: bool

    @property
    def total(self) -> int | None:
        """How many notes there are; None if that shows at the end only."""
        return len(self.files) if self.reading.counts is None else None


@dataclass
class Course:
    """How far a run has come.

    Attributes:
        tally: what was counted, by an earlier run too.
        output: where results go; None until it is open.
        seconds: how long extraction took, loading the model apart.
    """

    tally: Tally = field(default_factory=Tally)
    output: Output | None = None
    seconds: float = 0.0

    @property
    def kept(self) -> int:
        """Notes that need not come again."""
        return self.output.done if self.output else 0


def run_job(job: Job, load: Callable[[], Extractor]) -> Tally:
    """Load the model, extract what is not done yet, and complete the output.

    Args:
        job: what to do.
        load: loads the model.

    Returns:
        What was counted.

    Raises:
        SystemExit: if a signal, a disk or a bug ended it, which was told in one sentence.
        EmlbError: if it could not begin.
    """
    course = Course()
    with StopSignals() as signals, _end_told(job, course):
        extractor = load()
        _extract(job, extractor, course, signals)
    if not job.quiet:
        _report(job, extractor, course)
    return course.tally


def extract_notes(
    notes: Iterable[Note | ErrorRecord],
    extractor: Extractor,
    *,
    output: Output,
    tally: Tally,
    signals: StopSignals,
    advance: Callable[[], None],
) -> None:
    """Extract notes and write each result as it comes.

    Args:
        notes: notes and error records in output order.
        extractor: what extracts them.
        output: where results go.
        tally: counts them.
        signals: are held off while a result is written.
        advance: called after each.
    """
    for result in extractor.extract_each(notes):
        with signals.held():
            tally.add(output.write(result))
            output.mark(tally.counts())
        advance()


def _extract(job: Job, extractor: Extractor, course: Course, signals: StopSignals) -> None:
    inputs: Sequence[Input] = job.files
    fingerprint = None
    if job.target.is_resumable:
        inputs = hold_unrepeatable(job.files, job.reading)
        fingerprint = _identify(job, extractor, inputs)
    started = time.perf_counter()
    try:
        with open_output(job.target, fingerprint, restart=job.restart) as output:
            course.output, course.tally = output, Tally.resume(output.counts)
            if output.done and not job.quiet:
                tell(f"{job.program}: going on after {_so_far(job, output.done)}")
            shown = not job.quiet and job.total != 1 and _bar_fits(job.target.out)
            with progress_bar(job.total, shown=shown, done=output.done) as advance:
                extract_notes(
                    read_inputs(inputs, job.reading, done=output.done, pass_over=output.pass_over),
                    extractor,
                    output=output,
                    tally=course.tally,
                    signals=signals,
                    advance=advance,
                )
            signals.ignore()
            output.complete()
    finally:
        course.seconds = time.perf_counter() - started


def _identify(job: Job, extractor: Extractor, inputs: Sequence[Input]) -> Fingerprint:
    """What decides the output's bytes."""
    from emlb_runtime.batch.fingerprint import (
        Fingerprint,
        hashed,
        identify_inputs,
        identify_model,
        identify_software,
    )
    from emlb_runtime.batch.hardware import identify_machine

    target, reading, info = job.target, job.reading, extractor.info
    rows = reading.rows
    settings = {
        "--format": str(target.format),
        "--compress": str(target.compression),
        "--shard-notes": str(target.shard_notes),
        "--redact-text": str(target.redact_text),
        "--keep-text": str(target.keep_text),
        "--encoding": encoding_name(reading.encoding),
        "--errors": reading.errors,
        "--markup": reading.markup,
        "--category": hashed(sorted(rows.categories) if rows else ()),
        "--subject": hashed(sorted(rows.subjects) if rows else ()),
        **_identify_columns(reading),
        **job.settings,
        "the model": identify_model(job.model),
        "the precision": info.precision,
        "the provider": info.provider,
        "the windows per run": str(info.batch),
        "the machine": identify_machine(info.provider),
    }
    return Fingerprint(settings | identify_software(), identify_inputs(inputs))


def _identify_columns(reading: Reading) -> dict[str, str]:
    """The columns of tables, where they were named: a run from before they could be goes on."""
    columns = reading.columns
    if columns is None:
        return {}
    return {"--text-column": columns.text, "--id-column": columns.id or "not set"}


@contextmanager
def _end_told(job: Job, course: Course) -> Iterator[None]:
    """Tell in one sentence why a run ended before it was complete, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Stopped) and stop.signal.name == "SIGTERM"
        code = ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
        sentence = f"interrupted after {_so_far(job, _came_to(job, course))}"
        leave(job.program, sentence + _how_to_go_on(job, course), code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        if course.output is None:
            raise
        to_stdout = job.target.out == STDOUT
        where = error.filename or ("standard output" if to_stdout else job.target.out)
        if to_stdout:
            drop_stdout()
        reached = _so_far(job, _came_to(job, course))
        sentence = f"{where}: {error.strerror or type(error).__name__}, after {reached}"
        leave(job.program, sentence + _how_to_go_on(job, course), ExitCode.UNUSABLE)
    except (EmlbError, ModuleNotFoundError):
        raise
    except Exception as error:
        if course.output is None:
            raise
        # Its own words, and a traceback's, may quote a note: only its kind and place are told.
        sentence = f"internal error, {type(error).__name__} at {_place(error)}"
        reached = _so_far(job, _came_to(job, course))
        leave(
            job.program,
            f"{sentence}, after {reached}{_how_to_go_on(job, course)}",
            ExitCode.UNUSABLE,
        )


def _came_to(job: Job, course: Course) -> int:
    return course.kept if job.target.is_resumable else course.tally.done


def _so_far(job: Job, number: int) -> str:
    return (
        count(number, "note") if job.total is None else f"{number:,} of {count(job.total, 'note')}"
    )


def _how_to_go_on(job: Job, course: Course) -> str:
    if not (job.target.is_resumable and course.kept):
        return ""
    return f"; what was written is in {job.target.growing}, and the same command goes on from there"


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"


def _report(job: Job, extractor: Extractor, course: Course) -> None:
    lines = (*course.tally.failure_lines(), *_left_out(job.reading.counts), *_passed_over(job))
    for line in lines:
        tell(f"{job.program}: {line}")
    info = extractor.info
    summary = course.tally.summary(
        seconds=course.seconds, provider=info.provider, precision=info.precision
    )
    tell(summary)


def _left_out(counts: RowCounts | None) -> Iterator[str]:
    """Lines about the rows of tables that were passed over."""
    if counts is not None and counts.not_wanted:
        yield f"{count(counts.not_wanted, 'row')} of other categories or subjects left out"
    if counts is not None and counts.marked_as_errors:
        yield f"{count(counts.marked_as_errors, 'row')} marked as errors (ISERROR) left out"


def _passed_over(job: Job) -> Iterator[str]:
    """A line about the files of folders that are not read."""
    if others := describe_suffixes(job.passed_over):
        yield (
            f"passed over {others}: a folder stands for the .txt files below it; name other"
            " notes by a pattern"
        )


def _bar_fits(out: str) -> bool:
    """Whether a bar has a terminal to itself."""
    return sys.stderr.isatty() and not (out == STDOUT and sys.stdout.isatty())

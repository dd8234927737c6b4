"""Why a run ended before it was complete, and how to go on, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emlb_runtime.batch import ExtractionJob, Stopped
from emlb_runtime.batch.output_spec import STDOUT
from emlb_runtime.errors import EmlbError

from .console import ExitCode, drop_stdout, leave
from .progress import so_far


@contextmanager
def explain_endings(program: str, job: ExtractionJob) -> Iterator[None]:
    """End with a sentence and an exit code where a signal, a disk or a bug ends a run.

    Args:
        program: the name the sentence starts with.
        job: the run.

    Raises:
        SystemExit: in place of a signal, an error of writing, or an internal error.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Stopped) and stop.signal.name == "SIGTERM"
        code = ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
        leave(program, f"interrupted after {_reached(job)}{_how_to_go_on(job)}", code)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or not job.has_begun:
            raise
        to_stdout = job.output.out == STDOUT
        where = error.filename or ("standard output" if to_stdout else job.output.out)
        if to_stdout:
            drop_stdout()
        sentence = f"{where}: {error.strerror or type(error).__name__}, after {_reached(job)}"
        leave(program, sentence + _how_to_go_on(job), ExitCode.UNUSABLE)
    except (EmlbError, ModuleNotFoundError):
        raise
    except Exception as error:
        if not job.has_begun:
            raise
        # Its own words, and a traceback's, may quote a note: only its kind and place are told.
        sentence = f"internal error, {type(error).__name__} at {_place(error)}"
        sentence += f", after {_reached(job)}{_how_to_go_on(job)}"
        leave(program, sentence, ExitCode.UNUSABLE)


def _reached(job: ExtractionJob) -> str:
    return so_far(job, job.stats.saved if job.output.is_resumable else job.stats.done)


def _how_to_go_on(job: ExtractionJob) -> str:
    if not (job.output.is_resumable and job.stats.saved):
        return ""
    return f"; what was written is in {job.output.growing}, and the same command goes on from there"


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"

"""`emlb-run`: notes in, triples out. Imports stay few so that it starts fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from emlb_cli.shared.console import ExitCode, one_sentence_errors, tell, warnings_told
from emlb_cli.shared.progress import ProgressDisplay
from emlb_cli.shared.run_endings import explain_endings
from emlb_cli.shared.run_parser import Arguments, parse_arguments
from emlb_cli.shared.run_summary import summary_lines
from emlb_runtime.batch import ExtractionJob, OutputSpec, StopSignals

if TYPE_CHECKING:
    from emlb_runtime.extract import Extractor

PROGRAM = "emlb-run"


def main() -> None:
    """The entry point of ``emlb-run``."""
    try:
        command(sys.argv[1:])
    except SystemExit as stop:
        if stop.code not in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            raise
        # All is written, and a worker may be minutes from the end of a note nobody waits for.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(stop.code)


def command(arguments: Sequence[str]) -> NoReturn:
    """Extract what a command line asks for.

    Args:
        arguments: without the program's name.

    Raises:
        SystemExit: always, with an ``ExitCode``.
    """
    asked = parse_arguments(PROGRAM, arguments)
    with one_sentence_errors(PROGRAM), warnings_told(PROGRAM):
        job = make_job(asked)
        with StopSignals() as signals, explain_endings(PROGRAM, job):
            extractor = load_extractor(
                asked.model,
                provider=asked.provider,
                workers=asked.workers,
                min_score=asked.min_score,
                precision=asked.precision,
            )
            with ProgressDisplay(PROGRAM, job, quiet=asked.quiet) as display:
                stats = job.run(extractor, on_progress=display.update, signals=signals)
        if not asked.quiet:
            for line in summary_lines(PROGRAM, job, extractor.info):
                tell(line)
    raise SystemExit(ExitCode.SOME_FAILED if stats.failed else ExitCode.DONE)


def make_job(asked: Arguments) -> ExtractionJob:
    """The job that a command line describes.

    Raises:
        EmlbError: if it cannot be done.
    """
    output = OutputSpec(
        asked.out,
        asked.format,
        compress=asked.compress,
        shard_notes=asked.shard_notes,
        redact_text=asked.redact_text,
        keep_text=asked.keep_text,
        asserted=asked.asserted,
    )
    return ExtractionJob(
        asked.inputs,
        output,
        encoding=asked.encoding,
        errors=asked.errors,
        markup=asked.markup,
        id_column=asked.id_column,
        text_column=asked.text_column,
        categories=asked.category,
        subjects=asked.subject,
        restart=asked.restart,
    )


def load_extractor(
    model: Path | None,
    *,
    provider: str,
    workers: int | None,
    min_score: float,
    precision: str | None,
) -> Extractor:
    """Load a bundle, or the bundled default model for None."""
    from emlb_runtime.extract import Extractor

    extractor = Extractor.load(
        model, provider=provider, workers=workers, precision=precision, min_score=min_score
    )
    for note in extractor.info.notes:
        tell(f"{PROGRAM}: {note}")
    return extractor


if __name__ == "__main__":
    main()

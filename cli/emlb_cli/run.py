"""`emlb-run`: notes in, triples out. Imports stay few so that it starts fast."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from emlb_cli.shared.run_parser import parse_arguments
from emlb_cli.shared.enums import Format
from emlb_cli.shared.console import ExitCode, one_sentence_errors, tell, warnings_told
from emlb_runtime.batch.inputs import Reading, choose_columns, choose_rows, find_some_notes, leave_out
from emlb_cli.job import Job, run_job
from emlb_runtime.batch.output_spec import Target, check_output, choose_compression
from emlb_runtime.formats.text import NoteFile, check_encoding, check_markup

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


def command(arguments: Sequence[str]) -> NoReturn:
    """Extract what a command line asks for.

    Args:
        arguments: without the program's name.

    Raises:
        SystemExit: always, with an ``ExitCode``.
    """
    asked = parse_arguments(PROGRAM, arguments)
    with one_sentence_errors(PROGRAM), warnings_told(PROGRAM):
        check_encoding(asked.encoding, errors=asked.errors)
        check_markup(asked.markup)
        many = asked.shard_notes is not None or asked.format is Format.BRAT
        compression = choose_compression(asked.out, asked.compress, many=many)
        target = Target(
            asked.out,
            asked.format,
            compression,
            asked.shard_notes,
            asked.redact_text,
            asked.keep_text,
        )
        columns = choose_columns(asked.id_column, asked.text_column)
        passed_over: Counter[str] = Counter()
        found = find_some_notes(asked.inputs, columns=columns, passed_over=passed_over)
        files = leave_out(found, target.leftovers())
        rows, counts = choose_rows(
            files, categories=asked.category, subjects=asked.subject, columns=columns
        )
        check_output(target, notes=[f.path for f in files if isinstance(f, NoteFile) and f.path])
        job = Job(
            program=PROGRAM,
            files=files,
            reading=Reading(asked.encoding, asked.errors, asked.markup, columns, rows, counts),
            target=target,
            # An option that changes the output belongs here, or a broken run could be
            # continued with another value. The number of workers changes nothing.
            settings={"--min-score": str(asked.min_score)},
            passed_over=passed_over,
            model=asked.model,
            restart=asked.restart,
            quiet=asked.quiet,
        )
        tally = run_job(
            job,
            lambda: load_extractor(
                asked.model,
                provider=asked.provider,
                workers=asked.workers,
                min_score=asked.min_score,
                precision=asked.precision,
            ),
        )
    raise SystemExit(ExitCode.SOME_FAILED if tally.failed else ExitCode.DONE)


if __name__ == "__main__":
    main()

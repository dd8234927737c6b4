"""`emlb-run`: notes in, triples out. Imports stay few so that it starts fast."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emlb_cli.common import ExitCode, leave, one_sentence_errors, print_version
from emlb_cli.output import STDOUT, check_output, open_output, partial_path
from emlb_cli.progress import Tally, count, progress_bar
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats.text import (
    DECODING_ERRORS,
    NoteFile,
    check_encoding,
    find_notes,
    read_notes,
)
from emlb_runtime.records import Document, ErrorRecord, Note

if TYPE_CHECKING:
    from emlb_runtime.extract import Extractor
    from emlb_runtime.formats.noteevents import NoteEvents, RowCounts
    from emlb_runtime.formats.writers import Writer

PROGRAM = "emlb-run"

# Plain help and plain tracebacks: rich would cost a fifth of the start-up time.
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Format(StrEnum):
    """What is written."""

    TRIPLES = "triples"
    DOCUMENTS = "documents"
    BRAT = "brat"


class Provider(StrEnum):
    """What the networks run on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """Which of a bundle's encoders runs."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


def main() -> None:
    """The entry point of ``emlb-run``."""
    app(prog_name=PROGRAM)


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

    return Extractor.load(
        model, provider=provider, workers=workers, precision=precision, min_score=min_score
    )


def find_some_notes(inputs: Sequence[str]) -> list[NoteFile | ErrorRecord]:
    """Find the notes of all inputs.

    Raises:
        DataError: if there is not a single one.
    """
    files = find_notes(inputs)
    if not any(isinstance(file, NoteFile) for file in files):
        reasons = [f"{file.note}: {file.error}" for file in files if isinstance(file, ErrorRecord)]
        more = f"; and {len(reasons) - 1:,} more inputs like it" if len(reasons) > 1 else ""
        raise DataError(f"no note found: {reasons[0]}{more}")
    return files


def choose_rows(
    files: Sequence[NoteFile | ErrorRecord], *, categories: Sequence[str], subjects: Sequence[str]
) -> tuple[NoteEvents, RowCounts] | tuple[None, None]:
    """Which rows of tables are wanted, and where they are counted; None without a table.

    Raises:
        ConfigError: if rows are chosen, but no input is a table.
    """
    if any(isinstance(file, NoteFile) and file.is_table for file in files):
        from emlb_runtime.formats.noteevents import NoteEvents, RowCounts

        return NoteEvents(tuple(categories), tuple(subjects)), RowCounts()
    if categories or subjects:
        raise ConfigError(
            "--category and --subject choose rows of a NOTEEVENTS table, and no input is one:"
            " name a .csv or .csv.gz file with the columns ROW_ID, SUBJECT_ID and TEXT"
        )
    return None, None


def report_empty_choice(
    notes: Iterable[Note | ErrorRecord], rows: NoteEvents | None, counts: RowCounts | None
) -> Iterator[Note | ErrorRecord]:
    """The notes; a record behind them if rows were chosen and there is none of that choice."""
    yield from notes
    if rows is None or counts is None or not (rows.categories or rows.subjects):
        return
    if counts.notes + counts.marked_as_errors == 0:
        chosen = " and ".join(
            option
            for option, values in (("--category", rows.categories), ("--subject", rows.subjects))
            if values
        )
        yield ErrorRecord(chosen, "no usable row of the tables is what was asked for")


def extract_notes(
    notes: Iterable[Note | ErrorRecord],
    extractor: Extractor,
    *,
    writer: Writer,
    tally: Tally,
    advance: Callable[[], None],
) -> None:
    """Extract notes and write each result as it comes.

    Args:
        notes: notes and error records in output order.
        extractor: what extracts them.
        writer: where results go.
        tally: counts them, so that an interrupted run knows how far it came.
        advance: called after each.
    """
    for result in extractor.extract_each(notes):
        tally.add(_write(result, writer))
        advance()


def _write(result: Document | ErrorRecord, writer: Writer) -> Document | ErrorRecord:
    """Write a result, or a record of why the format cannot hold it; returns what it wrote."""
    if not isinstance(result, ErrorRecord):
        try:
            writer.write(result)
            return result
        except DataError as error:
            name = result.note.name
            result = ErrorRecord(name, str(error).removeprefix(f"{name}: "))
    writer.write_error(result)
    return result


@app.command(
    no_args_is_help=True,
    epilog="Exit codes: 0 all notes extracted; 1 some have an error record instead;"
    " 2 nothing could be done; 130 interrupted.",
)
def run(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Note files, patterns such as 'notes/**/*.txt', folders (every .txt file"
            " below), or - for standard input. A .csv or .csv.gz file that is MIMIC's"
            " NOTEEVENTS stands for its rows, each a note named by its ROW_ID.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Output file (a folder for brat; - is standard output). A file grows as"
            " FILE.part and takes its name when complete.",
        ),
    ] = STDOUT,
    format: Annotated[
        Format,
        typer.Option(
            help="triples: a JSON line per relation. documents: a JSON line per note with its"
            " entities, relations and status. brat: .txt and .ann files."
        ),
    ] = Format.TRIPLES,
    model: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Folder of an exported model.  [default: bundled]"),
    ] = None,
    provider: Annotated[
        Provider, typer.Option(help="auto takes CUDA where it is to be had, else the CPU.")
    ] = Provider.AUTO,
    precision: Annotated[
        Precision | None, typer.Option(help="Which encoder to run.  [default: the bundle's own]")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Parallel workers.  [default: one per core]"),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(
            metavar="SCORE",
            min=0.0,
            max=1.0,
            help="Leave out entities and relations scored lower.",
        ),
    ] = 0.0,
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Encoding of the notes.")] = "utf-8",
    errors: Annotated[
        str,
        typer.Option(
            metavar="|".join(DECODING_ERRORS),
            help="What to do with bytes that the encoding does not know. strict: an error"
            " record for that note.",
        ),
    ] = "strict",
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Of NOTEEVENTS, only rows of this CATEGORY. May be given several times.",
        ),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Of NOTEEVENTS, only rows of this SUBJECT_ID. May be given several times.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=lambda asked: print_version(PROGRAM, asked),
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Extract entities and relations from clinical notes.

    Example: emlb-run notes/*.txt --out triples.jsonl

    A note that cannot be read or extracted has an error record in the output; the others
    are extracted all the same. Nothing leaves this machine.
    """
    with one_sentence_errors(PROGRAM):
        check_encoding(encoding, errors=errors)
        files = find_some_notes(inputs)
        paths = [file.path for file in files if isinstance(file, NoteFile) and file.path]
        rows, counts = choose_rows(files, categories=category or (), subjects=subject or ())
        check_output(out, format=format, notes=paths)
        tally = Tally()
        total = len(files) if counts is None else None  # how many rows shows at the end only
        bar_shown = not quiet and total != 1 and _bar_fits(out)
        try:
            extractor = load_extractor(
                model,
                provider=provider,
                workers=workers,
                min_score=min_score,
                precision=precision,
            )
            started = time.perf_counter()
            with (
                open_output(out, format=format) as writer,
                # rich shows a bar without an end for None
                progress_bar(total, shown=bar_shown) as advance,
            ):
                notes = read_notes(
                    files, encoding=encoding, errors=errors, rows=rows, counts=counts
                )
                notes = report_empty_choice(notes, rows, counts)
                extract_notes(notes, extractor, writer=writer, tally=tally, advance=advance)
        except KeyboardInterrupt:
            leave(PROGRAM, _interrupted(tally, total, out), ExitCode.INTERRUPTED)
        if not quiet:
            _report(tally, extractor, seconds=time.perf_counter() - started, counts=counts)
    raise typer.Exit(ExitCode.SOME_FAILED if tally.failed else ExitCode.DONE)


def _report(
    tally: Tally, extractor: Extractor, *, seconds: float, counts: RowCounts | None
) -> None:
    for line in (*tally.failure_lines(), *_left_out(counts)):
        typer.echo(f"{PROGRAM}: {line}", err=True)
    info = extractor.info
    summary = tally.summary(seconds=seconds, provider=info.provider, precision=info.precision)
    typer.echo(summary, err=True)


def _left_out(counts: RowCounts | None) -> Iterator[str]:
    """Lines about the rows of tables that were passed over."""
    if counts is not None and counts.not_wanted:
        yield f"{count(counts.not_wanted, 'row')} of other categories or subjects left out"
    if counts is not None and counts.marked_as_errors:
        yield f"{count(counts.marked_as_errors, 'row')} marked as errors (ISERROR) left out"


def _bar_fits(out: str) -> bool:
    """Whether a bar has a terminal to itself."""
    return sys.stderr.isatty() and not (out == STDOUT and sys.stdout.isatty())


def _interrupted(tally: Tally, total: int | None, out: str) -> str:
    came_to = tally.notes + tally.failed
    notes = count(came_to, "note") if total is None else f"{came_to:,} of {count(total, 'note')}"
    done = f"interrupted after {notes}"
    kept = out != STDOUT and partial_path(out).exists()
    return f"{done}; what was written is in {partial_path(out)}" if kept else done


if __name__ == "__main__":
    main()

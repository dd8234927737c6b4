"""`emlb-run`: notes in, triples out. Imports stay few so that it starts fast."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emlb_cli.common import ExitCode, one_sentence_errors, print_version
from emlb_cli.compression import Compression
from emlb_cli.inputs import Reading, choose_rows, find_some_notes, leave_out
from emlb_cli.job import Job, run_job
from emlb_cli.target import STDOUT, Target, check_output, choose_compression
from emlb_runtime.formats.text import DECODING_ERRORS, NoteFile, check_encoding

if TYPE_CHECKING:
    from emlb_runtime.extract import Extractor

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
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"


class Precision(StrEnum):
    """Which of a bundle's encoders runs."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


def main() -> None:
    """The entry point of ``emlb-run``."""
    try:
        app(prog_name=PROGRAM)
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
        typer.echo(f"{PROGRAM}: {note}", err=True)
    return extractor


@app.command(
    no_args_is_help=True,
    epilog="Exit codes: 0 all notes extracted; 1 some have an error record instead;"
    " 2 it could not begin or go on; 130 interrupted; 143 terminated.",
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
            help="Output file (a folder for brat and shards; - is standard output). A file"
            " grows as FILE.part and takes its name when complete. Cut off at any instant, it"
            " is continued by the same command; standard output and pipes are not.",
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
        Provider,
        typer.Option(
            help="auto takes CUDA where it is to be had and the bundle has fp16 or fp32, else"
            " the CPU. Another one runs, or the command says what is missing."
        ),
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
    compress: Annotated[
        Compression | None,
        typer.Option(
            help="Compress the file or the shards; zst needs Python 3.14.  [default: as the"
            " name of --out ends]"
        ),
    ] = None,
    shard_notes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Write a folder with part-00001.jsonl and so on, N notes in each.",
        ),
    ] = None,
    redact_text: Annotated[
        bool,
        typer.Option("--redact-text", help="Leave the text of mentions out: offsets only."),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Begin anew, and remove what an unfinished run of this output has written.",
        ),
    ] = False,
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
        many = shard_notes is not None or format is Format.BRAT
        compression = choose_compression(out, compress, many=many)
        target = Target(out, format, compression, shard_notes, redact_text)
        files = leave_out(find_some_notes(inputs), target.leftovers())
        paths = [file.path for file in files if isinstance(file, NoteFile) and file.path]
        rows, counts = choose_rows(files, categories=category or (), subjects=subject or ())
        check_output(target, notes=paths)
        job = Job(
            program=PROGRAM,
            files=files,
            reading=Reading(encoding, errors, rows, counts),
            target=target,
            # An option that changes the output belongs here, or a broken run could be
            # continued with another value. The number of workers changes nothing.
            settings={"--min-score": str(min_score)},
            model=model,
            restart=restart,
            quiet=quiet,
        )
        tally = run_job(
            job,
            lambda: load_extractor(
                model,
                provider=provider,
                workers=workers,
                min_score=min_score,
                precision=precision,
            ),
        )
    raise typer.Exit(ExitCode.SOME_FAILED if tally.failed else ExitCode.DONE)


if __name__ == "__main__":
    main()

"""What `emlb-run` understands on its command line.

The command starts once per note in many a script, and typer, which reads the command lines of
`emlb`, takes longer to begin (with pydantic behind it) than ONNX Runtime does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from emlb_runtime import __version__
from emlb_runtime.batch.compression import Compression
from emlb_runtime.batch.output_spec import STDOUT
from emlb_runtime.formats.notes import DECODING_ERRORS, MARKUP

from .enums import Format, Precision, Provider

_DESCRIPTION = """\
Extract entities and relations from clinical notes.

Example: %(prog)s notes/*.txt --out triples.jsonl

A note that cannot be read or extracted has an error record in the output; the
others are extracted. Nothing leaves this machine.
"""

_EPILOG = """\
Exit codes: 0 all notes extracted; 1 some have an error record instead; 2 it could
not begin or go on; 130 interrupted; 143 terminated.
"""

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True)
class Arguments:
    """A command line of `emlb-run`; the help says what each is."""

    inputs: list[str]
    out: str
    format: Format
    model: Path | None
    provider: Provider
    precision: Precision | None
    workers: int | None
    min_score: float
    asserted: bool
    encoding: str
    errors: str
    markup: str
    id_column: str | None
    text_column: str | None
    category: list[str]
    subject: list[str]
    compress: Compression | None
    shard_notes: int | None
    redact_text: bool
    keep_text: bool
    restart: bool
    quiet: bool


def parse_arguments(program: str, arguments: Sequence[str]) -> Arguments:
    """Read a command line; options may stand before, between and after the inputs.

    Args:
        program: its name in messages.
        arguments: without that name.

    Raises:
        SystemExit: 0 after ``--help`` and ``--version``; 2 after one sentence on standard
            error if it is not to be understood, after the help if there is nothing.
    """
    parser = _parser(program)
    if not arguments:
        parser.exit(2, parser.format_help())
    found = parser.parse_intermixed_args(arguments)
    return Arguments(
        **{
            **vars(found),
            "format": Format(found.format),
            "provider": Provider(found.provider),
            "precision": _chosen(Precision, found.precision),
            "compress": _chosen(Compression, found.compress),
        }
    )


def _chosen(kind: type[_Choice], value: str | None) -> _Choice | None:
    return None if value is None else kind(value)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [OPTIONS] INPUT ...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an option to come could make a script's abbreviation ambiguous
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Note files, patterns such as 'notes/**/*.txt', folders (every .txt file below), or"
        " - for standard input. A named table stands for its rows: MIMIC's NOTEEVENTS, each a"
        " note named by its ROW_ID, or any with --text-column.",
    )
    _add_output(parser)
    _add_model(parser)
    _add_reading(parser)
    parser.add_argument("--quiet", "-q", action="store_true", help="No progress bar, no summary.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        "-o",
        metavar="FILE",
        default=STDOUT,
        help="Output file (a folder for brat and shards; - is standard output). A file grows as"
        " FILE.part and takes its name when complete. Cut off at any instant, it is continued"
        " by the same command; standard output and pipes are not.  [default: -]",
    )
    _add_choice(
        parser,
        "--format",
        Format,
        default=Format.TRIPLES,
        help="triples: a JSON line per relation. documents: a JSON line per note with its"
        " entities, relations and status. brat: .txt and .ann files.  [default: triples]",
    )
    _add_choice(
        parser,
        "--compress",
        Compression,
        help="Compress the file or the shards; zst needs Python 3.14.  [default: as the name of"
        " --out ends]",
    )
    parser.add_argument(
        "--shard-notes",
        metavar="N",
        type=_at_least_one,
        help="Write a folder with part-00001.jsonl and so on, N notes in each.",
    )
    parser.add_argument(
        "--redact-text",
        action="store_true",
        help="Leave the text of mentions out: offsets only.",
    )
    parser.add_argument(
        "--keep-text",
        action="store_true",
        help="Write the text of each note into its line of documents: the text that the offsets"
        " count, which is not the file's where its markup was stripped.",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="Begin again, and remove what an unfinished run of this output has written.",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        type=Path,
        help="Folder of an exported model.  [default: bundled]",
    )
    _add_choice(
        parser,
        "--provider",
        Provider,
        default=Provider.AUTO,
        help="auto takes CUDA where it is available and the bundle has fp16 or fp32, else the"
        " CPU. Any other choice runs, or the command says what is missing.  [default: auto]",
    )
    _add_choice(
        parser,
        "--precision",
        Precision,
        help="Which encoder to run.  [default: the bundle's own]",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_at_least_one,
        help="Parallel workers.  [default: one per core]",
    )
    parser.add_argument(
        "--min-score",
        metavar="SCORE",
        type=_score,
        default=0.0,
        help="Leave out entities and relations scored lower.  [default: 0]",
    )
    parser.add_argument(
        "--asserted",
        action="store_true",
        help="Leave out relations that are no facts: of a mention that is absent, hypothetical or"
        " of another person, where the model tells.",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        default="utf-8",
        help="Encoding of the notes.  [default: utf-8]",
    )
    parser.add_argument(
        "--errors",
        metavar="|".join(DECODING_ERRORS),
        default="strict",
        help="What to do with bytes that the encoding does not know. strict: an error record"
        " for that note.  [default: strict]",
    )
    parser.add_argument(
        "--markup",
        choices=MARKUP,
        metavar="|".join(MARKUP),
        default="refuse",
        help="What to do with a note in RTF, HTML, HL7 CDA or HL7 v2. refuse: an error record."
        " strip: extract from its text; needs emlb[documents].  [default: refuse]",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="Read a note from each row of the named tables (CSV, TSV, semicolons, pipes) and"
        " JSON lines, plain or .gz: its text is in this column or member.",
    )
    parser.add_argument(
        "--id-column",
        metavar="NAME",
        help="The column or member that names the notes of --text-column.  [default: FILE:LINE]",
    )
    parser.add_argument(
        "--category",
        metavar="NAME",
        action="append",
        default=[],
        help="Of tables, only rows of this CATEGORY (note_type). May be given several times.",
    )
    parser.add_argument(
        "--subject",
        metavar="ID",
        action="append",
        default=[],
        help="Of tables, only rows of this SUBJECT_ID. May be given several times.",
    )


def _add_choice(
    parser: argparse.ArgumentParser,
    name: str,
    kind: type[StrEnum],
    *,
    help: str,
    default: StrEnum | None = None,
) -> None:
    values = [value.value for value in kind]
    parser.add_argument(name, metavar="|".join(values), choices=values, default=default, help=help)


def _at_least_one(value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of at least 1")
    return number


def _score(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:  # so that NaN is refused
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 0 to 1")
    return number

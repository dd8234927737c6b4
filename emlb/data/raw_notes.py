"""Notes without annotations: plain text, JSON lines with a text each, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emlb_runtime.errors import DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._json_lines import parse_line
from emlb_runtime.formats.files.compressed import open_unzipped, unzipped_name
from emlb_runtime.formats.files.limits import NOTE, TooLarge, read_file, read_lines
from emlb_runtime.formats.finding import TABLE_SUFFIXES
from emlb_runtime.formats.folders import files_below
from emlb_runtime.formats.not_notes import recognise
from emlb_runtime.formats.noteevents import NoteEvents
from emlb_runtime.formats.report import Problem, Report, count_document, unusable, why_unreadable
from emlb_runtime.formats.sniff import sniff
from emlb_runtime.formats.tables import NoteColumns, judge_table, scan_table
from emlb_runtime.records import Document, Note

from .formats.reading import Reading

_BOM = b"\xef\xbb\xbf"


def read_text(path: Path, files: Sequence[Path]) -> Reading:
    """Notes in JSON lines, and in the ``.txt`` files of a folder.

    Args:
        path: the folder, or the one file.
        files: the JSON lines.
    """
    for file in files:
        yield from _raw_lines(file)
    if path.is_dir():
        for file in files_below(path, ".txt"):
            if reason := why_unreadable(file):
                yield None, unusable(file, reason)
                continue
            text = read_file(file, NOTE).decode("utf-8", "surrogatepass")
            if other := recognise(text):
                yield None, unusable(file, f"it is {other.name}, not a note")
            else:
                yield without_annotations(
                    Note(file.relative_to(path).as_posix()[: -len(".txt")], text)
                )


def read_tables(files: Sequence[Path], columns: NoteColumns) -> Reading:
    """Notes in the rows of tables and JSON lines that have these columns."""
    for file in files:
        for note in scan_table(file, columns, wanted=NoteEvents(with_errors=True)):
            if isinstance(note, Note):
                yield without_annotations(note)
            else:
                yield None, unusable(file, note.reason, line=note.first)


def _raw_lines(file: Path) -> Reading:
    """Notes of JSON lines that have a text and no annotations, named by file and line."""
    number = 0
    with open_unzipped(file) as stream:
        try:
            for number, line in enumerate(read_lines(stream), start=1):
                yield _raw_line(file, number, line)
        except TooLarge as error:
            yield None, unusable(file, error.reason, line=number + 1)
            rest = Problem(str(file), number + 2, "", reasons.NOT_READ_ON)
            yield None, Report({}, (rest,))


def _raw_line(file: Path, number: int, line: bytes) -> tuple[Document | None, Report]:
    try:
        text = (parse_line(line.removeprefix(_BOM)) or {}).get("text")
    except TooLarge as error:
        return None, unusable(file, error.reason, line=number)
    except DataError:
        return None, unusable(file, reasons.DEEP_JSON, line=number)
    if not isinstance(text, str):
        return None, unusable(file, reasons.MALFORMED, line=number)
    stem = unzipped_name(file).removesuffix(".jsonl")
    return without_annotations(Note(f"{stem}:{number}", text))


def without_annotations(note: Note) -> tuple[Document, Report]:
    """A raw note as a document."""
    document = Document(note)
    return document, Report(count_document(document))


def why_unknown(path: Path) -> str:
    """Why a file has no format that is known, with its columns if it is a table."""
    if path.name.lower().endswith(TABLE_SUFFIXES):
        verdict = judge_table(path, None, by_name=True)
    else:
        verdict = _why_no_note(path)
    if isinstance(verdict, str):
        return verdict
    return "neither JSON lines of documents nor a NOTEEVENTS table"


def _why_no_note(path: Path) -> str | bool:
    try:
        data = read_file(path, NOTE)
    except (TooLarge, OSError):
        return False
    if (found := sniff(data)) is not None:
        return f"it is {found.name}, not plain text: {found.advice}"
    other = recognise(data.decode("utf-8", "replace"))
    return other.sentence if other is not None else False

"""Notes in the rows of a table or of JSON lines, of any tool: CSV, TSV, semicolons, pipes.

MIMIC's own tables are recognised by their header (see ``noteevents``). Of any other the caller
names the columns that hold the ids and the texts. Rows are read one at a time; what grows with
the table is 16 to 32 bytes for each id, to notice one that comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from emlb_runtime.errors import DataError
from emlb_runtime.formats.files.limits import LINE, MIB, TooLarge
from emlb_runtime.records import ErrorRecord, Note

from . import report as reasons
from ._csv_rows import READ_ERRORS, BrokenRow, Row, to_record, why_unread
from ._json_lines import parse_line
from ._note_rows import (
    HEADER_LIMIT,
    Columns,
    NoteEvents,
    NoteReader,
    RowCounts,
    open_text,
)
from ._table_columns import (
    BOM,
    MIMIC_NAMES,
    NoteColumns,
    find_columns,
    find_name,
    judge_table,
    members_of,
    refuse_json,
)
from .files.compressed import open_unzipped
from .noteevents import is_noteevents, scan_noteevents
from .notes import check_encoding

__all__ = ["NoteColumns", "judge_table", "read_table", "refuse_json", "scan_table"]

_OF_JSON = Columns(
    count=5, id=0, text=1, category=2, subject=3, is_error=4, chosen=True, delimiter=""
)


def read_table(
    path: Path,
    columns: NoteColumns,
    *,
    wanted: NoteEvents | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    name: str | None = None,
    counts: RowCounts | None = None,
) -> Iterator[Note | ErrorRecord]:
    """Read the notes of a table or of JSON lines one by one, each text exactly as it stands.

    A table of MIMIC's that lacks the columns is read as ``read_noteevents`` reads it.

    Args:
        path: the file, plain or gzipped.
        columns: which hold the notes.
        wanted: which rows, by columns CATEGORY (note_type), SUBJECT_ID and ISERROR if they are
            there.
        encoding: of the file, as Python names it; JSON lines need an ASCII-compatible one.
        errors: one of ``notes.DECODING_ERRORS``; if strict, a text with bytes that the encoding
            does not know costs its own row.
        name: what error records call the file; its path if None.
        counts: counts the rows as they are read.

    Yields:
        Notes in the file's order. In the place of a row that makes none, a record that names the
        file, the lines and the reason: no id or text, an id that came before, the wrong number
        of columns, no JSON object.

    Raises:
        ConfigError: if the encoding or ``errors`` is unknown.
    """
    name = path.as_posix() if name is None else name
    found = scan_table(
        path, columns, wanted=wanted, encoding=encoding, errors=errors, name=name, counts=counts
    )
    for item in found:
        yield item if isinstance(item, Note) else to_record(item, name)


def scan_table(
    path: Path,
    columns: NoteColumns,
    *,
    wanted: NoteEvents | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    name: str | None = None,
    counts: RowCounts | None = None,
) -> Iterator[Note | BrokenRow]:
    """Like read_table, with what could not be read as a record of its own.

    Raises:
        ConfigError: if the encoding or ``errors`` is unknown.
    """
    name = path.as_posix() if name is None else name
    check_encoding(encoding, errors=errors)
    counts = RowCounts() if counts is None else counts
    wanted = wanted or NoteEvents()
    reader = NoteReader(wanted, encoding, errors, counts, name)
    try:
        is_json = members_of(path) is not None
        found = _read_json(path, columns, reader) if is_json else _read_rows(path, columns, reader)
        if not is_json and _is_mimic(path, columns, encoding):
            found = scan_noteevents(
                path, wanted=wanted, encoding=encoding, errors=errors, counts=counts
            )
        yield from found
    except TooLarge as error:
        yield BrokenRow(1, 0, error.reason)
    except READ_ERRORS as error:
        yield BrokenRow(1, 0, why_unread(error))


def _is_mimic(path: Path, columns: NoteColumns, encoding: str) -> bool:
    with open_text(path, encoding) as stream:
        header = stream.readline(HEADER_LIMIT)
    return find_columns(header, columns) is None and is_noteevents(path)


def _read_rows(path: Path, columns: NoteColumns, reader: NoteReader) -> Iterator[Note | BrokenRow]:
    with open_text(path, reader.encoding) as stream:
        found = find_columns(stream.readline(HEADER_LIMIT), columns)
        if found is None:
            yield BrokenRow(1, 0, reasons.NO_CHOSEN_COLUMN)
        else:
            yield from reader.read(stream, found)


def _read_json(path: Path, columns: NoteColumns, reader: NoteReader) -> Iterator[Note | BrokenRow]:
    found = _OF_JSON if columns.id else Columns(5, None, 3, 1, 2, 4, chosen=True)
    with open_unzipped(path) as stream:
        yield from reader.notes(_json_rows(stream, columns, reader), found)


def _json_rows(
    stream: BinaryIO, columns: NoteColumns, reader: NoteReader
) -> Iterator[Row | BrokenRow]:
    """The lines that are not blank, as rows of id, text, category, subject and ISERROR."""
    most = LINE.value
    number = 0
    while line := stream.readline(most + 1):
        number += 1
        if len(line) > most:
            yield BrokenRow(number, number, TooLarge(LINE).reason)
            while line and not line.endswith(b"\n"):
                line = stream.readline(MIB)
        elif line.strip():
            line = line.removeprefix(BOM) if number == 1 else line
            yield _json_row(line, number, columns, reader)


def _json_row(
    line: bytes, number: int, columns: NoteColumns, reader: NoteReader
) -> Row | BrokenRow:
    try:
        text = line.decode(reader.encoding, reader.errors)
        value = parse_line(text.encode("utf-8", "surrogatepass"))
    except UnicodeError:
        return BrokenRow(number, number, reasons.NOT_DECODED)
    except TooLarge as error:
        return BrokenRow(number, number, error.reason)
    except DataError:
        return BrokenRow(number, number, reasons.DEEP_JSON)
    if value is None:
        return BrokenRow(number, number, reasons.NO_OBJECT)
    note = _member(value, columns.text)
    if note is not None and not isinstance(note, str):
        return BrokenRow(number, number, reasons.NO_STRING)
    id = _scalar(_member(value, columns.id)) if columns.id else ""
    lower = {name.lower(): name for name in value}
    others = [
        _scalar(next((value[lower[name]] for name in choices if name in lower), None))
        for choices in MIMIC_NAMES
    ]
    return Row(number, number, [id, note or "", *others])


def _member(value: dict[str, Any], name: str) -> Any:
    if name in value:
        return value[name]
    place = find_name(list(value), name)
    return None if place is None else value[list(value)[place]]


def _scalar(value: Any) -> str:
    """A string, number or truth value as JSON writes it; empty for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""

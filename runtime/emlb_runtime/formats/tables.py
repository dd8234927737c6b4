"""Notes in the rows of a table or of JSON lines, of any tool: CSV, TSV, semicolons, pipes.

MIMIC's own tables are recognised by their header (see ``noteevents``). Of any other the caller
names the columns that hold the ids and the texts. Rows are read one at a time; what grows with
the table is 16 to 32 bytes for each id, to notice one that comes twice.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.limits import LINE, MIB, TooLarge
from emlb_runtime.records import ErrorRecord, Note

from . import report as reasons
from ._csv_rows import READ_ERRORS, BrokenRow, Row, parse_row, to_record, why_unread
from ._json_lines import parse_line
from ._note_rows import (
    HEADER_LIMIT,
    Columns,
    NoteEvents,
    NoteReader,
    RowCounts,
    find_column,
    open_bytes,
    open_text,
)
from ._unzipped import open_unzipped
from .not_notes import DELIMITERS, describe_table, split_header
from .noteevents import is_noteevents, scan_noteevents
from .text import check_encoding

_BOM = b"\xef\xbb\xbf"
_JSON_SAMPLE = 20
_JSON_SAMPLE_BYTES = 4 * MIB
_OF_JSON = Columns(
    count=5, id=0, text=1, category=2, subject=3, is_error=4, chosen=True, delimiter=""
)
_MEMBERS = (("category", "note_type"), ("subject_id",), ("iserror",))


@dataclass(frozen=True, slots=True)
class NoteColumns:
    """The columns of a table, or members of JSON objects, that hold the notes.

    A name stands for the column of that name, or else for the only one that differs from it in
    capitals alone.

    Attributes:
        text: of the texts.
        id: of the ids, which name the notes; without it a note is named ``TABLE:LINE``.
    """

    text: str
    id: str = ""

    @classmethod
    def choose(cls, id: str | None, text: str | None) -> NoteColumns | None:
        """The columns that a user named; None if there are none.

        Raises:
            ConfigError: if the column of ids was named and not that of texts.
        """
        if text:
            return cls(text, id or "")
        if id:
            raise ConfigError("--id-column needs --text-column: name the column of the texts too")
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that were given, ids first."""
        return (self.id, self.text) if self.id else (self.text,)


def judge_table(path: Path, columns: NoteColumns | None, *, by_name: bool) -> bool | str:
    """Whether a file stands for its rows.

    Args:
        path: the file.
        columns: the columns that were asked for.
        by_name: its name is that of a table, so that it is no note.

    Returns:
        Whether it is a table that can be read; a sentence if it is no note either.
    """
    try:
        if not path.is_file():
            return False  # a pipe can be read once only
        start = _start_of(path)
        members = _members_of(path) if start.lstrip().startswith("{") else None
    except TooLarge as error:
        return str(error)
    except READ_ERRORS as error:
        return f"it cannot be read: {why_unread(error)}" if by_name else False
    if members is not None:
        return _judge_json(members, columns)
    if columns is not None and _find_columns(_first_line(start), columns) is not None:
        return True
    if is_noteevents(path):
        return True
    return _refuse(start, path, columns) if by_name else False


def refuse_json(data: bytes) -> str | None:
    """Why a file or stream of JSON lines is no note, with its columns; None if it is none."""
    members = _sample_members(io.BytesIO(data))
    return None if members is None else _refuse_json(members)


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
        encoding: of the file, as Python names it; JSON lines need one of which ASCII is a part.
        errors: one of ``text.DECODING_ERRORS``; if strict, a text with bytes that the encoding
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
        is_json = _members_of(path) is not None
        found = _read_json(path, columns, reader) if is_json else _read_rows(path, columns, reader)
        if not is_json and _is_mimic(path, columns, encoding):
            found = scan_noteevents(
                path, wanted=wanted, encoding=encoding, errors=errors, counts=counts
            )
        for item in found:
            counts.broken += isinstance(item, BrokenRow)
            yield item
    except TooLarge as error:
        counts.broken += 1
        yield BrokenRow(1, 0, error.reason)
    except READ_ERRORS as error:
        counts.broken += 1
        yield BrokenRow(1, 0, why_unread(error))


def _is_mimic(path: Path, columns: NoteColumns, encoding: str) -> bool:
    with open_text(path, encoding) as stream:
        header = stream.readline(HEADER_LIMIT)
    return _find_columns(header, columns) is None and is_noteevents(path)


def _read_rows(path: Path, columns: NoteColumns, reader: NoteReader) -> Iterator[Note | BrokenRow]:
    with open_text(path, reader.encoding) as stream:
        found = _find_columns(stream.readline(HEADER_LIMIT), columns)
        if found is None:
            yield BrokenRow(1, 0, reasons.NO_CHOSEN_COLUMN)
        else:
            yield from reader.read(stream, found)


def _find_columns(header: str, columns: NoteColumns) -> Columns | None:
    """Where a header puts the columns asked for, by whichever delimiter they are found."""
    for delimiter in DELIMITERS:
        fields = parse_row([header], delimiter) or []
        names = [field.strip('\ufeff" \t\r\n') for field in fields]
        text = _find(names, columns.text)
        id = _find(names, columns.id) if columns.id else None
        if text is None or (columns.id and id is None):
            continue
        lower = [name.lower() for name in names]
        category, subject, is_error = (find_column(lower, *choices) for choices in _MEMBERS)
        return Columns(
            count=len(names),
            id=id,
            subject=subject,
            text=text,
            category=category,
            is_error=is_error,
            delimiter=delimiter,
            chosen=True,
        )
    return None


def _find(names: list[str], name: str) -> int | None:
    exact = find_column(names, name)
    if exact is not None or name in names:
        return exact
    return find_column([other.casefold() for other in names], name.casefold())


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
            line = line.removeprefix(_BOM) if number == 1 else line
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
        for choices in _MEMBERS
    ]
    return Row(number, number, [id, note or "", *others])


def _member(value: dict[str, Any], name: str) -> Any:
    if name in value:
        return value[name]
    place = _find(list(value), name)
    return None if place is None else value[list(value)[place]]


def _scalar(value: Any) -> str:
    """A string, number or truth value as JSON writes it; empty for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def _start_of(path: Path) -> str:
    """The beginning of a file as text, as far as a header goes or as it can be read."""
    data = b""
    with open_bytes(path) as stream:
        try:
            while line := stream.readline(HEADER_LIMIT - len(data)):
                data += line
        except READ_ERRORS:
            if not data:
                raise
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8", "ignore").lstrip("\ufeff")


def _first_line(start: str) -> str:
    return start.partition("\n")[0].partition("\r")[0]


def _members_of(path: Path) -> list[str] | None:
    """The names in the first objects of JSON lines; None if the file is none."""
    with open_unzipped(path) as stream:
        return _sample_members(stream)


def _sample_members(stream: BinaryIO) -> list[str] | None:
    names: dict[str, None] = {}
    left = _JSON_SAMPLE_BYTES
    for _ in range(_JSON_SAMPLE):
        try:
            line = stream.readline(max(0, left) if names else LINE.value)
        except (TooLarge, *READ_ERRORS):
            if not names:
                raise
            break  # what could be read tells the names
        left -= len(line)
        if not line.strip():
            continue
        try:
            value = parse_line(line.removeprefix(_BOM))
        except DataError:
            value = None
        if value is None:
            break
        names |= dict.fromkeys(value)
    return list(names) or None


def _judge_json(members: list[str], columns: NoteColumns | None) -> bool | str:
    lacking = [name for name in columns.names if _find(members, name) is None] if columns else []
    return True if columns is not None and not lacking else _refuse_json(members, lacking)


def _refuse_json(members: list[str], lacking: Sequence[str] = ()) -> str:
    return describe_table("JSON lines", members, members=True, lacking=lacking).sentence


def _refuse(start: str, path: Path, columns: NoteColumns | None) -> str:
    """Why a file that is a table by its name cannot be read."""
    first = _first_line(start)
    if not start.strip():
        return "it is a table by its name, and empty"
    if path.name.lower().removesuffix(".gz").endswith(("json", "jsonl")):
        return (
            "it is JSON lines by its name, but its first line is no JSON object: write one object"
            " on each line, and name --id-column and --text-column"
        )
    by_delimiter = {
        mark: parse_row([first], mark) or split_header(first, mark) for mark in DELIMITERS
    }
    mark = max(by_delimiter, key=lambda mark: len(by_delimiter[mark]))
    names = [name.strip('" \t\r\n') for name in by_delimiter[mark]]
    kind = f"a table separated by {DELIMITERS[mark]}" if len(names) > 1 else "a table by its name"
    asked = columns.names if columns else ()
    lacking = [name for name in asked if _find(names, name) is None]
    return describe_table(kind, names, lacking=lacking or asked).sentence

"""MIMIC's tables of notes: ``NOTEEVENTS.csv`` (MIMIC-III), ``discharge.csv`` and
``radiology.csv`` (MIMIC-IV-Note), plain or gzipped, streamed row by row.

Memory does not grow with the number of rows. For that reason a ROW_ID that comes twice is
not noticed here: both rows are read, as two notes of one name. In the published tables it is
the primary key.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from emlb_runtime.records import ErrorRecord, Note

from . import report as reasons
from ._csv_rows import READ_ERRORS, BrokenRow, Row, parse_row, read_rows, why_unread
from .text import check_encoding

_HEADER_LIMIT = 65_536
# A digit at least: a word of a note in the wrong column must not become a note's name.
_ID = re.compile(r"(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

# What the columns in front of the free text look like: where to go on after a broken row.
# Possessive: a megabyte of digits is tried once and not from every digit anew.
_KEY, _OPTIONAL, _TIME = r"(?=[\w.-]*\d)[\w.-]*+", r"[\w.-]*+", r"[\d:./T -]*+"
_SHAPES = {
    **dict.fromkeys(("row_id", "note_id", "subject_id"), _KEY),
    **dict.fromkeys(("", "unnamed: 0"), _OPTIONAL),  # the index that pandas writes
    **dict.fromkeys(("hadm_id", "note_type", "note_seq", "cgid", "iserror"), _OPTIONAL),
    **dict.fromkeys(("chartdate", "charttime", "storetime"), _TIME),
}


@dataclass(frozen=True, slots=True)
class NoteEvents:
    """Which rows of the tables are wanted as notes.

    Attributes:
        categories: of CATEGORY, or of note_type in MIMIC-IV; empty for all. Capitals and
            spaces around do not matter.
        subjects: of SUBJECT_ID; empty for all.
        with_errors: also the notes that physicians marked as wrong (ISERROR is 1).
    """

    categories: Collection[str] = ()
    subjects: Collection[str] = ()
    with_errors: bool = False


@dataclass(slots=True)
class RowCounts:
    """What became of the rows read so far.

    Attributes:
        notes: rows that became notes.
        not_wanted: rows of other categories or subjects.
        marked_as_errors: rows left out because ISERROR is 1.
        broken: places where no row, or no note, could be made of what is there.
    """

    notes: int = 0
    not_wanted: int = 0
    marked_as_errors: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a table keeps what is read of it; None for a column it lacks."""

    count: int
    id: int
    subject: int
    text: int
    category: int | None
    is_error: int | None
    row_start: re.Pattern[str] | None


def is_noteevents(path: Path) -> bool:
    """Whether a file's first line is the header of a table of notes, whatever its name.

    Reads no more than that line. Only regular files are looked at.
    """
    try:
        if not path.is_file():
            return False
        with _open_bytes(path) as stream:
            line = stream.readline(_HEADER_LIMIT)
    except READ_ERRORS:
        return False
    wide = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    header = line.decode("utf-16" if wide else "utf-8", "ignore").partition("\r")[0]
    return _find_columns(header) is not None


def read_noteevents(
    path: Path,
    *,
    categories: Collection[str] = (),
    subjects: Collection[str] = (),
    with_errors: bool = False,
    encoding: str = "utf-8",
    errors: str = "strict",
    name: str | None = None,
    counts: RowCounts | None = None,
) -> Iterator[Note | ErrorRecord]:
    """Read the notes of a table one by one, named by ROW_ID (note_id in MIMIC-IV).

    A text is exactly what its field holds, carriage returns and NUL included.

    Args:
        path: the table, plain or gzipped.
        categories: see ``NoteEvents``.
        subjects: see ``NoteEvents``.
        with_errors: see ``NoteEvents``.
        encoding: of the table, as Python names it.
        errors: one of ``text.DECODING_ERRORS``; if strict, a text with bytes that the
            encoding does not know costs its own row.
        name: what error records call the table; its path if None.
        counts: counts the rows as they are read.

    Yields:
        Notes in the table's order. In the place of what cannot be read, a record that names
        the table, the lines and the reason: a row with the wrong number of columns, unpaired
        quotes, no id or no text; a row too long; an end of the file that is damaged.

    Raises:
        ConfigError: if the encoding or ``errors`` is unknown.
    """
    name = path.as_posix() if name is None else name
    wanted = NoteEvents(categories, subjects, with_errors)
    for item in scan_noteevents(
        path, wanted=wanted, encoding=encoding, errors=errors, counts=counts
    ):
        if isinstance(item, Note):
            yield item
        elif item.id:
            yield ErrorRecord(item.id, f"{name}, {item.where}: {item.reason}")
        else:
            yield ErrorRecord(f"{name}:{item.first}", f"{item.where}: {item.reason}")


def scan_noteevents(
    path: Path,
    *,
    wanted: NoteEvents | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    counts: RowCounts | None = None,
) -> Iterator[Note | BrokenRow]:
    """Like read_noteevents, with what could not be read as a record of its own.

    Raises:
        ConfigError: if the encoding or ``errors`` is unknown.
    """
    check_encoding(encoding, errors=errors)
    counts = RowCounts() if counts is None else counts
    reader = _NoteReader(wanted or NoteEvents(), encoding, errors, counts)
    try:
        with _open_text(path, encoding) as stream:
            for item in reader.read(stream):
                counts.broken += isinstance(item, BrokenRow)
                yield item
    except OSError:
        counts.broken += 1
        yield BrokenRow(1, 0, reasons.UNREADABLE)


def read_subjects(path: Path, ids: Collection[str], *, encoding: str = "utf-8") -> dict[str, str]:
    """The SUBJECT_ID of the rows with these ids; empty of what cannot be read.

    Args:
        path: the table, plain or gzipped.
        ids: ROW_IDs (note_ids in MIMIC-IV).
        encoding: of the table.
    """
    found: dict[str, str] = {}
    try:
        with _open_text(path, encoding) as stream:
            columns = _find_columns(stream.readline(_HEADER_LIMIT))
            if columns is None:
                return {}
            rows = read_rows(stream, columns=columns.count, row_start=columns.row_start, line=2)
            for row in rows:
                if isinstance(row, Row) and (id := _plain_id(row.fields[columns.id])) in ids:
                    found.setdefault(id, _plain_id(row.fields[columns.subject]))
    except READ_ERRORS:
        return found
    return found


class _NoteReader:
    """Makes notes of the rows of one table."""

    def __init__(self, wanted: NoteEvents, encoding: str, errors: str, counts: RowCounts) -> None:
        self.categories = frozenset(map(_fold, wanted.categories))
        self.subjects = frozenset(map(_plain_id, wanted.subjects))
        self.with_errors = wanted.with_errors
        self.encoding = encoding
        self.errors = errors
        self.counts = counts

    def read(self, stream: TextIO) -> Iterator[Note | BrokenRow]:
        try:
            columns = _find_columns(stream.readline(_HEADER_LIMIT))
        except READ_ERRORS as error:
            yield BrokenRow(1, 0, why_unread(error))
            return
        if columns is None:
            yield BrokenRow(1, 0, reasons.NO_NOTE_COLUMNS)
            return
        if self.categories and columns.category is None:
            yield BrokenRow(1, 0, reasons.NO_FILTER_COLUMN)
            return
        empty = True
        for row in read_rows(stream, columns=columns.count, row_start=columns.row_start, line=2):
            empty = False
            item = self.to_note(row, columns) if isinstance(row, Row) else row
            if item is not None:
                yield item
        if empty:
            yield BrokenRow(1, 1, reasons.NO_ROWS)

    def to_note(self, row: Row, columns: _Columns) -> Note | BrokenRow | None:
        """The row's note; None if it is not wanted."""
        fields = row.fields
        if (self.subjects and _plain_id(fields[columns.subject]) not in self.subjects) or (
            self.categories
            and columns.category is not None
            and _fold(fields[columns.category]) not in self.categories
        ):
            self.counts.not_wanted += 1
            return None
        is_error = columns.is_error is not None and _plain_id(fields[columns.is_error]) == "1"
        if is_error and not self.with_errors:
            self.counts.marked_as_errors += 1
            return None
        id = _plain_id(fields[columns.id])
        if not _ID.fullmatch(id):
            return BrokenRow(row.first, row.last, reasons.NO_ROW_ID)
        text = self.decode(fields[columns.text])
        if not text:
            reason = reasons.NOT_DECODED if text is None else reasons.EMPTY_TEXT
            return BrokenRow(row.first, row.last, reason, id)
        self.counts.notes += 1
        return Note(id, text)

    def decode(self, field: str) -> str | None:
        """A field with its escaped bytes decoded as asked; None if they must not be there."""
        try:
            field.encode("utf-8")
            return field
        except UnicodeEncodeError:  # holds surrogates: bytes that the encoding does not know
            if self.errors == "strict":
                return None
        try:
            return field.encode(self.encoding, "surrogateescape").decode(self.encoding, self.errors)
        except UnicodeError:
            return None


def _find_columns(line: str) -> _Columns | None:
    """Where a header puts the columns; None if it is not that of a table of notes."""
    fields = parse_row([line]) or []
    names = [field.strip('\ufeff" \t').lower() for field in fields]

    def find(*choices: str) -> int | None:
        found = [index for index, name in enumerate(names) if name in choices]
        return found[0] if len(found) == 1 else None

    id, subject, text = find("row_id", "note_id"), find("subject_id"), find("text")
    if id is None or subject is None or text is None:
        return None
    return _Columns(
        count=len(names),
        id=id,
        subject=subject,
        text=text,
        category=find("category", "note_type"),
        is_error=find("iserror"),
        row_start=_row_start(names),
    )


def _row_start(names: Iterable[str]) -> re.Pattern[str] | None:
    """What a row's first line starts with, as far as its columns have a known shape."""
    shapes = [f'"?{_SHAPES[name]}"?' for name in takewhile(_SHAPES.__contains__, names)]
    return re.compile(",".join(shapes) + ",") if shapes else None


@contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's content, decompressed if it is gzip by its first bytes."""
    with path.open("rb") as file:
        if file.peek(2)[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield cast(BinaryIO, unzipped)
        else:
            yield file


@contextmanager
def _open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    # A byte that the encoding does not know must cost its row, not all the rows behind it.
    with (
        _open_bytes(path) as stream,
        io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="") as text,
    ):
        yield text


def _fold(category: str) -> str:
    # Some categories end in a space: https://github.com/MIT-LCP/mimic-code/issues/541
    return category.strip().casefold()


def _plain_id(value: str) -> str:
    # pandas writes a column of numbers with gaps as 174.0
    return value.strip().removesuffix(".0")

"""Rows of tables as notes: which are wanted, what names them, and what is wrong with the others."""

from __future__ import annotations

import gzip
import io
import re
from array import array
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from emlb_runtime.records import Note

from . import report as reasons
from ._csv_rows import BrokenRow, Row, read_rows

HEADER_LIMIT = 65_536
"""Characters of a header; what follows in its line is not looked at."""

# A digit at least: a word of a note in the wrong column must not become a note's name.
_ID = re.compile(r"(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MOST_OF_AN_ID = 200


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
    """

    notes: int = 0
    not_wanted: int = 0
    marked_as_errors: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table keeps what is read of it; None for a column it lacks.

    Attributes:
        count: columns of a row.
        id: where a note's name stands; without it a note is named by its table and line.
        subject: of SUBJECT_ID.
        text: of the notes.
        category: of CATEGORY or note_type.
        is_error: of ISERROR.
        row_start: what a row's first line looks like; see ``read_rows``.
        delimiter: what stands between two fields.
        chosen: the id and text columns were named by the user: any text may be an id, and an id
            that comes twice costs the later row.
    """

    count: int
    id: int | None
    subject: int | None
    text: int
    category: int | None
    is_error: int | None
    row_start: re.Pattern[str] | None = None
    delimiter: str = ","
    chosen: bool = False


class NoteReader:
    """Makes notes of the rows of one table.

    Args:
        wanted: which rows.
        encoding: of the table.
        errors: one of ``notes.DECODING_ERRORS``.
        counts: counts the rows.
        name: what a note without an id is named by, with its line.
    """

    def __init__(
        self, wanted: NoteEvents, encoding: str, errors: str, counts: RowCounts, name: str = ""
    ) -> None:
        self.categories = frozenset(map(_fold, wanted.categories))
        self.subjects = frozenset(map(plain_id, wanted.subjects))
        self.with_errors = wanted.with_errors
        self.encoding = encoding
        self.errors = errors
        self.counts = counts
        self.name = name
        self.seen = SeenIds()

    def read(self, stream: TextIO, columns: Columns | None) -> Iterator[Note | BrokenRow]:
        """The notes of a stream that stands behind the header."""
        if columns is None:
            yield BrokenRow(1, 0, reasons.NO_NOTE_COLUMNS)
            return
        rows = read_rows(
            stream,
            columns=columns.count,
            row_start=columns.row_start,
            line=2,
            delimiter=columns.delimiter,
        )
        yield from self.notes(rows, columns)

    def notes(
        self, rows: Iterator[Row | BrokenRow], columns: Columns
    ) -> Iterator[Note | BrokenRow]:
        """The notes of rows that have these columns."""
        if (self.categories and columns.category is None) or (
            self.subjects and columns.subject is None
        ):
            yield BrokenRow(1, 0, reasons.NO_FILTER_COLUMN)
            return
        empty = True
        for row in rows:
            empty = False
            item = self.to_note(row, columns) if isinstance(row, Row) else row
            if item is not None:
                yield item
        if empty:
            yield BrokenRow(1, 1, reasons.NO_ROWS)

    def to_note(self, row: Row, columns: Columns) -> Note | BrokenRow | None:
        """The row's note; None if it is not wanted."""
        if not self.is_wanted(row, columns):
            return None
        id = self.name_of(row, columns)
        if id is None:
            return BrokenRow(row.first, row.last, reasons.NO_ROW_ID)
        if columns.chosen and columns.id is not None and not self.seen.add(id):
            return BrokenRow(row.first, row.last, reasons.REPEATED_ROW_ID)
        text = self.decode(row.fields[columns.text])
        if not text:
            reason = reasons.NOT_DECODED if text is None else reasons.EMPTY_TEXT
            return BrokenRow(row.first, row.last, reason, id if columns.id is not None else "")
        self.counts.notes += 1
        return Note(id, text)

    def is_wanted(self, row: Row, columns: Columns) -> bool:
        """Whether the row is of what was asked for; counts it if not."""
        fields = row.fields
        if (
            self.subjects
            and columns.subject is not None
            and plain_id(fields[columns.subject]) not in self.subjects
        ) or (
            self.categories
            and columns.category is not None
            and _fold(fields[columns.category]) not in self.categories
        ):
            self.counts.not_wanted += 1
            return False
        is_error = columns.is_error is not None and plain_id(fields[columns.is_error]) == "1"
        if is_error and not self.with_errors:
            self.counts.marked_as_errors += 1
            return False
        return True

    def name_of(self, row: Row, columns: Columns) -> str | None:
        """The name of the row's note; None if its id cannot be one."""
        if columns.id is None:
            return f"{self.name}:{row.first}"
        if not columns.chosen:
            id = plain_id(row.fields[columns.id])
            return id if _ID.fullmatch(id) else None
        id = row.fields[columns.id].strip()
        return id if id and len(id) <= _MOST_OF_AN_ID and id.isprintable() else None

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


class SeenIds:
    """The ids that came so far, by 64 bits of their hash: 16 to 32 bytes each.

    Of ten million ids the chance that any two share their bits is one in 400,000.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 256))
        self._count = 0

    def add(self, id: str) -> bool:
        """Whether the id is new."""
        digest = blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        key = int.from_bytes(digest, "big") or 1  # zero marks a free slot
        if not _put(self._slots, key):
            return False
        self._count += 1
        if 2 * self._count > len(self._slots):
            larger = array("Q", bytes(16 * len(self._slots)))
            for old in self._slots:
                if old:
                    _put(larger, old)
            self._slots = larger
        return True


def _put(slots: array[int], key: int) -> bool:
    """Put a key into its slot or the next free one; False if it is there."""
    last = len(slots) - 1  # a power of two less one
    place = key & last
    while slots[place]:
        if slots[place] == key:
            return False
        place = (place + 1) & last
    slots[place] = key
    return True


def find_column(names: list[str], *choices: str) -> int | None:
    """The one column of one of these names; None without one, or with several."""
    found = [index for index, name in enumerate(names) if name in choices]
    return found[0] if len(found) == 1 else None


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's content, decompressed if it is gzip by its first bytes."""
    with path.open("rb") as file:
        if file.peek(2)[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unzipped:
                yield cast(BinaryIO, unzipped)
        else:
            yield file


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """The file's text, with the bytes that the encoding does not know as surrogates."""
    # A byte that the encoding does not know must cost its row, not all the rows behind it.
    with (
        open_bytes(path) as stream,
        io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="") as text,
    ):
        yield text


def _fold(category: str) -> str:
    # Some categories end in a space: https://github.com/MIT-LCP/mimic-code/issues/541
    return category.strip().casefold()


def plain_id(value: str) -> str:
    """An id of MIMIC as it was before a tool made a number with a point of it."""
    # pandas writes a column of numbers with gaps as 174.0
    return value.strip().removesuffix(".0")

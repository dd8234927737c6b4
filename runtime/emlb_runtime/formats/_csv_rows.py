"""CSV rows read one at a time, such that a broken one costs itself and not the file.

The csv module parses each row, but does not find its end: an unclosed quote would swallow
the rows that follow. Lines are put together here until their quotes are paired; where that
makes no row, reading goes on at the next line that looks like the start of one.
"""

from __future__ import annotations

import csv
import re
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from emlb_runtime.formats.files.limits import ROW
from emlb_runtime.records import ErrorRecord

from . import report as reasons

READ_ERRORS = (OSError, EOFError, UnicodeError, zlib.error)
"""What reading from a stream of text that may be compressed can raise."""

_PIECE = 1_000_000
_CSV_LIMIT = threading.Lock()


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of a row, and the lines of the file that hold it, counted from 1."""

    first: int
    last: int
    fields: Sequence[str]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """Lines that hold no usable row.

    Attributes:
        first: the first of them, from 1.
        last: the last of them; 0 for all the rest of the file.
        reason: one of ``report``'s.
        id: the row's own id where it is known, else empty.
    """

    first: int
    last: int
    reason: str
    id: str = ""

    @property
    def where(self) -> str:
        """Its lines in words."""
        if not self.last:
            return f"line {self.first} to the end"
        return (
            f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"
        )


def read_rows(
    stream: TextIO,
    *,
    columns: int,
    row_start: re.Pattern[str] | None,
    line: int = 1,
    delimiter: str = ",",
) -> Iterator[Row | BrokenRow]:
    """The rows of a CSV stream; never raises for what the stream holds.

    Args:
        stream: opened with ``newline=""``, standing at the start of a row.
        columns: how many fields a row has.
        row_start: matches the first line of a row, and hardly any other. Without it reading
            ends at a quote that is not closed.
        line: the number of the stream's next line.
        delimiter: what stands between two fields.
    """
    lines = _Lines(stream, line)
    while pieces := lines.take_row():
        first = lines.number - _count_lines(pieces)
        fields = parse_row(pieces, delimiter)
        if fields is not None and len(fields) in (0, columns):
            if fields:
                yield Row(first, lines.last, fields)
            continue
        # A quote inside an unquoted field needs no partner, yet other lines were added for it.
        alone = parse_row(pieces[:1], delimiter) if fields is None else None
        if alone is not None and len(alone) == columns:
            lines.give_back(pieces[1:])
            yield Row(first, first, alone)
            continue
        reason = _why_broken(fields, pieces)
        if row_start is not None:
            lines.give_back(pieces[1:])
            lines.skip_to(row_start)
        elif fields is None:
            yield BrokenRow(first, 0, reason)
            return
        yield BrokenRow(first, max(first, lines.last), reason)
    if lines.failure:
        yield BrokenRow(lines.number, 0, lines.failure)


def parse_row(pieces: Sequence[str], delimiter: str = ",") -> list[str] | None:
    """The fields of one row, given as the lines it spans; None if it is not one row.

    The csv module has one limit on a field's length for the whole process. It is raised
    only while a row that needs it is parsed from memory, and put back at once; the lock
    keeps readers in several threads from putting back each other's value.
    """
    size = sum(map(len, pieces))
    with _CSV_LIMIT:
        limit = csv.field_size_limit()
        if size > limit:
            csv.field_size_limit(size)
        try:
            rows = list(csv.reader(("".join(pieces),), strict=True, delimiter=delimiter))
        except csv.Error:  # its message is safe, but says nothing more
            return None
        finally:
            if size > limit:
                csv.field_size_limit(limit)
    return rows[0] if len(rows) == 1 else None


class _Lines:
    """The physical lines of a stream, which can be given back."""

    def __init__(self, stream: TextIO, number: int) -> None:
        self.number = number
        """Of the line that comes next; lines end as for ``sed``, at a line feed."""
        self.failure = ""
        """Why the stream ended before its end."""
        self._ends_in_line = False
        self._stream = stream
        self._returned: deque[str] = deque()
        self._most = ROW.value

    @property
    def last(self) -> int:
        """The number of the last line taken."""
        return self.number if self._ends_in_line else self.number - 1

    def take(self) -> str:
        """The next line with its end, or a part of a very long one; empty at the end."""
        piece = self._returned.popleft() if self._returned else self._read()
        if piece:
            self._ends_in_line = not piece.endswith("\n")
            self.number += not self._ends_in_line
        return piece

    def take_row(self) -> list[str]:
        """Lines until every quote has its partner, the stream ends or the row is too long."""
        pieces: list[str] = []
        size = 0
        quoted = False
        while size <= self._most and (piece := self.take()):
            pieces.append(piece)
            size += len(piece)
            quoted ^= piece.count('"') % 2 == 1
            if not quoted and piece.endswith(("\n", "\r")):
                break
        return pieces

    def give_back(self, pieces: Sequence[str]) -> None:
        """Make these the next lines again."""
        self.number -= _count_lines(pieces)
        self._ends_in_line = False
        self._returned.extendleft(reversed(pieces))

    def skip_to(self, row_start: re.Pattern[str]) -> None:
        """Drop lines up to one that a row starts with."""
        while piece := self.take():
            if row_start.match(piece):
                self.give_back([piece])
                return

    def _read(self) -> str:
        if self.failure:
            return ""
        try:
            return self._stream.readline(_PIECE)
        except READ_ERRORS as error:
            self.failure = why_unread(error)
            return ""


def why_unread(error: Exception) -> str:
    """The reason for one of ``READ_ERRORS``."""
    if isinstance(error, UnicodeError):
        return reasons.NOT_DECODED
    # An OSError that the system knows nothing of is gzip's own.
    from_system = isinstance(error, OSError) and error.errno is not None
    return reasons.UNREADABLE if from_system else reasons.DAMAGED_GZIP


def to_record(row: BrokenRow, table: str) -> ErrorRecord:
    """What an output says of lines that hold no usable row.

    Args:
        row: the lines.
        table: what the record calls the table.
    """
    if row.id:
        return ErrorRecord(row.id, f"{table}, {row.where}: {row.reason}")
    return ErrorRecord(f"{table}:{row.first}", f"{row.where}: {row.reason}")


def _count_lines(pieces: Sequence[str]) -> int:
    return sum(piece.endswith("\n") for piece in pieces)


def _why_broken(fields: Sequence[str] | None, pieces: Sequence[str]) -> str:
    if fields is not None:
        return reasons.WRONG_COLUMNS
    return reasons.ROW_TOO_LONG if sum(map(len, pieces)) > ROW.value else reasons.BROKEN_QUOTES

"""MIMIC's tables of notes: ``NOTEEVENTS.csv`` (MIMIC-III), ``discharge.csv`` and
``radiology.csv`` (MIMIC-IV-Note), plain or gzipped, streamed row by row.

Memory does not grow with the number of rows. For that reason a ROW_ID that comes twice is
not noticed here: both rows are read, as two notes of one name. In the published tables it is
the primary key.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from emlb_runtime.records import ErrorRecord, Note

from . import report as reasons
from ._csv_rows import READ_ERRORS, BrokenRow, Row, parse_row, read_rows, to_record, why_unread
from ._note_rows import (
    HEADER_LIMIT,
    Columns,
    NoteEvents,
    NoteReader,
    RowCounts,
    find_column,
    open_bytes,
    open_text,
    plain_id,
)
from .notes import check_encoding

__all__ = [
    "NoteEvents",
    "RowCounts",
    "is_noteevents",
    "read_noteevents",
    "read_subjects",
    "scan_noteevents",
]

# What the columns in front of the free text look like: where to go on after a broken row.
# Possessive: a megabyte of digits is tried once and not from every digit again.
_KEY, _OPTIONAL, _TIME = r"(?=[\w.-]*\d)[\w.-]*+", r"[\w.-]*+", r"[\d:./T -]*+"
_SHAPES = {
    **dict.fromkeys(("row_id", "note_id", "subject_id"), _KEY),
    **dict.fromkeys(("", "unnamed: 0"), _OPTIONAL),  # the index that pandas writes
    **dict.fromkeys(("hadm_id", "note_type", "note_seq", "cgid", "iserror"), _OPTIONAL),
    **dict.fromkeys(("chartdate", "charttime", "storetime"), _TIME),
}


def is_noteevents(path: Path) -> bool:
    """Whether a file's first line is the header of a table of notes, whatever its name.

    Reads no more than that line. Only regular files are looked at.
    """
    try:
        if not path.is_file():
            return False
        with open_bytes(path) as stream:
            line = stream.readline(HEADER_LIMIT)
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
        errors: one of ``notes.DECODING_ERRORS``; if strict, a text with bytes that the
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
    found = scan_noteevents(path, wanted=wanted, encoding=encoding, errors=errors, counts=counts)
    for item in found:
        yield item if isinstance(item, Note) else to_record(item, name)


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
    reader = NoteReader(wanted or NoteEvents(), encoding, errors, counts)
    try:
        with open_text(path, encoding) as stream:
            try:
                header = stream.readline(HEADER_LIMIT)
            except READ_ERRORS as error:
                yield BrokenRow(1, 0, why_unread(error))
                return
            yield from reader.read(stream, _find_columns(header))
    except OSError:
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
        with open_text(path, encoding) as stream:
            columns = _find_columns(stream.readline(HEADER_LIMIT))
            if columns is None or columns.id is None or columns.subject is None:
                return {}
            id_column, subject = columns.id, columns.subject
            rows = read_rows(stream, columns=columns.count, row_start=columns.row_start, line=2)
            for row in rows:
                if isinstance(row, Row) and (id := plain_id(row.fields[id_column])) in ids:
                    found.setdefault(id, plain_id(row.fields[subject]))
    except READ_ERRORS:
        return found
    return found


def _find_columns(line: str) -> Columns | None:
    """Where a header puts the columns; None if it is not that of a table of notes."""
    fields = parse_row([line]) or []
    names = [field.strip('\ufeff" \t').lower() for field in fields]
    id, subject = find_column(names, "row_id", "note_id"), find_column(names, "subject_id")
    text = find_column(names, "text")
    if id is None or subject is None or text is None:
        return None
    return Columns(
        count=len(names),
        id=id,
        subject=subject,
        text=text,
        category=find_column(names, "category", "note_type"),
        is_error=find_column(names, "iserror"),
        row_start=_row_start(names),
    )


def _row_start(names: Iterable[str]) -> re.Pattern[str] | None:
    """What a row's first line starts with, as far as its columns have a known shape."""
    shapes = [f'"?{_SHAPES[name]}"?' for name in takewhile(_SHAPES.__contains__, names)]
    return re.compile(",".join(shapes) + ",") if shapes else None

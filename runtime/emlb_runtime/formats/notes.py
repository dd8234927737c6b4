"""Finding and reading plain-text notes without changing a character of them."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats.files.limits import NOTE, TooLarge, read_file, read_stream
from emlb_runtime.records import ErrorRecord, Note

from .finding import STDIN, TABLE_SUFFIXES, NoteFile, explain_os_error, find_notes
from .not_notes import recognise
from .sniff import JSON, FileFormat, guess_utf16, sniff

if TYPE_CHECKING:
    from .noteevents import NoteEvents, RowCounts
    from .tables import NoteColumns

__all__ = [
    "DECODING_ERRORS",
    "MARKUP",
    "STDIN",
    "TABLE_SUFFIXES",
    "NoteFile",
    "check_encoding",
    "check_markup",
    "encoding_name",
    "find_notes",
    "read_note",
    "read_notes",
]

DECODING_ERRORS = ("strict", "replace", "ignore", "backslashreplace")
"""What may be done with bytes that the encoding does not know.

``surrogateescape`` is left out: no tokenizer takes the characters it makes.
"""


MARKUP = ("refuse", "strip")
"""What may be done with a note that is RTF, HTML, HL7 CDA or an HL7 v2 message."""

_CONTROLS = tuple(code for code in range(32) if code not in (0, *b"\t\n\v\f\r\x1b"))
"""Control characters that text does not hold. NUL is apart: UTF-16 is full of it."""


def read_notes(
    files: Iterable[NoteFile | ErrorRecord],
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    markup: str = "refuse",
    columns: NoteColumns | None = None,
    rows: NoteEvents | None = None,
    counts: RowCounts | None = None,
) -> Iterator[Note | ErrorRecord]:
    """Read notes one by one, in order, passing error records through.

    Args:
        files: what ``find_notes`` returned.
        encoding: the encoding of every note.
        errors: one of ``DECODING_ERRORS``.
        markup: one of ``MARKUP``.
        columns: which columns of tables hold the notes, as ``find_notes`` was given them.
        rows: which rows of tables are wanted; all that are not marked as errors if None.
        counts: counts the rows of tables as they are read.

    Raises:
        ConfigError: if the encoding is unknown; see ``check_encoding``.
    """
    for file in files:
        if isinstance(file, ErrorRecord):
            yield file
        elif file.is_table and file.path is not None:
            yield from _read_table(
                file.path, file.name, encoding, errors, columns=columns, rows=rows, counts=counts
            )
        else:
            yield read_note(
                file.path, name=file.name, encoding=encoding, errors=errors, markup=markup
            )


def read_note(
    path: Path | None,
    *,
    name: str,
    encoding: str = "utf-8",
    errors: str = "strict",
    markup: str = "refuse",
) -> Note | ErrorRecord:
    """Read one note exactly: line ends, NUL and a UTF-8 byte-order mark stay characters of it.

    A file that is not plain text, such as RTF or PDF, is no note and has an error record,
    unless its markup is to be stripped and can be. So has a table, and an annotation file.

    Args:
        path: the note's file; None for standard input.
        name: the note's name in every output.
        encoding: its encoding, as Python names it.
        errors: one of ``DECODING_ERRORS``.
        markup: ``refuse``, or ``strip`` to take the text out of RTF, HTML, CDA and HL7 v2.

    Returns:
        The note, or a record saying in one sentence why it cannot be read.

    Raises:
        ConfigError: if the encoding is unknown; see ``check_encoding``.
    """
    try:
        data = _read_stdin() if path is None else read_file(path, NOTE)
    except TooLarge as error:
        return ErrorRecord(name, str(error))
    except OSError as error:
        return ErrorRecord(name, explain_os_error(error, path))
    try:
        found = sniff(data, encoding=encoding)
        if found is not None:
            return _read_marked_up(name, data, found, encoding, markup)
        if not encoding_name(encoding).startswith(("utf-16", "utf-32")):
            if guess := guess_utf16(data):
                return ErrorRecord(name, f"it looks like UTF-16: try --encoding {guess}")
        text = data.decode(encoding, errors)
        other = recognise(text)
        return Note(name, text) if other is None else _refuse(name, other.sentence)
    except UnicodeError as error:
        return ErrorRecord(name, _explain_decoding(error, data, encoding))
    except LookupError:
        check_encoding(encoding, errors=errors)
        raise


def _refuse(name: str, sentence: str) -> ErrorRecord:
    """The record of what is no note; tables are read from files only."""
    saved = "; save it as a file first" if name == STDIN and "--text-column" in sentence else ""
    return ErrorRecord(name, sentence + saved)


def _read_marked_up(
    name: str, data: bytes, found: FileFormat, encoding: str, markup: str
) -> Note | ErrorRecord:
    """The text of a file that is not plain text, or a record that names its format."""
    if found is JSON:
        from .tables import refuse_json  # loaded for JSON only: it costs start-up time

        if sentence := refuse_json(data):
            return _refuse(name, sentence)
    if markup == "refuse" or not found.has_markup:
        return ErrorRecord(name, f"it is {found.name}, not plain text: {found.advice}")
    from .markup import strip_markup  # needs libraries that most runs do without

    try:
        return Note(name, strip_markup(data, found, encoding=encoding), found.name)
    except DataError as error:
        return ErrorRecord(name, str(error))


def check_encoding(encoding: str, *, errors: str = "strict") -> None:
    """Reject an encoding or a way of handling errors before any note is read.

    Raises:
        ConfigError: if Python has no such text encoding, or the handling is not allowed.
    """
    if errors not in DECODING_ERRORS:
        allowed = ", ".join(DECODING_ERRORS)
        raise ConfigError(f"unknown handling of decoding errors {errors!r}: choose from {allowed}")
    try:
        b" ".decode(encoding, "ignore")  # not of b"", for which Python looks nothing up
    except (LookupError, ValueError):
        raise ConfigError(
            f"unknown text encoding {encoding!r}: use one that Python knows,"
            " such as utf-8, utf-16, cp1252 or latin-1"
        ) from None


def check_markup(markup: str) -> None:
    """Reject a way of handling markup before any note is read.

    Raises:
        ConfigError: if it is unknown, or the libraries that strip markup are not installed.
    """
    if markup not in MARKUP:
        raise ConfigError(f"unknown handling of markup {markup!r}: choose {' or '.join(MARKUP)}")
    if markup == "strip":
        from .markup import check_libraries

        check_libraries()


def encoding_name(encoding: str) -> str:
    """The one name of an encoding that Python knows by several: ``utf-8`` for ``UTF8``.

    Raises:
        LookupError: if Python has none; see ``check_encoding``.
    """
    return codecs.lookup(encoding).name


def _read_table(
    path: Path,
    name: str,
    encoding: str,
    errors: str,
    *,
    columns: NoteColumns | None,
    rows: NoteEvents | None,
    counts: RowCounts | None,
) -> Iterator[Note | ErrorRecord]:
    from .noteevents import NoteEvents, read_noteevents

    wanted = rows or NoteEvents()
    if columns is not None:
        from .tables import read_table

        return read_table(
            path,
            columns,
            wanted=wanted,
            encoding=encoding,
            errors=errors,
            name=name,
            counts=counts,
        )
    return read_noteevents(
        path,
        categories=wanted.categories,
        subjects=wanted.subjects,
        with_errors=wanted.with_errors,
        encoding=encoding,
        errors=errors,
        name=name,
        counts=counts,
    )


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return read_stream(sys.stdin.buffer, NOTE)


def _explain_decoding(error: UnicodeError, data: bytes, encoding: str) -> str:
    """Where decoding failed and what to try; never the codec's own words, which quote bytes."""
    where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
    control = sum(data[:4096].count(bytes((code,))) for code in _CONTROLS)
    if control > len(data[:4096]) // 50 + 1:
        return f"it is not text{where}, but a binary file: convert it to plain text first"
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    better = "--encoding utf-16" if marked else "--encoding with the note's encoding"
    return f"it is not valid {encoding_name(encoding)}{where}: try {better}, or --errors replace"

"""Finding and reading plain-text notes without changing a character of them."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.limits import FOLDERS, NOTE, TooLarge, read_file, read_stream
from emlb_runtime.records import ErrorRecord, Note

from .sniff import FileFormat, sniff

if TYPE_CHECKING:
    from .noteevents import NoteEvents, RowCounts

STDIN = "-"
"""The input that stands for standard input, and the name of the note read from it."""

DECODING_ERRORS = ("strict", "replace", "ignore", "backslashreplace")
"""What may be done with bytes that the encoding does not know.

``surrogateescape`` is left out: no tokenizer takes the characters it makes.
"""


MARKUP = ("refuse", "strip")
"""What may be done with a note that is RTF, HTML, HL7 CDA or an HL7 v2 message."""

_CONTROLS = tuple(code for code in range(32) if code not in (0, *b"\t\n\v\f\r\x1b"))
"""Control characters that text does not hold. NUL is apart: UTF-16 is full of it."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    """A note that has been found but not read, or a table of notes.

    Attributes:
        name: the note's name in every output: its path as given, with forward slashes.
        is_table: it is a table of MIMIC's, each row a note; see ``noteevents``.
    """

    name: str
    is_table: bool = False

    @property
    def path(self) -> Path | None:
        """Where it lies; None for standard input. Made anew: a run may hold a million files."""
        return None if self.name == STDIN else Path(self.name)


def find_notes(inputs: Sequence[str], *, suffix: str = ".txt") -> list[NoteFile | ErrorRecord]:
    """Find the notes that a list of files, patterns and folders stands for.

    A file is taken whatever its suffix. A folder stands for the files below it that end in
    ``suffix`` (in either case; hidden files apart), sorted by name; symbolic links are
    followed. A pattern (``*``, ``?``, ``[…]``, ``**``) stands for what it matches, sorted,
    unless a file of that very name exists. ``-`` is standard input. A file that several
    inputs lead to is one note, named as it was found first. A file named ``.csv`` or
    ``.csv.gz`` whose first line is the header of a table of MIMIC's notes stands for its rows.

    Args:
        inputs: what was asked for, in order.
        suffix: the suffix a file needs when its folder was given.

    Returns:
        The notes in order, with a record in the place of every input that leads to none.
    """
    found: dict[str, NoteFile | ErrorRecord] = {}
    for given in inputs:
        for item in _expand(given, suffix):
            found.setdefault(_identity(item), item)
    return list(found.values())


def read_notes(
    files: Iterable[NoteFile | ErrorRecord],
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    markup: str = "refuse",
    rows: NoteEvents | None = None,
    counts: RowCounts | None = None,
) -> Iterator[Note | ErrorRecord]:
    """Read notes one by one, in order, passing error records through.

    Args:
        files: what ``find_notes`` returned.
        encoding: the encoding of every note.
        errors: one of ``DECODING_ERRORS``.
        markup: one of ``MARKUP``.
        rows: which rows of tables are wanted; all that are not marked as errors if None.
        counts: counts the rows of tables as they are read.

    Raises:
        ConfigError: if the encoding is unknown; see ``check_encoding``.
    """
    for file in files:
        if isinstance(file, ErrorRecord):
            yield file
        elif file.is_table and file.path is not None:
            yield from _read_table(file.path, file.name, encoding, errors, rows, counts)
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
    unless its markup is to be stripped and can be.

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
        return ErrorRecord(name, _explain(error, path))
    try:
        found = sniff(data, encoding=encoding)
        if found is not None:
            return _read_marked_up(name, data, found, encoding, markup)
        return Note(name, data.decode(encoding, errors))
    except UnicodeError as error:
        return ErrorRecord(name, _explain_decoding(error, data, encoding))
    except LookupError:
        check_encoding(encoding, errors=errors)
        raise


def _read_marked_up(
    name: str, data: bytes, found: FileFormat, encoding: str, markup: str
) -> Note | ErrorRecord:
    """The text of a file that is not plain text, or a record that names its format."""
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
    rows: NoteEvents | None,
    counts: RowCounts | None,
) -> Iterator[Note | ErrorRecord]:
    from .noteevents import NoteEvents, read_noteevents

    wanted = rows or NoteEvents()
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


def _expand(given: str, suffix: str) -> Iterator[NoteFile | ErrorRecord]:
    if given == STDIN:
        yield NoteFile(STDIN)
    elif os.path.isdir(given):
        yield from _expand_folder(given, suffix)
    elif os.path.lexists(given):
        yield _note_file(given)
    elif glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))
        if not matches:
            yield ErrorRecord(given, "no file matches this pattern")
        for match in matches:
            if os.path.isdir(match):
                yield from _expand_folder(match, suffix)
            else:
                yield _note_file(match)
    else:
        yield ErrorRecord(given, "there is no such file or folder")


def _expand_folder(folder: str, suffix: str) -> Iterator[NoteFile | ErrorRecord]:
    empty = True
    for item in _walk(folder, suffix, frozenset()):
        empty = False
        yield item
    if empty:
        yield ErrorRecord(Path(folder).as_posix(), f"the folder holds no {suffix} file")


def _walk(
    folder: str, suffix: str, above: frozenset[tuple[int, int]]
) -> Iterator[NoteFile | ErrorRecord]:
    """The notes below a folder; ``above`` identifies the folders that it lies in."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield ErrorRecord(Path(folder).as_posix(), _explain(error, None))
        return
    if len(above) >= FOLDERS:
        yield ErrorRecord(Path(folder).as_posix(), f"it lies deeper than {FOLDERS} folders")
        return
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link that leads back up: its notes are being listed already
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        is_note = entry.name.lower().endswith(suffix.lower())
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            empty = True
            for item in _walk(entry.path, suffix, above | {here}):
                empty = False
                yield item
            if empty and is_note:
                yield _note_file(entry.path)  # reading it will say that it is a folder
        elif is_note and (entry.is_symlink() or entry.is_file()):
            yield _note_file(entry.path)
        elif is_note:  # a pipe nobody asked for by name could block for ever
            yield ErrorRecord(Path(entry.path).as_posix(), "it is not a regular file")


def _note_file(path: str) -> NoteFile:
    name = Path(path).as_posix()
    return NoteFile("./-" if name == STDIN else name, _is_table(path))


def _is_table(path: str) -> bool:
    if not path.lower().endswith((".csv", ".csv.gz")):
        return False
    from .noteevents import is_noteevents  # not before there is a table: it costs start-up time

    return is_noteevents(Path(path))


def _identity(item: NoteFile | ErrorRecord) -> str:
    """What two inputs that lead to the same note have in common."""
    if isinstance(item, NoteFile) and item.path is None:
        return STDIN
    return os.path.abspath(item.note if isinstance(item, ErrorRecord) else str(item.path))


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return read_stream(sys.stdin.buffer, NOTE)


def _explain(error: OSError, path: Path | None) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file does not exist, or vanished before it was read"
    if isinstance(error, IsADirectoryError) or (path is not None and path.is_dir()):
        return "it is a folder, not a note"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    return f"it cannot be read: {error.strerror or error}"


def _explain_decoding(error: UnicodeError, data: bytes, encoding: str) -> str:
    """Where decoding failed and what to try; never the codec's own words, which quote bytes."""
    where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
    control = sum(data[:4096].count(bytes((code,))) for code in _CONTROLS)
    if control > len(data[:4096]) // 50 + 1:
        return f"it is not text{where}, but a binary file: convert it to plain text first"
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    better = "--encoding utf-16" if marked else "--encoding with the note's encoding"
    return f"it is not valid {encoding_name(encoding)}{where}: try {better}, or --errors replace"

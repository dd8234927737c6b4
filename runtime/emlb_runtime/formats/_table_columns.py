"""Which columns a table or JSON lines have, and whether a file is one that can be read."""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats.files.limits import LINE, MIB, TooLarge

from ._csv_rows import READ_ERRORS, parse_row, why_unread
from ._json_lines import parse_line
from ._note_rows import HEADER_LIMIT, Columns, find_column, open_bytes
from .files.compressed import open_unzipped
from .not_notes import DELIMITERS, describe_table, split_header
from .noteevents import is_noteevents

BOM = b"\xef\xbb\xbf"
"""What UTF-8 may begin with."""

MIMIC_NAMES = (("category", "note_type"), ("subject_id",), ("iserror",))
"""Columns of MIMIC's that choose rows of any table: category, subject and ISERROR."""

_JSON_SAMPLE = 20
_JSON_SAMPLE_BYTES = 4 * MIB


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
        if not path.is_file():  # a pipe can be read once only
            if by_name and path.exists() and not path.is_dir():
                return "a table cannot be read from a pipe: save it as a file first"
            return False
        start = _start_of(path)
        members = members_of(path) if start.lstrip().startswith("{") else None
    except TooLarge as error:
        return str(error)
    except READ_ERRORS as error:
        return f"it cannot be read: {why_unread(error)}" if by_name else False
    if members is not None:
        return _judge_json(members, columns)
    if columns is not None and find_columns(_first_line(start), columns) is not None:
        return True
    if is_noteevents(path):
        return True
    return _refuse(start, path, columns) if by_name else False


def refuse_json(data: bytes) -> str | None:
    """Why a file or stream of JSON lines is no note, with its columns; None if it is none."""
    members = _sample_members(io.BytesIO(data))
    return None if members is None else _refuse_json(members)


def find_columns(header: str, columns: NoteColumns) -> Columns | None:
    """Where a header puts the columns asked for, by whichever delimiter they are found."""
    for delimiter in DELIMITERS:
        fields = parse_row([header], delimiter) or []
        names = [field.strip('\ufeff" \t\r\n') for field in fields]
        text = find_name(names, columns.text)
        id = find_name(names, columns.id) if columns.id else None
        if text is None or (columns.id and id is None):
            continue
        lower = [name.lower() for name in names]
        category, subject, is_error = (find_column(lower, *choices) for choices in MIMIC_NAMES)
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


def find_name(names: list[str], name: str) -> int | None:
    """The one column of this name, or of this name but for capitals; None without it."""
    exact = find_column(names, name)
    if exact is not None or name in names:
        return exact
    return find_column([other.casefold() for other in names], name.casefold())


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


def members_of(path: Path) -> list[str] | None:
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
            value = parse_line(line.removeprefix(BOM))
        except DataError:
            value = None
        if value is None:
            break
        names |= dict.fromkeys(value)
    return list(names) or None


def _judge_json(members: list[str], columns: NoteColumns | None) -> bool | str:
    lacking = (
        [name for name in columns.names if find_name(members, name) is None] if columns else []
    )
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
    lacking = [name for name in asked if find_name(names, name) is None]
    return describe_table(kind, names, lacking=lacking or asked).sentence

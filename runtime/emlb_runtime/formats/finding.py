"""Finding the notes that files, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.formats.files.limits import FOLDERS
from emlb_runtime.records import ErrorRecord

from .folders import describe_suffixes, suffix_of

if TYPE_CHECKING:
    from .tables import NoteColumns

STDIN = "-"
"""The input that stands for standard input, and the name of the note read from it."""

TABLE_SUFFIXES = tuple(
    suffix + ending
    for suffix in (".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".json")
    for ending in ("", ".gz")
)
"""Names of files that are tables, JSON lines or JSON, and so no notes."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    """A note that has been found but not read, or a table of notes.

    Attributes:
        name: the note's name in every output: its path as given, with forward slashes.
        is_table: it is a table, each row a note; see ``noteevents`` and ``tables``.
    """

    name: str
    is_table: bool = False

    @property
    def path(self) -> Path | None:
        """Where it lies; None for standard input. Not kept: a run may hold a million files."""
        return None if self.name == STDIN else Path(self.name)


def find_notes(
    inputs: Sequence[str],
    *,
    suffix: str = ".txt",
    columns: NoteColumns | None = None,
    passed_over: Counter[str] | None = None,
) -> list[NoteFile | ErrorRecord]:
    """Find the notes that a list of files, patterns and folders stands for.

    A file is taken whatever its suffix. A folder stands for the files below it that end in
    ``suffix`` (in either case; hidden files apart), sorted by name; symbolic links are
    followed. A pattern (``*``, ``?``, ``[…]``, ``**``) stands for what it matches, sorted,
    unless a file of that very name exists. ``-`` is standard input. A file that several
    inputs lead to is one note, named as it was found first.

    A named file that is a table of MIMIC's notes stands for its rows, and so does any table or
    file of JSON lines that has the columns asked for. Another file that is a table by its name
    (``TABLE_SUFFIXES``) leads to no note.

    Args:
        inputs: what was asked for, in order.
        suffix: the suffix a file needs when its folder was given.
        columns: which columns of tables hold the notes; None where only MIMIC's are read.
        passed_over: counts the files below folders that were not taken, by their suffixes.

    Returns:
        The notes in order, with a record in the place of every input that leads to none.
    """
    found: dict[str, NoteFile | ErrorRecord] = {}
    search = _Search(suffix, columns, Counter() if passed_over is None else passed_over)
    for given in inputs:
        for item in search.expand(given):
            found.setdefault(_identity(item), item)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Search:
    """The options of find_notes."""

    suffix: str
    columns: NoteColumns | None
    passed_over: Counter[str]

    def expand(self, given: str) -> Iterator[NoteFile | ErrorRecord]:
        if given == STDIN:
            yield NoteFile(STDIN)
        elif os.path.isdir(given):
            yield from self.expand_folder(given)
        elif os.path.lexists(given):
            yield self.named_file(given)
        elif glob.has_magic(given):
            matches = sorted(glob.glob(given, recursive=True))
            if not matches:
                yield ErrorRecord(given, "no file matches this pattern")
            for match in matches:
                if os.path.isdir(match):
                    yield from self.expand_folder(match)
                else:
                    yield self.named_file(match)
        else:
            yield ErrorRecord(given, "there is no such file or folder")

    def named_file(self, path: str) -> NoteFile | ErrorRecord:
        """The note, the table, or why the file is neither."""
        by_name = path.lower().endswith(TABLE_SUFFIXES)
        if not by_name and self.columns is None:
            return _note_file(path)
        from .tables import judge_table  # not before there is a table: it costs start-up time

        verdict = judge_table(Path(path), self.columns, by_name=by_name)
        if isinstance(verdict, str):
            return ErrorRecord(Path(path).as_posix(), verdict)
        return _note_file(path, is_table=verdict)

    def expand_folder(self, folder: str) -> Iterator[NoteFile | ErrorRecord]:
        before = self.passed_over.copy()
        empty = True
        for item in self.walk(folder, frozenset()):
            empty = False
            yield item
        if empty:
            others = describe_suffixes(self.passed_over - before)
            but = f" but {others}: name those by a pattern, such as 'FOLDER/*'" if others else ""
            name = Path(folder).as_posix()
            yield ErrorRecord(name, f"the folder holds no {self.suffix} file{but}")

    def walk(
        self, folder: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[NoteFile | ErrorRecord]:
        """The notes below a folder; ``above`` identifies the folders that it lies in."""
        try:
            status = os.stat(folder)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield ErrorRecord(Path(folder).as_posix(), explain_os_error(error, None))
            return
        if len(above) >= FOLDERS:
            yield ErrorRecord(Path(folder).as_posix(), f"it lies deeper than {FOLDERS} folders")
            return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link that leads back up: its notes are being listed already
            return
        for entry in entries:
            if not entry.name.startswith("."):
                yield from self.walk_entry(entry, above | {here})

    def walk_entry(
        self, entry: os.DirEntry[str], above: frozenset[tuple[int, int]]
    ) -> Iterator[NoteFile | ErrorRecord]:
        is_note = entry.name.lower().endswith(self.suffix.lower())
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            empty = True
            for item in self.walk(entry.path, above):
                empty = False
                yield item
            if empty and is_note:
                yield _note_file(entry.path)  # reading it will say that it is a folder
        elif is_note and (entry.is_symlink() or entry.is_file()):
            yield _note_file(entry.path)
        elif is_note:  # a pipe nobody asked for by name could block for ever
            yield ErrorRecord(Path(entry.path).as_posix(), "it is not a regular file")
        else:
            self.passed_over[suffix_of(entry.name)] += 1


def _note_file(path: str, *, is_table: bool = False) -> NoteFile:
    name = Path(path).as_posix()
    return NoteFile("./-" if name == STDIN else name, is_table)


def _identity(item: NoteFile | ErrorRecord) -> str:
    """What two inputs that lead to the same note have in common."""
    if isinstance(item, NoteFile) and item.path is None:
        return STDIN
    return os.path.abspath(item.note if isinstance(item, ErrorRecord) else str(item.path))


def explain_os_error(error: OSError, path: Path | None) -> str:
    """Why a note's file cannot be read, in a sentence without its name."""
    if isinstance(error, FileNotFoundError):
        return "the file does not exist, or vanished before it was read"
    if isinstance(error, IsADirectoryError) or (path is not None and path.is_dir()):
        return "it is a folder, not a note"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    return f"it cannot be read: {error.strerror or error}"

"""What `emlb-run` reads: which notes there are, and where among them to go on."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.formats.notes import NoteFile, encoding_name, find_notes, read_note, read_notes
from emlb_runtime.records import ErrorRecord, Note

if TYPE_CHECKING:
    from emlb_runtime.formats.noteevents import NoteEvents, RowCounts
    from emlb_runtime.formats.tables import NoteColumns

Input = NoteFile | ErrorRecord | Note
"""A note or a table to be read, an input that leads to none, or a note that was read."""


@dataclass(frozen=True)
class Reading:
    """How notes are read.

    Attributes:
        encoding: of every note, as Python names it.
        errors: what is done with bytes that the encoding does not know.
        markup: what is done with notes in RTF, HTML, CDA or HL7 v2.
        columns: which columns of tables hold the notes; None where only MIMIC's are read.
        rows: which rows of tables are wanted; None if no input is a table.
        counts: where rows are counted as they are read.
    """

    encoding: str = "utf-8"
    errors: str = "strict"
    markup: str = "refuse"
    columns: NoteColumns | None = None
    rows: NoteEvents | None = None
    counts: RowCounts | None = None

    def settings(self) -> dict[str, str]:
        """The options by name, as a run's fingerprint has them; choices of patients hashed."""
        from .fingerprint import hashed

        rows = self.rows
        return {
            "--encoding": encoding_name(self.encoding),
            "--errors": self.errors,
            "--markup": self.markup,
            **self._column_settings(),
            **self._markup_settings(),
            "--category": hashed(sorted(rows.categories) if rows else ()),
            "--subject": hashed(sorted(rows.subjects) if rows else ()),
        }

    def _column_settings(self) -> dict[str, str]:
        if self.columns is None:
            return {}
        return {"--text-column": self.columns.text, "--id-column": self.columns.id or "not set"}

    def _markup_settings(self) -> dict[str, str]:
        """Versions of the libraries that strip markup: another may leave another text."""
        if self.markup == "refuse":
            return {}
        from importlib.metadata import version

        from emlb_runtime.formats.markup import LIBRARIES

        return {name: version(name) for name in LIBRARIES}


def find_some_notes(
    inputs: Sequence[str],
    *,
    columns: NoteColumns | None = None,
    passed_over: Counter[str] | None = None,
) -> list[NoteFile | ErrorRecord]:
    """Find the notes of all inputs.

    Args:
        inputs: what was asked for.
        columns: see ``find_notes``.
        passed_over: see ``find_notes``.

    Raises:
        DataError: if there is not a single one.
    """
    files = find_notes(inputs, columns=columns, passed_over=passed_over)
    if not any(isinstance(file, NoteFile) for file in files):
        if not files:
            raise DataError("no note found: name files, folders or patterns")
        reasons = [f"{file.note}: {file.error}" for file in files if isinstance(file, ErrorRecord)]
        more = f"; and {len(reasons) - 1:,} more inputs like it" if len(reasons) > 1 else ""
        raise DataError(f"no note found: {reasons[0]}{more}")
    return files


def choose_columns(id: str | None, text: str | None) -> NoteColumns | None:
    """The columns that hold notes; None if no option names one.

    Raises:
        ConfigError: if the column of ids was named and not that of texts.
    """
    if id is None and text is None:
        return None
    from emlb_runtime.formats.tables import NoteColumns

    return NoteColumns.choose(id, text)


def choose_rows(
    files: Sequence[NoteFile | ErrorRecord],
    *,
    categories: Sequence[str],
    subjects: Sequence[str],
    columns: NoteColumns | None = None,
) -> tuple[NoteEvents, RowCounts] | tuple[None, None]:
    """Which rows of tables are wanted, and where they are counted; None without a table.

    Raises:
        ConfigError: if rows or columns are chosen, but no input is a table.
    """
    if any(isinstance(file, NoteFile) and file.is_table for file in files):
        from emlb_runtime.formats.noteevents import NoteEvents, RowCounts

        return NoteEvents(tuple(categories), tuple(subjects)), RowCounts()
    if columns is not None:
        raise ConfigError(
            "--text-column and --id-column name columns of a table, and no input is a table that"
            " has them: name the file of the table, not its folder or standard input"
        )
    if categories or subjects:
        raise ConfigError(
            "--category and --subject choose rows of a NOTEEVENTS table, and no input is one:"
            " name a .csv or .csv.gz file with the columns ROW_ID, SUBJECT_ID and TEXT"
        )
    return None, None


def leave_out(
    files: Sequence[NoteFile | ErrorRecord], written: Sequence[Path]
) -> list[NoteFile | ErrorRecord]:
    """The inputs without what an unfinished run has written among them.

    Args:
        files: what a pattern or a folder led to.
        written: files and folders of the unfinished output.
    """
    own = {os.path.realpath(path) for path in written}
    folder_of = cache(os.path.realpath)  # of as many folders, not of as many notes

    def is_own(file: NoteFile | ErrorRecord) -> bool:
        path = Path(file.note) if isinstance(file, ErrorRecord) else file.path
        if path is None:
            return False
        folder = folder_of(os.path.dirname(path))
        return folder in own or os.path.join(folder, path.name) in own

    return [file for file in files if not is_own(file)] if own else list(files)


def hold_unrepeatable(
    files: Iterable[NoteFile | ErrorRecord], reading: Reading
) -> list[NoteFile | ErrorRecord | Note]:
    """Read what can be read only once, standard input and pipes, so that it can be identified."""

    def held(file: NoteFile | ErrorRecord) -> Input:
        if isinstance(file, ErrorRecord) or not _reads_once(file):
            return file
        return read_note(
            file.path,
            name=file.name,
            encoding=reading.encoding,
            errors=reading.errors,
            markup=reading.markup,
        )

    return [held(file) for file in files]


def _reads_once(file: NoteFile) -> bool:
    if file.path is None:
        return True
    try:
        return stat.S_ISFIFO(os.stat(file.path).st_mode)
    except OSError:
        return False


def read_inputs(
    files: Iterable[Input],
    reading: Reading,
    *,
    done: int = 0,
    pass_over: Callable[[str], None] = lambda name: None,
) -> Iterator[Note | ErrorRecord]:
    """Read notes one by one, from the first that is not done.

    A file that is done is not opened; of a table the rows that are done are read past.

    Args:
        files: what there is to read, in order.
        reading: how.
        done: how many notes and error records an earlier run has dealt with.
        pass_over: is called with the name of each of them, in order.

    Raises:
        ArtefactError: if there are fewer.
    """
    left = done
    for file in files:
        many = isinstance(file, NoteFile) and file.is_table
        if left and not many:
            left -= 1
            pass_over(name_of(file))
            continue
        for item in _read(file, reading):
            if left:
                left -= 1
                pass_over(name_of(item))
            else:
                yield item
    for record in _empty_choice(reading):
        if left:
            left -= 1
            pass_over(record.note)
        else:
            yield record
    if left:
        raise ArtefactError(
            "the unfinished run has dealt with more notes than there are: use --restart"
        )


def name_of(file: Input) -> str:
    """The name that an input has in every output."""
    return file.note if isinstance(file, ErrorRecord) else file.name


def _read(file: Input, reading: Reading) -> Iterable[Note | ErrorRecord]:
    if isinstance(file, Note):
        return (file,)
    return read_notes(
        (file,),
        encoding=reading.encoding,
        errors=reading.errors,
        markup=reading.markup,
        columns=reading.columns,
        rows=reading.rows,
        counts=reading.counts,
    )


def _empty_choice(reading: Reading) -> Iterator[ErrorRecord]:
    """A record if rows were chosen and there is none of that choice."""
    rows, counts = reading.rows, reading.counts
    if rows is None or counts is None or not (rows.categories or rows.subjects):
        return
    if counts.notes + counts.marked_as_errors == 0:
        chosen = " and ".join(
            option
            for option, values in (("--category", rows.categories), ("--subject", rows.subjects))
            if values
        )
        yield ErrorRecord(chosen, "no usable row of the tables is what was asked for")

"""Stand-off annotations of MIMIC's notes: ``ROW_ID.ann`` in brat, the text in NOTEEVENTS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from emlb_runtime.errors import DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._csv_rows import BrokenRow
from emlb_runtime.formats.brat import parse_brat
from emlb_runtime.formats.files.limits import ANNOTATION_FILE, TooLarge, read_file
from emlb_runtime.formats.folders import files_below
from emlb_runtime.formats.noteevents import NoteEvents, is_noteevents, scan_noteevents
from emlb_runtime.formats.report import Problem, Report, shown_id, unusable
from emlb_runtime.records import Document, Note

from .reading import Reading


def scan_mimic(noteevents: Sequence[Path], annotations: Path) -> Reading:
    """Read annotated notes of MIMIC, in the order of their rows.

    The tables are read once and row by row; memory grows with the number of ``.ann`` files
    only. A note marked as wrong (ISERROR) counts as a note here: somebody chose to annotate
    it. Of two annotated rows with one id the first is taken. In MIMIC-IV the id is note_id.

    Args:
        noteevents: ``NOTEEVENTS.csv`` or the tables of MIMIC-IV-Note, plain or gzipped, in
            UTF-8.
        annotations: searched with its subfolders for ``ROW_ID.ann``.

    Yields:
        A document named by its ROW_ID and what its annotations could not be used for; None
        for an annotated row that cannot be used, and for a place of the table that is broken
        (which may be no annotated row); at the end None for each ``.ann`` without a row, and
        for the whole the number of ``rows_without_annotations``.

    Raises:
        DataError: if a table is none, or there is no ``.ann`` file.
    """
    files, twice = _find_annotations(annotations)
    if bad := [table for table in noteevents if not is_noteevents(table)]:
        raise DataError(
            f"{bad[0]}: not a table of notes; expected NOTEEVENTS.csv or .csv.gz, with the"
            " columns ROW_ID (or note_id), SUBJECT_ID and TEXT in its first line"
        )
    for path in twice:
        yield None, unusable(path, reasons.REPEATED_DOCUMENT)
    read: set[str] = set()
    without = 0
    for table, item in _rows(noteevents):
        id = item.name if isinstance(item, Note) else item.id
        if id and id not in files:
            without += 1
        elif id in read:
            yield None, unusable(files[id], reasons.REPEATED_DOCUMENT)
        elif isinstance(item, Note):
            read.add(id)
            yield _read_annotations(item, files[id])
        else:
            read.update({id} if id else ())
            problem = Problem(str(table), item.first, shown_id(id), item.reason)
            yield None, Report({"documents_lost": 1} if id else {}, (problem,))
    for id, path in files.items():
        if id not in read:
            yield None, unusable(path, reasons.NO_TEXT)
    if without:
        yield None, Report({"rows_without_annotations": without})


def _rows(tables: Sequence[Path]) -> Iterator[tuple[Path, Note | BrokenRow]]:
    for table in tables:
        for item in scan_noteevents(table, wanted=NoteEvents(with_errors=True)):
            yield table, item


def _find_annotations(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The ``.ann`` files by the ids in their names; those whose id came before."""
    files: dict[str, Path] = {}
    twice = []
    for path in files_below(folder, ".ann"):
        if files.setdefault(path.stem, path) is not path:
            twice.append(path)
    if not files:
        raise DataError(f"{folder}: no annotations found; expected files named ROW_ID.ann")
    return files, twice


def _read_annotations(note: Note, path: Path) -> tuple[Document | None, Report]:
    try:
        # surrogatepass: as for every brat file, a lone surrogate must not shift offsets.
        lines = read_file(path, ANNOTATION_FILE).decode("utf-8", "surrogatepass")
        return parse_brat(note.text, lines, name=note.name, file=str(path))
    except TooLarge as error:
        return None, unusable(path, error.reason)
    except OSError:
        return None, unusable(path, reasons.UNREADABLE)
    except UnicodeDecodeError:
        return None, unusable(path, reasons.NOT_UTF8)

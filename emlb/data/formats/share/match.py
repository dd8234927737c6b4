"""Which lines of ShARe/CLEF annotations belong to which note."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import ANNOTATION_FILE, ANNOTATIONS, TooLarge, read_file
from emlb_runtime.formats.report import Problem, Report, unusable

from .files import Files, annotation_stem, text_stem
from .lines import Row, Year, split_rows, year_of

_REPORT_ENDING = re.compile(r"-report$", re.IGNORECASE)


class Matches:
    """Which lines belong to which note.

    Attributes:
        rows: of each note its annotation file and the lines there that name it.
        unread: notes whose own annotation file cannot be read.
        lost: what of the annotations belongs to no note.
    """

    def __init__(self, files: Files, year: Year) -> None:
        self.rows: dict[Path, tuple[Path, list[Row]]] = {}
        self.unread: set[Path] = set()
        self.lost: list[Report] = []
        index = _TextIndex(files.texts)
        for file in files.of_year(year):
            rows, reason = _read_rows(file)
            own = index.find(annotation_stem(file.name), file)
            if reason:
                self.lost.append(unusable(file, reason))
                if own is not None:
                    self.unread.add(own)
                continue
            for text, group in _group(file, rows, own, index):
                self.add(file, text, group)

    def add(self, file: Path, text: Path | None, rows: list[Row]) -> None:
        line = rows[0].number if rows else 0
        if text is None and rows and all(year_of(row.line) is None for row in rows):
            columns = (Problem(str(file), row.number, "", reasons.WRONG_COLUMNS) for row in rows)
            self.lost.append(Report({}, tuple(columns)))
        elif text is None:
            self.lost.append(unusable(file, reasons.NO_TEXT, line=line))
        elif text in self.rows:
            self.lost.append(unusable(file, reasons.REPEATED_DOCUMENT, line=line))
        else:
            self.rows[text] = (file, rows)


def _group(
    file: Path, rows: list[Row], own: Path | None, index: _TextIndex
) -> list[tuple[Path | None, list[Row]]]:
    """The lines of a file by the notes they name, or that the file's name stands for."""
    groups: dict[Path | str, list[Row]] = {}
    for row in rows:
        stem = text_stem(row.document)
        text = index.find(stem, file)
        if text is None and year_of(row.line) is None:
            text, stem = own, ""
        groups.setdefault(text or stem, []).append(row)
    if not groups:
        return [(own, [])]
    return [(key if isinstance(key, Path) else None, group) for key, group in groups.items()]


class _TextIndex:
    """Finds the note that a line or a file means by its name."""

    def __init__(self, texts: Iterable[Path]) -> None:
        self._by_stem: dict[str, list[Path]] = {}
        self._by_report: dict[str, list[Path]] = {}
        for path in texts:
            stem = text_stem(path.name)
            self._by_stem.setdefault(stem, []).append(path)
            self._by_report.setdefault(_REPORT_ENDING.sub("", stem), []).append(path)

    def find(self, stem: str, near: Path) -> Path | None:
        """The note of that name that lies nearest to an annotation file; None without."""
        found = self._by_stem.get(stem) or self._by_report.get(_REPORT_ENDING.sub("", stem), [])
        return max(found, key=lambda path: _common(path, near), default=None)


def _common(one: Path, other: Path) -> int:
    """How many folders two paths have in common from the top."""
    parts = zip(one.parent.parts, other.parent.parts, strict=False)
    return next((n for n, (a, b) in enumerate(parts) if a != b), len(one.parent.parts))


def _read_rows(path: Path) -> tuple[list[Row], str | None]:
    """The lines of an annotation file, and why there are none if it cannot be read."""
    try:
        text = read_file(path, ANNOTATION_FILE).decode("utf-8", "surrogatepass")
        if text.count("\n") > ANNOTATIONS.value:
            raise TooLarge(ANNOTATIONS)
        return split_rows(text), None
    except TooLarge as error:
        return [], error.reason
    except OSError:
        return [], reasons.UNREADABLE
    except UnicodeDecodeError:
        return [], reasons.NOT_UTF8

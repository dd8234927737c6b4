"""Which files of a ShARe/CLEF release are notes, which annotations, and of which year."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emlb_runtime.formats.folders import files_below

from .lines import Row, Year, is_annotation, split_rows, year_of

YEARS: tuple[Year, ...] = (2014, 2013)
"""The years whose formats are known, the one that holds more first."""

_TEXT_FOLDERS = ("text", "texts")
_TEXT_ENDING = re.compile(r"\.te?xt$", re.IGNORECASE)
_PIPE_ENDING = re.compile(r"\.pipe(\.te?xt)?$", re.IGNORECASE)
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a release, sorted by path.

    Attributes:
        texts: the notes.
        annotations: the files of lines, each with its year; None fits any year.
    """

    texts: tuple[Path, ...]
    annotations: tuple[tuple[Path, Year | None], ...]

    @property
    def years(self) -> tuple[Year, ...]:
        """The years there are annotations of, the one to prefer first."""
        held = {year for _, year in self.annotations}
        return tuple(year for year in YEARS if year in held or held == {None})

    def of_year(self, year: Year) -> Iterator[Path]:
        """The annotation files of a year."""
        return (path for path, held in self.annotations if held in (None, year))


def text_stem(name: str) -> str:
    """A note's name without ``.txt`` or ``.text``."""
    return _TEXT_ENDING.sub("", name)


def annotation_stem(name: str) -> str:
    """An annotation file's name without ``.pipe``, ``.pipe.txt`` or ``.txt``."""
    return _PIPE_ENDING.sub("", name) if _PIPE_ENDING.search(name) else text_stem(name)


def find_files(folder: Path, texts: Path | None = None, *, sample: int | None = None) -> Files:
    """Sort the files of a folder and its subfolders into notes and annotations.

    Annotations are ``.pipe``, ``.pipe.txt``, and ``.txt`` files of nothing but lines;
    what lies in a folder ``text`` is a note whatever it looks like.

    Args:
        folder: the release.
        texts: the folder of the notes, if it is known.
        sample: files that are not empty to look at in each folder; all if None.
    """
    notes: list[Path] = []
    lines: list[Path] = []
    empty: list[Path] = []
    seen: Counter[tuple[Path, bool]] = Counter()
    for path in _walk(folder):
        is_pipe = _PIPE_ENDING.search(path.name) is not None
        if not is_pipe and not _TEXT_ENDING.search(path.name):
            continue
        if sample is not None and path.stat().st_size:
            seen[path.parent, is_pipe] += 1
            if seen[path.parent, is_pipe] > sample:
                continue
        if is_pipe:
            lines.append(path)
        elif texts is None and path.parent.name.casefold() in _TEXT_FOLDERS:
            notes.append(path)
        elif texts is None or not path.is_relative_to(texts):
            head = _read_head(path)
            if head is None:
                notes.append(path)
            elif not head:
                empty.append(path)
            else:
                (lines if is_annotation(head[0].line) else notes).append(path)
    # An empty .txt among such files of lines is one without lines.
    of_lines = {path.parent for path in lines if not _PIPE_ENDING.search(path.name)}
    of_lines -= {path.parent for path in notes}
    for path in empty:
        (lines if path.parent in of_lines else notes).append(path)
    if texts is not None:
        notes = [
            path
            for path in _walk(texts)
            if _TEXT_ENDING.search(path.name) and not _PIPE_ENDING.search(path.name)
        ]
    return Files(tuple(sorted(notes)), tuple(_years(sorted(lines), folder)))


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder that a release could mean."""
    return (path for path in files_below(folder) if path.is_file())


def _read_head(path: Path) -> list[Row] | None:
    """The first lines of a file, the last maybe cut short; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    return split_rows(head.decode("utf-8", "replace"))


def _years(paths: Iterable[Path], folder: Path) -> Iterator[tuple[Path, Year | None]]:
    """The year of each file: its own, its folder's if it is empty, or by a folder's name."""
    own = {path: _own_year(path) for path in paths}
    by_folder: dict[Path, set[Year]] = {}
    for path, year in own.items():
        if year is not None:
            by_folder.setdefault(path.parent, set()).add(year)
    for path, year in own.items():
        around = by_folder.get(path.parent, set())
        if year is None and len(around) == 1:
            (year,) = around
        yield path, year or (None if around else _named_year(path, folder))


def _own_year(path: Path) -> Year | None:
    """The year that most of the first lines look like; the first such line's of two as many."""
    years = Counter(year_of(row.line) for row in _read_head(path) or ())
    del years[None]
    return years.most_common(1)[0][0] if years else None


def _named_year(path: Path, folder: Path) -> Year | None:
    names = (folder.name, *path.relative_to(folder).parent.parts)
    for name in reversed(names):
        found = [year for year in YEARS if str(year) in name]
        if len(found) == 1:
            return found[0]
    return None


def document_names(texts: Iterable[Path], folder: Path, root: Path | None) -> dict[Path, str]:
    """A name for each note: its path without ending, year and ``text`` folders.

    Where two notes would meet in one name, both keep their whole paths.

    Args:
        texts: the notes.
        folder: the release.
        root: the folder of the notes, if it was given.
    """
    whole, short = {}, {}
    for path in texts:
        base = folder if root is None or path.is_relative_to(folder) else root
        *parents, name = path.relative_to(base).parts
        kept = [p for p in parents if p.casefold() not in (*_TEXT_FOLDERS, *map(str, YEARS))]
        whole[path] = "/".join((*parents, name))
        short[path] = "/".join((*kept, text_stem(name)))
    taken = Counter(short.values())
    return {path: name if taken[name] == 1 else whole[path] for path, name in short.items()}

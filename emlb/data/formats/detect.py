"""One way into every format: find out what a path holds, and read its documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emlb.data.raw_notes import read_tables, read_text, why_unknown, without_annotations
from emlb.data.splits import Grouping, source_of
from emlb_runtime.errors import DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._json_lines import parse_line
from emlb_runtime.formats.brat import scan_brat_folder
from emlb_runtime.formats.files.compressed import (
    ENDINGS,
    open_unzipped,
    unzipped_name,
    without_twins,
)
from emlb_runtime.formats.files.limits import ANNOTATION_FILE, TooLarge, read_file, read_lines
from emlb_runtime.formats.finding import TABLE_SUFFIXES
from emlb_runtime.formats.folders import files_below
from emlb_runtime.formats.jsonl import read_documents, read_mixture
from emlb_runtime.formats.noteevents import (
    NoteEvents,
    is_noteevents,
    read_subjects,
    scan_noteevents,
)
from emlb_runtime.formats.report import Problem, Report, unusable
from emlb_runtime.formats.tables import NoteColumns, judge_table
from emlb_runtime.records import Note

from .anafora.corpus import find_anafora, scan_anafora
from .mimic import scan_mimic
from .n2c2 import ENTITY_TYPES, RELATION_TYPES, scan_n2c2
from .reading import Reading
from .share.corpus import find_share, scan_share
from .unread import describe_unread

FORMATS = {
    "brat": "brat stand-off: NAME.txt with NAME.ann",
    "n2c2": "brat with the types of n2c2 2018 track 2",
    "mimic": "MIMIC-III: brat annotations named by ROW_ID over NOTEEVENTS.csv",
    "anafora": "Clinical TempEval (THYME): Anafora XML beside plain text",
    "share2013": "ShARe/CLEF eHealth 2013: pipe-delimited disorders",
    "share2014": "ShARe/CLEF eHealth 2014: pipe-delimited disorders with attribute slots",
    "documents": "documents as JSON lines",
    "mixture": "several corpora in one schema, as JSON lines",
    "noteevents": "MIMIC NOTEEVENTS.csv: raw notes",
    "text": "raw notes: .txt files, or JSON lines with a text each",
    "table": "raw notes: a table or JSON lines, by the columns that are named",
}
"""The formats by name, each in a few words."""

RAW_FORMATS = frozenset({"noteevents", "text", "table"})
"""Those that hold notes without annotations."""

_OF_FOLDERS = frozenset({"brat", "n2c2", "anafora", "share2013", "share2014"})
"""Those whose readers find their files themselves."""

_BOM = b"\xef\xbb\xbf"

_SAMPLE = 200
"""Annotation files looked at to tell n2c2 from other brat."""

_FOREIGN = 0.05
"""Share of annotations there that may have another type, being mistakes."""


@dataclass(frozen=True)
class Detected:
    """What a path holds.

    Attributes:
        format: one of ``FORMATS``.
        files: of JSON lines and CSV: the files to read, in order; empty for folders.
        passed_over: what else of use lies there and is not read.
    """

    format: str
    files: tuple[Path, ...] = ()
    passed_over: tuple[str, ...] = ()


def detect(
    path: Path, *, texts: Path | None = None, columns: NoteColumns | None = None
) -> Detected:
    """Find out the format of a file or folder by its contents.

    Args:
        path: the file or folder.
        texts: where the notes lie, if elsewhere: with a table there, brat is ``mimic``.
        columns: of a table that holds the notes; only such tables are looked for then.

    Raises:
        DataError: if there is nothing there, or nothing that is known.
    """
    if columns is not None:
        return _find_tables(path, columns)
    if path.is_file():
        format = _format_of_file(path)
        if format is None:
            raise DataError(f"{path}: {why_unknown(path)}; known formats: {', '.join(FORMATS)}")
        return Detected(format, (path,))
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder")
    found = _formats_of_folder(path)
    formats = [other.format for other in found]
    unread = describe_unread(path, formats, [file for other in found for file in other.files])
    if not found:
        raise DataError(
            f"{path}: no annotated documents and no notes found in this folder or below it"
            f"{''.join(f', but {others}' for others in unread)}; "
            f"known formats: {', '.join(FORMATS)}"
        )
    first, *rest = found
    also = tuple(f"{FORMATS[other.format]}{_listed(other.files)}" for other in rest) + unread
    if texts is not None and first.format in ("brat", "n2c2"):
        tables = _tables_below(texts) if texts.is_dir() else (texts,)
        if any(map(is_noteevents, tables)):
            return Detected("mimic", tables, also)
    return Detected(first.format, first.files, also)


def scan(
    path: Path,
    *,
    format: str = "auto",
    corpora: Collection[str] = (),
    texts: Path | None = None,
    columns: NoteColumns | None = None,
    strict: bool = False,
) -> Reading:
    """Read annotated documents of any format, one by one.

    Args:
        path: a file or folder.
        format: one of ``FORMATS``; ``auto`` finds out.
        corpora: of a mixture, the corpora to take; empty takes all.
        texts: folder of the notes' texts, where they lie elsewhere; of ``mimic`` the table.
        columns: of a table, or of JSON lines, that hold raw notes.
        strict: end at the first thing that cannot be used.

    Yields:
        Documents with their reports; a name that was read before is reported and passed
        over. Raw notes come as documents without entities.

    Raises:
        DataError: if nothing can be read; if strict, at the first problem.
    """
    if columns is not None or format == "auto":
        source = detect(path, texts=texts, columns=columns)
    elif format not in FORMATS:
        raise DataError(f"unknown format {format!r}; choose auto, {', '.join(FORMATS)}")
    else:
        source = Detected(format, _files_of(path, format))
    seen: set[str] = set()
    if columns is not None:
        reading = read_tables(source.files, columns)
    else:
        reading = _READERS[source.format](path, source.files, corpora, texts)
    for document, report in reading:
        if document is not None and document.note.name in seen:
            report = unusable(f"{path} ({document.note.name})", reasons.REPEATED_DOCUMENT)
            document = None
        # Two million row numbers, unique by design, are not worth their memory.
        if document is not None and source.format not in ("noteevents", "table"):
            seen.add(document.note.name)
        if strict and report.problems:
            raise DataError(f"{report.problems[0]}")
        yield document, report


def group_documents(
    path: Path, names: Collection[str], *, format: str = "auto", texts: Path | None = None
) -> Grouping:
    """What keeps documents together where the user does not say: patients, if they are known.

    In MIMIC's tables a note has its SUBJECT_ID; elsewhere see ``splits.source_of``.

    Args:
        path: what ``scan`` read.
        names: the documents' names.
        format: as ``scan`` took it.
        texts: as ``scan`` took it.
    """
    format = detect(path, texts=texts).format if format == "auto" else format
    if format not in ("mimic", "noteevents"):
        return source_of
    apart = texts if format == "mimic" else None
    tables = _tables_at(apart, _files_of(path, format) if path.is_dir() else (path,))
    wanted, subjects = frozenset(names), dict[str, str]()
    for table in tables:
        subjects = read_subjects(table, wanted) | subjects
    return lambda name: f"subject {subjects[name]}" if name in subjects else name


_Reader = Callable[[Path, tuple[Path, ...], Collection[str], Path | None], Reading]


def _read_mixture(
    path: Path, files: tuple[Path, ...], corpora: Collection[str], texts: Path | None
) -> Reading:
    for file in files:
        for document, _, report in read_mixture(file, corpora=list(corpora) or None):
            yield document, report


def _read_jsonl(
    path: Path, files: tuple[Path, ...], corpora: Collection[str], texts: Path | None
) -> Reading:
    known = None if texts is None else _Texts(texts)
    for file in files:
        yield from read_documents(file, texts=known)
    for file in _unfinished_below(path):
        yield None, Report({}, (Problem(str(file), 0, "", reasons.UNFINISHED),))


def _read_noteevents(
    path: Path, files: tuple[Path, ...], corpora: Collection[str], texts: Path | None
) -> Reading:
    for file in files:
        for note in scan_noteevents(file, wanted=NoteEvents(with_errors=True)):
            if isinstance(note, Note):
                yield without_annotations(note)
            else:
                yield None, unusable(file, note.reason, line=note.first)


def _read_text(
    path: Path, files: tuple[Path, ...], corpora: Collection[str], texts: Path | None
) -> Reading:
    return read_text(path, files)


def _no_columns(
    path: Path, files: tuple[Path, ...], corpora: Collection[str], texts: Path | None
) -> Reading:
    raise DataError(f"{path}: name the column of the texts with --text-column")


_READERS: dict[str, _Reader] = {
    "brat": lambda path, files, corpora, texts: scan_brat_folder(path, texts=texts),
    "n2c2": lambda path, files, corpora, texts: scan_n2c2(path, texts=texts),
    "mimic": lambda path, files, corpora, texts: scan_mimic(_tables_at(texts, files), path),
    "anafora": lambda path, files, corpora, texts: scan_anafora(path, texts=texts),
    "share2013": lambda path, files, corpora, texts: scan_share(path, year=2013, texts=texts),
    "share2014": lambda path, files, corpora, texts: scan_share(path, year=2014, texts=texts),
    "documents": _read_jsonl,
    "mixture": _read_mixture,
    "noteevents": _read_noteevents,
    "text": _read_text,
    "table": _no_columns,
}


def _formats_of_folder(folder: Path) -> list[Detected]:
    """What a folder holds, annotated formats first."""
    found: list[Detected] = []
    tables = _tables_below(folder)
    annotations = files_below(folder, ".ann")
    if annotations and tables:
        found.append(Detected("mimic", tables))
    elif annotations:
        found.append(Detected("n2c2" if _has_n2c2_types(annotations) else "brat"))
    if find_anafora(folder):
        found.append(Detected("anafora"))
    found += [Detected(f"share{year}") for year in sorted(find_share(folder), reverse=True)]
    by_format: dict[str, list[Path]] = {}
    for file in _lines_below(folder):
        if format := _format_of_file(file):
            by_format.setdefault(format, []).append(file)
    for format in ("mixture", "documents"):
        if format in by_format:
            found.append(Detected(format, tuple(by_format[format])))
    if tables and not annotations:
        found.append(Detected("noteevents", tables))
    raw = tuple(by_format.get("text", ()))
    if raw or (not found and files_below(folder, ".txt")):
        found.append(Detected("text", raw))
    return found


def _find_tables(path: Path, columns: NoteColumns) -> Detected:
    """The tables that have these columns: a file, or those of a folder."""
    files = files_below(path, *TABLE_SUFFIXES) if path.is_dir() else [path]
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    judged = {file: judge_table(file, columns, by_name=True) for file in files}
    tables = tuple(without_twins([file for file, verdict in judged.items() if verdict is True]))
    if not tables:
        others = [f"{file}: {why}" for file, why in judged.items() if isinstance(why, str)]
        raise DataError(others[0] if others else f"{path}: no table there")
    unread = describe_unread(path, (), tables) if path.is_dir() else ()
    return Detected("table", tables, unread)


def _tables_below(folder: Path) -> tuple[Path, ...]:
    """The tables of notes; of one that lies there zipped and unzipped, the unzipped."""
    tables = [p for p in files_below(folder, ".csv", ".csv.gz") if is_noteevents(p)]
    return tuple(without_twins(tables))


def _lines_below(folder: Path) -> list[Path]:
    """Files of JSON lines; of one that lies there zipped and unzipped, the unzipped."""
    return without_twins(files_below(folder, *(f".jsonl{ending}" for ending in ENDINGS)))


def _unfinished_below(path: Path) -> list[Path]:
    """Files of JSON lines that `emlb-run` was still writing; there are none in a file."""
    endings = (f".jsonl{ending}.part" for ending in ENDINGS)
    return files_below(path, *endings) if path.is_dir() else []


def _tables_at(texts: Path | None, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The tables that annotations of MIMIC belong to: those given apart before those found."""
    if texts is not None:
        files = _tables_below(texts) if texts.is_dir() else (texts,)
    if not files:
        raise DataError(
            "no table of notes beside the annotations: name NOTEEVENTS.csv, or its folder, as "
            "the texts"
        )
    return files


def _format_of_file(path: Path) -> str | None:
    """The format of a table or of JSON lines, by its first line; None if it is neither."""
    name = unzipped_name(path).lower()
    if not name.endswith(".jsonl") and is_noteevents(path):
        return "noteevents"
    if name.endswith(".csv"):
        return None
    try:
        with open_unzipped(path) as file:
            first = next((line for line in read_lines(file) if line.strip()), b"")
        value = parse_line(first.removeprefix(_BOM))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except DataError as error:
        raise DataError(f"{path}: of its first line: {error}") from None
    if value is None:
        return None
    if {"corpus", "doc", "text"} <= value.keys():
        return "mixture"
    if "note" in value and ("entities" in value or "error" in value):
        return "documents"
    return "text" if isinstance(value.get("text"), str) else None


def _files_of(path: Path, format: str) -> tuple[Path, ...]:
    """The files of a format that is made of files, where the format was given."""
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder")
    if format in _OF_FOLDERS:
        return ()
    if format in ("mimic", "noteevents"):
        files = _tables_below(path)
    else:
        lines = _lines_below(path)
        files = tuple(file for file in lines if _format_of_file(file) == format)
    if not files and (format in ("noteevents", "documents", "mixture")):
        raise DataError(f"{path}: nothing there is {FORMATS[format]}")
    return files


def _has_n2c2_types(annotations: list[Path]) -> bool:
    """Whether nearly all types in a sample are the task's; the reader reports the others."""
    known = {*ENTITY_TYPES, *RELATION_TYPES}
    found: Counter[str] = Counter()
    for file in annotations[:_SAMPLE]:
        try:
            text = read_file(file, ANNOTATION_FILE).decode("utf-8", "replace")
        except (OSError, TooLarge):  # the reader will report it
            continue
        found.update(re.findall(r"^[TRE][0-9]+\t([^ \t\n:]+)", text, re.MULTILINE))
    foreign = sum(count for type, count in found.items() if type not in known)
    return bool(found) and foreign <= _FOREIGN * found.total()


class _Texts(Mapping[str, str]):
    """The texts of a folder by their names, with or without folders and ending.

    A note is named as its file was given to the program that wrote the document, which may
    have stood in another folder.
    """

    def __init__(self, folder: Path) -> None:
        documents = (document for document, _ in read_text(folder, ()))
        self._texts = {d.note.name: d.note.text for d in documents if d is not None}
        bases = Counter(name.rpartition("/")[2] for name in self._texts)
        self._whole = {
            base: name for name in self._texts if bases[base := name.rpartition("/")[2]] == 1
        }

    def __getitem__(self, name: str) -> str:
        stem = name.removesuffix(".txt")
        if stem not in self._texts:
            stem = self._whole[stem.rpartition("/")[2]]
        return self._texts[stem]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _listed(files: tuple[Path, ...]) -> str:
    if not files:
        return ""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f" ({', '.join(file.name for file in files[:3])}{more})"

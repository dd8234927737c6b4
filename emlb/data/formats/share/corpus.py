"""ShARe/CLEF eHealth 2013 (task 1) and 2014 (task 2): disorders as pipe-delimited lines.

A line is one disorder of one note; offsets are code points of the untouched text.

* 2013, and SemEval-2014 task 7: ``NAME.txt||Disease_Disorder||CUI||start||end``, with a
  further ``||start||end`` for each fragment.
* 2014: ``NAME.txt|start-end,start-end|CUI|`` and ten slots, each a normalised value and,
  but for ``DT``, the spans of its cue or ``null``: negation (``NI``), subject (``SC``),
  uncertainty (``UI``), course (``CC``), severity (``SV``), conditional (``CO``), generic
  (``GC``), body location (``BL``), relation to the document's time (``DT``) and temporal
  expression (``TE``): 22 columns. SemEval-2015 task 14 has the first 19, without time.

A disorder becomes an entity ``Disease_Disorder`` with the attributes ``CUI`` and, of 2014,
the ten values under their two letters, defaults too. A cue becomes an entity of its own,
one for all disorders that name it, and a relation leads to it from each of them::

    NI  Negation_Cue         Disorder-Negation
    SC  Subject_Cue          Disorder-Subject
    UI  Uncertainty_Cue      Disorder-Uncertainty
    CC  Course_Cue           Disorder-Course
    SV  Severity_Cue         Disorder-Severity
    CO  Conditional_Cue      Disorder-Conditional
    GC  Generic_Cue          Disorder-Generic
    BL  Body_Location        Disorder-Body_Location
    TE  Temporal_Expression  Disorder-Temporal_Expression

A body location has the concept of its slot as attribute ``CUI`` too, where its disorders
agree on one. A word in place of a cue's spans (``slot_default``, ``*``) is kept as the
disorder's attribute ``Cue_NI`` and so on.

Sources: Suominen et al. 2013, CLEF, LNCS 8138:212-231; Mowery et al. 2014, CEUR-WS 1180;
Elhadad et al. 2015, SemEval, 303-310.
"""

from __future__ import annotations

import codecs
from collections import Counter
from pathlib import Path

from emlb.data.formats.reading import Reading
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.atomic import replace_file
from emlb_runtime.formats.files.limits import NOTE, TooLarge, read_file
from emlb_runtime.formats.report import Report, unusable
from emlb_runtime.records import Document, Note

from .files import YEARS, Files, annotation_stem, document_names, find_files
from .lines import DISORDER, SLOTS, Slot, Year, parse_rows
from .match import Matches
from .writer import format_share

__all__ = ["DISORDER", "SLOTS", "YEARS", "Slot", "find_share", "scan_share", "write_share"]

_SAMPLE = 8
"""Files looked at in each folder to tell the format."""

_FORBIDDEN = frozenset('\\:*?"<>|')


def find_share(folder: Path) -> tuple[int, ...]:
    """The years whose annotations lie in a folder or below it; looks at a few files only.

    Returns:
        2014, 2013, both or neither; the first is the one that scan_share prefers.
    """
    return find_files(folder, sample=_SAMPLE).years


def scan_share(
    folder: Path,
    *,
    year: int | None = None,
    texts: Path | None = None,
    text_encoding: str = "utf-8",
) -> Reading:
    """Read the notes of a release with the annotations of one year.

    Notes are ``.txt`` or ``.text``; annotations ``.pipe``, ``.pipe.txt``, or ``.txt`` of
    nothing but lines. A line belongs to the note it names, the nearest if there are
    several; an empty file says that the note of its own name has no disorders.

    Args:
        folder: searched with its subfolders.
        year: 2013 or 2014; None takes 2014 where both are there (``find_share`` tells).
        texts: the folder of the notes; found if None.
        text_encoding: of the notes; annotations are UTF-8.

    Yields:
        First None for each annotation file or part of one that has no note, then the
        notes sorted by name. A name is the path under the folder without the ending
        and without folders ``text``, ``2013`` and ``2014`` (``test/EN100543``).

    Raises:
        ConfigError: if the year or the encoding is unknown.
        DataError: if there are no annotations, or none of that year.
    """
    _check_encoding(text_encoding)
    if texts is not None and texts.resolve().is_relative_to(folder.resolve()):
        texts = folder / texts.resolve().relative_to(folder.resolve())
    files = find_files(folder, texts)
    chosen = _choose_year(files, folder, year)
    matches = Matches(files, chosen)
    for report in matches.lost:
        yield None, report
    names = document_names(files.texts, folder, texts)
    for path in sorted(files.texts, key=lambda path: names[path]):
        if path in matches.rows:
            file, rows = matches.rows[path]
            text = _read_text(path, text_encoding)
            if isinstance(text, Report):
                yield None, text
            else:
                yield parse_rows(Note(names[path], text), rows, year=chosen, file=str(file))
        elif path not in matches.unread:
            yield None, unusable(path, reasons.NO_ANNOTATIONS)


def write_share(document: Document, folder: Path, *, year: int = 2014) -> Counter[str]:
    """Write ``FOLDER/text/NAME.txt`` and ``FOLDER/YEAR/NAME.pipe``; ``/`` becomes ``__``.

    Disorders keep their order. Slots without a value get their default (a body location's
    the ``CUI`` of its cue), which is read back as an attribute that was not there. Ids
    and scores have no place.

    Args:
        document: the document; its disorders, and the cues that relations give them.
        folder: is made; may hold other documents, and the same one of another year.
        year: 2013 has no slots and no cues.

    Returns:
        How many entities, relations and attributes cannot be held, by fixed sentences.

    Raises:
        ConfigError: if the year is unknown or the folder cannot be written.
        DataError: if the note's name cannot be a file's, or its file is there already
            with another content.
    """
    known = _check_year(year)
    stem = _file_stem(document.note.name)
    lines, lost = format_share(document, f"{stem}.txt", year=known)
    _put(folder / "text" / f"{stem}.txt", document.note.text)
    _put(folder / str(year) / f"{stem}.pipe", lines)
    return lost


def _choose_year(files: Files, folder: Path, year: int | None) -> Year:
    known = None if year is None else _check_year(year)
    if not files.years:
        raise DataError(
            f"{folder}: no ShARe/CLEF annotations found; expected .pipe files in this folder "
            "or below it"
        )
    if known is None:
        return files.years[0]
    if known not in files.years:
        raise DataError(
            f"{folder}: no annotations of {known}; there are those of "
            f"{' and '.join(map(str, files.years))}"
        )
    return known


def _check_year(year: int) -> Year:
    for known in YEARS:
        if known == year:
            return known
    raise ConfigError(f"unknown year {year}; choose {' or '.join(map(str, YEARS))}")


def _check_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ConfigError(f"unknown encoding {name!r}; choose such as utf-8 or latin-1") from None


def _read_text(path: Path, encoding: str) -> str | Report:
    """The note, or the report that says why it cannot be read."""
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    try:
        # surrogatepass: the writer keeps a lone surrogate, and offsets must stay true.
        data = read_file(path, NOTE)
        return data.decode(encoding, "surrogatepass" if is_utf8 else "strict")
    except TooLarge as error:
        return unusable(path, error.reason)
    except OSError:
        return unusable(path, reasons.UNREADABLE)
    except UnicodeError:
        return unusable(path, reasons.NOT_UTF8 if is_utf8 else reasons.UNREADABLE)


def _file_stem(name: str) -> str:
    """The name of a note's files, without ending."""
    stem = name.removesuffix(".txt")
    parts = stem.split("/")
    if (
        any(part != part.strip() or part in ("", ".", "..") for part in parts)
        or stem.startswith(".")
        or annotation_stem(f"{stem}.txt") != stem
        or not stem.isprintable()
        or _FORBIDDEN.intersection(stem)
    ):
        raise DataError(
            f"the note's name {name!r} cannot be a file's; use letters, digits and hyphens, "
            "with / between folders"
        )
    return "__".join(parts)


def _put(path: Path, content: str) -> None:
    data = content.encode("utf-8", "surrogatepass")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_bytes() != data:
                raise DataError(
                    f"{path}: is there already with another content; give notes names that "
                    "differ in more than / and capitals, or use another folder"
                )
            return
        replace_file(path, data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None

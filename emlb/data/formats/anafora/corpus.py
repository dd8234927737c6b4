"""Anafora folders, as THYME and Clinical TempEval (SemEval 2015–2017) are handed out.

A document ``DOC`` is a folder of that name, with the plain text in a file ``DOC`` and
annotations beside it in ``DOC.SCHEMA.ANNOTATOR.completed.xml``; the text may also lie
elsewhere. Offsets are code points of the text decoded as UTF-8 and otherwise untouched.
Anafora keeps no surfaces, so nothing shows if they were counted on another text: line
ends must be those that the annotators saw.

What becomes of the XML:

* an ``<entity>`` is a mention (SECTIONTIME and DOCTIME too), each of its properties an
  attribute. An attribute that names another annotation is kept and reported;
* a ``<relation>`` is a relation from its Source to its Target, or between the two
  annotations that it names under other names, typed by its ``<type>`` and, after a
  hyphen, its Type: ``TLINK-CONTAINS``. One that links more or fewer, such as a chain of
  coreference, is reported and left out. Its other properties are reported, unless they
  are empty or ``N/A``, which is how Anafora leaves one open;
* ``12@e@DOC@gold`` is ``T12`` wherever no two ids of the file would be the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from emlb.data.formats.reading import Reading
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.atomic import replace_file
from emlb_runtime.formats.files.limits import NOTE, XML_FILE, Limit, TooLarge, read_file
from emlb_runtime.formats.report import Problem, Report, unusable
from emlb_runtime.records import Document, Note

from .layout import AnaforaFolder, AnnotationFile, find_folders
from .model import format_anafora, is_xml_text
from .parser import AnaforaParser
from .xml import RefusedXml, parse_annotations

_SCHEMA = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_ANNOTATOR = re.compile(r"[A-Za-z0-9_-]+")
_NAME_BYTES = 120


def find_anafora(folder: Path) -> list[AnaforaFolder]:
    """The documents with a completed file in a folder or below it, sorted by name.

    Only names are looked at. Links to folders are not followed.
    """
    found = find_folders(folder, [])
    return [item for item in found if any(file.is_completed for file in item.files)]


def scan_anafora(folder: Path, *, texts: Path | None = None, schema: str = "") -> Reading:
    """Read every document of a folder, sorted by name.

    Of a document's completed files one is read: ``Temporal-Relation`` before
    ``Temporal-Entity`` before any other schema, then ``gold`` before any other annotator,
    then the first by name. Where only the name decided, each file that lost is a problem.
    Files in progress and pre-annotations are never read.

    Args:
        folder: searched with its subfolders; may be a document's own folder.
        texts: where the text of a document lies that has none beside its XML, as
            ``NAME``, ``NAME.txt``, ``DOC`` or ``DOC.txt``, or in a folder ``NAME`` or ``DOC``.
        schema: the only schema to read, such as ``Temporal-Relation``.

    Yields:
        A document named by its folder's path under ``folder``, or None, with its report;
        ``files_passed_over`` counts the XML files that were not read and
        ``elements_passed_over`` elements within annotations that Anafora's own bookkeeping
        adds. Last, with None, come folders that cannot be listed and completed files that
        lie in no folder of their document's name.

    Raises:
        DataError: if no document has Anafora's XML.
    """
    lost: list[tuple[Path, str]] = []
    found = find_folders(folder, lost)
    if not any(item.files for item in found):
        raise DataError(
            f"{folder}: no Anafora files found; expected folders DOC with "
            "DOC.SCHEMA.ANNOTATOR.completed.xml, and the text in DOC beside it"
        )
    for item in found:
        yield _read_folder(item, texts, schema)
    if lost:
        problems = (Problem(str(path), 0, "", reason) for path, reason in lost)
        yield None, Report({}, tuple(problems))


def write_anafora(
    document: Document, folder: Path, *, schema: str = "Temporal-Relation", annotator: str = "gold"
) -> Counter[str]:
    """Write a document as a folder of its own, text and XML, which scan_anafora reads back.

    ``T12`` becomes ``12@e@DOC@ANNOTATOR``; the types ``TLINK-…`` and ``ALINK-…`` become
    a ``<type>`` and a Type; attributes become properties.

    Args:
        document: named by the path that its folder gets; the last part is ``DOC``.
        folder: where that folder lies or is made.
        schema: the schema in the file's name.
        annotator: the annotator in the file's name and in ids.

    Returns:
        What was left out or changed, counted under fixed sentences; empty if nothing was.

    Raises:
        ConfigError: if the schema or the annotator is no plain word.
        DataError: if the name does not fit below the folder, other files of that name
            are there, a file cannot be written, two mentions share an id or a relation
            names no mention.
    """
    if not (_SCHEMA.fullmatch(schema) and _ANNOTATOR.fullmatch(annotator)):
        raise ConfigError(
            "the schema and the annotator may hold letters, digits, - and _ only, as in "
            "Temporal-Relation and gold"
        )
    target = _safe_folder(document, folder)
    xml, lost = format_anafora(document, base=target.name, annotator=annotator)
    files = {
        target / target.name: document.note.text.encode("utf-8", "surrogatepass"),
        target / f"{target.name}.{schema}.{annotator}.completed.xml": xml.encode("utf-8"),
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            if path.exists() and path.read_bytes() != data:
                raise DataError(
                    f"{path}: holds something else already; choose another folder or another name"
                )
        for path, data in files.items():
            replace_file(path, data)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from None
    return lost


def _read_folder(
    item: AnaforaFolder, texts: Path | None, schema: str
) -> tuple[Document | None, Report]:
    """One document and its report, or None and why."""
    files = [file for file in item.files if not schema or file.schema == schema]
    usable = sorted(
        (file for file in files if file.is_completed),
        key=lambda file: (file.preference, file.path.name),
    )
    passed_over = Report({"files_passed_over": len(item.files) - bool(usable)})
    if not usable:
        problems = [_of_file(file, reasons.NOT_COMPLETED) for file in files]
        report = Report({}, tuple(problems)) + passed_over
        return None, unusable(item.path, reasons.NO_ANNOTATIONS) + report
    chosen, *others = usable
    problems = [
        _of_file(other, reasons.OTHER_FILE)
        for other in others
        if other.preference == chosen.preference
    ]
    passed_over += Report({}, tuple(problems))
    try:
        document, report = _read_document(item, chosen.path, _find_text(item, texts))
    except _Unusable as error:
        return None, unusable(error.path, error.reason, line=error.line) + passed_over
    return document, passed_over + report


class _Unusable(Exception):
    """A file that ends the reading of its document."""

    def __init__(self, path: Path, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason
        self.line = line


def _of_file(file: AnnotationFile, reason: str) -> Problem:
    return Problem(str(file.path), 0, "", reason)


def _find_text(item: AnaforaFolder, texts: Path | None) -> Path | None:
    return next((path for path in _text_places(item, texts) if path.is_file()), None)


def _text_places(item: AnaforaFolder, texts: Path | None) -> Iterator[Path]:
    places = [item.path / item.base]
    if texts is not None:
        places += [texts / item.name, texts / item.base]
        places += [place / item.base for place in places[1:]]
    for place in places:
        yield place
        yield place.with_name(f"{place.name}.txt")


def _read_document(
    item: AnaforaFolder, path: Path, text_path: Path | None
) -> tuple[Document, Report]:
    if text_path is None:
        raise _Unusable(path, reasons.NO_TEXT)
    data = _read_bytes(text_path, NOTE)
    try:
        # surrogatepass: the writer keeps a lone surrogate, and offsets must stay true.
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _Unusable(text_path, reasons.NOT_UTF8) from None
    try:
        annotations = parse_annotations(_read_bytes(path, XML_FILE))
    except RefusedXml as error:
        raise _Unusable(path, error.reason, error.line) from None
    return AnaforaParser(Note(item.name, text), str(path)).parse(annotations)


def _read_bytes(path: Path, limit: Limit) -> bytes:
    try:
        if not path.is_file():  # a pipe could block for ever
            raise _Unusable(path, reasons.UNREADABLE)
        return read_file(path, limit)
    except TooLarge as error:
        raise _Unusable(path, error.reason) from None
    except OSError:
        raise _Unusable(path, reasons.UNREADABLE) from None


def _safe_folder(document: Document, folder: Path) -> Path:
    """The document's own folder, which lies below the given one whatever the name says."""
    name = document.note.name
    parts = name.split("/")
    is_plain = all(
        part not in ("", ".", "..")
        and is_xml_text(part)
        and not re.search(r"[\\:\x00-\x1f]", part)
        and len(part.encode("utf-8")) <= _NAME_BYTES
        for part in parts
    )
    target = folder.joinpath(*parts) if is_plain else folder
    if not is_plain or not target.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{name!r} cannot be a folder below {folder}: give the note a relative name of "
            "plain parts, without .. or control characters"
        )
    return target
